/* luafn dev: one worker, hot reload, the dev issuer and the demo page on the same origin. Loopback
 * only. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "cli/dev_key.h"
#include "cli/run_host.h"
#include "run/script.h"

static const char *const own_functions[] = {
    "luafn-dev-issuer", SCRIPT_EMBEDDED "scripts/dev/issuer.lua", "luafn-dev-tv",
    SCRIPT_EMBEDDED "scripts/dev/tv.lua", NULL};

/* "127.0.0.1:80", "[::1]:80", "localhost:80", "80". */
static bool is_loopback(const char *address)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL)
        return true;
    char host[128];
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    struct in_addr v4;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return strcmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0;
}

/* ---- the environment that `dev` provides ---- */

struct dev_values {
    char issuer[192], tv[192];
    struct buf key;
    const char *list[16];
};

static int set_values(struct dev_values *v, const char *origin, const char *config_file)
{
    struct err err;
    struct key *key = NULL;
    snprintf(v->issuer, sizeof(v->issuer), "%s/", origin);
    snprintf(v->tv, sizeof(v->tv), "%s/dev/tv/shows", origin);
    if (dev_key_get(config_file, ALG_RS256, &key, &err) != 0)
        return cli_fault("the dev issuer's key cannot be made: %s", err.text);
    int rc = key_to_pem(key, &v->key);
    key_unref(key);
    buf_add_char(&v->key, '\0');
    if (rc != 0 || buf_failed(&v->key))
        return cli_fault("the dev issuer's key cannot be made: out of memory");
    const char *const list[] = {
        "JWT_ISSUER", v->issuer,          "JWT_AUDIENCE", "https://api/tv-shows", "TV_API_URL",
        v->tv,        "LUAFN_DEV_ISSUER", v->issuer,      "LUAFN_DEV_KEY",        v->key.data,
        NULL};
    memcpy(v->list, list, sizeof(list));
    return 0;
}

/* Both loopbacks, since "localhost" may mean either; the second only where it can be had. */
static int bind_default(struct run_host_plan *plan)
{
    const struct option_list first = {{"127.0.0.1:8888"}, 1};
    int rc = run_host_bind(&command_dev, &first, plan);
    if (rc == 0 &&
        supervisor_bind("[::1]:8888", run_host_scheme(plan), &plan->listeners[1], NULL) == 0)
        plan->listener_count = 2;
    return rc;
}

static int run(int argc, char **argv)
{
    static struct run_host_plan plan;
    static struct dev_values values;
    struct run_host r = {.config_file = "functions.lua"};
    const struct option options[] = {RUN_HOST_OPTIONS(r), {NULL, OPTION_FLAG, NULL}};
    int rc = cli_parse(&command_dev, argc, argv, options, NULL, 0, NULL);
    if (rc == 0)
        rc = run_host_read(&command_dev, &r, true, &plan);
    for (unsigned i = 0; rc == 0 && i < r.listen.count; i++) {
        if (!is_loopback(r.listen.items[i]))
            rc = cli_usage(
                &command_dev,
                "'%s' is not a loopback address, and the dev issuer is for this machine only",
                r.listen.items[i]);
    }
    if (rc == 0)
        rc = r.listen.count > 0 ? run_host_bind(&command_dev, &r.listen, &plan)
                                : bind_default(&plan);
    const char *port = rc == 0 ? strrchr(plan.listeners[0].url, ':') : "";
    bool by_name = r.listen.count == 0 || strncmp(r.listen.items[0], "localhost", 9) == 0;
    char origin[160];
    snprintf(origin, sizeof(origin), "%s://localhost%s", run_host_scheme(&plan), port);
    if (rc == 0)
        rc = set_values(&values, by_name ? origin : plan.listeners[0].url, r.config_file);
    if (rc != 0)
        return rc;
    plan.supervisor.worker.app.defaults = values.list;
    plan.supervisor.worker.app.own_functions = own_functions;
    if (r.listen.count == 0)
        fprintf(stderr, "open %s/ in a browser\n", origin);
    rc = run_host_go(&plan);
    buf_free(&values.key);
    return rc;
}

const struct command command_dev = {
    .name = "dev",
    .arguments =
        "[--listen HOST:PORT]... [--config FILE] [--log json|text|none] [--tls-cert FILE --tls-key FILE]",
    .summary =
        "Serves on this machine while you write: reload on save, readable errors, an issuer to sign in at, a demo page.",
    .help =
        "\n"
        "  --listen HOST:PORT  a loopback address; default localhost:8888\n"
        "  --config FILE       default functions.lua\n"
        "  --log FORMAT        access log: text on a terminal, else json; none for silence\n"
        "  --tls-cert FILE --tls-key FILE  speak HTTPS with this certificate (PEM); a token check asks the dev issuer\n"
        "                      over HTTPS too, so the system must trust the certificate\n"
        "\n"
        "The issuer knows the client id `luafn-demo`. Its key is made at the first start and kept in .luafn/. Where .env does not\n"
        "say otherwise, JWT_ISSUER, JWT_AUDIENCE and TV_API_URL mean the issuer and the TV API of `dev` itself.\n"
        "\nExample:\n  luafn dev --listen 127.0.0.1:3000\n",
    .run = run,
};
