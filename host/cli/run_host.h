/* What `serve` and `dev` share: options, sockets, and the way into the supervisor. */
#ifndef LUAFN_CLI_RUN_HOST_H
#define LUAFN_CLI_RUN_HOST_H

#include "cli/cli.h"
#include "supervisor.h"

struct run_host {
    const char *config_file; /* "functions.lua" */
    struct option_list listen;
    const char *workers, *log, *drain, *admin; /* texts of the options; NULL: not given */
    const char *tls_cert, *tls_key;
    bool watch;
};

/* The options of both commands, to be followed by the command's own. */
#define RUN_HOST_OPTIONS(r)                                                                        \
    {"--config", OPTION_TEXT, &(r).config_file}, {"--listen", OPTION_LIST, &(r).listen},           \
        {"--log", OPTION_TEXT, &(r).log}, {"--drain", OPTION_TEXT, &(r).drain},                    \
        {"--tls-cert", OPTION_TEXT, &(r).tls_cert}, {"--tls-key", OPTION_TEXT, &(r).tls_key},      \
    {                                                                                              \
        "--admin", OPTION_TEXT, &(r).admin                                                         \
    }

struct run_host_plan {
    struct supervisor_options supervisor;
    struct listener listeners[SUPERVISOR_LISTEN_MAX];
    unsigned listener_count;
    struct listener admin;
    char keys_folder[4096], kv_file[4096];
};

/* Reads the texts of the options into the plan. 0 or EXIT_USAGE. */
int run_host_read(const struct command *command, const struct run_host *r, bool dev,
                  struct run_host_plan *plan);
/* "http" or "https". */
const char *run_host_scheme(const struct run_host_plan *plan);
/* Binds the addresses. 0, EXIT_USAGE or EXIT_FAULT. */
int run_host_bind(const struct command *command, const struct option_list *addresses,
                  struct run_host_plan *plan);
/* Checks the configuration once, so that a bad one is told before any process is made, then runs to
 * the end. */
int run_host_go(struct run_host_plan *plan);

#endif
