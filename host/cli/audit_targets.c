/* What `luafn audit` attacks: which routes, whose tokens, which keys. */
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/audit_internal.h"
#include "cli/cli.h"
#include "cli/load.h"
#include "cli/dev_place.h"
#include "issuer/issuer_store.h"
#include "json/strict.h"

/* ---- routes ---- */

static struct target *add_target(struct audit *a, struct str method, struct str path, bool asks)
{
    if (path.ptr == NULL || a->target_count == AUDIT_ROUTES)
        return NULL;
    struct target *target = &a->targets[a->target_count++];
    *target = (struct target){.method = method, .path = path, .asks = asks};
    return target;
}

/* ---- webhooks ---- */

/* One more request without a body, signed `ahead` seconds from now as if it had that body. */
static void add_forged(struct audit *a, struct target *target, const struct webhook *webhook,
                       const char *name, struct str body, double ahead)
{
    size_t scheme = str_find_text(a->origin, STR("://"));
    struct request req = {.target = target->path, .path = target->path, .body = body};
    req.scheme = (struct str){a->origin.ptr, scheme};
    req.host = scheme < a->origin.len ? str_skip(a->origin, scheme + 3) : STR("");
    if (body.len > 0 && headers_add(&req.headers, &a->arena, STR("content-type"),
                                    STR("application/x-www-form-urlencoded")) != 0)
        return;
    if (webhook_sign(webhook, &req, &a->arena, clock_now() + ahead, STR("audit")) == 0)
        target->forged[target->forged_count++] = (struct forged){name, req.headers};
}

/* The header's names belong to a configuration that is let go of before they are sent. */
static void keep_names(struct audit *a, struct target *target)
{
    for (unsigned i = 0; i < target->forged_count; i++) {
        struct headers *headers = &target->forged[i].headers;
        for (uint32_t h = 0; h < headers->len; h++)
            headers->items[h].name = arena_copy(&a->arena, headers->items[h].name);
    }
}

static void forge(struct audit *a, struct target *target, const struct webhook *webhook)
{
    struct webhook_secret other = {.key = STR("a secret that nobody has agreed on")};
    struct webhook others = *webhook;
    bool is_timed = webhook->kind == WEBHOOK_STRIPE || webhook->names[0].timestamp.len > 0;
    others.secrets = &other;
    target->forged[target->forged_count++] = (struct forged){.name = "no signature"};
    add_forged(a, target, &others, "another secret", STR(""), 0);
    add_forged(a, target, webhook, "signature of another body", STR("a=1"), 0);
    if (is_timed) {
        add_forged(a, target, webhook, "signed too long ago", STR(""), -webhook->tolerance - 60);
        add_forged(a, target, webhook, "signed in the future", STR(""), webhook->tolerance + 60);
    }
    keep_names(a, target);
}

/* A path that the pattern matches: parameters become 1, what may be missing is. */
static struct str example_path(struct audit *a, struct str pattern)
{
    struct str rest = str_skip(pattern, 1), part, path = STR("");
    while (str_split_next(&rest, '/', &part)) {
        if (part.len > 0 && (part.ptr[part.len - 1] == '?' || part.ptr[0] == '*'))
            break;
        bool parameter = part.len > 0 && part.ptr[0] == ':';
        path = arena_printf(&a->arena, "%.*s/%.*s", STR_ARG(path),
                            STR_ARG(parameter ? STR("1") : part));
    }
    return path.len > 0 ? path : STR("/");
}

static struct str example_method(unsigned methods)
{
    static const struct {
        enum http_method method;
        struct str name;
    } order[] = {{METHOD_GET, {"GET", 3}},
                 {METHOD_POST, {"POST", 4}},
                 {METHOD_PUT, {"PUT", 3}},
                 {METHOD_PATCH, {"PATCH", 5}},
                 {METHOD_DELETE, {"DELETE", 6}}};
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
        if ((methods & METHOD_BIT(order[i].method)) != 0)
            return order[i].name;
    }
    return order[0].name;
}

static void add_path(struct audit *a, const struct function_spec *spec, struct str path)
{
    bool asks = spec->policy.kind == POLICY_TOKEN || spec->policy.kind == POLICY_WEBHOOK;
    struct target *target = add_target(a, example_method(spec->methods), path, asks);
    if (target != NULL && spec->policy.kind == POLICY_WEBHOOK)
        forge(a, target, spec->policy.webhook);
}

/* Called without arguments, which may not suit it: that is told in an answer, too. */
static void add_tool(struct audit *a, const struct config *config, const struct function_spec *spec)
{
    struct target *target = add_target(a, STR("POST"), arena_copy(&a->arena, config->mcp.path),
                                       spec->policy.kind == POLICY_TOKEN);
    if (target != NULL)
        target->body = arena_printf(&a->arena,
                                    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\","
                                    "\"params\":{\"name\":\"%.*s\"}}",
                                    STR_ARG(spec->name));
}

static void add_function(struct audit *a, const struct deployment *deployment,
                         const struct function_spec *spec)
{
    if (spec->policy.kind == POLICY_PUBLIC || spec->is_dev)
        return;
    if (spec->tool != NULL)
        add_tool(a, deployment->config, spec);
    if (spec->path_count == 0 && spec->tool == NULL)
        add_path(a, spec,
                 arena_printf(&a->arena, "%.*s/%.*s", STR_ARG(deployment->config->prefix),
                              STR_ARG(spec->name)));
    for (unsigned i = 0; i < spec->path_count; i++)
        add_path(a, spec, example_path(a, spec->paths[i]));
}

/* What is behind it may be anything, or nothing: only refusals are looked for. */
static void add_protect(struct audit *a, const struct config_protect *rule)
{
    struct target *target = rule->policy.kind == POLICY_TOKEN
                                ? add_target(a, STR("GET"), example_path(a, rule->path), true)
                                : NULL;
    if (target != NULL)
        target->is_site = true;
}

/* The first issuer of the configuration: whom tokens must come from, and its keys where the host
 * has kept them. */
static void use_issuer(struct audit *a, const struct config *config)
{
    const struct verifier_spec *spec = &config->issuers[0];
    if (a->issuer.ptr == NULL)
        a->issuer = arena_copy(&a->arena, spec->verifier.issuer);
    if (a->audience.ptr == NULL && spec->verifier.audience_count > 0)
        a->audience = arena_copy(&a->arena, spec->verifier.audiences[0]);
    char folder[4096];
    struct stat st;
    struct issuer_store store;
    struct buf text = BUF_INIT;
    double fetched_at;
    if (cli_state_path(a->config_file, "keys", folder, sizeof(folder)) != 0 ||
        stat(folder, &st) != 0 ||
        issuer_store_init(&store, folder, spec->verifier.issuer, spec->jwks_uri) != 0)
        return;
    if (issuer_store_load(&store, &text, &fetched_at) == 0 &&
        keyset_parse(buf_str(&text), &a->keys, NULL) != 0)
        a->keys = NULL;
    issuer_store_free(&store);
    buf_free(&text);
}

static int read_config(struct audit *a)
{
    const struct load_options options = {.config_file = a->config_file,
                                         .defaults = dev_place_defaults(a->config_file)};
    unsigned faults;
    struct deployment *deployment = load_deployment(&options, &faults);
    if (deployment == NULL)
        return EXIT_FAULT;
    for (unsigned i = 0; i < deployment->function_count; i++)
        add_function(a, deployment, deployment->functions[i]->spec);
    for (unsigned i = 0; i < deployment->config->protect_count; i++)
        add_protect(a, &deployment->config->protect[i]);
    if (deployment->config->issuer_count > 0)
        use_issuer(a, deployment->config);
    load_undo(deployment);
    return 0;
}

/* ---- the URL ---- */

/* Takes the URL apart; its path is the route, when it has one. */
static int read_url(struct audit *a, const char *url, bool *has_path)
{
    struct client_url parts;
    struct err err;
    if (client_parse_url(str_from(url), &parts, &err) != 0)
        return cli_usage(a->command, "'%s': %s", url, err.text);
    const char *start = strstr(url, "://");
    size_t scheme = start != NULL ? (size_t)(start - url) + 3 : 0;
    size_t len = scheme + strcspn(url + scheme, "/?#");
    a->origin = arena_copy(&a->arena, (struct str){url, len});
    a->host = arena_copy(&a->arena, str_from(parts.host));
    a->probe.rules = (struct client_rules){.hosts = &a->host, .host_count = 1};
    struct str path = {url + len, strcspn(url + len, "?#")};
    *has_path = path.len > 1;
    if (*has_path)
        add_target(a, STR("GET"), arena_copy(&a->arena, path), true);
    return a->origin.ptr != NULL && a->host.ptr != NULL ? 0 : cli_fault("out of memory");
}

int audit_find_targets(struct audit *a, const char *url)
{
    struct stat st;
    bool has_path = false;
    int rc = read_url(a, url, &has_path);
    bool given = a->config_file != NULL;
    if (!given)
        a->config_file = "functions.lua";
    if (rc == 0 && (given || (!has_path && stat(a->config_file, &st) == 0))) {
        a->target_count = 0;
        rc = read_config(a);
    } else if (rc == 0 && !has_path) {
        add_target(a, STR("GET"), STR("/"), true);
    }
    return rc;
}

/* ---- keys ---- */

static bool fetch(struct audit *a, struct str url)
{
    if (url.ptr != NULL)
        probe_send(&a->probe, STR("GET"), url, NULL, 0, &a->answer);
    return url.ptr != NULL && a->answer.status == 200;
}

/* The host may be an issuer itself, as `dev` is. Its key set is looked for on this host alone,
 * whatever name the document gives it. */
static void ask_discovery(struct audit *a)
{
    struct str uri = arena_printf(&a->arena, "%.*s/.well-known/jwks.json", STR_ARG(a->origin));
    if (!fetch(a, arena_printf(&a->arena, "%.*s/.well-known/openid-configuration",
                               STR_ARG(a->origin))))
        return;
    json_t *document = strict_json_watched(buf_str(&a->answer.body), 0, NULL);
    const char *issuer = json_string_value(json_object_get(document, "issuer"));
    const char *found = json_string_value(json_object_get(document, "jwks_uri"));
    if (issuer != NULL && a->issuer.ptr == NULL)
        a->issuer = arena_copy(&a->arena, str_from(issuer));
    if (found != NULL && str_starts_with(str_from(found), a->origin))
        uri = arena_copy(&a->arena, str_from(found));
    json_decref(document);
    if (fetch(a, uri) && keyset_parse(buf_str(&a->answer.body), &a->keys, NULL) != 0)
        a->keys = NULL;
}

int audit_find_keys(struct audit *a)
{
    if (a->key_set_url == NULL) {
        if (a->keys == NULL)
            ask_discovery(a);
        return 0;
    }
    struct client_url parts;
    struct err err;
    if (client_parse_url(str_from(a->key_set_url), &parts, &err) != 0)
        return cli_usage(a->command, "--jwks '%s': %s", a->key_set_url, err.text);
    struct str host = str_from(parts.host);
    a->probe.rules.hosts = &host;
    bool got = fetch(a, str_from(a->key_set_url));
    a->probe.rules.hosts = &a->host;
    keyset_unref(a->keys);
    a->keys = NULL;
    if (!got)
        return a->answer.status > 0
                   ? cli_fault("%s: no key set: status %ld", a->key_set_url, a->answer.status)
                   : cli_fault("%s: no key set: %s", a->key_set_url, a->answer.error);
    return keyset_parse(buf_str(&a->answer.body), &a->keys, &err) == 0
               ? 0
               : cli_fault("%s: %s", a->key_set_url, err.text);
}
