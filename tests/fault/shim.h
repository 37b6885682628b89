/* What the library's files share. */
#pragma once

/* From here on nothing fails in this process. Safe in a signal handler. */
void shim_end(void);
