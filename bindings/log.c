/* The log module: a script's message and fields as one line of the host's log.
 *
 * Everything that may raise comes before log_begin: the line under way belongs to C. */
#include "base/log.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json.h"
#include "http/exchange.h"
#include "base/limits.h"
#include "run/invocation.h"
#include "lua/show.h"
#include "lua/told.h"
#include "lua/vm.h"

/* At most `max` bytes, not cut within a character. */
static struct str shorten(struct str s, size_t max)
{
    if (s.len <= max)
        return s;
    while (max > 0 && ((unsigned char)s.ptr[max] & 0xc0) == 0x80)
        max--;
    return (struct str){s.ptr, max};
}

/* The message as log_begin wants it, in a userdata that is left on the stack. In text for people a
 * script must not be able to write what looks like another line, nor move the cursor. */
static const char *lx_message(lua_State *L, int index)
{
    struct str s;
    show_push(L, index);
    s.ptr = lua_tolstring(L, -1, &s.len);
    bool cut = s.len > LIMIT_LOG_LINE;
    s = shorten(s, LIMIT_LOG_LINE);
    bool text = log_format() == LOG_FORMAT_TEXT;
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\0' || (text && (unsigned char)c < 0x20 && c != '\n' && c != '\t'))
            luaL_addchar(&buffer, '?');
        else
            luaL_addchar(&buffer, c);
        if (text && c == '\n')
            luaL_addstring(&buffer, "      ");
    }
    if (cut)
        luaL_addstring(&buffer, "...");
    luaL_pushresult(&buffer);
    return lua_tostring(L, -1);
}

/* The fields as JSON, in the scratch buffer; what cannot be told is told why. */
static struct str lx_fields(lua_State *L, int index)
{
    struct buf *out = json_scratch();
    struct str why;
    if (json_encode_value(L, index, out) != 0) {
        why.ptr = lua_tolstring(L, -1, &why.len);
    } else if (out->len > LIMIT_LOG_LINE) {
        why.ptr = lua_pushfstring(L, "%I bytes of fields are too many", (lua_Integer)out->len);
        why.len = strlen(why.ptr);
    } else {
        return buf_str(out);
    }
    out = json_scratch();
    buf_add_json(out, why);
    return buf_str(out);
}

/* Counts the line against the request. The one that goes over LIMIT_LOG_BYTES is replaced by a
 * notice, those after it are dropped. */
static bool is_allowed(struct invocation *inv, const char **message, struct str *fields)
{
    if (inv == NULL)
        return true;
    if (inv->log_bytes > LIMIT_LOG_BYTES)
        return false;
    inv->log_bytes += strlen(*message) + fields->len + 1;
    if (inv->log_bytes > LIMIT_LOG_BYTES) {
        *message = "this request has logged too much; its further lines are dropped";
        *fields = (struct str){NULL, 0};
    }
    return true;
}

static void write_line(const struct vm *vm, const struct invocation *inv, enum log_level level,
                       const char *message, struct str fields)
{
    struct log_line line;
    log_begin(&line, level, message);
    if (vm->spec != NULL)
        log_str(&line, "function", vm->spec->name);
    if (inv != NULL) {
        log_int(&line, "generation", inv->ex->generation);
        log_str(&line, "request_id", str_from(inv->ex->request_id));
    }
    if (fields.ptr != NULL)
        log_json(&line, "fields", fields);
    log_end(&line);
}

static const char *level_name(enum log_level level)
{
    return level == LOG_DEBUG  ? "debug"
           : level == LOG_INFO ? "info"
           : level == LOG_WARN ? "warn"
                               : "error";
}

static int log_arguments(lua_State *L, enum log_level level)
{
    luaL_checkany(L, 1);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    if (!log_wants(level))
        return 0;
    lua_settop(L, 2);
    const char *message = lx_message(L, 1);
    struct str fields = {NULL, 0};
    if (!lua_isnil(L, 2))
        fields = lx_fields(L, 2);
    struct hook *hook = told_hook(L);
    if (hook != NULL)
        hook->type->log(hook, level_name(level), (struct str){message, strlen(message)}, fields);
    struct invocation *inv = invocation_of(L);
    bool silent = vm_of(L)->services != NULL && vm_of(L)->services->silent;
    if (is_allowed(inv, &message, &fields) && !silent)
        write_line(vm_of(L), inv, level, message, fields);
    return 0;
}

static int l_debug(lua_State *L)
{
    return log_arguments(L, LOG_DEBUG);
}

static int l_error(lua_State *L)
{
    return log_arguments(L, LOG_ERROR);
}

static int l_info(lua_State *L)
{
    return log_arguments(L, LOG_INFO);
}

static int l_warn(lua_State *L)
{
    return log_arguments(L, LOG_WARN);
}

static const luaL_Reg functions[] = {
    {"debug", l_debug}, {"error", l_error}, {"info", l_info}, {"warn", l_warn}, {NULL, NULL},
};

int open_log(lua_State *L)
{
    luaL_newlib(L, functions);
    return 1;
}
