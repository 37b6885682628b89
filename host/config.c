/* functions.lua as plain structs: running it, and its members but for functions
 * (config_functions.c). */
#include "config.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_functions.h"
#include "base/limits.h"
#include "run/guard.h"
#include "run/options.h"
#include "run/script.h"
#include "run/source_line.h"
#include "run/vm.h"

enum { MEMORY_LIMIT = 64 * 1024 * 1024, MISSING_MAX = 8 };

struct loader {
    struct config *config;
    struct options_reader reader;
    const char *missing[MISSING_MAX]; /* variables that functions.lua asked for and nobody set; in
                                         the arena */
    unsigned missing_count;
    int rc;
};

static const char *const top_keys[] = {"prefix",  "functions", "auth",   "publish",     "redirects",
                                       "headers", "cors",      "limits", "compression", NULL};

/* ---- members ---- */

static int out_of_memory(struct options_reader *r)
{
    return err_set(r->err, -ENOMEM, "out of memory");
}

static int must_be_table(struct options_reader *r, const char *key)
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
    const char *known[32] = {"namespace"};
    for (unsigned i = 0; verifier_keys[i] != NULL; i++)
        known[i + 1] = verifier_keys[i];
    int rc = options_check_keys(r, known);
    if (rc == 0)
        rc = options_str(r, "namespace", &config->claim_namespace);
    return rc == 0 ? options_read_verifier(r, out) : rc;
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
    size_t count = list > 0 ? list : 1;
    config->issuers = arena_zalloc(&config->arena, count * sizeof(*config->issuers));
    if (config->issuers == NULL)
        return out_of_memory(r);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t before = options_enter(r, "auth", 0);
        if (list > 0) {
            options_enter(r, NULL, (unsigned)i + 1);
            lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
            rc = must_be_table(r, NULL);
        }
        if (rc == 0)
            rc = read_issuer(r, config, &config->issuers[i]);
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
    if (rc != 0 || folder.ptr == NULL)
        return rc;
    char path[PATH_MAX], resolved[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s%s%.*s", folder.ptr[0] == '/' ? 0 : (int)config->folder.len,
             config->folder.ptr, folder.ptr[0] == '/' ? "" : "/", STR_ARG(folder));
    if (realpath(path, resolved) == NULL)
        return options_fault(r, "publish", "'%.*s' is not a folder here", STR_ARG(folder));
    config->publish = arena_copy(&config->arena, str_from(resolved));
    return config->publish.ptr != NULL ? 0 : out_of_memory(r);
}

static int read_cors(struct options_reader *r, struct config *config)
{
    static const char *const keys[] = {"origins", "credentials", "max_age", NULL};
    if (!options_get(r, "cors"))
        return 0;
    int rc = must_be_table(r, "cors");
    size_t before = options_enter(r, "cors", 0);
    if (rc == 0)
        rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str_list(r, "origins", &config->cors.origins, &config->cors.origin_count);
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
    int rc = must_be_table(r, "limits");
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

/* ---- lists of rules ---- */

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
        return out_of_memory(r);
    *count = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
            return options_fault(r, key, "must be a table of name = \"text\"");
        struct redirect_pair *pair = &pairs[(*count)++];
        pair->name = arena_copy(r->arena, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
        pair->value = arena_copy(r->arena, (struct str){lua_tostring(L, -1), lua_rawlen(L, -1)});
        if (pair->name.ptr == NULL || pair->value.ptr == NULL)
            return out_of_memory(r);
    }
    *out = pairs;
    lua_pop(L, 1);
    return 0;
}

static int read_redirect(struct options_reader *r, struct redirect_rule *rule)
{
    static const char *const keys[] = {"from",  "to",         "status",  "force",
                                       "query", "conditions", "headers", NULL};
    unsigned status = 301;
    rule->to = (struct str){"", 0};
    int rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str(r, "from", &rule->from);
    if (rc == 0)
        rc = options_str(r, "to", &rule->to);
    if (rc == 0)
        rc = options_count(r, "status", 200, 599, &status);
    rule->status = (int)status;
    if (rc == 0)
        rc = options_bool(r, "force", &rule->force);
    if (rc == 0)
        rc = read_pairs(r, "query", &rule->query, &rule->query_count);
    if (rc == 0)
        rc = read_pairs(r, "conditions", &rule->conditions, &rule->condition_count);
    if (rc == 0)
        rc = read_pairs(r, "headers", &rule->headers, &rule->header_count);
    struct err err;
    if (rc == 0 && redirect_check(rule, &err) != 0)
        rc = options_fault(r, NULL, "%s", err.text);
    return rc;
}

static int read_header_rule(struct options_reader *r, struct header_rule *rule)
{
    static const char *const keys[] = {"for", "values", NULL};
    struct redirect_pair *pairs = NULL;
    int rc = options_check_keys(r, keys);
    if (rc == 0)
        rc = options_str(r, "for", &rule->path);
    if (rc == 0)
        rc = read_pairs(r, "values", &pairs, &rule->value_count);
    rule->values = arena_zalloc(r->arena, (rule->value_count + 1) * sizeof(*rule->values));
    if (rc == 0 && rule->values == NULL)
        return out_of_memory(r);
    for (unsigned i = 0; rc == 0 && i < rule->value_count; i++)
        rule->values[i] = (struct header){pairs[i].name, pairs[i].value};
    struct err err;
    if (rc == 0 && header_rule_check(rule, &err) != 0)
        rc = options_fault(r, NULL, "%s", err.text);
    return rc;
}

/* Reads the list member `key`: items of `size` bytes, one by `read`. */
static int read_list(struct options_reader *r, const char *key, size_t size,
                     int (*read)(struct options_reader *r, void *item), void **out, unsigned *count)
{
    if (!options_get(r, key))
        return 0;
    int rc = must_be_table(r, key);
    if (rc != 0)
        return rc;
    unsigned n = (unsigned)lua_rawlen(r->L, -1);
    char *items = arena_zalloc(r->arena, (n + 1) * size);
    if (items == NULL)
        return out_of_memory(r);
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

static int read_redirect_item(struct options_reader *r, void *item)
{
    return read_redirect(r, item);
}

static int read_header_item(struct options_reader *r, void *item)
{
    return read_header_rule(r, item);
}

/* ---- the whole ---- */

static int read_top(struct options_reader *r, struct config *config)
{
    int rc = options_check_keys(r, top_keys);
    if (rc == 0)
        rc = read_prefix(r, config);
    if (rc == 0)
        rc = read_auth(r, config);
    if (rc == 0)
        rc = config_read_functions(r, config);
    if (rc == 0)
        rc = read_publish(r, config);
    if (rc == 0)
        rc = read_list(r, "redirects", sizeof(*config->redirects), read_redirect_item,
                       (void **)&config->redirects, &config->redirect_count);
    if (rc == 0)
        rc = read_list(r, "headers", sizeof(*config->headers), read_header_item,
                       (void **)&config->headers, &config->header_count);
    if (rc == 0)
        rc = read_cors(r, config);
    if (rc == 0)
        rc = read_limits(r, config);
    config->compression = true;
    return rc == 0 ? options_bool(r, "compression", &config->compression) : rc;
}

/* env.NAME in functions.lua: every variable; remembers those that are not set, for the message of a
 * later fault. */
static int l_env_index(lua_State *L)
{
    struct loader *loader = lua_touserdata(L, lua_upvalueindex(1));
    const char *name = luaL_checkstring(L, 2);
    const char *value = env_get(loader->config->env, name);
    if (value == NULL && loader->missing_count < MISSING_MAX) {
        struct str copy = arena_copy(&loader->config->arena, str_from(name));
        if (copy.ptr != NULL)
            loader->missing[loader->missing_count++] = copy.ptr;
    }
    lua_pushstring(L, value);
    return 1;
}

static void push_env(lua_State *L, struct loader *loader)
{
    lua_newtable(L);
    lua_newtable(L);
    lua_pushlightuserdata(L, loader);
    lua_pushcclosure(L, l_env_index, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* (loader): opens the sandbox, runs the text, reads the table. */
static int l_run(lua_State *L)
{
    struct loader *loader = lua_touserdata(L, 1);
    struct str source = loader->reader.source;
    guard_open(L);
    push_env(L, loader);
    lua_setglobal(L, "env");
    char name[256];
    snprintf(name, sizeof(name), "@%s", loader->reader.file);
    if (luaL_loadbufferx(L, source.ptr != NULL ? source.ptr : "", source.len, name, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1)) {
        loader->rc = options_fault(&loader->reader, NULL,
                                   "must return a table: return { functions = \"scripts\" }");
        return 0;
    }
    loader->rc = read_top(&loader->reader, loader->config);
    return 0;
}

/* "...; not set: JWT_ISSUER (put it into .env, or into the environment)" */
static void add_missing(const struct loader *loader, struct err *err)
{
    size_t used = strlen(err->text);
    for (unsigned i = 0; i < loader->missing_count && used < sizeof(err->text); i++)
        used += (size_t)snprintf(err->text + used, sizeof(err->text) - used, "%s%s",
                                 i == 0 ? "; not set: " : ", ", loader->missing[i]);
    if (loader->missing_count > 0 && used < sizeof(err->text))
        snprintf(err->text + used, sizeof(err->text) - used,
                 " (put it into .env beside functions.lua: NAME=value)");
}

static int run(struct loader *loader, struct err *err)
{
    struct vm *vm = vm_new(MEMORY_LIMIT, NULL);
    if (vm == NULL)
        return err_set(err, -ENOMEM, "out of memory");
    struct budget budget = {.cpu_limit_ns = (uint64_t)(LIMIT_FN_LOAD_CPU * 1e9)};
    loader->reader.L = vm->L;
    lua_pushcfunction(vm->L, l_run);
    lua_pushlightuserdata(vm->L, loader);
    vm->budget = &budget;
    budget_enter(&budget, vm->L);
    int status = lua_pcall(vm->L, 1, 0, 0);
    budget_leave(&budget);
    vm->budget = &vm->unlimited;
    int rc = loader->rc;
    if (budget.end != BUDGET_RUNNING)
        rc = err_set(err, -ETIMEDOUT, "%s: uses more than %.0f s of processor time",
                     loader->reader.file, LIMIT_FN_LOAD_CPU);
    else if (status != LUA_OK)
        rc = err_set(err, -EINVAL, "%s",
                     lua_type(vm->L, -1) == LUA_TSTRING ? lua_tostring(vm->L, -1)
                                                        : "functions.lua raised a value");
    if (rc != 0)
        add_missing(loader, err);
    vm_free(vm);
    return rc;
}

static int find_file(struct config *config, const char *file, struct err *err)
{
    char path[PATH_MAX];
    if (realpath(file, path) == NULL)
        return err_set(err, -errno, "%s: %s; `luafn help` tells how to begin", file,
                       strerror(errno));
    config->file = arena_copy(&config->arena, str_from(path));
    char *slash = strrchr(path, '/');
    config->folder =
        arena_copy(&config->arena, (struct str){path, slash == path ? 1 : (size_t)(slash - path)});
    return config->file.ptr != NULL && config->folder.ptr != NULL
               ? 0
               : err_set(err, -ENOMEM, "out of memory");
}

static int load_env(struct config *config, const char *const *defaults, struct err *err)
{
    config->env = env_load(config->folder.ptr, config->dev, err);
    if (config->env == NULL)
        return -EINVAL;
    const char *kv_url = env_get(config->env, "KV_URL");
    if (kv_url != NULL && kv_url[0] != '\0')
        return err_set(err, -EINVAL,
                       "KV_URL is set, but kv lives in a file beside functions.lua, .luafn/kv.mdb; "
                       "stores on other machines are not supported: unset KV_URL");
    for (; defaults != NULL && defaults[0] != NULL; defaults += 2) {
        if (env_set_default(config->env, defaults[0], defaults[1]) != 0)
            return err_set(err, -ENOMEM, "out of memory");
    }
    return 0;
}

struct config *config_load(const struct config_options *options, struct err *err)
{
    struct config *config = calloc(1, sizeof(*config));
    if (config == NULL) {
        err_set(err, -ENOMEM, "out of memory");
        return NULL;
    }
    arena_init(&config->arena);
    config->dev = options->dev;
    struct buf source = BUF_INIT;
    struct err reason;
    int rc = find_file(config, options->file, err);
    if (rc == 0 && script_read(config->file.ptr, &source, &reason) != 0)
        rc = err_set(err, -EIO, "%s: %s", options->file, reason.text);
    if (rc == 0)
        rc = load_env(config, options->defaults, err);
    const char *shown = config->file.ptr != NULL
                            ? script_display_name(config->file.ptr, config->folder)
                            : options->file;
    struct loader loader = {
        .config = config,
        .reader = {.arena = &config->arena, .err = err, .file = shown, .source = buf_str(&source)},
    };
    if (rc == 0)
        rc = run(&loader, err);
    config->source = arena_copy(&config->arena, buf_str(&source));
    buf_free(&source);
    if (rc == 0 && config->source.ptr != NULL)
        return config;
    config_free(config);
    return NULL;
}

static void free_issuers(struct verifier_spec *specs, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        key_source_clear(&specs[i].own_keys);
}

void config_free(struct config *config)
{
    if (config == NULL)
        return;
    for (unsigned i = 0; i < config->function_count; i++) {
        struct policy *policy = &config->functions[i].policy;
        json_decref(policy->claims);
        free_issuers(policy->own, policy->own_count);
    }
    free_issuers(config->issuers, config->issuer_count);
    env_free(config->env);
    arena_free(&config->arena);
    free(config);
}

uint64_t config_files_hash(const char *file, bool dev)
{
    const char *slash = strrchr(file, '/');
    int folder = slash != NULL ? (int)(slash - file) + 1 : 0;
    uint64_t hash = script_hash(file);
    for (const char *const *name = env_file_names(dev); *name != NULL; name++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%.*s%s", folder, file, *name);
        hash = hash * 1099511628211u + script_hash(path);
    }
    return hash;
}

int config_fault(const struct config *config, struct err *err, const char *path, const char *format,
                 ...)
{
    char message[768];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return err_set(err, -EINVAL, "%s:%u: %s: %s",
                   script_display_name(config->file.ptr, config->folder),
                   source_line(config->source, str_from(path)), path, message);
}
