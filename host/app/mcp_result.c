/* What a tool's handler returned, as the members of a result: a text, a table, { content = ... },
 * or an answer as functions give it. */
#include <errno.h>
#include <lauxlib.h>

#include "app/mcp_internal.h"
#include "base/limits.h"
#include "bindings/json.h"
#include "json/boxes.h"
#include "json/strict.h"
#include "lua/lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"
#include "run/outcome.h"

/* Keeps what was written; frees it. */
static void lx_keep(lua_State *L, struct mcp_message *message, struct buf *members)
{
    struct str kept = {NULL, 0};
    if (!buf_failed(members))
        kept = arena_copy(&message->ex->arena, buf_str(members));
    buf_free(members);
    message->result = lx_vm_check(L, kept);
}

/* The handler gave what cannot be sent. */
static void lx_refuse(lua_State *L, struct mcp_message *message, const char *text)
{
    struct buf members = BUF_INIT;
    struct exchange *inner = message->inner;
    if (inner != NULL) {
        inner->error_code = "invalid_result";
        outcome_log(inner, "the result cannot be sent", str_from(text), NULL,
                    (struct str){NULL, 0});
    }
    mcp_add_text(&members, str_from(text), true);
    lx_keep(L, message, &members);
}

static void lx_keep_text(lua_State *L, struct mcp_message *message, int index)
{
    struct buf members = BUF_INIT;
    struct str text;
    text.ptr = lua_tolstring(L, index, &text.len);
    mcp_add_text(&members, text, false);
    lx_keep(L, message, &members);
}

/* What the tool says its results are; NULL: anything. */
static const struct schema *output_of(lua_State *L)
{
    const struct tool_spec *tool = vm_of(L)->spec->tool;
    return tool != NULL ? tool->output : NULL;
}

/* Is this (taken over; NULL: it is not there) a result of that form? If not, the error is kept. */
static bool lx_fits(lua_State *L, struct mcp_message *message, json_t *value, enum schema_kind kind)
{
    static const char what[] = "The tool's result does not fit its output schema:";
    struct schema_errors errors = {.count = 1, .list = {{.message = STR("there is none")}}};
    int rc = -EINVAL;
    if (value != NULL)
        rc = schema_check(output_of(L), value, kind, &message->ex->arena, &errors);
    json_decref(value);
    if (rc == 0)
        return true;
    struct buf members = BUF_INIT;
    if (rc == -ENOMEM)
        members.failed = true;
    else
        mcp_add_misfit(&members, what, &errors);
    if (rc != -ENOMEM && message->inner != NULL) {
        message->inner->error_code = "invalid_result";
        outcome_log(message->inner, "the result does not fit the tool's output schema",
                    errors.list[0].message, "path", errors.list[0].path);
    }
    lx_keep(L, message, &members);
    return false;
}

/* The same of the value at `index`. */
static bool lx_table_fits(lua_State *L, struct mcp_message *message, int index)
{
    struct tree_fault fault;
    if (output_of(L) == NULL)
        return true;
    if (lua_isnil(L, index))
        return lx_fits(L, message, NULL, SCHEMA_LUA);
    json_t *value = tree_read(L, index, &fault);
    if (value != NULL)
        return lx_fits(L, message, value, SCHEMA_LUA);
    if (errno == ENOMEM)
        luaL_error(L, "out of memory");
    lua_pushfstring(L, "The tool's result cannot be written as JSON: %s%s%s", fault.path,
                    fault.path[0] != '\0' ? " " : "", fault.text);
    lx_refuse(L, message, lua_tostring(L, -1));
    return false;
}

/* Appends the member `name` of the table, if it is there, as JSON. False: a message is pushed. */
static bool add_member(lua_State *L, int table, const char *name, struct buf *out)
{
    lua_pushstring(L, name);
    if (lua_rawget(L, table) == LUA_TNIL) {
        lua_pop(L, 1);
        return true;
    }
    if (out->len > 0)
        buf_add_char(out, ',');
    buf_printf(out, "\"%s\":", name);
    if (json_encode_value(L, lua_gettop(L), out) != 0)
        return false;
    lua_pop(L, 1);
    return true;
}

/* { content = { { type = "image", ... } } }: as the protocol has it. */
static void lx_keep_content(lua_State *L, struct mcp_message *message, int table)
{
    static const char *const members[] = {"content", "structuredContent", "isError", "_meta"};
    lua_pushliteral(L, "isError");
    lua_rawget(L, table);
    lua_pushliteral(L, "structuredContent");
    lua_rawget(L, table);
    if (!lua_toboolean(L, -2) && !lx_table_fits(L, message, lua_gettop(L)))
        return;
    struct buf *out = json_scratch();
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (!add_member(L, table, members[i], out)) {
            lx_refuse(L, message, lua_tostring(L, -1));
            return;
        }
    }
    struct buf copy = BUF_INIT;
    buf_add_str(&copy, buf_str(out));
    copy.failed = copy.failed || buf_failed(out);
    lx_keep(L, message, &copy);
}

/* As structured content, and as text for those who know none. */
static void lx_keep_table(lua_State *L, struct mcp_message *message, int table)
{
    if (!lx_table_fits(L, message, table))
        return;
    struct buf *out = json_scratch();
    if (json_encode_value(L, table, out) != 0) {
        lx_refuse(L, message, lua_tostring(L, -1));
        return;
    }
    if (out->len > LIMIT_RESPONSE_BYTES / 2) {
        lx_refuse(L, message, "The tool's result is too long");
        return;
    }
    struct buf members = BUF_INIT;
    mcp_add_text(&members, buf_str(out), false);
    if (out->len > 0 && out->data[0] == '{') {
        buf_add_str(&members, STR(",\"structuredContent\":"));
        buf_add_str(&members, buf_str(out));
    }
    members.failed = members.failed || buf_failed(out);
    lx_keep(L, message, &members);
}

/* Is `content` of the table a list of the protocol's items? */
static bool has_content(lua_State *L, int table)
{
    int top = lua_gettop(L);
    bool is = false;
    lua_pushliteral(L, "content");
    if (lua_rawget(L, table) == LUA_TTABLE) {
        lazy_make_plain(L, -1);
        if (lua_rawgeti(L, -1, 1) == LUA_TTABLE) {
            lazy_make_plain(L, -1);
            lua_pushliteral(L, "type");
            is = lua_rawget(L, -2) == LUA_TSTRING;
        }
    }
    lua_settop(L, top);
    return is;
}

static bool has_status(lua_State *L, int table)
{
    lua_pushliteral(L, "statusCode");
    bool has = lua_rawget(L, table) == LUA_TNUMBER;
    lua_pop(L, 1);
    return has;
}

/* An answer as functions give it; where the tool has an output schema, its body is JSON. */
static void lx_keep_answer(lua_State *L, struct mcp_message *message, int table)
{
    struct response *res = &message->inner->res;
    outcome_read_result(L, table, message->inner);
    if (res->streamed)
        lx_refuse(L, message, "A tool's answer cannot come in pieces");
    res->streamed = false;
    if (message->result.ptr != NULL || res->status >= 400 || output_of(L) == NULL)
        return;
    json_t *value = strict_json_load_wide(res->body, JSON_ALLOW_NUL, NULL);
    if (value == NULL && errno == ENOMEM)
        luaL_error(L, "out of memory");
    if (!lx_fits(L, message, value, SCHEMA_JSON))
        return;
    struct buf members = BUF_INIT;
    mcp_add_text(&members, res->body, false);
    buf_add_str(&members, STR(",\"structuredContent\":"));
    json_add_compact(&members, res->body);
    lx_keep(L, message, &members);
}

void mcp_read_result(lua_State *L, int index, struct tool_call *tool)
{
    struct mcp_message *message = container_of(tool, struct mcp_message, tool);
    int value = lua_absindex(L, index);
    luaL_checkstack(L, 8, NULL);
    lazy_make_plain(L, value);
    switch (lua_type(L, value)) {
    case LUA_TSTRING:
    case LUA_TNUMBER:
        lua_pushvalue(L, value);
        if (output_of(L) == NULL || lx_fits(L, message, NULL, SCHEMA_LUA))
            lx_keep_text(L, message, lua_gettop(L));
        break;
    case LUA_TTABLE:
        if (has_content(L, value)) {
            lx_keep_content(L, message, value);
        } else if (!has_status(L, value)) {
            lx_keep_table(L, message, value);
        } else if (message->inner != NULL) {
            lx_keep_answer(L, message, value);
        }
        break;
    default:
        lx_refuse(L, message, "A tool returns a text or a table");
    }
    lua_settop(L, value);
}
