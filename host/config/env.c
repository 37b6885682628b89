/* Environment variables of functions. */
#include "config/env.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/place.h"
#include "lua/origin.h"
#include "lua/own_script.h"

struct variable {
    char *name;  /* owned */
    char *value; /* owned */
    bool from_file;
};

struct env {
    struct variable *list; /* owned; in order of precedence: the first of a name counts */
    size_t count, cap;
};

extern char **environ;

static const char *const *usual_names(bool dev)
{
    static const char *const dev_files[] = {".env.development.local", ".env.local",
                                            ".env.development", ".env", NULL};
    static const char *const serve_files[] = {".env.local", ".env", NULL};
    return dev ? dev_files : serve_files;
}

static struct variable *find(const struct env *env, const char *name)
{
    for (size_t i = 0; i < env->count; i++) {
        if (strcmp(env->list[i].name, name) == 0)
            return &env->list[i];
    }
    return NULL;
}

static int add(struct env *env, struct str name, struct str value, bool from_file)
{
    if (env->count == env->cap) {
        size_t cap = env->cap > 0 ? env->cap * 2 : 64;
        struct variable *list = realloc(env->list, cap * sizeof(*list));
        if (list == NULL)
            return -ENOMEM;
        env->list = list;
        env->cap = cap;
    }
    struct variable v = {strndup(name.ptr, name.len), strndup(value.ptr, value.len), from_file};
    if (v.name == NULL || v.value == NULL) {
        free(v.name);
        free(v.value);
        return -ENOMEM;
    }
    env->list[env->count++] = v;
    return 0;
}

static int add_process(struct env *env)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        struct str text = str_from(*entry);
        size_t equals = str_find(text, '=');
        if (equals == text.len || equals == 0)
            continue;
        int rc = add(env, (struct str){text.ptr, equals}, str_skip(text, equals + 1), false);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- dotenv ---- */

struct reading {
    struct env *env;
    struct str text;
    bool full; /* out of memory */
};

/* stack: the script */
static void add_file(lua_State *L, void *arg)
{
    struct reading *reading = arg;
    lua_pushlstring(L, reading->text.ptr, reading->text.len);
    lua_call(L, 1, 1);
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i += 2) {
        struct str name, value;
        lua_rawgeti(L, -2, i + 1);
        name.ptr = lua_tolstring(L, -2, &name.len);
        value.ptr = lua_tolstring(L, -1, &value.len);
        reading->full = add(reading->env, name, value, true) != 0;
        if (reading->full)
            luaL_error(L, "out of memory");
        lua_pop(L, 2);
    }
}

static int load_file(struct env *env, struct origin *origin, struct str folder, const char *name,
                     struct err *err)
{
    char path[4096];
    snprintf(path, sizeof(path), "%.*s/%s", STR_ARG(folder), name);
    struct buf content = BUF_INIT;
    struct err reason;
    int rc = origin_read(origin, path, &content, &reason);
    if (rc == -ENOENT) {
        buf_free(&content);
        return 0;
    }
    struct reading reading = {.env = env, .text = buf_str(&content)};
    if (rc != 0) {
        err_set(err, rc, "%s: %s", name, reason.text);
    } else {
        rc = own_script_run("share/dotenv.lua", add_file, &reading, &reason);
        if (rc == -ENOMEM || reading.full)
            rc = err_set(err, -ENOMEM, "out of memory");
        else if (rc != 0)
            err_set(err, rc, "%s:%s; write NAME=value", name, reason.text);
    }
    buf_free(&content);
    return rc;
}

static int load_files(struct env *env, struct origin *origin, struct str folder,
                      const char *const *names, struct err *err)
{
    int rc = 0;
    for (; rc == 0 && *names != NULL; names++)
        rc = load_file(env, origin, folder, *names, err);
    return rc;
}

struct env *env_load(const char *folder, bool dev, struct err *err)
{
    struct origin *origin = origin_new(NULL);
    struct env *env = NULL;
    if (origin != NULL)
        env = env_load_files(origin, folder, dev, NULL, err);
    else
        err_set(err, -ENOMEM, "out of memory");
    origin_unref(origin);
    return env;
}

struct env *env_load_files(struct origin *origin, const char *folder, bool dev,
                           const char *const *names, struct err *err)
{
    struct env *env = calloc(1, sizeof(*env));
    if (env == NULL || add_process(env) != 0) {
        err_set(err, -ENOMEM, "out of memory");
        env_free(env);
        return NULL;
    }
    if (names == NULL)
        names = usual_names(dev);
    struct str place = place_of(str_from(folder));
    int rc = place_is_set() ? load_files(env, origin, place, names, err) : 0;
    if (rc == 0)
        rc = load_files(env, origin, str_from(folder), names, err);
    if (rc == 0)
        return env;
    env_free(env);
    return NULL;
}

void env_free(struct env *env)
{
    if (env == NULL)
        return;
    for (size_t i = 0; i < env->count; i++) {
        free(env->list[i].name);
        free(env->list[i].value);
    }
    free(env->list);
    free(env);
}

int env_set_default(struct env *env, const char *name, const char *value)
{
    return find(env, name) != NULL ? 0 : add(env, str_from(name), str_from(value), true);
}

int env_set_lowest(struct env *env, const char *name, const char *value, bool shown)
{
    return find(env, name) != NULL ? 0 : add(env, str_from(name), str_from(value), shown);
}

int env_set(struct env *env, const char *name, const char *value)
{
    struct variable *v = find(env, name);
    if (v == NULL)
        return add(env, str_from(name), str_from(value), true);
    char *copy = strdup(value);
    if (copy == NULL)
        return -ENOMEM;
    free(v->value);
    v->value = copy;
    return 0;
}

const char *env_get(const struct env *env, const char *name)
{
    const struct variable *v = find(env, name);
    return v != NULL ? v->value : NULL;
}

bool env_is_from_file(const struct env *env, const char *name)
{
    for (size_t i = 0; i < env->count; i++) {
        if (env->list[i].from_file && strcmp(env->list[i].name, name) == 0)
            return true;
    }
    return false;
}

void env_each(const struct env *env, bool files_only,
              void (*fn)(void *arg, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < env->count; i++) {
        const struct variable *v = &env->list[i];
        if (find(env, v->name) == v && (!files_only || env_is_from_file(env, v->name)))
            fn(arg, v->name, v->value);
    }
}
