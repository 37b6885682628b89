/* The members of functions.lua but for functions, which have a file of their own. */
#include "config/config_internal.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "config/config_functions.h"
#include "config/config_login.h"
#include "config/config_mcp.h"
#include "config/config_outbound.h"
#include "config/config_protect.h"
#include "config/config_toml.h"

static const char *const top_keys[] = {
    "prefix",      "functions", "auth",     "publish",
    "redirects",   "headers",   "cors",     "limits",
    "compression", "proxies",   "outbound", "journal",
    "redact",      "mcp",       "protect",  "replay_before_reload",
    NULL};

static int must_be_table(struct options_reader *r, const char *key)
{
    return lua_istable(r->L, -1)
               ? 0
               : options_fault(r, key, "must be a table, not a %s", luaL_typename(r->L, -1));
}

/* ---- rules ---- */

/* The text at the top of the stack, or a list of texts, joined as in a header. ptr NULL: it is
 * neither, or there is no memory. */
static struct str take_value(struct options_reader *r)
{
    lua_State *L = r->L;
    struct str all = {NULL, 0};
    if (lua_type(L, -1) == LUA_TSTRING)
        return arena_copy(r->arena, (struct str){lua_tostring(L, -1), lua_rawlen(L, -1)});
    lua_Integer count = lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0;
    for (lua_Integer i = 1; i <= count; i++) {
        bool is_text = lua_rawgeti(L, -1, i) == LUA_TSTRING;
        struct str one = {lua_tostring(L, -1), is_text ? lua_rawlen(L, -1) : 0};
        all = !is_text ? (struct str){NULL, 0}
                       : arena_printf(r->arena, "%.*s%s%.*s", STR_ARG(all), i > 1 ? ", " : "",
                                      STR_ARG(one));
        lua_pop(L, 1);
        if (all.ptr == NULL)
            return all;
    }
    return all;
}

/* name = "value" pairs of the member `key`. */
static int read_pairs(struct options_reader *r, const char *key, struct redirect_pair **out,
                      unsigned *count)
{
    if (!options_get(r, key))
        return 0;
    int rc = must_be_table(r, key);
    if (rc != 0)
        return rc;
    lua_State *L = r->L;
    unsigned n = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        n++;
    struct redirect_pair *pairs = arena_zalloc(r->arena, (n + 1) * sizeof(*pairs));
    if (pairs == NULL)
        return options_no_memory(r);
    *count = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        struct redirect_pair *pair = &pairs[(*count)++];
        pair->value = take_value(r);
        if (lua_type(L, -2) != LUA_TSTRING || pair->value.ptr == NULL)
            return options_fault(r, key, "must be a table of name = \"text\", or a list of texts");
        pair->name = arena_copy(r->arena, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
        if (pair->name.ptr == NULL)
            return options_no_memory(r);
    }
    *out = pairs;
    lua_pop(L, 1);
    return 0;
}

static int read_redirect(struct options_reader *r, void *item)
{
    struct redirect_rule *rule = item;
    static const char *const keys[] = {"from",  "to",         "status",  "force",
                                       "query", "conditions", "headers", NULL};
    unsigned status = 301;
    rule->to = (struct str){"", 0};
    options_check_keys(r, keys);
    options_str(r, "from", &rule->from);
    options_str(r, "to", &rule->to);
    options_count(r, "status", 200, 599, &status);
    rule->status = (int)status;
    options_bool(r, "force", &rule->force);
    read_pairs(r, "query", &rule->query, &rule->query_count);
    read_pairs(r, "conditions", &rule->conditions, &rule->condition_count);
    read_pairs(r, "headers", &rule->headers, &rule->header_count);
    struct err err;
    if (r->rc == 0 && redirect_check(rule, &err) != 0)
        options_fault(r, NULL, "%s", err.text);
    return r->rc;
}

static int read_header_rule(struct options_reader *r, void *item)
{
    struct header_rule *rule = item;
    static const char *const keys[] = {"for", "values", NULL};
    struct redirect_pair *pairs = NULL;
    options_check_keys(r, keys);
    options_str(r, "for", &rule->path);
    read_pairs(r, "values", &pairs, &rule->value_count);
    if (r->rc != 0)
        return r->rc;
    rule->values = arena_zalloc(r->arena, (rule->value_count + 1) * sizeof(*rule->values));
    if (rule->values == NULL)
        return options_no_memory(r);
    for (unsigned i = 0; pairs != NULL && i < rule->value_count; i++)
        rule->values[i] = (struct header){pairs[i].name, pairs[i].value};
    struct err err;
    return header_rule_check(rule, &err) == 0 ? 0 : options_fault(r, NULL, "%s", err.text);
}

/* Reads the list member `key`: items of `size` bytes, one by `read`. */
static int read_list(struct options_reader *r, const char *key, size_t size,
                     int (*read)(struct options_reader *r, void *item), void **out, unsigned *count)
{
    if (!options_get(r, key))
        return 0;
    int rc = must_be_table(r, key);
    if (rc == 0)
        rc = options_check_list(r, key, "{ { ... }, { ... } }");
    if (rc != 0)
        return rc;
    unsigned n = (unsigned)lua_rawlen(r->L, -1);
    char *items = arena_zalloc(r->arena, (n + 1) * size);
    if (items == NULL)
        return options_no_memory(r);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        size_t before = options_enter(r, key, 0);
        options_enter(r, NULL, i + 1);
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        rc = must_be_table(r, NULL);
        if (rc == 0)
            rc = read(r, items + i * size);
        lua_pop(r->L, 1);
        options_leave(r, before);
    }
    *out = items;
    *count = n;
    lua_pop(r->L, 1);
    return rc;
}

static int read_redirects(struct options_reader *r, struct config *config)
{
    return read_list(r, "redirects", sizeof(*config->redirects), read_redirect,
                     (void **)&config->redirects, &config->redirect_count);
}

static int read_headers(struct options_reader *r, struct config *config)
{
    return read_list(r, "headers", sizeof(*config->headers), read_header_rule,
                     (void **)&config->headers, &config->header_count);
}

/* ---- the other members ---- */

static int read_prefix(struct options_reader *r, struct config *config)
{
    config->prefix = STR("/.netlify/functions");
    options_str(r, "prefix", &config->prefix);
    if (r->rc == 0 && (config->prefix.len < 2 || config->prefix.ptr[0] != '/' ||
                       str_ends_with(config->prefix, STR("/"))))
        options_fault(r, "prefix", "must begin with '/' and not end with one");
    return r->rc;
}

/* resource = "https://api.example": compared byte by byte with what tokens say, so it is taken as
 * it stands, but for a slash at its end (RFC 9728 section 1.2: no fragment; ours has no query). */
static int read_resource(struct options_reader *r, struct str *out)
{
    struct str text = {NULL, 0};
    int rc = options_str(r, "resource", &text);
    if (rc != 0 || text.ptr == NULL)
        return rc;
    struct str rest = str_skip(text, str_starts_with(text, STR("https://"))  ? 8
                                     : str_starts_with(text, STR("http://")) ? 7
                                                                             : 0);
    while (str_ends_with(rest, STR("/"))) {
        rest.len--;
        text.len--;
    }
    if (rest.len == text.len || rest.len == 0 || str_find(text, '?') < text.len ||
        str_find(text, '#') < text.len || str_find(text, ' ') < text.len ||
        !policy_is_scope_text(text))
        return options_fault(r, "resource",
                             "must be the address that clients use, as \"https://api.example\"");
    *out = text;
    return 0;
}

/* The name of a header, in small letters. */
static int read_cert_header(struct options_reader *r, struct str *out)
{
    int rc = options_str(r, "client_cert_header", out);
    if (rc != 0 || out->ptr == NULL)
        return rc;
    if (!header_name_is_valid(*out) || str_eq_nocase(*out, STR("authorization")))
        return options_fault(r, "client_cert_header",
                             "'%.*s' is no name of a header, such as \"client-cert\"",
                             STR_ARG(*out));
    *out = arena_copy(r->arena, *out);
    if (out->ptr == NULL)
        return options_no_memory(r);
    str_lower((char *)(uintptr_t)out->ptr, out->len);
    return 0;
}

/* A path that the host takes for itself. */
static int read_own_path(struct options_reader *r, const char *key, struct str *out)
{
    int rc = options_str(r, key, out);
    if (rc != 0 || out->ptr == NULL)
        return rc;
    bool plain = str_starts_with(*out, STR("/")) && out->len > 1;
    for (size_t i = 0; plain && i < out->len; i++)
        plain = strchr("*?#% ", out->ptr[i]) == NULL && !(out->ptr[i] == ':' && i > 0);
    return plain && !str_starts_with(*out, STR("/_luafn/"))
               ? 0
               : options_fault(r, key, "must be a path as \"/hooks/logout\", without parameters");
}

/* revocation = { backchannel_logout = "/path", events = "/path", client_id =, audience = } */
static int read_revocation(struct options_reader *r, struct config_revocation *out)
{
    static const char *const keys[] = {"backchannel_logout", "events", "client_id", "audience",
                                       NULL};
    if (!options_get(r, "revocation"))
        return 0;
    out->set = true;
    must_be_table(r, "revocation");
    size_t before = options_enter(r, "revocation", 0);
    options_check_keys(r, keys);
    read_own_path(r, "backchannel_logout", &out->logout_path);
    read_own_path(r, "events", &out->events_path);
    options_str_list(r, "client_id", &out->clients, &out->client_count);
    options_str_list(r, "audience", &out->audiences, &out->audience_count);
    if (r->rc == 0 && out->events_path.len > 0 && str_eq(out->events_path, out->logout_path))
        options_fault(r, "events", "is the path of logout tokens already");
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

static int read_issuer(struct options_reader *r, struct config *config, struct verifier_spec *out,
                       struct config_revocation *revocation)
{
    static const char *const own[] = {"namespace",  "role_path", "resource", "client_cert_header",
                                      "revocation", "login",     NULL};
    options_check_verifier_keys(r, own);
    read_revocation(r, revocation);
    options_str(r, "namespace", &config->claim_namespace);
    options_read_claim_path(r, "role_path", &config->claim_roles);
    read_resource(r, &config->resource);
    read_cert_header(r, &config->proxies.cert_header);
    return options_read_verifier(r, out);
}

/* Only the first of two would ever be asked. */
static int check_distinct(struct options_reader *r, const struct config *config, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (str_eq(config->issuers[i].verifier.issuer, config->issuers[index].verifier.issuer))
            return options_fault(r, "issuer",
                                 "is that of auth[%zu] already; give all its audiences there, as a "
                                 "list",
                                 i + 1);
    }
    return 0;
}

/* auth = { issuer =, audience = } or a list of those */
static int read_auth(struct options_reader *r, struct config *config)
{
    if (!options_get(r, "auth"))
        return 0;
    int rc = must_be_table(r, "auth");
    if (rc != 0)
        return rc;
    size_t list = (size_t)lua_rawlen(r->L, -1);
    if (list > 0 && options_check_list(r, "auth", "{ { issuer = ... }, { issuer = ... } }") != 0)
        return -EINVAL;
    size_t count = list > 0 ? list : 1;
    config->issuers = arena_zalloc(&config->arena, count * sizeof(*config->issuers));
    config->revocations = arena_zalloc(&config->arena, count * sizeof(*config->revocations));
    if (config->issuers == NULL || config->revocations == NULL)
        return options_no_memory(r);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t before = options_enter(r, "auth", 0);
        if (list > 0) {
            options_enter(r, NULL, (unsigned)i + 1);
            lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
            rc = must_be_table(r, NULL);
        }
        if (rc == 0)
            rc = read_issuer(r, config, &config->issuers[i], &config->revocations[i]);
        if (rc == 0)
            rc = config_read_login(r, config, (unsigned)i);
        if (rc == 0)
            rc = check_distinct(r, config, i);
        config->receives = config->receives || config->revocations[i].logout_path.len > 0 ||
                           config->revocations[i].events_path.len > 0;
        config->issuer_count = (unsigned)i + 1;
        options_leave(r, before);
        if (list > 0)
            lua_pop(r->L, 1);
    }
    if (rc == 0)
        rc = config_complete_login(r, config);
    lua_pop(r->L, 1);
    return rc;
}

static int read_publish(struct options_reader *r, struct config *config)
{
    struct str folder = {NULL, 0};
    int rc = options_str(r, "publish", &folder);
    bool own = folder.ptr != NULL;
    if (!own)
        folder = config_toml_publish(config);
    if (rc != 0 || folder.ptr == NULL)
        return rc;
    char path[PATH_MAX], resolved[PATH_MAX];
    struct str named = config_path(config, folder);
    if (named.ptr == NULL)
        return options_no_memory(r);
    snprintf(path, sizeof(path), "%s/.", named.ptr);
    bool found = origin_resolve(config->origin, path, resolved) == 0;
    if (!found && !own)
        return err_set(r->err, -EINVAL, "netlify.toml: publish: '%.*s' is not a folder here",
                       STR_ARG(folder));
    if (!found)
        return options_fault(r, "publish", "'%.*s' is not a folder here", STR_ARG(folder));
    config->publish = arena_copy(&config->arena, str_from(resolved));
    config->publish_named = named;
    return config->publish.ptr != NULL ? 0 : options_no_memory(r);
}

/* An origin is compared as browsers send it, however it is written. */
static int mend_origins(struct options_reader *r, struct cors *cors)
{
    for (unsigned i = 0; i < cors->origin_count; i++) {
        struct str origin = cors->origins[i];
        int rc = cors_origin(origin, r->arena, &cors->origins[i]);
        if (rc == -EINVAL)
            return options_fault(r, "origins",
                                 "'%.*s' is no origin: write \"https://app.example\", without a "
                                 "path, or \"*\"",
                                 STR_ARG(origin));
        if (rc != 0)
            return options_no_memory(r);
    }
    return 0;
}

static int read_cors(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"origins", "credentials", "max_age", NULL};
    if (!options_get(r, "cors"))
        return 0;
    must_be_table(r, "cors");
    size_t before = options_enter(r, "cors", 0);
    options_check_keys(r, keys);
    options_str_list(r, "origins", &config->cors.origins, &config->cors.origin_count);
    mend_origins(r, &config->cors);
    options_bool(r, "credentials", &config->cors.credentials);
    options_count(r, "max_age", 0, 86400, &config->cors.max_age);
    if (r->rc == 0 && config->cors.credentials && config->cors.origin_count > 0 &&
        str_eq(config->cors.origins[0], STR("*")))
        options_fault(r, "credentials", "cannot be used with the origin \"*\"; name the origins");
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

static int read_networks(struct options_reader *r, struct proxies *proxies)
{
    struct str *from = NULL;
    unsigned count = 0;
    int rc = options_str_list(r, "from", &from, &count);
    if (rc == 0 && count == 0)
        rc =
            options_fault(r, "from", "must name the proxies, as { \"10.0.0.0/8\", \"127.0.0.1\" }");
    if (rc != 0)
        return rc;
    proxies->from = arena_zalloc(r->arena, count * sizeof(*proxies->from));
    if (proxies->from == NULL)
        return options_no_memory(r);
    for (unsigned i = 0; i < count; i++) {
        if (str_eq(from[i], FORWARDED_UNIX)) {
            proxies->from_unix = true;
            continue;
        }
        if (!forwarded_parse_network(from[i], &proxies->from[proxies->from_count++]))
            return options_fault(r, "from",
                                 "'%.*s' is no address and no network, as \"10.0.0.0/8\" (with no "
                                 "bits behind those that count)",
                                 STR_ARG(from[i]));
    }
    return 0;
}

/* proxies = { from = { "10.0.0.0/8" }, header = "x-forwarded-for" | "forwarded", trust_host =,
 * client_cert_header = "client-cert" } */
static int read_proxies(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"from", "header", "trust_host", "client_cert_header", NULL};
    struct str header = STR("x-forwarded-for");
    if (!options_get(r, "proxies"))
        return 0;
    int rc = must_be_table(r, "proxies");
    size_t before = options_enter(r, "proxies", 0);
    if (rc == 0)
        rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = read_networks(r, &config->proxies);
    if (rc == 0)
        rc = options_str(r, "header", &header);
    bool by_x = str_eq_nocase(header, STR("x-forwarded-for"));
    if (rc == 0 && !by_x && !str_eq_nocase(header, STR("forwarded")))
        rc = options_fault(r, "header", "must be \"x-forwarded-for\" or \"forwarded\"");
    config->proxies.header = by_x ? FORWARDED_BY_X : FORWARDED_BY_RFC7239;
    if (rc == 0)
        rc = options_bool(r, "trust_host", &config->proxies.trust_host);
    if (rc == 0)
        rc = read_cert_header(r, &config->proxies.cert_header);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return rc;
}

static int read_limits(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {
        "body",         "header",       "connections",  "connections_per_address",
        "head_timeout", "body_timeout", "idle_timeout", "write_timeout",
        "h2c",          "token_cache",  "memory",       NULL};
    struct server_limits *limits = &config->limits;
    server_limits_init(limits);
    config->token_cache = LIMIT_TOKEN_CACHE_BYTES;
    config->body_limit = LIMIT_BODY_BYTES;
    if (!options_get(r, "limits"))
        return 0;
    must_be_table(r, "limits");
    size_t before = options_enter(r, "limits", 0);
    options_check_keys(r, keys);
    options_size(r, "body", 0, LIMIT_FN_BODY, &config->body_limit);
    options_size(r, "header", 1024, 1 << 20, &limits->header_bytes);
    options_size(r, "memory", 1 << 20, (size_t)1 << 40, &limits->memory);
    options_count(r, "connections", 1, 1000000, &limits->connections);
    options_count(r, "connections_per_address", 1, 1000000, &limits->connections_per_address);
    options_size(r, "token_cache", 0, (size_t)4 << 30, &config->token_cache);
    options_bool(r, "h2c", &limits->h2c);
    options_seconds(r, "head_timeout", 0.05, 3600, &limits->head_timeout);
    options_seconds(r, "body_timeout", 0.05, 3600, &limits->body_timeout);
    options_seconds(r, "idle_timeout", 0.05, 86400, &limits->idle_timeout);
    options_seconds(r, "write_timeout", 0.05, 3600, &limits->write_timeout);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return r->rc;
}

/* A share: 0 to 1. */
static int read_share(struct options_reader *r, const char *key, double *out)
{
    if (!options_get(r, key))
        return r->rc;
    lua_Number share = lua_type(r->L, -1) == LUA_TNUMBER ? lua_tonumber(r->L, -1) : -1;
    lua_pop(r->L, 1);
    if (!(share >= 0 && share <= 1))
        return options_fault(r, key, "must be a number from 0 to 1: 0.01 is one request in 100");
    *out = share;
    return 0;
}

/* journal = { errors = true, sample = 0.01, keep = "64MB" }, redact = { "password" } */
static int read_journal(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"errors", "sample", "keep", NULL};
    struct journal_rules *rules = &config->journal;
    size_t keep = LIMIT_JOURNAL_KEEP;
    *rules = (struct journal_rules){.on = config->dev, .all = config->dev};
    options_str_list(r, "redact", &config->redact, &config->redact_count);
    if (config->redact_count > LIMIT_REDACT_NAMES)
        options_fault(r, "redact", "has %d names at most", LIMIT_REDACT_NAMES);
    if (r->rc == 0 && options_get(r, "journal")) {
        must_be_table(r, "journal");
        size_t before = options_enter(r, "journal", 0);
        options_check_keys(r, keys);
        options_bool(r, "errors", &rules->errors);
        read_share(r, "sample", &rules->sample);
        options_size(r, "keep", LIMIT_JOURNAL_KEEP_MIN, (size_t)1 << 40, &keep);
        rules->on = config->dev || rules->errors || rules->sample > 0;
        options_leave(r, before);
        lua_pop(r->L, 1);
    }
    rules->keep = config->dev ? LIMIT_JOURNAL_DEV_BYTES : keep;
    return r->rc;
}

/* replay_before_reload = 50 */
static int read_trials(struct options_reader *r, struct config *config)
{
    options_count(r, "replay_before_reload", 0, LIMIT_TRIAL_REQUESTS,
                  &config->replay_before_reload);
    if (r->rc == 0 && config->replay_before_reload > 0 && !config->dev &&
        config->journal.sample == 0)
        options_fault(r, "replay_before_reload",
                      "needs requests that went well in the journal: write "
                      "journal = { errors = true, sample = 0.01 }");
    return r->rc;
}

/* ---- the whole ---- */

static int read_compression(struct options_reader *r, struct config *config)
{
    config->compression = true;
    return options_bool(r, "compression", &config->compression);
}

static int read_keys(struct options_reader *r, struct config *config)
{
    (void)config;
    return options_check_keys(r, top_keys);
}

/* Goes on after a fault: a person wants to see all of them. */
int config_read_top(struct options_reader *r, struct config *config)
{
    static int (*const readers[])(struct options_reader *, struct config *) = {
        read_keys,
        read_prefix,
        read_auth,
        read_limits, /* before the functions, which have its `body` where they name none */
        config_read_functions,
        config_toml_options,
        read_publish,
        read_redirects,
        read_headers,
        config_read_protect,
        read_cors,
        read_compression,
        read_proxies,
        config_read_outbound,
        read_journal,
        read_trials, /* by what the journal keeps */
        config_read_mcp,
    };
    int top = lua_gettop(r->L);
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++) {
        int rc = options_keep(r, readers[i](r, config));
        if (rc != 0)
            return rc;
        lua_settop(r->L, top);
        options_leave(r, 0);
    }
    return options_kept(r);
}
