/* JSON, forms, cookies and the query of a request as tables. */
#include "run/event_read.h"

#include <lauxlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/content_type.h"
#include "http/multipart.h"
#include "http/target.h"
#include "lua/json_lazy.h"
#include "lua/lazy.h"
#include "lua/tree.h"
#include "run/event_fields.h"
#include "run/invocation.h"

struct invocation *lx_event_invocation(lua_State *L)
{
    struct invocation *inv = invocation_of(L);
    if (inv == NULL || inv->answered)
        luaL_error(L, "event: can only be read while the request is handled");
    return inv;
}

int lx_event_refuse(lua_State *L, int status, const char *code)
{
    struct arena *arena = &lx_event_invocation(L)->ex->arena;
    struct response res = {0};
    struct str text = {lua_tostring(L, -1), lua_rawlen(L, -1)};
    if (response_set_error(&res, arena, status, str_from(code), text) != 0)
        return luaL_error(L, "out of memory");
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "statusCode");
    lua_pushlstring(L, res.body.ptr, res.body.len);
    lua_setfield(L, -2, "body");
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "application/json");
    lua_setfield(L, -2, "Content-Type");
    lua_setfield(L, -2, "headers");
    return lua_error(L);
}

/* ---- the body ---- */

static struct str lx_body(lua_State *L, const struct invocation *inv, const char *what)
{
    if (inv->instance->spec.stream_body)
        luaL_error(L, "event:%s: the body comes as a stream; read it with event:%s()", what,
                   strcmp(what, "form") == 0 ? "parts() or event:chunks" : "chunks");
    struct str body = inv->ex->req.body;
    return body.ptr != NULL ? body : STR("");
}

static const struct str *content_type(const struct invocation *inv)
{
    return headers_get(&inv->ex->req.headers, STR("content-type"));
}

int lx_event_refuse_type(lua_State *L, const char *wanted)
{
    const struct str *type = content_type(lx_event_invocation(L));
    lua_pushfstring(L, "The body should be %s, not ", wanted);
    event_push_text(L, type != NULL ? *type : STR("without a Content-Type"));
    lua_concat(L, 2);
    return lx_event_refuse(L, 415, "unsupported_media_type");
}

static struct str type_alone(struct str type)
{
    return str_trim((struct str){type.ptr, str_find(type, ';')});
}

int l_event_json(lua_State *L)
{
    struct invocation *inv = lx_event_invocation(L);
    struct str body = lx_body(L, inv, "json");
    const struct str *type = content_type(inv);
    if (type != NULL && !content_type_is_json(*type))
        return lx_event_refuse_type(L, "JSON");
    lua_pushlstring(L, body.ptr, body.len);
    return json_lazy_decode(L, -1) == 0 ? 1 : lx_event_refuse(L, 400, "invalid_json");
}

/* ---- names and values ---- */

enum values { VALUES_FIRST, VALUES_SEVERAL /* a list where there are */, VALUES_LISTS };

/* Appends the value on top to the list of the name below it. [-2, +0] */
static void append(lua_State *L, int table)
{
    lua_pushvalue(L, -2);
    if (lua_rawget(L, table) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 1, 0);
        tree_push_array_mt(L);
        lua_setmetatable(L, -2);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, table);
    } /* stack: name, value, list */
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 2);
}

/* Lists become what was asked for. */
static void settle(lua_State *L, int table, enum values values)
{
    if (values == VALUES_LISTS)
        return;
    for (lua_pushnil(L); lua_next(L, table) != 0;) { /* stack: name, list */
        if (values == VALUES_FIRST || lua_rawlen(L, -1) == 1) {
            lua_pushvalue(L, -2);
            lua_rawgeti(L, -2, 1);
            lua_rawset(L, table);
        }
        lua_pop(L, 1);
    }
}

static int lx_refuse_count(lua_State *L)
{
    lua_pushfstring(L, "More than %d fields", LIMIT_FORM_FIELDS);
    return lx_event_refuse(L, 413, "too_large");
}

/* `name=value&...` into the table at `table`. */
static void lx_add_pairs(lua_State *L, struct invocation *inv, struct str text, int table)
{
    struct query_pair *pairs = NULL;
    if (str_count(text, '&') >= LIMIT_FORM_FIELDS)
        lx_refuse_count(L);
    int count = target_parse_query(&inv->ex->arena, text, &pairs);
    if (count < 0)
        luaL_error(L, "out of memory");
    for (int i = 0; i < count; i++) {
        event_push_text(L, pairs[i].name);
        event_push_text(L, pairs[i].value);
        append(L, table);
    }
}

int l_event_query(lua_State *L)
{
    struct invocation *inv = lx_event_invocation(L);
    if (inv->call->query != NULL) {
        tree_push(L, inv->call->query);
        return 1;
    }
    lua_newtable(L);
    lx_add_pairs(L, inv, inv->ex->req.query, lua_gettop(L));
    settle(L, lua_gettop(L), VALUES_SEVERAL);
    return 1;
}

/* ---- forms ---- */

int lx_event_refuse_form(lua_State *L, const struct multipart_reader *reader)
{
    const struct http_fault *fault = reader->fault;
    if (fault == NULL) {
        lua_pushliteral(L, "The end of the form is missing");
        return lx_event_refuse(L, 400, "invalid_form");
    }
    lua_pushfstring(L, "%s (part %d)", fault->text, (int)reader->parts + 1);
    return lx_event_refuse(L, fault->status, fault->code);
}

static void set_field(lua_State *L, const char *name, struct str value)
{
    event_push_text(L, value);
    lua_setfield(L, -2, name);
}

/* A file without its bytes. [-0, +1] */
static void push_file(lua_State *L, const struct multipart_part *part)
{
    lua_createtable(L, 0, 4);
    set_field(L, "filename", part->filename);
    set_field(L, "type", part->type.ptr != NULL ? part->type : STR("application/octet-stream"));
}

/* Pushes the bytes of a field, or adds them to the file on top. */
static void put_data(lua_State *L, bool is_file, struct str data)
{
    if (!is_file) {
        event_push_text(L, data);
        return;
    }
    lua_pushinteger(L, (lua_Integer)data.len);
    lua_setfield(L, -2, "size");
    lua_pushlstring(L, data.ptr, data.len);
    lua_setfield(L, -2, "data");
}

static void lx_add_parts(lua_State *L, struct str body, struct str boundary, int table)
{
    struct multipart_reader reader;
    multipart_init(&reader, boundary);
    enum multipart_event event = multipart_feed(&reader, &body);
    while (event == MULTIPART_PART) {
        bool is_file = reader.part.filename.ptr != NULL;
        event_push_text(L, reader.part.name);
        if (is_file)
            push_file(L, &reader.part);
        event = multipart_feed(&reader, &body);
        put_data(L, is_file, event == MULTIPART_DATA ? reader.data : STR(""));
        append(L, table);
        if (event == MULTIPART_DATA)
            event = multipart_feed(&reader, &body);
    }
    if (event != MULTIPART_END)
        lx_event_refuse_form(L, &reader);
}

static bool wants_lists(lua_State *L)
{
    if (lua_isnoneornil(L, 2))
        return false;
    luaL_checktype(L, 2, LUA_TTABLE);
    lazy_make_plain(L, 2);
    for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
        lua_pushvalue(L, -2);
        if (strcmp(lua_tostring(L, -1) != NULL ? lua_tostring(L, -1) : "", "lists") != 0)
            luaL_error(L, "event:form: unknown option '%s'; write { lists = true }",
                       luaL_tolstring(L, -1, NULL));
        lua_pop(L, 1);
    }
    lua_pushliteral(L, "lists");
    lua_rawget(L, 2);
    bool lists = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return lists;
}

int l_event_form(lua_State *L)
{
    struct invocation *inv = lx_event_invocation(L);
    struct str body = lx_body(L, inv, "form"), boundary;
    const struct str *type = content_type(inv);
    bool lists = wants_lists(L);
    lua_newtable(L);
    int table = lua_gettop(L);
    if (type != NULL && str_eq_nocase(type_alone(*type), STR("application/x-www-form-urlencoded")))
        lx_add_pairs(L, inv, body, table);
    else if (type != NULL && multipart_boundary(*type, &boundary))
        lx_add_parts(L, body, boundary, table);
    else
        return lx_event_refuse_type(L, "a form");
    settle(L, table, lists ? VALUES_LISTS : VALUES_FIRST);
    return 1;
}

/* ---- cookies ---- */

static void lx_add_cookie(lua_State *L, struct invocation *inv, struct str pair, int table)
{
    size_t equals = str_find(pair, '=');
    struct str name = str_trim((struct str){pair.ptr, equals});
    if (equals == pair.len || name.len == 0)
        return;
    struct str value = str_trim(str_skip(pair, equals + 1));
    if (value.len > 1 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
        value = (struct str){value.ptr + 1, value.len - 2};
    event_push_text(L, name);
    event_push_text(L, lx_vm_check(L, target_percent_decode(&inv->ex->arena, value, false)));
    append(L, table);
}

int l_event_cookies(lua_State *L)
{
    struct invocation *inv = lx_event_invocation(L);
    const struct headers *headers = &inv->ex->req.headers;
    lua_newtable(L);
    int table = lua_gettop(L);
    for (uint32_t i = 0; i < headers->len; i++) {
        struct str rest = headers->items[i].value, pair;
        if (!str_eq(headers->items[i].name, STR("cookie")))
            continue;
        while (str_split_next(&rest, ';', &pair))
            lx_add_cookie(L, inv, pair, table);
    }
    settle(L, table, VALUES_FIRST);
    return 1;
}
