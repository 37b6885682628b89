/* Reading option tables: members, faults, nearest keys. The whole tables are in options_function.c
 * and options_auth.c. */
#include "lua/lazy.h"
#include "options/options.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>

#include "lua/source_line.h"

int options_fault(struct options_reader *r, const char *key, const char *format, ...)
{
    char path[512], message[512];
    if (r->rc != 0)
        return r->rc;
    if (key == NULL)
        snprintf(path, sizeof(path), "%s", r->path);
    else
        snprintf(path, sizeof(path), "%s%s%s", r->path,
                 r->path[0] != '\0' && key[0] != '[' ? "." : "", key);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    unsigned line = source_line(r->source, str_from(path));
    r->rc = err_set(r->err, -EINVAL, "%s:%u: %s%s%s", r->file, line, path,
                    path[0] != '\0' ? ": " : "", message);
    return r->rc;
}

int options_no_memory(struct options_reader *r)
{
    r->rc = err_set(r->err, -ENOMEM, "out of memory");
    return r->rc;
}

int options_keep(struct options_reader *r, int rc)
{
    if (rc != -EINVAL)
        return rc;
    r->rc = 0;
    char *end = r->kept.text + strlen(r->kept.text);
    size_t room = sizeof(r->kept.text) - (size_t)(end - r->kept.text), len = strlen(r->err->text);
    r->kept_count++;
    if (len + 2 > room)
        return 0;
    if (end > r->kept.text)
        *end++ = '\n';
    memcpy(end, r->err->text, len + 1);
    return 0;
}

int options_kept(struct options_reader *r)
{
    return r->kept_count == 0 ? 0 : err_set(r->err, -EINVAL, "%s", r->kept.text);
}

const char *options_nearest(const char *const *known, struct str key)
{
    const char *best = NULL;
    unsigned best_distance = 4;
    for (; *known != NULL; known++) {
        unsigned distance = str_distance(str_from(*known), key);
        if (distance < best_distance) {
            best_distance = distance;
            best = *known;
        }
    }
    return best;
}

static int unknown_key(struct options_reader *r, const char *const *known, struct str key)
{
    char name[128], list[256] = "";
    snprintf(name, sizeof(name), "%.*s", STR_ARG(key));
    const char *near = options_nearest(known, key);
    if (near != NULL)
        return options_fault(r, name, "unknown key; did you mean `%s`?", near);
    size_t used = 0;
    for (; *known != NULL && used < sizeof(list); known++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", used > 0 ? ", " : "",
                                 *known);
    return options_fault(r, name, "unknown key; known are %s", list);
}

int options_check_keys(struct options_reader *r, const char *const *known)
{
    lua_State *L = r->L;
    if (r->rc != 0)
        return r->rc;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 2);
            return options_fault(r, NULL, "has a value without a name; known keys begin with `%s`",
                                 known[0]);
        }
        struct str key;
        key.ptr = lua_tolstring(L, -2, &key.len);
        const char *const *k = known;
        while (*k != NULL && !str_eq(str_from(*k), key))
            k++;
        if (*k == NULL) {
            int rc = unknown_key(r, known, key);
            lua_pop(L, 2);
            return rc;
        }
    }
    return 0;
}

bool options_get(struct options_reader *r, const char *key)
{
    if (r->rc != 0)
        return false;
    lua_pushstring(r->L, key);
    if (lua_rawget(r->L, -2) != LUA_TNIL) {
        lazy_make_plain(r->L, -1); /* a script may have read it as JSON */
        return true;
    }
    lua_pop(r->L, 1);
    return false;
}

size_t options_enter(struct options_reader *r, const char *key, unsigned index)
{
    size_t before = strlen(r->path);
    size_t room = sizeof(r->path) - before;
    if (key != NULL)
        snprintf(r->path + before, room, "%s%s", before > 0 ? "." : "", key);
    else
        snprintf(r->path + before, room, "[%u]", index);
    return before;
}

void options_leave(struct options_reader *r, size_t before)
{
    r->path[before] = '\0';
}

/* The value at the top of the stack is none that is wanted: numbers and texts are shown, of others
 * the type is told. */
static int wrong_type(struct options_reader *r, const char *key, const char *wanted)
{
    lua_State *L = r->L;
    int rc;
    if (lua_type(L, -1) == LUA_TSTRING)
        rc = options_fault(r, key, "must be %s, not the text '%.60s'", wanted, lua_tostring(L, -1));
    else if (lua_isinteger(L, -1))
        rc = options_fault(r, key, "must be %s, not %lld", wanted, (long long)lua_tointeger(L, -1));
    else if (lua_type(L, -1) == LUA_TNUMBER)
        rc = options_fault(r, key, "must be %s, not %g", wanted, lua_tonumber(L, -1));
    else
        rc = options_fault(r, key, "must be %s, not a %s", wanted, luaL_typename(L, -1));
    lua_pop(L, 1);
    return rc;
}

bool options_is_list(lua_State *L)
{
    size_t found = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        found++;
    return found == (size_t)lua_rawlen(L, -1); /* 1 to that are there, so there is nothing else */
}

int options_check_list(struct options_reader *r, const char *key, const char *example)
{
    if (options_is_list(r->L))
        return 0;
    return options_fault(r, key, "must be a list without names and gaps: %s", example);
}

/* Copies the text at the top of the stack and pops it. */
static int take_text(struct options_reader *r, struct str *out)
{
    struct str text;
    text.ptr = lua_tolstring(r->L, -1, &text.len);
    *out = arena_copy(r->arena, text);
    lua_pop(r->L, 1);
    return out->ptr != NULL ? 0 : options_no_memory(r);
}

int options_str(struct options_reader *r, const char *key, struct str *out)
{
    if (!options_get(r, key))
        return r->rc;
    if (lua_type(r->L, -1) != LUA_TSTRING)
        return wrong_type(r, key, "a text");
    return take_text(r, out);
}

int options_bool(struct options_reader *r, const char *key, bool *out)
{
    if (!options_get(r, key))
        return r->rc;
    if (!lua_isboolean(r->L, -1))
        return wrong_type(r, key, "true or false");
    *out = lua_toboolean(r->L, -1);
    lua_pop(r->L, 1);
    return 0;
}

int options_seconds(struct options_reader *r, const char *key, double min, double max, double *out)
{
    if (!options_get(r, key))
        return r->rc;
    if (lua_type(r->L, -1) != LUA_TNUMBER)
        return wrong_type(r, key, "a number of seconds");
    double value = lua_tonumber(r->L, -1);
    lua_pop(r->L, 1);
    if (!(value >= min && value <= max))
        return options_fault(r, key, "must be between %g and %g seconds", min, max);
    *out = value;
    return 0;
}

int options_size(struct options_reader *r, const char *key, size_t min, size_t max, size_t *out)
{
    if (!options_get(r, key))
        return r->rc;
    uint64_t value = 0;
    int type = lua_type(r->L, -1);
    if (type == LUA_TSTRING) {
        struct str text;
        text.ptr = lua_tolstring(r->L, -1, &text.len);
        if (str_to_size(text, &value) != 0)
            return wrong_type(r, key, "a size such as \"32MB\"");
    } else if (type == LUA_TNUMBER && lua_isinteger(r->L, -1) && lua_tointeger(r->L, -1) >= 0) {
        value = (uint64_t)lua_tointeger(r->L, -1);
    } else {
        return wrong_type(r, key, "a size: bytes, or a text such as \"32MB\"");
    }
    lua_pop(r->L, 1);
    if (value < min || value > max)
        return options_fault(r, key, "must be between %zu and %zu bytes", min, max);
    *out = (size_t)value;
    return 0;
}

int options_count(struct options_reader *r, const char *key, unsigned min, unsigned max,
                  unsigned *out)
{
    if (!options_get(r, key))
        return r->rc;
    if (!lua_isinteger(r->L, -1))
        return wrong_type(r, key, "a whole number");
    lua_Integer value = lua_tointeger(r->L, -1);
    lua_pop(r->L, 1);
    if (value < (lua_Integer)min || value > (lua_Integer)max)
        return options_fault(r, key, "must be between %u and %u", min, max);
    *out = (unsigned)value;
    return 0;
}

int options_str_list(struct options_reader *r, const char *key, struct str **out, unsigned *count)
{
    if (!options_get(r, key))
        return r->rc;
    lua_State *L = r->L;
    bool single = lua_type(L, -1) == LUA_TSTRING;
    if (!single && !lua_istable(L, -1))
        return wrong_type(r, key, "a text or a list of texts");
    int rc = single ? 0 : options_check_list(r, key, "{ \"a\", \"b\" }");
    if (rc != 0)
        return rc;
    size_t len = single ? 1 : (size_t)lua_rawlen(L, -1);
    struct str *list = arena_zalloc(r->arena, (len + 1) * sizeof(*list));
    if (list == NULL)
        return options_no_memory(r);
    for (size_t i = 0; i < len; i++) {
        if (single)
            lua_pushvalue(L, -1);
        else if (lua_rawgeti(L, -1, (lua_Integer)i + 1) != LUA_TSTRING)
            return wrong_type(r, key, "a list of texts only");
        rc = take_text(r, &list[i]);
        if (rc != 0)
            return rc;
    }
    lua_pop(L, 1);
    *out = list;
    *count = (unsigned)len;
    return 0;
}
