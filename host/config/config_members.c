/* The members of functions.lua but for functions and rules, which have files of their own. */
#include "config/config_internal.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "config/config_functions.h"
#include "config/config_toml.h"

static const char *const top_keys[] = {"prefix",  "functions", "auth",   "publish",     "redirects",
                                       "headers", "cors",      "limits", "compression", NULL};

int config_out_of_memory(struct options_reader *r)
{
    return err_set(r->err, -ENOMEM, "out of memory");
}

int config_must_be_table(struct options_reader *r, const char *key)
{
    return lua_istable(r->L, -1)
               ? 0
               : options_fault(r, key, "must be a table, not a %s", luaL_typename(r->L, -1));
}

static int read_prefix(struct options_reader *r, struct config *config)
{
    config->prefix = STR("/.netlify/functions");
    int rc = options_str(r, "prefix", &config->prefix);
    if (rc == 0 && (config->prefix.len < 2 || config->prefix.ptr[0] != '/' ||
                    str_ends_with(config->prefix, STR("/"))))
        rc = options_fault(r, "prefix", "must begin with '/' and not end with one");
    return rc;
}

static int read_issuer(struct options_reader *r, struct config *config, struct verifier_spec *out)
{
    static const char *const own[] = {"namespace", NULL};
    int rc = options_check_verifier_keys(r, own);
    if (rc == 0)
        rc = options_str(r, "namespace", &config->claim_namespace);
    return rc == 0 ? options_read_verifier(r, out) : rc;
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
    int rc = config_must_be_table(r, "auth");
    if (rc != 0)
        return rc;
    size_t list = (size_t)lua_rawlen(r->L, -1);
    if (list > 0 && options_check_list(r, "auth", "{ { issuer = ... }, { issuer = ... } }") != 0)
        return -EINVAL;
    size_t count = list > 0 ? list : 1;
    config->issuers = arena_zalloc(&config->arena, count * sizeof(*config->issuers));
    if (config->issuers == NULL)
        return config_out_of_memory(r);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t before = options_enter(r, "auth", 0);
        if (list > 0) {
            options_enter(r, NULL, (unsigned)i + 1);
            lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
            rc = config_must_be_table(r, NULL);
        }
        if (rc == 0)
            rc = read_issuer(r, config, &config->issuers[i]);
        if (rc == 0)
            rc = check_distinct(r, config, i);
        config->issuer_count = (unsigned)i + 1;
        options_leave(r, before);
        if (list > 0)
            lua_pop(r->L, 1);
    }
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
    snprintf(path, sizeof(path), "%.*s%s%.*s", folder.ptr[0] == '/' ? 0 : (int)config->folder.len,
             config->folder.ptr, folder.ptr[0] == '/' ? "" : "/", STR_ARG(folder));
    struct stat st;
    bool found =
        realpath(path, resolved) != NULL && stat(resolved, &st) == 0 && S_ISDIR(st.st_mode);
    if (!found && !own)
        return err_set(r->err, -EINVAL, "netlify.toml: publish: '%.*s' is not a folder here",
                       STR_ARG(folder));
    if (!found)
        return options_fault(r, "publish", "'%.*s' is not a folder here", STR_ARG(folder));
    config->publish = arena_copy(&config->arena, str_from(resolved));
    return config->publish.ptr != NULL ? 0 : config_out_of_memory(r);
}

/* An origin is compared as browsers send it: scheme, host, and port where it is not the usual one.
 */
static int check_origins(struct options_reader *r, const struct cors *cors)
{
    for (unsigned i = 0; i < cors->origin_count; i++) {
        struct str origin = cors->origins[i];
        size_t scheme = str_starts_with(origin, STR("https://"))  ? 8
                        : str_starts_with(origin, STR("http://")) ? 7
                                                                  : 0;
        struct str host = str_skip(origin, scheme);
        bool good = scheme > 0 && host.len > 0 && str_find(host, '/') == host.len &&
                    str_find(host, '*') == host.len;
        if (!good && !str_eq(origin, STR("*")) && !str_eq(origin, STR("null")))
            return options_fault(r, "origins",
                                 "'%.*s' is no origin: write \"https://app.example\", without a "
                                 "path, or \"*\"",
                                 STR_ARG(origin));
    }
    return 0;
}

static int read_cors(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"origins", "credentials", "max_age", NULL};
    if (!options_get(r, "cors"))
        return 0;
    int rc = config_must_be_table(r, "cors");
    size_t before = options_enter(r, "cors", 0);
    if (rc == 0)
        rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str_list(r, "origins", &config->cors.origins, &config->cors.origin_count);
    if (rc == 0)
        rc = check_origins(r, &config->cors);
    if (rc == 0)
        rc = options_bool(r, "credentials", &config->cors.credentials);
    if (rc == 0)
        rc = options_count(r, "max_age", 0, 86400, &config->cors.max_age);
    if (rc == 0 && config->cors.credentials && config->cors.origin_count > 0 &&
        str_eq(config->cors.origins[0], STR("*")))
        rc = options_fault(r, "credentials",
                           "cannot be used with the origin \"*\"; name the origins");
    options_leave(r, before);
    lua_pop(r->L, 1);
    return rc;
}

static int read_limits(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {
        "body",         "header",        "connections", "head_timeout", "body_timeout",
        "idle_timeout", "write_timeout", "h2c",         "token_cache",  NULL};
    struct server_limits *limits = &config->limits;
    server_limits_init(limits);
    config->token_cache = LIMIT_TOKEN_CACHE_BYTES;
    if (!options_get(r, "limits"))
        return 0;
    int rc = config_must_be_table(r, "limits");
    size_t before = options_enter(r, "limits", 0);
    if (rc == 0)
        rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_size(r, "body", 0, (size_t)1 << 30, &limits->body_bytes);
    if (rc == 0)
        rc = options_size(r, "header", 1024, 1 << 20, &limits->header_bytes);
    if (rc == 0)
        rc = options_count(r, "connections", 1, 1000000, &limits->connections);
    if (rc == 0)
        rc = options_size(r, "token_cache", 0, (size_t)4 << 30, &config->token_cache);
    if (rc == 0)
        rc = options_bool(r, "h2c", &limits->h2c);
    if (rc == 0)
        rc = options_seconds(r, "head_timeout", 0.05, 3600, &limits->head_timeout);
    if (rc == 0)
        rc = options_seconds(r, "body_timeout", 0.05, 3600, &limits->body_timeout);
    if (rc == 0)
        rc = options_seconds(r, "idle_timeout", 0.05, 86400, &limits->idle_timeout);
    if (rc == 0)
        rc = options_seconds(r, "write_timeout", 0.05, 3600, &limits->write_timeout);
    options_leave(r, before);
    lua_pop(r->L, 1);
    return rc;
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
        config_read_functions,
        config_toml_options,
        read_publish,
        config_read_redirects,
        config_read_headers,
        read_cors,
        read_limits,
        read_compression,
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
