/* The library replacements: the same language as before, however a script is cut into slices. */
#include "unit.h"

#include <lualib.h>

#include "lua_run.h"

/* ---- slices of every length ---------------------------------------------------------------- */

static void on_slice(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (!vm_can_yield(L))
        return;
    vm_of(L)->yield = VM_YIELD_SLICE;
    lua_yield(L, 0);
}

/* Runs the file with a yield every `count` instructions, in the script's own coroutines too (they
 * inherit the hook). The result is left on the vm's stack. */
static const char *run_sliced(struct vm *vm, const char *path, int count, unsigned *slices)
{
    lua_State *co = lua_newthread(vm->L);
    if (luaL_loadfilex(co, path, "t") != LUA_OK)
        fail_msg("%s", lua_tostring(co, -1));
    if (count > 0)
        lua_sethook(co, on_slice, LUA_MASKCOUNT, count);
    int status, results = 0;
    *slices = 0;
    do {
        vm->yield = VM_YIELD_SCRIPT;
        status = lua_resume(co, NULL, 0, &results);
        (*slices)++;
        if (status == LUA_YIELD && vm->yield == VM_YIELD_SCRIPT)
            fail_msg("a script's yield came out");
    } while (status == LUA_YIELD);
    if (status != LUA_OK)
        fail_msg("count %d: %s", count, lua_tostring(co, -1));
    return lua_tostring(co, -1);
}

static void test_slices_change_nothing(void **state)
{
    (void)state;
    const char *path = "tests/lua/features.lua"; /* tools/test.sh runs it as a function, too */
    unsigned slices;
    struct vm *vm = script_vm(0);
    char expected[16384];
    int len = snprintf(expected, sizeof(expected), "%s", run_sliced(vm, path, 0, &slices));
    assert_in_range(len, 1000, sizeof(expected) - 1);
    assert_int_equal(slices, 1);
    vm_free(vm);
    int step = slowness() > 1 ? 17 : 1;
    for (int count = 1; count <= 600; count += step) {
        vm = script_vm(0);
        assert_string_equal(run_sliced(vm, path, count, &slices), expected);
        assert_true(slices > 1);
        assert_int_equal(vm->depth, 0);
        assert_true(vm->relays);
        vm_free(vm);
    }
}

/* The same for all of the library, at some lengths: its functions call what is suspended. */
static void test_slices_change_no_library(void **state)
{
    (void)state;
    const char *path = "tests/lua/library.lua";
    unsigned slices;
    struct vm *vm = script_vm(0);
    const char *expected = run_sliced(vm, path, 0, &slices);
    static const int counts[] = {3, 101};
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct vm *sliced = script_vm(0);
        assert_string_equal(run_sliced(sliced, path, counts[i], &slices), expected);
        assert_true(slices > 1000);
        vm_free(sliced);
    }
    vm_free(vm);
}

/* Without the guard the script gives the same: the replacements are Lua's functions. */
static void same_as_stock(const char *path)
{
    unsigned slices;
    struct vm *vm = script_vm(0);
    const char *ours = run_sliced(vm, path, 0, &slices);
    lua_State *stock = luaL_newstate();
    luaL_openlibs(stock);
    if (luaL_loadfilex(stock, path, "t") != LUA_OK || lua_pcall(stock, 0, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(stock, -1));
    const char *line = ours, *expected = lua_tostring(stock, -1);
    for (size_t i = 0; ours[i] != '\0' || expected[i] != '\0'; i++) {
        if (ours[i] != expected[i])
            fail_msg("%s: %.*s is not what plain Lua gives: %.*s", path, 200, line, 200,
                     expected + (line - ours));
        line = ours[i] == '\n' ? ours + i + 1 : line;
    }
    lua_close(stock);
    vm_free(vm);
}

static void test_same_as_stock(void **state)
{
    (void)state;
    same_as_stock("tests/lua/features.lua");
    same_as_stock("tests/lua/library.lua");
    same_as_stock("tests/lua/utf8_len.lua");
}

/* ---- the host's waits ---------------------------------------------------------------------- */

static int go_on_wait(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    lua_pushliteral(L, "waited");
    return 1;
}

/* As await does. */
static int l_wait(lua_State *L)
{
    if (!vm_can_yield(L))
        return luaL_error(L, "cannot wait here");
    vm_of(L)->yield = VM_YIELD_AWAIT;
    return lua_yieldk(L, 0, 0, go_on_wait);
}

static struct vm *waiting_vm(void)
{
    struct vm *vm = script_vm(0);
    lua_pushcfunction(vm->L, l_wait);
    sandbox_set(vm->L, "wait");
    return vm;
}

struct text_case {
    const char *script, *result;
    bool is_error;
    unsigned slices; /* 0: not looked at */
};

static const struct text_case waits[] = {
    {"return wait()", "waited", false, 2},
    {"return coroutine.wrap(wait)()", "waited", false, 2},
    {"return coroutine.wrap(function() return pcall(wait) end)()", "waited", false, 2},
    {"local w = coroutine.wrap\n"
     "return w(function() return w(function() return w(wait)() .. wait() end)() .. wait() end)()",
     "waitedwaitedwaited", false, 4},
    {"local ok, r = coroutine.resume(coroutine.create(wait)) return tostring(ok) .. r",
     "truewaited", false, 2},
    {"local co = coroutine.wrap(function() coroutine.yield(wait()) return 'last' end)\n"
     "return co() .. co()",
     "waitedlast", false, 2},
    /* In callbacks of library functions too. */
    {"return (('x'):gsub('x', wait))", "waited", false, 2},
    {"return (('axb'):gsub('.', function(c) return c == 'x' and coroutine.wrap(wait)() end))",
     "awaitedb", false, 2},
    {"return (('ab'):gsub('()', function(at) return at .. wait() end))", "1waiteda2waitedb3waited",
     false, 4},
    {"local t = {3, 1, 2} table.sort(t, function(a, b) wait() return a < b end)\n"
     "return table.concat(t)",
     "123", false, 0},
    {"return tostring(setmetatable({}, {__tostring = wait}))", "waited", false, 2},
    {"local n = 0 return load(function() n = n + 1 wait() return ({'return ', '7'})[n] end)()", "7",
     false, 4},
    /* Where a library function calls a metamethod nothing waits; beside it it does. */
    {"return table.concat(setmetatable({}, {__index = wait}), '', 1, 1)", "cannot wait here", true,
     1},
    {"local s = ('x'):gsub('x', 'y') return s .. wait()", "ywaited", false, 2},
    {"local x <close> = setmetatable({}, {__close = function() wait() end}) return 1", "1", false,
     2},
    {"for v in coroutine.wrap(function() coroutine.yield(wait()) end) do return v end", "waited",
     false, 2},
};

static const struct text_case languages[] = {
    /* The task's coroutine is the main one to its script. */
    {"coroutine.yield()", "attempt to yield from outside a coroutine", true, 1},
    {"local _, main = coroutine.running() return tostring(main)", "true", false, 1},
    {"return tostring(coroutine.isyieldable())", "false", false, 1},
    {"return tostring(coroutine.wrap(coroutine.isyieldable)())", "true", false, 1},
    {"return select(2, coroutine.resume((coroutine.running())))",
     "cannot resume non-suspended coroutine", false, 1},
    {"coroutine.close((coroutine.running()))", "cannot close a running coroutine", true, 1},
    /* Depth. */
    {"local function f(n) if n == 0 then return 'bottom' end\n"
     "  return coroutine.wrap(f)(n - 1) end return f(60)",
     "bottom", false, 1},
    {"local function f(n) if n == 0 then return 'bottom' end\n"
     "  return coroutine.wrap(f)(n - 1) end\n"
     "return select(2, pcall(f, 70)):match('too many.*')",
     "too many coroutines resume each other (at most 64)", false, 1},
    /* Metatables. */
    {"return tostring(getmetatable(''))", "false", false, 1},
    {"return tostring(getmetatable({}))", "nil", false, 1},
    {"local t = setmetatable({}, {__mode = 'k'}) t[{}] = 1 return type(next(t))", "table", false,
     1}, /* taken, and nothing is weak */
    {"setmetatable({}, {__gc = print})", "'__gc' is not supported", true, 1},
    {"local m = {} local t = setmetatable({}, m) m.__mode = 'v' t[1] = {} return type(t[1])",
     "table", false, 1},
    {"setmetatable(setmetatable({}, {__metatable = 1}), nil)",
     "cannot change a protected metatable", true, 1},
    {"return tostring(getmetatable(setmetatable({}, {__metatable = 'mine'})))", "mine", false, 1},
    /* load. */
    {"return load('return 1 + 1')()", "2", false, 1},
    {"return load('return x', 'n', 't', {x = 'env'})()", "env", false, 1},
    {"local n = 0 return load(function() n = n + 1 return ({'return ', '7'})[n] end)()", "7", false,
     1},
    {"return select(2, load('\\27Lua'))", "attempt to load a binary chunk (mode is 't')", false, 1},
    {"return select(2, load('\\27Lua', 'n', 'b'))", "attempt to load a binary chunk (mode is 't')",
     false, 1},
    {"return select(2, load('x ='))", "unexpected symbol near <eof>", false, 1},
    {"return #load(('x = 1 '):rep(50000) .. 'return {}')()", "0", false, 1},
    {"return select(2, load(('x = 1 '):rep(200000)))", "text to load is too long", false, 1},
    {"return select(2, load(function() return 'x = 1 ' end))", "text to load is too long", false,
     1},
    {"return select(2, load('\\nreturn x' .. ('.a'):rep(200), '@mine'))",
     "mine:2: more than 100 indexes in a row (a.b.c)", false, 1},
    {"return select(2, load('return x' .. ('.a'):rep(200)))", "[string \"return x.a", false, 1},
    /* xpcall. */
    {"return select(2, xpcall(error, function(m) return m .. '!' end, 'x', 0))", "x!", false, 1},
    {"return select(2, xpcall(error, function() error('second', 0) end))", "second", false, 1},
    {"return select('#', xpcall(function() end, print))", "1", false, 1},
    {"return select(3, xpcall(function(...) return ... end, print, 1, 2))", "2", false, 1},
    {"xpcall(print)", "bad argument #2 to 'xpcall' (function expected, got no value)", true, 1},
    /* Tables. */
    {"local t = {1, 2, 3} table.insert(t, 2, 9) return table.concat(t, ',')", "1,9,2,3", false, 1},
    {"table.insert({}, 5, 1)", "position out of bounds", true, 1},
    {"table.insert({}, 1, 2, 3)", "wrong number of arguments to 'insert'", true, 1},
    {"local t = {1, 2, 3} table.remove(t, 1) return table.concat(t, ',')", "2,3", false, 1},
    {"return tostring(table.remove({}))", "nil", false, 1},
    {"table.remove({1}, 7)", "position out of bounds", true, 1},
    {"return table.concat(table.move({1, 2, 3}, 1, 3, 2), ',')", "1,1,2,3", false, 1},
    {"return table.concat({1, {}, 3})", "invalid value (table) at index 2 in table for 'concat'",
     true, 1},
    {"local t = {} for i = 1, 100 do t[i] = {k = i % 7, i = i} end\n"
     "table.sort(t, function(a, b) return a.k < b.k end)\n"
     "for i = 2, 100 do assert(t[i - 1].k < t[i].k or t[i - 1].i < t[i].i) end return 'stable'",
     "stable", false, 1},
    /* One run, many, and more than fit in one piece of a scratch list; mixed, in order and the
     * other way round. */
    {"for _, n in ipairs {9, 1000, 131073} do\n"
     "  for _, f in ipairs {function(i) return i * 7919 % 1009 end, function(i) return i end,\n"
     "                      function(i) return -i end} do\n"
     "    local t, u, sum = {}, {}, 0\n"
     "    for i = 1, n do t[i] = f(i) u[i] = {f(i), i} sum = sum + f(i) end\n"
     "    table.sort(t) table.sort(u, function(a, b) return a[1] < b[1] end)\n"
     "    assert(#t == n and #u == n)\n"
     "    for i = 1, n do\n"
     "      sum = sum - t[i] assert(t[i] == u[i][1])\n"
     "      assert(i == 1 or t[i - 1] < t[i] or t[i - 1] == t[i] and u[i - 1][2] < u[i][2])\n"
     "    end\n"
     "    assert(sum == 0)\n"
     "  end\n"
     "end return 'sorted'",
     "sorted", false, 1},
    {"local t = setmetatable({2, 3, 1}, {}) table.sort(t) return table.concat(t, ',')", "1,2,3",
     false, 1},
    {"local t = {3, 'x', 1} table.sort(t)", "attempt to compare", true, 1},
    {"local t = {3, 2, 1} pcall(table.sort, t, function() error('x') end)\n"
     "return table.concat(t, ',')",
     "3,2,1", false, 1},
    {"os.date(('%Y'):rep(1000))", "format too long", true, 1},
    {"return #os.date('%Y-%m-%d')", "10", false, 1},
};

static void check_texts(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct vm *vm = waiting_vm();
        struct budget budget = {.end = BUDGET_RUNNING};
        struct lua_run run = run_text(vm, &budget, cases[i].script);
        bool is_right = (run.status != LUA_OK) == cases[i].is_error &&
                        (cases[i].slices == 0 || run.slices == cases[i].slices) &&
                        strstr(run.text, cases[i].result) != NULL;
        if (!is_right)
            fail_msg("%s\n  gave %d in %u slices: %s", cases[i].script, run.status, run.slices,
                     run.text);
        vm_free(vm);
    }
}

static void test_waits_pass_through_coroutines(void **state)
{
    (void)state;
    check_texts(waits, sizeof(waits) / sizeof(waits[0]));
}

static void test_language(void **state)
{
    (void)state;
    check_texts(languages, sizeof(languages) / sizeof(languages[0]));
}

/* Another task of the instance finds a coroutine that the host has suspended: it can do nothing to
 * it, and the first task goes on. */
static void test_suspended_by_the_host(void **state)
{
    (void)state;
    struct vm *vm = waiting_vm();
    static const char first[] = "task = coroutine.running()\n"
                                "inner = coroutine.create(function() return wait() end)\n"
                                "return select(2, coroutine.resume(inner))";
    lua_State *co = lua_newthread(vm->L);
    assert_int_equal(luaL_loadbufferx(co, first, sizeof(first) - 1, "=first", "t"), LUA_OK);
    int results = 0;
    assert_int_equal(lua_resume(co, NULL, 0, &results), LUA_YIELD);
    assert_int_equal(vm->yield, VM_YIELD_AWAIT);

    struct budget budget = {.end = BUDGET_RUNNING};
    struct lua_run run = run_text(vm, &budget,
                                  "for _, co in ipairs{task, inner} do\n"
                                  "  assert(not coroutine.resume(co, 'stolen'))\n"
                                  "  assert(not pcall(coroutine.close, co))\n"
                                  "  assert(coroutine.status(co) == 'normal') end return 'kept'");
    assert_string_equal(run.text, "kept");

    vm->yield = VM_YIELD_SCRIPT;
    assert_int_equal(lua_resume(co, NULL, 0, &results), LUA_OK);
    assert_string_equal(lua_tostring(co, -1), "waited");
    run = run_text(vm, &budget, "return coroutine.status(inner)");
    assert_string_equal(run.text, "dead");
    vm_free(vm);
}

/* Refused allocations at every moment: a clean error or the right result. */
static void test_memory_at_every_limit(void **state)
{
    (void)state;
    static const char script[] =
        "local t = {} for i = 1, 50 do t[i] = ('x'):rep(i) .. i end\n"
        "table.sort(t) local s = table.concat(t):gsub('x+', '%0%0'):upper()\n"
        "local w = coroutine.wrap(function() coroutine.yield(#s) end)\n"
        "local ok, e = xpcall(error, function(m) return {m} end, 'x')\n"
        "local p <close> = setmetatable({}, {__newindex = {}, __close = function() end})\n"
        "p.x = load('return 1')()\n"
        "local co = coroutine.create(function(a) local b = {a} coroutine.yield(b) end)\n"
        "coroutine.resume(co, 1)\n"
        "local lines = debug.getinfo(1, 'L').activelines\n"
        "local info = debug.getinfo(co, 1, 'nSlutfr')\n"
        "assert(not pcall(debug.getinfo, co, 1, 'L') and debug.getlocal(co, 1, 2) == 'b')\n"
        "assert(#debug.traceback(co, 'x') > 20 and #debug.traceback() > 20)\n"
        "print({s = s:sub(1, 9), lines, {info.source}, co}) io.write(s:sub(1, 3), 1)\n"
        "return w()";
    struct vm *vm = script_vm(0);
    size_t base = vm->used;
    struct budget budget = {.end = BUDGET_RUNNING};
    struct lua_run whole = run_text(vm, &budget, script);
    assert_int_equal(whole.status, LUA_OK);
    size_t peak = vm->peak;
    vm_free(vm);
    unsigned failed = 0, done = 0;
    size_t step = slowness() > 1 ? 997 : 97;
    size_t thread = 2048; /* run_text makes one, outside of all protection */
    for (size_t limit = base + thread; limit < peak + 2 * step; limit += step) {
        vm = script_vm(0);
        vm_set_limit(vm, limit);
        budget = (struct budget){.end = BUDGET_RUNNING};
        struct lua_run run = run_text(vm, &budget, script);
        if (run.status == LUA_OK)
            assert_string_equal(run.text, whole.text);
        else
            assert_int_equal(run.end, BUDGET_MEMORY);
        failed += run.status != LUA_OK;
        done += run.status == LUA_OK;
        vm_free(vm);
    }
    assert_true(failed > 0 && done > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_change_nothing),
        cmocka_unit_test(test_slices_change_no_library),
        cmocka_unit_test(test_same_as_stock),
        cmocka_unit_test(test_waits_pass_through_coroutines),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_suspended_by_the_host),
        cmocka_unit_test(test_memory_at_every_limit),
    };
    return cmocka_run_group_tests_name("run_guard", tests, NULL, NULL);
}
