/* netlify.toml: the file, its folders and its variables. Rules are in config_toml_rules.c. */
#include "config/config_toml.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>

#include "config/toml.h"
#include "config/config_site.h"

#define FILE_NAME "netlify.toml"

/* ---- what has no meaning here ---- */

static const char *const top_keys[] = {"build",   "dev",       "functions", "context",
                                       "headers", "redirects", NULL};
static const char *const build_keys[] = {"publish", "functions", "environment", NULL};
static const char *const dev_keys[] = {"publish", "functions", "envFiles", "jwtRolePath", NULL};
static const char *const context_keys[] = {"environment", NULL};
static const char *const option_keys[] = {"schedule", "background", "memory", "timeout", NULL};

static bool is_in(const char *const *names, struct str name)
{
    for (; *names != NULL; names++) {
        if (str_eq(name, str_from(*names)))
            return true;
    }
    return false;
}

static void warn(struct config *config, const struct toml *node, const char *where, struct str more)
{
    config_add_note(config, false, FILE_NAME, node->line,
                    "%s%.*s%s%.*s has no meaning here and is ignored", where, STR_ARG(more),
                    where[0] != '\0' ? "." : "", STR_ARG(node->key));
}

/* Warns of members that are not in `known`; false when `table` is there and is no table. */
static bool check_table(struct config *config, const struct toml *table, const char *where,
                        struct str more, const char *const *known)
{
    if (table == NULL)
        return true;
    if (table->type != TOML_TABLE) {
        config_add_note(config, true, FILE_NAME, table->line, "%s%.*s must be a table", where,
                        STR_ARG(more));
        return false;
    }
    for (const struct toml *node = table->first; node != NULL; node = node->next) {
        if (!is_in(known, node->key))
            warn(config, node, where, more);
    }
    return true;
}

static bool is_context(struct str name)
{
    return str_eq(name, STR("dev")) || str_eq(name, STR("production"));
}

/* [functions]: keys of its own are for all functions, tables in it for those that match. */
static void check_functions(struct config *config, const struct toml *functions)
{
    for (const struct toml *node = functions != NULL ? functions->first : NULL; node != NULL;
         node = node->next) {
        if (node->type == TOML_TABLE)
            check_table(config, node, "functions.", node->key, option_keys);
        else if (!str_eq(node->key, STR("directory")) && !is_in(option_keys, node->key))
            warn(config, node, "functions", STR(""));
    }
}

static void check_keys(struct config *config)
{
    const struct toml *root = config->toml, *contexts = toml_get(root, STR("context"));
    check_table(config, root, "", STR(""), top_keys);
    check_table(config, toml_get(root, STR("build")), "build", STR(""), build_keys);
    check_table(config, toml_get(root, STR("dev")), "dev", STR(""), dev_keys);
    check_functions(config, toml_get(root, STR("functions")));
    for (const struct toml *node = contexts != NULL ? contexts->first : NULL; node != NULL;
         node = node->next) {
        if (is_context(node->key))
            check_table(config, node, "context.", node->key, context_keys);
        else
            warn(config, node, "context", STR(""));
    }
}

int config_toml_open(struct config *config, struct err *err)
{
    char path[PATH_MAX];
    struct buf text = BUF_INIT;
    struct err reason;
    snprintf(path, sizeof(path), "%.*s/" FILE_NAME, STR_ARG(config->folder));
    int rc = origin_read(config->origin, path, &text, &reason);
    if (rc == 0) {
        config->toml = toml_parse(&config->arena, buf_str(&text), &reason);
        if (config->toml == NULL)
            rc = err_set(err, -EINVAL, FILE_NAME ":%s", reason.text);
        else
            check_keys(config);
    } else {
        rc = rc == -ENOENT ? 0 : err_set(err, rc, FILE_NAME ": %s", reason.text);
    }
    buf_free(&text);
    return rc;
}

/* ---- single values ---- */

/* The text of that member; ptr NULL: not there, or no text, which is told. */
static struct str text_of(struct config *config, const char *table, const char *key)
{
    const struct toml *node = toml_get(toml_get(config->toml, str_from(table)), str_from(key));
    if (node == NULL)
        return (struct str){NULL, 0};
    if (node->type == TOML_TEXT && node->text.len > 0)
        return node->text;
    config_add_note(config, true, FILE_NAME, node->line, "%s.%s must be a text", table, key);
    return (struct str){NULL, 0};
}

static struct str first_of(struct str a, struct str b)
{
    return a.ptr != NULL ? a : b;
}

struct str config_toml_publish(struct config *config)
{
    struct str own = config->dev ? text_of(config, "dev", "publish") : (struct str){NULL, 0};
    return first_of(own, text_of(config, "build", "publish"));
}

struct str config_toml_functions(struct config *config)
{
    struct str folder = config->dev ? text_of(config, "dev", "functions") : (struct str){NULL, 0};
    folder = first_of(folder, text_of(config, "functions", "directory"));
    folder = first_of(folder, text_of(config, "build", "functions"));
    if (folder.ptr != NULL || config->toml == NULL)
        return folder;
    char path[PATH_MAX], real[PATH_MAX];
    snprintf(path, sizeof(path), "%.*s/netlify/functions/.", STR_ARG(config->folder));
    return origin_resolve(config->origin, path, real) == 0 ? STR("netlify/functions") : folder;
}

/* ---- variables ---- */

const char *const *config_toml_env_files(struct config *config)
{
    const struct toml *list = toml_get(toml_get(config->toml, STR("dev")), STR("envFiles"));
    if (list == NULL || !config->dev)
        return NULL;
    unsigned count = 0;
    for (const struct toml *node = list->first; node != NULL; node = node->next)
        count++;
    const char **names = arena_zalloc(&config->arena, (count + 1) * sizeof(*names));
    if (names == NULL)
        return NULL;
    count = 0;
    for (const struct toml *node = list->first; node != NULL; node = node->next) {
        if (list->type != TOML_ARRAY || node->type != TOML_TEXT) {
            config_add_note(config, true, FILE_NAME, node->line,
                            "dev.envFiles must be a list of file names");
            return NULL;
        }
        names[count++] = node->text.ptr;
    }
    return names;
}

static int add_variables(struct config *config, const struct toml *table)
{
    for (const struct toml *node = table != NULL ? table->first : NULL; node != NULL;
         node = node->next) {
        struct str value = node->text;
        if (node->type == TOML_INTEGER)
            value = arena_printf(&config->arena, "%lld", (long long)node->integer);
        else if (node->type == TOML_BOOLEAN)
            value = node->boolean ? STR("true") : STR("false");
        else if (node->type != TOML_TEXT) {
            config_add_note(config, true, FILE_NAME, node->line, "the variable %.*s must be a text",
                            STR_ARG(node->key));
            continue;
        }
        if (value.ptr == NULL ||
            env_set_lowest(config->env, node->key.ptr, value.ptr, config->dev) != 0)
            return -ENOMEM;
    }
    return 0;
}

int config_toml_env(struct config *config)
{
    const struct toml *context = toml_get(toml_get(config->toml, STR("context")),
                                          config->dev ? STR("dev") : STR("production"));
    int rc = add_variables(config, toml_get(context, STR("environment")));
    return rc == 0 ? add_variables(
                         config, toml_get(toml_get(config->toml, STR("build")), STR("environment")))
                   : rc;
}

/* ---- options of functions ---- */

/* The table's options as a Lua table on the stack, but for those that functions.lua gave. */
static void push_options(lua_State *L, const struct toml *table, const struct function_spec *spec)
{
    lua_newtable(L);
    for (const struct toml *node = table->first; node != NULL; node = node->next) {
        if (!is_in(option_keys, node->key) || options_is_given(spec, node->key))
            continue;
        if (node->type == TOML_BOOLEAN)
            lua_pushboolean(L, node->boolean);
        else if (node->type == TOML_TEXT)
            lua_pushlstring(L, node->text.ptr, node->text.len);
        else if (str_eq(node->key, STR("memory")) && node->type == TOML_INTEGER)
            lua_pushfstring(L, "%IMB", (LUAI_UACINT)node->integer);
        else
            lua_pushnumber(L, node->number);
        lua_setfield(L, -2, node->key.ptr);
    }
}

static void read_options(struct options_reader *r, struct config *config, const struct toml *table,
                         struct function_spec *spec)
{
    struct err err;
    struct options_reader own = {.L = r->L, .arena = r->arena, .err = &err, .file = FILE_NAME};
    snprintf(own.path, sizeof(own.path), "functions.%.*s", STR_ARG(spec->name));
    struct function_spec changed = *spec;
    push_options(r->L, table, spec);
    int top = lua_gettop(r->L);
    if (options_read_function(&own, &changed, OPTIONS_CONFIG) == 0) {
        if (options_is_given(spec, STR("timeout")))
            changed.timeout = spec->timeout;
        *spec = changed;
    } else {
        const char *text = strchr(err.text, ' ');
        config_add_note(config, true, FILE_NAME, table->line, "%s",
                        text != NULL ? text + 1 : err.text);
    }
    lua_settop(r->L, top - 1);
}

int config_toml_options(struct options_reader *r, struct config *config)
{
    const struct toml *functions = toml_get(config->toml, STR("functions"));
    if (functions == NULL || functions->type != TOML_TABLE)
        return 0;
    luaL_checkstack(r->L, 8, NULL);
    for (unsigned i = 0; i < config->function_count; i++) {
        struct function_spec *spec = &config->functions[i];
        /* The narrower word first: what it gives, the others leave alone. */
        for (const struct toml *node = functions->first; node != NULL; node = node->next) {
            if (node->type == TOML_TABLE && str_eq(node->key, spec->name))
                read_options(r, config, node, spec);
        }
        for (const struct toml *node = functions->first; node != NULL; node = node->next) {
            if (node->type == TOML_TABLE && !str_eq(node->key, spec->name) &&
                str_glob(node->key, spec->name))
                read_options(r, config, node, spec);
        }
        read_options(r, config, functions, spec);
    }
    return 0;
}
