/* What a test's script gets: the global `test`, and what share/test.lua needs of the host. */
#include <errno.h>
#include <lauxlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/embedded.h"
#include "bindings/bindings.h"
#include "cli/test_internal.h"
#include "json/strict.h"
#include "lua/guard.h"
#include "lua/lazy.h"
#include "run/invocation.h"

static const char TESTS[] = "luafn.tests"; /* registry: list of functions */

/* ---- host.invoke: an operation like any other ---- */

struct invoke_op {
    struct op op;
    struct local_call call;
};

static void on_invoked(struct local_call *call)
{
    await_op_complete(&((struct invoke_op *)call->arg)->op);
}

static void cancel_invoke(struct op *op)
{
    local_call_free(&container_of(op, struct invoke_op, op)->call);
}

static void dispose_invoke(struct op *op)
{
    local_call_free(&container_of(op, struct invoke_op, op)->call);
}

/* Names in lower case, several values of one name joined. */
static void push_headers(lua_State *L, const struct headers *headers)
{
    lua_createtable(L, 0, (int)headers->len);
    for (uint32_t i = 0; i < headers->len; i++) {
        const struct header *h = &headers->items[i];
        luaL_Buffer name;
        char *out = luaL_buffinitsize(L, &name, h->name.len);
        memcpy(out, h->name.ptr, h->name.len);
        str_lower(out, h->name.len);
        luaL_pushresultsize(&name, h->name.len);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, h->value.ptr, h->value.len);
        } else {
            lua_pushliteral(L, ", ");
            lua_pushlstring(L, h->value.ptr, h->value.len);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
}

static int finish_invoke(lua_State *L, struct op *op)
{
    struct local_call *call = &container_of(op, struct invoke_op, op)->call;
    struct str body = local_body(call);
    lua_pushinteger(L, call->ex->res.status);
    push_headers(L, &call->ex->res.headers);
    lua_pushlstring(L, body.ptr != NULL ? body.ptr : "", body.len);
    return 3;
}

static const struct op_type invoke_type = {.name = "t.invoke",
                                           .cancel = cancel_invoke,
                                           .finish = finish_invoke,
                                           .dispose = dispose_invoke};

static struct str opt_text(lua_State *L, int index)
{
    struct str s = {NULL, 0};
    if (!lua_isnil(L, index))
        s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

/* (name, method, target, headers, body, signed): everything is copied into the exchange. */
static int fill_call(lua_State *L, struct local_call *call, struct err *err)
{
    struct str body = opt_text(L, 5);
    int rc = 0;
    luaL_checktype(L, 4, LUA_TTABLE);
    lazy_make_plain(L, 4);
    for (lua_pushnil(L); rc == 0 && lua_next(L, 4) != 0; lua_pop(L, 1)) {
        struct str name, value;
        name.ptr = luaL_checklstring(L, -2, &name.len);
        value.ptr = luaL_checklstring(L, -1, &value.len);
        rc = local_add_header(call, name, value, err);
    }
    if (rc == 0 && body.ptr != NULL && local_set_body(call, body) != 0)
        rc = err_set(err, -ENOMEM, "out of memory");
    return rc;
}

/* A target that is only a query belongs to the function's own path. */
static int aim(struct local_call *call, struct str name, struct str method, struct str target,
               struct function **function, struct err *err)
{
    bool only_query = target.len > 0 && target.ptr[0] == '?';
    int rc = local_aim(&test_now->local, call, name, method, only_query ? STR("") : target,
                       function, err);
    if (rc != 0 || !only_query)
        return rc;
    struct str whole =
        arena_printf(&call->ex->arena, "%.*s%.*s", STR_ARG(call->ex->req.path), STR_ARG(target));
    return whole.ptr != NULL ? local_set_target(call, whole, err)
                             : err_set(err, -ENOMEM, "out of memory");
}

static int l_invoke(lua_State *L)
{
    struct err err = {.text = "out of memory"};
    struct function *function = NULL;
    bool is_signed = lua_toboolean(L, 6);
    lua_settop(L, 5);
    struct str name = opt_text(L, 1), method = opt_text(L, 2), target = opt_text(L, 3);
    struct invoke_op *o = (struct invoke_op *)await_op_new(L, &invoke_type, sizeof(*o));
    /* From here on the operation owns the call: an error frees it with the userdata. */
    int rc = local_call_new(&o->call);
    o->call.done = on_invoked;
    o->call.arg = o;
    if (rc == 0)
        rc = fill_call(L, &o->call, &err);
    if (rc == 0)
        rc = aim(&o->call, name, method, target, &function, &err);
    if (rc == 0 && is_signed)
        rc = local_sign(&o->call, function, &err);
    if (rc != 0)
        return luaL_error(L, "t.invoke: %s", err.text);
    lua_settop(L, 6);
    /* The test's own task runs now: what it calls begins at the loop's next turn. */
    local_send_later(&test_now->local, &o->call);
    return await(L, &o->op);
}

/* ---- the other calls ---- */

static int l_clock(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= LIMIT_DATE_MAX, 1,
                  "not a time between the years 1970 and 9999");
    clock_set(seconds);
    return 0;
}

static int l_env(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *value = luaL_checkstring(L, 2);
    if (env_set(test_now->local.app.current->config->env, name, value) != 0)
        return luaL_error(L, "out of memory");
    return 0;
}

/* Does anything run but the test itself? */
static int l_busy(lua_State *L)
{
    const struct deployment *deployment = test_now->local.app.current;
    unsigned running = 0;
    for (unsigned i = 0; i < deployment->function_count; i++)
        running += deployment->functions[i]->running;
    lua_pushboolean(L, running > 1);
    return 1;
}

/* (name of a function): the test's kv is that function's. */
static int l_kv(lua_State *L)
{
    struct deployment *deployment = test_now->local.app.current;
    struct str name = opt_text(L, 1);
    const struct function *function = deployment_find(deployment, name);
    struct function *test = deployment_find(deployment, STR(TEST_FUNCTION));
    if (function == NULL || test == NULL)
        return luaL_error(L, "t.kv: there is no function '%s'; `luafn routes` lists them",
                          lua_tostring(L, 1));
    const struct function_spec *spec =
        function->current != NULL ? &function->current->spec : function->spec;
    test->current->spec.kv = spec->kv.len > 0 ? spec->kv : spec->name;
    return 0;
}

/* (claims as JSON, name of a function or nil) */
static int l_token(lua_State *L)
{
    static struct buf token;
    struct err err = {.text = "out of memory"};
    struct str text = opt_text(L, 1), name = opt_text(L, lua_gettop(L) > 1 ? 2 : 1);
    const struct function *function = lua_gettop(L) > 1 && name.ptr != NULL
                                          ? deployment_find(test_now->local.app.current, name)
                                          : NULL;
    json_t *claims = strict_json_watched(text, 0, NULL);
    buf_clear(&token);
    if (local_token(&test_now->local, function, claims, &token, &err) != 0)
        return luaL_error(L, "t.token: %s", err.text);
    if (buf_failed(&token))
        return luaL_error(L, "out of memory");
    lua_pushlstring(L, token.data, token.len);
    return 1;
}

static const luaL_Reg host_calls[] = {
    {"answer", l_test_answer},
    {"busy", l_busy},
    {"clock", l_clock},
    {"env", l_env},
    {"fail", l_test_fail},
    {"invoke", l_invoke},
    {"kv", l_kv},
    {"on_fetch", l_test_on_fetch},
    {"token", l_token},
    {"unanswered", l_test_unanswered},
    {NULL, NULL},
};

/* ---- running one ---- */

/* stack: ..., maybe an error */
static int test_done(lua_State *L, int status, lua_KContext ctx)
{
    (void)ctx;
    if (status != LUA_OK && status != LUA_YIELD) {
        guard_caught(L, status);
        size_t len;
        if (lua_istable(L, -1))
            lua_getfield(L, -1, "message");
        const char *text = luaL_tolstring(L, -1, &len);
        if (test_now->failure.len == 0)
            buf_add(&test_now->failure, text, len);
    }
    lua_pushliteral(L, "");
    return 1;
}

static void on_run_end(struct invocation_ending *ending)
{
    container_of(ending, struct test_case, run_ending)->run = NULL;
}

/* The handler of the test's file: runs the test that it is the turn of. */
static int l_run(lua_State *L)
{
    const struct embedded_file *api = embedded_find("share/test.lua");
    test_now->run = invocation_of(L);
    test_now->run_ending.end = on_run_end;
    list_init(&test_now->run_ending.node);
    invocation_on_end(test_now->run, &test_now->run_ending);
    lua_settop(L, 0);
    lua_getfield(L, LUA_REGISTRYINDEX, TESTS);
    lua_rawgeti(L, 1, (lua_Integer)test_now->index);
    if (api == NULL || luaL_loadbufferx(L, api->data, api->len, "=t", "t") != LUA_OK)
        return luaL_error(L, "the program lacks share/test.lua");
    luaL_newlib(L, host_calls);
    lua_call(L, 1, 1); /* stack: tests, test, t */
    return test_done(L, lua_pcallk(L, 1, 0, 0, 0, test_done), 0);
}

/* { env = { NAME = "value" } } of the test that it is the turn of: kept for the world's next life.
 */
static void take_options(lua_State *L, int index)
{
    bool mine = test_now->count + 1 == test_now->index;
    lazy_make_plain(L, index);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "env") != 0)
            luaL_error(L, "test: an option is `env`, not '%s'", luaL_tolstring(L, -2, NULL));
        luaL_checktype(L, -1, LUA_TTABLE);
        int env = lua_gettop(L);
        lazy_make_plain(L, env);
        for (lua_pushnil(L); lua_next(L, env) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "test: env is a table of texts: { NAME = \"value\" }");
            if (mine)
                buf_printf(&test_now->env, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
            if (mine)
                buf_add_char(&test_now->env, '\0');
        }
    }
}

/* test(name [, options], function): while the file is loaded. */
static int l_test(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    int last = lua_istable(L, 2) ? 3 : 2;
    luaL_checktype(L, last, LUA_TFUNCTION);
    if (vm_of(L)->globals_frozen)
        return luaL_error(L, "test(...) can only be called while the file is loaded");
    lua_settop(L, last);
    if (last == 3)
        take_options(L, 2);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, TESTS);
    lua_pushvalue(L, last);
    lua_rawseti(L, -2, (lua_Integer)++test_now->count);
    buf_add(&test_now->names, name, strlen(name));
    buf_add_char(&test_now->names, '\0');
    return 0;
}

/* Only the test's file gets it; other scripts do not know that they are tested. */
static int open_test(lua_State *L)
{
    const struct vm *vm = vm_of(L);
    lua_pushnil(L);
    if (vm->spec == NULL || !str_eq(vm->spec->name, STR(TEST_FUNCTION)))
        return 1;
    lua_pushcfunction(L, l_run);
    lua_setfield(L, LUA_REGISTRYINDEX, INSTANCE_DEFAULT_HANDLER);
    lua_pushcfunction(L, l_test);
    return 1;
}

const struct binding *test_bindings(void)
{
    static struct binding all[64];
    unsigned count = 0;
    for (const struct binding *b = bindings; b->name != NULL && count < 62; b++)
        all[count++] = *b;
    all[count++] = (struct binding){"test", open_test};
    all[count] = (struct binding){NULL, NULL};
    return all;
}
