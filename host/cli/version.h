/* luafn --version: the program and every library it runs on. */
#ifndef LUAFN_CLI_VERSION_H
#define LUAFN_CLI_VERSION_H

/* Prints; returns an exit status. */
int print_version(void);

#endif
