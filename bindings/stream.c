/* stream.sse(function(send) ... end, headers): a result that sends server-sent events.
 *
 * The stream itself is the host's (run/stream.h); this module writes the event format of the HTML
 * standard, section 9.2, in a way that no field can end an event early or begin another one. */
#include <lauxlib.h>

#include "base/buf.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "run/stream.h"

/* ---- one event as text ---- */

/* A line for each line of the text, as CR, LF and CRLF end lines in the format. */
static void add_lines(struct buf *out, const char *name, struct str text)
{
    do {
        size_t end = 0;
        while (end < text.len && text.ptr[end] != '\n' && text.ptr[end] != '\r')
            end++;
        buf_printf(out, "%s: ", name);
        buf_add(out, text.ptr, end);
        buf_add_char(out, '\n');
        if (end == text.len)
            return;
        bool pair = end + 1 < text.len && text.ptr[end] == '\r' && text.ptr[end + 1] == '\n';
        text = str_skip(text, end + (pair ? 2 : 1));
    } while (true);
}

/* The field as a text on the stack; a table as JSON. False when it is not there. */
static bool lx_get_field(lua_State *L, const char *name, bool json, struct str *out)
{
    int type = lua_getfield(L, 1, name);
    if (type == LUA_TNIL)
        return false;
    if (type == LUA_TTABLE && json) {
        struct buf *text = json_scratch();
        if (json_encode_value(L, -1, text) != 0)
            lua_error(L);
        lua_pushlstring(L, text->data, text->len);
    } else if (type != LUA_TSTRING && type != LUA_TNUMBER) {
        luaL_error(L, "send: `%s` must be a text, not a %s", name, luaL_typename(L, -1));
    }
    out->ptr = lua_tolstring(L, -1, &out->len);
    return true;
}

/* Fields that are one line by their nature. */
static void lx_check_line(lua_State *L, const char *name, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n' || text.ptr[i] == '\r' || text.ptr[i] == '\0')
            luaL_error(L, "send: `%s` must be a single line", name);
    }
}

struct event {
    struct str comment, name, id, retry, data;
    bool has_comment, has_name, has_id, has_retry, has_data;
};

static void lx_read_event(lua_State *L, struct event *e)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    e->has_comment = lx_get_field(L, "comment", false, &e->comment);
    e->has_name = lx_get_field(L, "event", false, &e->name);
    e->has_id = lx_get_field(L, "id", false, &e->id);
    e->has_retry = lx_get_field(L, "retry", false, &e->retry);
    e->has_data = lx_get_field(L, "data", true, &e->data);
    lx_check_line(L, "event", e->name);
    lx_check_line(L, "id", e->id);
    for (size_t i = 0; i < e->retry.len; i++) {
        if (e->retry.ptr[i] < '0' || e->retry.ptr[i] > '9')
            luaL_error(L, "send: `retry` must be a whole number of milliseconds");
    }
    if (!e->has_comment && !e->has_name && !e->has_id && !e->has_retry && !e->has_data)
        luaL_error(L, "send: an event needs `data`, or one of event, id, retry, comment");
}

/* Into json_scratch(): errors of Lua may pass while it is in use. */
static struct str put_event(const struct event *e)
{
    struct buf *out = json_scratch();
    if (e->has_comment)
        add_lines(out, "", e->comment);
    if (e->has_name)
        add_lines(out, "event", e->name);
    if (e->has_id)
        add_lines(out, "id", e->id);
    if (e->has_retry)
        add_lines(out, "retry", e->retry);
    if (e->has_data)
        add_lines(out, "data", e->data);
    buf_add_char(out, '\n');
    return buf_failed(out) ? (struct str){NULL, 0} : buf_str(out);
}

/* send(text) or send { event =, data =, id =, retry =, comment = } */
static int l_send(lua_State *L)
{
    struct event e = {.has_data = false};
    if (lua_type(L, 1) == LUA_TSTRING || lua_type(L, 1) == LUA_TNUMBER) {
        e.data.ptr = lua_tolstring(L, 1, &e.data.len);
        e.has_data = true;
    } else {
        lx_read_event(L, &e);
    }
    struct str text = put_event(&e);
    if (text.ptr == NULL)
        return luaL_error(L, "out of memory");
    return lx_stream_write(L, lua_tointeger(L, lua_upvalueindex(1)), text);
}

/* ---- the result ---- */

static int body_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* The body: calls the script's function with `send`. */
static int l_body(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushinteger(L, stream_id(L));
    lua_pushcclosure(L, l_send, 1);
    lua_callk(L, 1, 0, 0, body_done);
    return 0;
}

static void set_header(lua_State *L, const char *name, const char *value)
{
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

static int l_sse(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, 200);
    lua_setfield(L, -2, "statusCode");
    lua_createtable(L, 0, 4);
    set_header(L, "Content-Type", "text/event-stream");
    set_header(L, "Cache-Control", "no-cache");
    set_header(L, "X-Accel-Buffering", "no"); /* nginx in front would gather the pieces */
    lua_setfield(L, -2, "headers");
    if (lua_istable(L, 2)) {
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, "multiValueHeaders"); /* wins over `headers` */
    }
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, l_body, 1);
    lua_setfield(L, -2, "body");
    return 1;
}

int open_stream(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sse", l_sse}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
