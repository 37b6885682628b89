/* What `serve` and `dev` share: options, sockets, and the way into the supervisor. */
#pragma once

#include "cli/cli.h"
#include "process/supervisor.h"
#include "server/tls.h"

struct run_host {
    const char *config_file; /* "functions.lua" */
    struct option_list listen, tls_cert, tls_key;
    const char *workers, *log, *log_level, *drain, *admin,
        *tls_client_ca;        /* texts of the options; NULL: not given */
    const char *redirect_http; /* NULL: no such listener */
    const char *user;          /* NULL: stay who we are */
    bool watch, sandbox, proxy_protocol;
};

/* The options of both commands, to be followed by the command's own. */
#define RUN_HOST_OPTIONS(r)                                                                        \
    {"--config", OPTION_TEXT, &(r).config_file}, {"--listen", OPTION_LIST, &(r).listen},           \
        {"--log", OPTION_TEXT, &(r).log}, {"--log-level", OPTION_TEXT, &(r).log_level},            \
        {"--tls-cert", OPTION_LIST, &(r).tls_cert},                                                \
        {"--tls-client-ca", OPTION_TEXT, &(r).tls_client_ca},                                      \
    {                                                                                              \
        "--tls-key", OPTION_LIST, &(r).tls_key                                                     \
    }

enum { RUN_HOST_READABLE_MAX = CONFINE_PATHS_MAX };

struct run_host_plan {
    struct supervisor_options supervisor;
    struct listener listeners[LISTENER_MAX];
    unsigned listener_count;
    bool bound;                      /* by us: nobody handed them over */
    struct listener admin, redirect; /* `redirect`: handed over; else fd is 0 */
    struct tls_files tls[OPTION_LIST_MAX];
    struct buf client_ca; /* owned, for the life of the process */
    char keys_folder[4096], kv_file[4096], journal_folder[4096];
    /* Called once the configuration has proved good, before any process is made; NULL: none. */
    void (*announce)(const struct run_host_plan *plan);
    bool sandbox;
    struct confine confine; /* its paths are: */
    char readable[RUN_HOST_READABLE_MAX][4096], state_folder[4096];
    unsigned readable_count;
};

/* Reads the texts of the options into the plan. 0 or EXIT_USAGE. */
int run_host_read(const struct command *command, const struct run_host *r, bool dev,
                  struct run_host_plan *plan);
/* "http" or "https". */
const char *run_host_scheme(const struct run_host_plan *plan);
/* Takes the sockets of the program before in an upgrade, or those of the service manager; those
 * named "admin" are for the admin pages, one named "redirect" for --redirect-http. 0 or EXIT_FAULT.
 */
int run_host_take_over(struct run_host_plan *plan);
/* Says why an address cannot be listened on: what listener_bind() returned. Returns the status. */
int run_host_refuse(const struct command *command, int rc, const struct err *err);
/* Binds the addresses. 0, EXIT_USAGE or EXIT_FAULT. */
int run_host_bind(const struct command *command, const struct option_list *addresses,
                  struct run_host_plan *plan);
/* Binds the address of --redirect-http, as the last of all, or takes what was handed over. 0 or
 * an exit status. */
int run_host_redirect(const struct command *command, const struct run_host *r,
                      struct run_host_plan *plan);
/* The first that has a port; NULL: there is none, but unix sockets. */
const struct listener *run_host_first(const struct run_host_plan *plan);
/* Becomes the user of --user, once what takes root is done. 0 or EXIT_FAULT. */
int run_host_drop(const struct run_host *r, const struct run_host_plan *plan);
/* Where it comes to nothing: leaves no file of a socket behind. Returns `rc`. */
int run_host_give_up(const struct run_host_plan *plan, int rc);
/* Checks the configuration once, so that a bad one is told before any process is made, then runs to
 * the end. */
int run_host_go(struct run_host_plan *plan);
