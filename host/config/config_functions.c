/* The member `functions` of functions.lua. */
#include "config/config_functions.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "config/config_toml.h"
#include "lua/source_line.h"

static bool name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!str_is_alnum(c) && c != '-' && c != '_')
            return false;
    }
    return name.len > 0 && name.len <= 128;
}

struct function_spec *config_add_function(struct config *config, struct str name, struct str script)
{
    unsigned count = config->function_count;
    /* Grown by doubling inside the arena: a configuration is small and made once. */
    if ((count & (count - 1)) == 0) {
        struct function_spec *bigger =
            arena_zalloc(&config->arena, (count > 0 ? count * 2 : 1) * sizeof(*bigger));
        if (bigger == NULL)
            return NULL;
        for (unsigned i = 0; i < count; i++)
            bigger[i] = config->functions[i];
        config->functions = bigger;
    }
    struct function_spec *spec = &config->functions[count];
    *spec = (struct function_spec){
        .name = arena_copy(&config->arena, name),
        .script = arena_copy(&config->arena, script),
        .root = config->folder,
        .methods = METHOD_ALL,
        .timeout = LIMIT_FN_TIMEOUT,
        .cpu = LIMIT_FN_CPU,
        .memory = LIMIT_FN_MEMORY,
        .concurrency = LIMIT_FN_CONCURRENCY,
        .queue = LIMIT_FN_QUEUE,
        .body = config->body_limit,
        .message = LIMIT_WEBSOCKET_MESSAGE,
        .background = str_ends_with(name, STR("-background")),
        .retry = options_retry_default,
        .retry_count = OPTIONS_RETRY_DEFAULT,
    };
    if (spec->background)
        spec->timeout = LIMIT_FN_BACKGROUND_TIMEOUT;
    if (spec->name.ptr == NULL || spec->script.ptr == NULL)
        return NULL;
    config->function_count++;
    return spec;
}

struct str config_path(struct config *config, struct str path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return arena_printf(&config->arena, "%.*s/%.*s", STR_ARG(config->folder), STR_ARG(path));
    struct str copy = arena_copy(&config->arena, path);
    if (config->fixed.len == 0)
        config->fixed = copy;
    return copy;
}

/* ---- functions = { name = { script = ... } } ---- */

/* The value at the top of the stack: a table, or a script's path. */
static int read_one(struct options_reader *r, struct config *config, struct str name)
{
    struct str script = {NULL, 0};
    if (lua_type(r->L, -1) == LUA_TSTRING) {
        script = (struct str){lua_tostring(r->L, -1), lua_rawlen(r->L, -1)};
    } else if (!lua_istable(r->L, -1)) {
        return options_fault(r, NULL, "must be a table such as { script = \"scripts/%.*s.lua\" }",
                             STR_ARG(name));
    } else {
        int rc = options_str(r, "script", &script);
        if (rc != 0)
            return rc;
        if (script.ptr == NULL)
            return options_fault(r, NULL, "`script` is missing: { script = \"scripts/%.*s.lua\" }",
                                 STR_ARG(name));
    }
    if (!name_is_valid(name))
        return options_fault(r, NULL, "a function's name is made of letters, digits, '-' and '_'");
    struct str path = config_path(config, script);
    if (path.ptr == NULL)
        return options_no_memory(r);
    if (!origin_is_file(config->origin, path.ptr))
        return options_fault(r, lua_istable(r->L, -1) ? "script" : NULL, "'%.*s': no such file",
                             STR_ARG(script));
    struct function_spec *spec = config_add_function(config, name, path);
    if (spec == NULL)
        return options_no_memory(r);
    return lua_istable(r->L, -1) ? options_read_function(r, spec, OPTIONS_CONFIG) : 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct str *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = memcmp(x->ptr, y->ptr, len);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Lua keeps the last of them: the others, and who may call them, would be gone without a word. */
static int fault_twice(struct options_reader *r, struct str name)
{
    struct str again;
    char key[160];
    snprintf(key, sizeof(key), "functions.%.*s", STR_ARG(name));
    return options_fault(r, key, "stands here, and again in line %u: give one another name",
                         source_line_twice(r->source, STR("functions"), &again));
}

/* In the order of their names: a Lua table has none. */
static int read_table(struct options_reader *r, struct config *config)
{
    lua_State *L = r->L;
    struct str twice;
    unsigned count = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return options_fault(r, "functions",
                                 "every function needs a name: name = { script = ... }");
        count++;
    }
    if (source_line_twice(r->source, STR("functions"), &twice) != 0)
        return fault_twice(r, twice);
    struct str *names = arena_zalloc(&config->arena, (count + 1) * sizeof(*names));
    if (names == NULL)
        return options_no_memory(r);
    unsigned i = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        names[i++] =
            arena_copy(&config->arena, (struct str){lua_tostring(L, -2), lua_rawlen(L, -2)});
    qsort(names, count, sizeof(*names), compare_names);
    for (i = 0; i < count; i++) {
        if (names[i].ptr == NULL)
            return options_no_memory(r);
        size_t before = options_enter(r, "functions", 0);
        options_enter(r, names[i].ptr, 0);
        lua_pushlstring(L, names[i].ptr, names[i].len);
        lua_rawget(L, -2);
        int top = lua_gettop(L);
        int rc = options_keep(r, read_one(r, config, names[i]));
        lua_settop(L, top - 1);
        options_leave(r, before);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- functions = "folder" ---- */

static int add_found(struct options_reader *r, struct config *config, struct str found)
{
    struct str name, script;
    while (str_split_next(&found, '\0', &name) && str_split_next(&found, '\0', &script)) {
        if (!name_is_valid(name))
            return options_fault(
                r, "functions", "'%.*s': a function's name is made of letters, digits, '-' and '_'",
                STR_ARG(name));
        if (config_add_function(config, name, script) == NULL)
            return options_no_memory(r);
    }
    return 0;
}

static int read_folder(struct options_reader *r, struct config *config, struct str given)
{
    struct str folder = config_path(config, given), found;
    config->functions_folder = arena_copy(&config->arena, given);
    if (config->functions_folder.ptr == NULL || folder.ptr == NULL)
        return options_no_memory(r);
    if (origin_functions(config->origin, folder.ptr, &found) != 0)
        return options_fault(r, "functions", "'%.*s' is not a folder here", STR_ARG(given));
    return add_found(r, config, found);
}

/* functions.lua does not say. A site without functions is a site. */
static int read_toml_folder(struct options_reader *r, struct config *config)
{
    struct str folder = config_toml_functions(config);
    if (folder.ptr == NULL)
        return 0;
    int rc = read_folder(r, config, folder);
    if (rc == -EINVAL)
        rc =
            err_set(r->err, rc, "netlify.toml: functions: '%.*s' is not a folder of functions here",
                    STR_ARG(folder));
    return rc;
}

int config_read_functions(struct options_reader *r, struct config *config)
{
    if (!options_get(r, "functions")) {
        if (config->toml != NULL)
            return read_toml_folder(r, config);
        return options_fault(
            r, NULL, "`functions` is missing: functions = \"scripts\", or a table of functions");
    }
    int rc;
    if (lua_type(r->L, -1) == LUA_TSTRING)
        rc = read_folder(r, config, (struct str){lua_tostring(r->L, -1), lua_rawlen(r->L, -1)});
    else if (lua_istable(r->L, -1))
        rc = read_table(r, config);
    else
        rc = options_fault(r, "functions", "must be a table of functions or the name of a folder");
    if (rc == 0)
        lua_pop(r->L, 1);
    return rc;
}
