/* The sql module: databases for handlers (sql/sql.h), statements as calls that wait.
 *
 * A statement of its own takes a connection for as long as it runs; those of a transaction share
 * one, which is given back, and rolled back where it was not committed, when the function ends in
 * any way. Errors of the database are raised as tables { code, message, detail, constraint }. */
#include "sql/sql.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "bindings/bindings.h"
#include "bindings/json.h"
#include "lua/told.h"
#include "lua/json_lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"
#include "run/await.h"
#include "run/invocation.h"

static const char DB[] = "luafn.sql", TX[] = "luafn.sql.transaction";

/* Upvalues of the methods: the metatables. */
enum { AT_DB_KIND = 1, AT_TX_KIND, KINDS = AT_TX_KIND };

/* What a script calls db, and in a transaction tx. */
struct handle {
    struct sql_pool *pool;           /* borrowed: as long as the worker */
    struct transaction *transaction; /* NULL: none, or it is over */
};

/* Ends with the run, however that ends. */
struct transaction {
    struct invocation_ending ending;
    struct sql_session *session; /* owned */
    struct handle *handle;       /* borrowed; NULL: collected */
    bool busy;                   /* a statement is under way */
};

struct statement_op {
    struct op op;
    struct sql_session *session;     /* owned without a transaction; NULL: over */
    struct transaction *transaction; /* borrowed; NULL: none */
    unsigned told;                   /* the call, for who listens; 0: nobody does */
    enum result { ROWS, ONE, AFFECTED, NOTHING } result;
};

/* ---- errors ---- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    if (text[0] == '\0')
        return;
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static int l_error_text(lua_State *L)
{
    lua_getfield(L, 1, "message");
    return 1;
}

static int raise_error(lua_State *L, const struct sql_error *error)
{
    lua_createtable(L, 0, 4);
    set_text(L, "code", error->code);
    set_text(L, "message", error->message);
    set_text(L, "detail", error->detail);
    set_text(L, "constraint", error->constraint);
    if (luaL_newmetatable(L, "luafn.sql.error")) {
        lua_pushcfunction(L, l_error_text);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
    return lua_error(L);
}

/* ---- rows ---- */

static void push_cell(lua_State *L, const struct sql_value *value)
{
    switch (value->type) {
    case SQL_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case SQL_INTEGER:
        lua_pushinteger(L, (lua_Integer)value->integer);
        break;
    case SQL_FLOAT:
        lua_pushnumber(L, value->number);
        break;
    case SQL_BOOLEAN:
        lua_pushboolean(L, value->integer != 0);
        break;
    default:
        lua_pushlstring(L, value->text.ptr, value->text.len);
        if (value->type != SQL_JSON)
            return;
        if (json_lazy_decode(L, -1) != 0)
            lua_error(L); /* a database keeps no such JSON, but SQLite's types are only declared */
        lua_remove(L, -2);
    }
}

static void push_row(lua_State *L, const struct sql_rows *rows, size_t row)
{
    const char *name = rows->names.data;
    lua_createtable(L, 0, (int)rows->columns);
    for (unsigned i = 0; i < rows->columns; i++, name += strlen(name) + 1) {
        struct sql_value value = sql_rows_get(rows, row, i);
        lua_pushstring(L, name);
        push_cell(L, &value);
        lua_rawset(L, -3);
    }
}

/* A list that is one in JSON too, with `affected` beside it. */
static void push_rows(lua_State *L, const struct sql_rows *rows)
{
    luaL_checkstack(L, 8, NULL);
    lua_createtable(L, rows->count < INT_MAX ? (int)rows->count : 0, 0);
    for (size_t i = 0; i < rows->count; i++) {
        push_row(L, rows, i);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_createtable(L, 0, 4);
    tree_make_array_mt(L);
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)rows->affected);
    lua_setfield(L, -2, "affected");
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

static int push_result(lua_State *L, const struct sql_rows *rows, enum result result)
{
    if (result == ROWS)
        push_rows(L, rows);
    else if (result == ONE && rows->count > 0)
        push_row(L, rows, 0);
    else if (result == AFFECTED)
        lua_pushinteger(L, (lua_Integer)rows->affected);
    else
        lua_pushnil(L);
    return 1;
}

/* ---- a statement ---- */

static void dispose(struct op *op)
{
    struct statement_op *s = container_of(op, struct statement_op, op);
    if (s->transaction == NULL && s->session != NULL)
        sql_session_drop(s->session);
    s->session = NULL;
}

static void end_transaction(struct transaction *t);

/* The statement of a transaction cannot go on without the rest. */
static void cancel(struct op *op)
{
    struct statement_op *s = container_of(op, struct statement_op, op);
    struct transaction *t = s->transaction;
    dispose(op);
    s->transaction = NULL;
    if (t != NULL)
        end_transaction(t);
}

static void on_done(struct sql_session *session)
{
    struct statement_op *s = session->owner;
    if (s->transaction != NULL)
        s->transaction->busy = false;
    await_op_complete(&s->op);
}

static void tell_end(lua_State *L, const struct statement_op *s)
{
    struct hook *hook = told_hook(L);
    if (hook == NULL || s->told == 0)
        return;
    struct buf *out = hook_text(hook);
    if (s->session->failed) {
        buf_add_str(out, STR("{\"error\":"));
        redact_add_text(hook->redact, str_from(s->session->error.message), LIMIT_JOURNAL_TEXT, out);
        buf_add_char(out, '}');
    }
    told_end(hook, s->told);
}

static int finish(lua_State *L, struct op *op)
{
    struct statement_op *s = container_of(op, struct statement_op, op);
    tell_end(L, s);
    if (s->session->failed) {
        struct sql_error error = s->session->error;
        dispose(op);
        return raise_error(L, &error);
    }
    int count = push_result(L, &s->session->rows, s->result);
    sql_rows_clear(&s->session->rows);
    dispose(op);
    return count;
}

static const struct op_type statement_type = {
    .name = "sql", .cancel = cancel, .finish = finish, .dispose = dispose};

/* Statements are not in a record, and no database is asked in place of one: the run ends here. */
static void lx_end_replay(lua_State *L, struct hook *hook, struct str text)
{
    redact_add_text(hook->redact, text, LIMIT_JOURNAL_TEXT, hook_text(hook));
    lx_told_begin(L, hook, "sql");
    luaL_error(L, "sql: a replay asks no database");
}

/* A statement begins. 0: nobody wants to know. */
static unsigned lx_tell(lua_State *L, struct hook *hook, struct str text)
{
    if (hook == NULL || !hook->type->statements)
        return 0;
    redact_add_text(hook->redact, text, LIMIT_JOURNAL_TEXT, hook_text(hook));
    return lx_told_begin(L, hook, "sql");
}

/* Sends the statement; in a transaction on its connection. */
static int run(lua_State *L, struct handle *handle, struct str text, const struct sql_value *params,
               unsigned count, enum result result)
{
    struct vm *vm = vm_of(L);
    if (vm->hook != NULL && hook_replays(vm->hook))
        lx_end_replay(L, vm->hook, text);
    struct transaction *t = handle->transaction;
    size_t room = vm->limit > vm->used ? vm->limit - vm->used : LIMIT_SQL_ROWS;
    struct statement_op *s = (struct statement_op *)await_op_new(L, &statement_type, sizeof(*s));
    s->result = result;
    s->told = lx_tell(L, vm->hook, text);
    s->transaction = t;
    s->session = t != NULL ? t->session : sql_session_new(handle->pool, on_done, s);
    if (s->session == NULL)
        return luaL_error(L, "out of memory");
    s->session->owner = s;
    if (t != NULL)
        t->busy = true;
    if (sql_session_run(s->session, text, params, count, room) == 0)
        return await(L, &s->op);
    if (t != NULL)
        t->busy = false;
    return luaL_error(L, "out of memory");
}

/* ---- arguments ---- */

/* Has the first argument the metatable that this upvalue of the function is? */
static bool is_kind(lua_State *L, int upvalue)
{
    if (lua_type(L, 1) != LUA_TUSERDATA || !lua_getmetatable(L, 1))
        return false;
    bool same = lua_rawequal(L, -1, lua_upvalueindex(upvalue));
    lua_pop(L, 1);
    return same;
}

static struct handle *check_handle(lua_State *L)
{
    struct handle *handle = lua_touserdata(L, 1);
    if (!is_kind(L, AT_TX_KIND)) {
        if (!is_kind(L, AT_DB_KIND))
            luaL_typeerror(L, 1, DB);
        if (handle->pool == NULL && vm_of(L)->hook != NULL && hook_replays(vm_of(L)->hook))
            lx_end_replay(L, vm_of(L)->hook, STR(""));
        if (handle->pool == NULL)
            luaL_error(L, "sql: there is no database here; a script's top level only opens it");
        return handle;
    }
    if (handle->transaction == NULL)
        luaL_error(L, "the transaction is over");
    if (handle->transaction->busy)
        luaL_error(L, "a statement of this transaction is under way: they run one after the other");
    return handle;
}

static void lx_param(lua_State *L, int index, struct sql_value *out)
{
    *out = (struct sql_value){.type = SQL_NULL};
    switch (lua_type(L, index)) {
    case LUA_TBOOLEAN:
        out->type = SQL_BOOLEAN;
        out->integer = lua_toboolean(L, index);
        break;
    case LUA_TNUMBER:
        out->type = lua_isinteger(L, index) ? SQL_INTEGER : SQL_FLOAT;
        out->integer = lua_tointeger(L, index);
        out->number = lua_tonumber(L, index);
        break;
    case LUA_TTABLE: { /* as JSON; the text takes the table's place */
        struct buf *text = json_scratch();
        if (json_encode_value(L, index, text) != 0)
            lua_error(L);
        lua_pushlstring(L, text->data, text->len);
        lua_replace(L, index);
    }
        __attribute__((fallthrough));
    case LUA_TSTRING:
        out->text.ptr = lua_tolstring(L, index, &out->text.len);
        out->type = SQL_TEXT;
        if (!str_is_utf8(out->text) || memchr(out->text.ptr, '\0', out->text.len) != NULL)
            out->type = SQL_BYTES;
        break;
    case LUA_TNIL:
        break;
    default:
        luaL_argcheck(L, lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL, index,
                      "a text, number, boolean, table or sql.null expected");
    }
}

static int statement(lua_State *L, enum result result)
{
    struct handle *handle = check_handle(L);
    struct str text;
    text.ptr = luaL_checklstring(L, 2, &text.len);
    int count = lua_gettop(L) - 2;
    luaL_argcheck(L, strlen(text.ptr) == text.len, 2, "a zero byte in the statement");
    luaL_argcheck(L, count <= LIMIT_SQL_PARAMS, LIMIT_SQL_PARAMS + 2, "too many parameters");
    struct sql_value params[LIMIT_SQL_PARAMS];
    for (int i = 0; i < count; i++)
        lx_param(L, i + 3, &params[i]);
    return run(L, handle, text, params, (unsigned)count, result);
}

static int l_query(lua_State *L)
{
    return statement(L, ROWS);
}

static int l_one(lua_State *L)
{
    return statement(L, ONE);
}

static int l_exec(lua_State *L)
{
    return statement(L, AFFECTED);
}

/* ---- transactions ---- */

/* Gives the connection back; what is not committed is rolled back there. */
static void end_transaction(struct transaction *t)
{
    list_remove(&t->ending.node);
    if (t->handle != NULL)
        t->handle->transaction = NULL;
    sql_session_drop(t->session);
    free(t);
}

static void on_run_ends(struct invocation_ending *ending)
{
    end_transaction(container_of(ending, struct transaction, ending));
}

static int l_collect(lua_State *L)
{
    struct handle *handle = lua_touserdata(L, 1);
    if (handle->transaction != NULL)
        handle->transaction->handle = NULL;
    handle->transaction = NULL;
    return 0;
}

static int l_begin(lua_State *L)
{
    return run(L, luaL_checkudata(L, 1, TX), STR("BEGIN"), NULL, 0, NOTHING);
}

static int l_commit(lua_State *L)
{
    return run(L, luaL_checkudata(L, 1, TX), STR("COMMIT"), NULL, 0, NOTHING);
}

/* The stack is db, function, tx, and then what a step has left. */
enum { AT_TX = 3 };

static void lx_end(lua_State *L)
{
    struct handle *tx = lua_touserdata(L, AT_TX);
    if (tx->transaction != NULL)
        end_transaction(tx->transaction);
}

static int committed(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    lx_end(L);
    if (status != LUA_OK && status != LUA_YIELD)
        return lua_error(L);
    lua_pop(L, 1); /* COMMIT's */
    return lua_gettop(L) - AT_TX;
}

static int ran(lua_State *L, int status, lua_KContext ctx)
{
    const struct handle *tx = lua_touserdata(L, AT_TX);
    (void)ctx;
    if (status != LUA_OK && status != LUA_YIELD) {
        lx_end(L);
        return lua_error(L);
    }
    if (tx->transaction == NULL)
        return luaL_error(L, "the transaction is over");
    lua_pushcfunction(L, l_commit);
    lua_pushvalue(L, AT_TX);
    return committed(L, lua_pcallk(L, 1, 1, 0, 0, committed), 0);
}

static int begun(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    if (status != LUA_OK && status != LUA_YIELD) {
        lx_end(L);
        return lua_error(L);
    }
    lua_settop(L, AT_TX);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, AT_TX);
    return ran(L, lua_pcallk(L, 1, LUA_MULTRET, 0, 0, ran), 0);
}

static void lx_push_handle(lua_State *L, struct sql_pool *pool, const char *kind)
{
    struct handle *handle = lua_newuserdatauv(L, sizeof(*handle), 0);
    *handle = (struct handle){.pool = pool};
    luaL_setmetatable(L, kind);
}

static int l_transaction(lua_State *L)
{
    const struct handle *db = luaL_checkudata(L, 1, DB);
    struct invocation *inv = invocation_of(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (inv == NULL || db->pool == NULL || !vm_can_yield(L))
        return luaL_error(L, "db:transaction cannot wait here");
    lx_push_handle(L, db->pool, TX);
    struct transaction *t = calloc(1, sizeof(*t));
    if (t == NULL || (t->session = sql_session_new(db->pool, on_done, NULL)) == NULL) {
        free(t);
        return luaL_error(L, "out of memory");
    }
    t->handle = lua_touserdata(L, AT_TX);
    t->handle->transaction = t;
    t->ending.end = on_run_ends;
    list_init(&t->ending.node);
    invocation_on_end(inv, &t->ending);
    lua_pushcfunction(L, l_begin);
    lua_pushvalue(L, AT_TX);
    return begun(L, lua_pcallk(L, 1, 1, 0, 0, begun), 0);
}

/* ---- sql.open ---- */

/* Does one of the variables that the function lists have this value? */
static bool may_open(const struct vm *vm, const char *url)
{
    const struct services *services = vm->services;
    const struct function_spec *spec = vm->spec;
    for (unsigned i = 0; spec != NULL && i < spec->sql_count; i++) {
        const char *value =
            services->getenv != NULL ? services->getenv(services->env_arg, spec->sql[i].ptr) : NULL;
        if (value != NULL && strcmp(value, url) == 0)
            return true;
    }
    return false;
}

static int l_open(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    const char *url = luaL_checkstring(L, 1);
    struct err err;
    if (vm->services == NULL || vm->services->sql == NULL) { /* `check`: it may be open, not used */
        lx_push_handle(L, NULL, DB);
        return 1;
    }
    if (!may_open(vm, url))
        return luaL_error(L, "sql.open: that address is not the value of a variable that `sql` of "
                             "this function lists, as sql = { \"DATABASE_URL\" }");
    struct sql_pool *pool = sql_pool_of(vm->services->sql, str_from(url), vm->spec->root, &err);
    if (pool == NULL)
        return luaL_error(L, "sql.open: %s", err.text);
    lx_push_handle(L, pool, DB);
    return 1;
}

static void make_kind(lua_State *L, const char *kind, const luaL_Reg *methods)
{
    luaL_getmetatable(L, kind);
    lua_newtable(L);
    luaL_getmetatable(L, DB);
    luaL_getmetatable(L, TX);
    luaL_setfuncs(L, methods, KINDS);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, l_collect);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

int open_sql(lua_State *L)
{
    static const luaL_Reg of_tx[] = {
        {"exec", l_exec}, {"one", l_one}, {"query", l_query}, {NULL, NULL}};
    static const luaL_Reg of_db[] = {{"exec", l_exec},
                                     {"one", l_one},
                                     {"query", l_query},
                                     {"transaction", l_transaction},
                                     {NULL, NULL}};
    luaL_newmetatable(L, DB);
    luaL_newmetatable(L, TX);
    lua_pop(L, 2);
    make_kind(L, DB, of_db);
    make_kind(L, TX, of_tx);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_open);
    lua_setfield(L, -2, "open");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    return 1;
}
