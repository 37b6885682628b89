/* luafn --version: the program and every library it runs on. */
#pragma once

/* Prints; returns an exit status. */
int version_print(void);
