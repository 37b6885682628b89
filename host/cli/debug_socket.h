/* Where debuggers attach: `--debug` of `dev` and `replay`. */
#pragma once

#include "cli/cli.h"
#include "cli/dev_token.h"

struct debug_socket {
    const char *wanted; /* of the option; empty: the usual address; NULL: it was not given */
    int fd;             /* listens */
    struct str token;   /* empty: nobody can attach */
    char address[160];  /* "127.0.0.1:4711" */
    struct dev_token text;
};

/* "127.0.0.1:80", "[::1]:80", "localhost:80", "80"; and unix sockets, which are this machine's. */
bool debug_socket_is_loopback(const char *address);

/* Binds it, where it is wanted, and gets the token. 0 or an exit status. */
int debug_socket_open(const struct command *command, const char *config_file,
                      struct debug_socket *debug);
/* Says on stderr where, and with which token. */
void debug_socket_tell(const struct debug_socket *debug);
