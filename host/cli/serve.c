/* luafn serve: production. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/run_host.h"

static int default_address(struct option_list *listen, char *text, size_t size)
{
    const char *port = getenv("PORT");
    snprintf(text, size, "%s", "127.0.0.1:8888");
    if (port != NULL && port[0] != '\0')
        snprintf(text, size, "0.0.0.0:%s", port);
    listen->items[0] = text;
    listen->count = 1;
    return 0;
}

/* The port after the one that was asked for, so that it is the same after a restart; any other
 * where that is taken, or where any would do. */
static int bind_default_admin(bool any, struct run_host_plan *plan, struct err *err)
{
    char address[32];
    const struct listener *first = run_host_first(plan);
    const char *colon = first != NULL ? strrchr(first->url, ':') : NULL;
    uint64_t port = 0;
    bool known = !any && colon != NULL && str_to_u64(str_from(colon + 1), 65534, &port) == 0;
    snprintf(address, sizeof(address), "127.0.0.1:%u", (unsigned)port + 1);
    if (known && listener_bind("--admin", address, "http", &plan->admin, err) == 0)
        return 0;
    return listener_bind("--admin", "127.0.0.1:0", "http", &plan->admin, err);
}

/* /_luafn/ has a listener of its own: what it tells is for those who operate the host. */
static int open_admin(const struct run_host *r, struct run_host_plan *plan)
{
    struct err err;
    bool any = r->listen.count > 0 && str_ends_with(str_from(r->listen.items[0]), STR(":0"));
    int rc = 0;
    if (plan->supervisor.worker.admin_fd < 0)
        rc = r->admin != NULL ? listener_bind("--admin", r->admin, "http", &plan->admin, &err)
                              : bind_default_admin(any, plan, &err);
    if (rc != 0)
        return run_host_refuse(&command_serve, rc, &err);
    plan->supervisor.worker.admin_fd = plan->admin.fd;
    return 0;
}

static void announce(const struct run_host_plan *plan)
{
    fprintf(stderr, "admin pages on %s/_luafn/\n", plan->admin.url);
}

static int run(int argc, char **argv)
{
    static struct run_host_plan plan;
    struct run_host r = {.config_file = "functions.lua"};
    const struct option options[] = {RUN_HOST_OPTIONS(r),
                                     {"--workers", OPTION_TEXT, &r.workers},
                                     {"--drain", OPTION_TEXT, &r.drain},
                                     {"--admin", OPTION_TEXT, &r.admin},
                                     {"--redirect-http", OPTION_TEXT, &r.redirect_http},
                                     {"--proxy-protocol", OPTION_FLAG, &r.proxy_protocol},
                                     {"--watch", OPTION_FLAG, &r.watch},
                                     {"--user", OPTION_TEXT, &r.user},
                                     {"--sandbox", OPTION_FLAG, &r.sandbox},
                                     {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_serve, argc, argv, options, NULL, 0, NULL);
    if (rc == 0)
        rc = run_host_read(&command_serve, &r, false, &plan);
    char address[64];
    if (rc == 0)
        rc = run_host_take_over(&plan);
    if (rc == 0 && r.listen.count == 0)
        rc = default_address(&r.listen, address, sizeof(address));
    if (rc == 0 && plan.listener_count == 0)
        rc = run_host_bind(&command_serve, &r.listen, &plan);
    if (rc == 0)
        rc = open_admin(&r, &plan);
    if (rc == 0)
        rc = run_host_redirect(&command_serve, &r, &plan);
    if (rc == 0)
        rc = run_host_drop(&r, &plan);
    plan.announce = announce;
    plan.supervisor.argv = argv - 1; /* of the program: this command's begins behind its name */
    return rc == 0 ? run_host_go(&plan) : run_host_give_up(&plan, rc);
}

const struct command command_serve = {"serve", run};
