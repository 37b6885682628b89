/* Parts of a form that comes in pieces. */
#include "run/parts.h"

#include <lauxlib.h>

#include "http/multipart.h"
#include "run/chunks.h"
#include "run/event_fields.h"
#include "run/event_read.h"
#include "run/invocation.h"

struct parts { /* a userdata */
    struct multipart_reader reader;
    struct str rest;     /* of the piece */
    bool all;            /* no further piece comes */
    bool begun;          /* the reader has come to a part that was not given yet */
    lua_Integer given;   /* parts */
    const void *current; /* the last of them */
};

/* Its user values; it is the upvalue of the functions below. */
enum {
    CHUNKS = 1 /* the iterator */,
    PIECE /* of it */,
    METATABLE /* of parts */,
    USER_VALUES = 3
};

static struct parts *parts_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* The piece on top is the next. [-1, +0] */
static void take_piece(lua_State *L, struct parts *p)
{
    p->all = lua_type(L, -1) != LUA_TSTRING;
    p->rest = STR("");
    if (!p->all)
        p->rest.ptr = lua_tolstring(L, -1, &p->rest.len);
    lua_setiuservalue(L, lua_upvalueindex(1), PIECE);
}

/* Pushes the data that has come: where that is the whole piece, the piece itself. */
static void push_data(lua_State *L, const struct parts *p)
{
    size_t len;
    lua_getiuservalue(L, lua_upvalueindex(1), PIECE);
    const char *piece = lua_tolstring(L, -1, &len);
    if (p->reader.data.ptr == piece && p->reader.data.len == len)
        return;
    lua_pushlstring(L, p->reader.data.ptr, p->reader.data.len);
}

static void set_text(lua_State *L, const char *name, struct str text)
{
    if (text.ptr == NULL)
        return;
    event_push_text(L, text);
    lua_setfield(L, -2, name);
}

static void push_part(lua_State *L, struct parts *p)
{
    const struct multipart_part *part = &p->reader.part;
    lua_createtable(L, 0, 3);
    set_text(L, "name", part->name);
    set_text(L, "filename", part->filename);
    set_text(L, "type", part->type);
    lua_getiuservalue(L, lua_upvalueindex(1), METATABLE);
    lua_setmetatable(L, -2);
    p->current = lua_topointer(L, -1);
    p->given++;
}

/* Reads to the next part, or to the next data of the current one, in what is there. Pushes it, or
 * nil where there is none, and returns true; false: more has to come. */
static bool lx_read_on(lua_State *L, struct parts *p, bool for_part)
{
    while (!p->begun) {
        enum multipart_event event = multipart_feed(&p->reader, &p->rest);
        p->begun = event == MULTIPART_PART;
        if (event == MULTIPART_DATA && !for_part) {
            push_data(L, p);
            return true;
        }
        if (event == MULTIPART_FAULT || (event == MULTIPART_MORE && p->all))
            lx_event_refuse_form(L, &p->reader);
        /* What stands behind the end is read, too: then the request is over. */
        if (event == MULTIPART_MORE || (event == MULTIPART_END && for_part && !p->all))
            return false;
        if (event == MULTIPART_END) {
            lua_pushnil(L);
            return true;
        }
    }
    if (for_part) {
        push_part(L, p);
        p->begun = false;
    } else {
        lua_pushnil(L);
    }
    return true;
}

static int go_on(lua_State *L, int status, lua_KContext for_part);

static int lx_run(lua_State *L, bool for_part)
{
    struct parts *p = parts_of(L);
    lx_event_invocation(L);
    while (!lx_read_on(L, p, for_part)) {
        lua_getiuservalue(L, lua_upvalueindex(1), CHUNKS);
        lua_callk(L, 0, 1, for_part, go_on);
        take_piece(L, p);
    }
    return 1;
}

static int go_on(lua_State *L, int status, lua_KContext for_part)
{
    (void)status;
    take_piece(L, parts_of(L));
    return lx_run(L, for_part);
}

static int l_next_part(lua_State *L)
{
    return lx_run(L, true);
}

/* The second upvalue says of which part. */
static int l_next_data(lua_State *L)
{
    if (lua_tointeger(L, lua_upvalueindex(2)) != parts_of(L)->given)
        return luaL_error(L, "event:parts: this part is over; read it before the next one");
    return lx_run(L, false);
}

static int l_chunks_of_part(lua_State *L)
{
    struct parts *p = parts_of(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushinteger(L, lua_topointer(L, 1) == p->current ? p->given : 0);
    lua_pushcclosure(L, l_next_data, 2);
    return 1;
}

static struct parts *new_parts(lua_State *L, struct str boundary)
{
    struct parts *p = lua_newuserdatauv(L, sizeof(*p), USER_VALUES);
    multipart_init(&p->reader, boundary);
    p->rest = STR("");
    p->all = p->begun = false;
    p->current = NULL;
    p->given = 0;
    return p;
}

int l_parts(lua_State *L)
{
    const struct headers *headers = &lx_event_invocation(L)->ex->req.headers;
    const struct str *type = headers_get(headers, STR("content-type"));
    struct str boundary;
    if (type == NULL || !multipart_boundary(*type, &boundary))
        return lx_event_refuse_type(L, "multipart/form-data with a boundary");
    new_parts(L, boundary);
    int parts = lua_gettop(L);
    lua_pushcfunction(L, l_chunks);
    lua_call(L, 0, 1);
    lua_setiuservalue(L, parts, CHUNKS);
    lua_createtable(L, 0, 2);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, parts);
    lua_pushcclosure(L, l_chunks_of_part, 1);
    lua_setfield(L, -2, "chunks");
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setiuservalue(L, parts, METATABLE);
    lua_pushcclosure(L, l_next_part, 1);
    return 1;
}
