/* luafn dev: one worker, hot reload, the dev issuer and the demo page on the same origin. Loopback
 * only. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uv.h>

#include "base/embedded.h"
#include "cli/debug_socket.h"
#include "cli/dev_key.h"
#include "cli/dev_place.h"
#include "cli/dev_token.h"
#include "base/file.h"
#include "cli/run_host.h"
#include "lua/script.h"

static const char *const own_functions[] = {
    "luafn-dev-issuer", SCRIPT_EMBEDDED "scripts/dev/issuer.lua", "luafn-dev-tv",
    SCRIPT_EMBEDDED "scripts/dev/tv.lua", "luafn-dev-dashboard",
    SCRIPT_EMBEDDED "scripts/dev/dashboard.lua", "luafn-dev-greeting",
    SCRIPT_EMBEDDED "scripts/dev/greeting.lua",
    /* tools: */
    "luafn-dev-explain", SCRIPT_EMBEDDED "scripts/dev/tool-explain.lua", "luafn-dev-faults",
    SCRIPT_EMBEDDED "scripts/dev/tool-faults.lua", "luafn-dev-generations",
    SCRIPT_EMBEDDED "scripts/dev/tool-generations.lua", "luafn-dev-invoke",
    SCRIPT_EMBEDDED "scripts/dev/tool-invoke.lua", "luafn-dev-request",
    SCRIPT_EMBEDDED "scripts/dev/tool-request.lua", "luafn-dev-requests",
    SCRIPT_EMBEDDED "scripts/dev/tool-requests.lua", "luafn-dev-routes",
    SCRIPT_EMBEDDED "scripts/dev/tool-routes.lua", "luafn-dev-test",
    SCRIPT_EMBEDDED "scripts/dev/tool-test.lua", "luafn-dev-token",
    SCRIPT_EMBEDDED "scripts/dev/tool-token.lua", NULL};

/* ---- the environment that `dev` provides ---- */

struct dev_values {
    char origin[160], issuer[192], tv[208];
    struct buf key, next_key;
    const char *list[24];
};

/* Takes the key over. */
static int set_pem(struct key *key, struct buf *pem)
{
    int rc = key_to_pem(key, pem);
    key_unref(key);
    buf_add_char(pem, '\0');
    return rc == 0 && !buf_failed(pem) ? 0 : cli_fault("the dev issuer's key cannot be made");
}

static int set_keys(struct dev_values *v, const char *config_file)
{
    struct err err;
    struct key *key = NULL, *next = NULL;
    if (dev_key_get(config_file, ALG_RS256, &key, &err) != 0)
        return cli_fault("the dev issuer's key cannot be made: %s", err.text);
    if (dev_key_get_next(config_file, &next, &err) != 0) {
        key_unref(key);
        return cli_fault("the dev issuer's next key cannot be made: %s", err.text);
    }
    int rc = set_pem(key, &v->key);
    int next_rc = set_pem(next, &v->next_key);
    return rc != 0 ? rc : next_rc;
}

static int set_values(struct dev_values *v, const char *origin, const char *config_file)
{
    snprintf(v->origin, sizeof(v->origin), "%s", origin);
    snprintf(v->issuer, sizeof(v->issuer), "%s/", origin);
    snprintf(v->tv, sizeof(v->tv), "%s/_luafn/dev/tv/shows", origin);
    int rc = set_keys(v, config_file);
    if (rc != 0)
        return rc;
    const char *const list[] = {"JWT_ISSUER",
                                v->issuer,
                                "JWT_AUDIENCE",
                                DEV_AUDIENCE,
                                "TV_API_URL",
                                v->tv,
                                "LUAFN_DEV_ISSUER",
                                v->issuer,
                                "LUAFN_DEV_KEY",
                                v->key.data,
                                "LUAFN_DEV_KEY_NEXT",
                                v->next_key.data,
                                "URL",
                                v->origin,
                                "DEPLOY_URL",
                                v->origin,
                                NULL};
    memcpy(v->list, list, sizeof(list));
    return 0;
}

/* ---- dev/auth.lua: who may sign in, for what ---- */

static const char AUTH_FILE[] = "dev/auth.lua";

/* Writes it beside functions.lua where there is none. The issuer knows the same without it. */
static void make_auth_file(const char *config_file)
{
    char folder[4096], path[4096];
    const struct embedded_file *file = embedded_find("scripts/dev/auth.lua");
    if (file == NULL || cli_beside(config_file, "dev", folder, sizeof(folder)) != 0 ||
        cli_beside(config_file, AUTH_FILE, path, sizeof(path)) != 0)
        return;
    if ((mkdir(folder, 0777) != 0 && errno != EEXIST) || file_exists(path))
        return;
    if (file_create(path, (struct str){file->data, file->len}, 0666) == 0)
        fprintf(stderr, "wrote %s: users, roles and applications of the dev issuer\n", path);
}

/* "http://localhost:8888": where the page is, by the name that browsers like best. */
static void name_origin(const struct run_host_plan *plan, char *out, size_t size)
{
    snprintf(out, size, "%s://localhost%s", run_host_scheme(plan),
             strrchr(run_host_first(plan)->url, ':'));
}

/* Both loopbacks, since "localhost" may mean either; the second only where it can be had. To people
 * they are one. */
static int bind_default(struct run_host_plan *plan)
{
    const struct option_list first = {{"127.0.0.1:8888"}, 1};
    int rc = run_host_bind(&command_dev, &first, plan);
    if (rc == 0 && listener_bind("--listen", "[::1]:8888", run_host_scheme(plan),
                                 &plan->listeners[1], NULL) == 0)
        plan->listener_count = 2;
    for (unsigned i = 0; rc == 0 && i < plan->listener_count; i++)
        name_origin(plan, plan->listeners[i].url, sizeof(plan->listeners[i].url));
    return rc;
}

static struct debug_socket debug; /* for the life of the process */

static void announce(const struct run_host_plan *plan)
{
    make_auth_file(plan->supervisor.worker.app.config_file);
    debug_socket_tell(&debug);
}

/* Where this program is; NULL where that cannot be said. */
static const char *find_program(void)
{
    static char path[4096];
    size_t size = sizeof(path);
    return uv_exepath(path, &size) == 0 ? path : NULL;
}

static int run(int argc, char **argv)
{
    static struct run_host_plan plan;
    static struct dev_values values;
    static struct dev_token tools_token;
    struct run_host r = {.config_file = "functions.lua"};
    const struct option options[] = {
        RUN_HOST_OPTIONS(r), {"--debug", OPTION_ADDRESS, &debug.wanted}, {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_dev, argc, argv, options, NULL, 0, NULL);
    if (rc == 0)
        rc = run_host_read(&command_dev, &r, true, &plan);
    for (unsigned i = 0; rc == 0 && i < r.listen.count; i++) {
        if (!debug_socket_is_loopback(r.listen.items[i]))
            rc = cli_usage(
                &command_dev,
                "'%s' is not a loopback address, and the dev issuer is for this machine only",
                r.listen.items[i]);
    }
    if (rc == 0)
        rc = r.listen.count > 0 ? run_host_bind(&command_dev, &r.listen, &plan)
                                : bind_default(&plan);
    const struct listener *first = run_host_first(&plan);
    if (rc == 0 && first == NULL)
        rc = cli_usage(&command_dev, "the dev issuer needs an address that browsers can open, too: "
                                     "add --listen 127.0.0.1:8888");
    if (rc == 0)
        rc = debug_socket_open(&command_dev, r.config_file, &debug);
    if (rc != 0)
        return run_host_give_up(&plan, rc);
    bool by_name =
        r.listen.count == 0 || strncmp(r.listen.items[first - plan.listeners], "localhost", 9) == 0;
    char origin[160];
    name_origin(&plan, origin, sizeof(origin));
    rc = set_values(&values, by_name ? origin : first->url, r.config_file);
    if (rc != 0)
        return run_host_give_up(&plan, rc);
    dev_place_keep(r.config_file, values.issuer);
    plan.supervisor.worker.app.defaults = values.list;
    plan.supervisor.worker.app.own_functions = own_functions;
    plan.supervisor.worker.app.own_token =
        dev_token_get(r.config_file, "dev-mcp-token", &tools_token);
    plan.supervisor.worker.app.debug_token = debug.token;
    plan.supervisor.worker.app.debug_fd = debug.fd;
    plan.supervisor.worker.app.program = find_program();
    plan.announce = announce;
    rc = run_host_go(&plan);
    buf_free(&values.key);
    buf_free(&values.next_key);
    return rc;
}

const struct command command_dev = {"dev", run};
