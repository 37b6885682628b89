/* The globals are the allow-list and nothing else, and what a request does to them stays out of the
 * next one's sight. */
#include "unit.h"

#include "lua_run.h"

static int open_answer(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, 42);
    lua_setfield(L, -2, "value");
    return 1;
}

/* Writes down the last message. */
static char logged[256];

static int l_info(lua_State *L)
{
    snprintf(logged, sizeof(logged), "%s", luaL_checkstring(L, 1));
    return 0;
}

static int open_log(lua_State *L)
{
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, l_info);
    lua_setfield(L, -2, "info");
    lua_pushcfunction(L, l_info);
    lua_setfield(L, -2, "warn");
    return 1;
}

static const struct binding bindings[] = {{"answer", open_answer}, {"log", open_log}, {NULL, NULL}};

static struct vm *open_vm(void)
{
    struct vm *vm = vm_new(32 << 20, NULL);
    assert_non_null(vm);
    int top = lua_gettop(vm->L);
    sandbox_open(vm->L, bindings);
    assert_int_equal(lua_gettop(vm->L), top);
    return vm;
}

static const char names_script[] =
    "local lines = {}\n"
    "local function list(name, t)\n"
    "  local names = {} for k in pairs(t) do names[#names + 1] = k end\n"
    "  table.sort(names) lines[#lines + 1] = name .. ': ' .. table.concat(names, ' ')\n"
    "end\n"
    "list('_G', _G)\n"
    "for _, name in ipairs{'coroutine', 'debug', 'io', 'math', 'os', 'string', 'table', 'utf8'} do\n"
    "  list(name, _G[name]) end\n"
    "assert(table.concat(lines, '\\n') == ..., table.concat(lines, '\\n'))";

static const char names[] =
    "_G: _G _VERSION answer assert collectgarbage coroutine debug error getmetatable io ipairs load "
    "log math next os pairs pcall print rawequal rawget rawlen rawset select setmetatable string "
    "table tonumber tostring type utf8 warn xpcall\n"
    "coroutine: close create isyieldable resume running status wrap yield\n"
    "debug: gethook getinfo getlocal getmetatable getupvalue sethook setmetatable setupvalue "
    "traceback upvalueid upvaluejoin\n"
    "io: open read stderr stdin stdout type write\n"
    "math: abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max "
    "maxinteger min mininteger modf pi pow rad random randomseed sin sinh sqrt tan tanh tointeger "
    "type ult\n"
    "os: clock date difftime getenv time\n"
    "string: byte char find format gmatch gsub len lower match pack packsize rep reverse sub unpack "
    "upper\n"
    "table: concat insert move pack remove sort unpack\n"
    "utf8: char charpattern codepoint codes len offset";

static void test_allow_list(void **state)
{
    (void)state;
    struct vm *vm = open_vm();
    assert_int_equal(luaL_loadbufferx(vm->L, names_script, sizeof(names_script) - 1, "=names", "t"),
                     LUA_OK);
    lua_pushstring(vm->L, names);
    if (lua_pcall(vm->L, 1, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(vm->L, -1));
    vm_free(vm);
}

struct text_case {
    const char *script, *result;
};

static struct lua_run run(struct vm *vm, const char *script)
{
    struct budget budget = {.cpu_limit_ns = 0};
    return run_text(vm, &budget, script);
}

static void check_text(struct vm *vm, const struct text_case *text)
{
    struct lua_run got = run(vm, text->script);
    if (strstr(got.text, text->result) == NULL)
        fail_msg("%s\n  gave: %s", text->script, got.text);
}

static const struct text_case reads[] = {
    {"return answer.value", "42"},
    {"return rawget(_G, 'answer').value", "42"},
    {"return rawget(answer, 'value')", "42"},
    {"return tostring(rawget(answer, 'other'))", "nil"},
    {"return ('x'):rep(2)", "xx"},
    {"return _G._G == _G and 'same'", "same"},
    {"return '10' + 5", "15"},
    {"return load('return answer.value')()", "42"},
};

static const struct text_case writes[] = {
    {"answer.value = 1", "'value' cannot be set: this table is read-only"},
    {"answer[1] = 1", "this table is read-only"},
    {"rawset(answer, 'value', 1)", "this table is read-only"},
    {"setmetatable(answer, {})", "cannot change a protected metatable"},
    {"return tostring(getmetatable(answer))", "false"},
    {"string.rep = nil", "'string.rep' cannot be set: it belongs to the host"},
    {"rawset(string, 'rep', print)", "'string.rep' cannot be set: it belongs to the host"},
    {"debug.traceback = nil", "'debug.traceback' cannot be set: it belongs to the host"},
    {"io.stdout.write = print", "attempt to index a FILE* value"},
    {"debug.setmetatable(io.stdout, {})", "table expected, got FILE*"},
    {"return tostring(getmetatable(io.stdout)) .. type(io.stdout) .. io.type(io.stderr) .. "
     "tostring(io.type(print))",
     "falseuserdatafilenil"},
    {"debug.setmetatable(string, {})", "cannot change a protected metatable"},
    {"debug.setmetatable('', {})", "table expected, got string"},
    {"return tostring(debug.getmetatable(string))", "false"},
    {"table.insert(answer, 'x')", "this table is read-only"},
    {"table.move({1}, 1, 1, 1, answer)", "this table is read-only"},
    {"table.sort(string) return 'nothing to sort'", "nothing to sort"},
    {"print = nil", "global 'print' cannot be set"},
    {"_G.answer = nil", "global 'answer' cannot be set"},
    {"rawset(_G, 'answer', nil)", "global 'answer' cannot be set: it belongs to the host"},
    {"setmetatable(_G, {})", "cannot change a protected metatable"},
    {"getmetatable('').__index = nil", "attempt to index a boolean value"},
    {"local _, t = pairs(string) t.rep = nil", "'string.rep' cannot be set"},
    {"local _, t = pairs(_G) t.answer = nil", "global 'answer' cannot be set"},
    {"for _, t in next, _G do if type(t) == 'table' then t.type = 1 end end", "cannot be set"},
    {"for k in pairs(string) do string[k] = nil end", "cannot be set"},
    {"local s = string s.find = 1", "cannot be set"},
    {"function math.random() end", "cannot be set"},
};

static void test_modules_are_read_only(void **state)
{
    (void)state;
    struct vm *vm = open_vm();
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        check_text(vm, &reads[i]);
    for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++)
        check_text(vm, &writes[i]);
    for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++)
        check_text(vm, &reads[i]);
    vm_free(vm);
}

/* A script may define globals while it loads; requests see them and cannot change them. */
static void test_globals_freeze(void **state)
{
    (void)state;
    struct vm *vm = open_vm();
    assert_int_equal(run(vm, "count = 1 function add() count = count + 1 return count end").status,
                     LUA_OK);
    assert_string_equal(run(vm, "return add()").text, "2");
    static const struct text_case added[] = {
        {"function string.trim(s) return s:match('^%s*(.-)%s*$') end return (' x '):trim()", "x"},
        {"string.trim = string.trim string.rep = string.rep return 'the same'", "the same"},
        {"table.unpack = table.unpack or 1 return 'kept'", "kept"},
        {"string.other = 1 string.other = nil return tostring(string.other)", "nil"},
        {"rawset(_G, 'raw', 1) rawset(table, 'raw', raw) return _G.raw + table.raw", "2"},
        {"local seen for k in pairs(string) do seen = seen or k == 'trim' end return tostring(seen)",
         "true"},
    };
    for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
        check_text(vm, &added[i]);
    sandbox_freeze(vm->L);
    static const struct text_case late[] = {
        {"string.trim = nil", "'string.trim' cannot be set once the script has loaded"},
        {"function table.new() end", "'table.new' cannot be set once the script has loaded"},
        {"rawset(_G, 'raw', 2)", "global 'raw' cannot be set once the script has loaded"},
        {"rawset(os, 'raw', 2)", "'os.raw' cannot be set once the script has loaded"},
        {"string.trim = string.trim return (' y '):trim()", "y"},
    };
    for (size_t i = 0; i < sizeof(late) / sizeof(late[0]); i++)
        check_text(vm, &late[i]);
    struct lua_run got = run(vm, "return add()");
    assert_int_equal(got.status, LUA_ERRRUN);
    assert_non_null(strstr(got.text, "global 'count' cannot be set once the script has loaded"));
    assert_string_equal(run(vm, "return count").text, "2");
    assert_int_equal(run(vm, "fresh = 1").status, LUA_ERRRUN);
    assert_string_equal(run(vm, "return tostring(fresh)").text, "nil");
    assert_string_equal(run(vm, "local count = 5 return count").text, "5");
    vm_free(vm);
}

static void test_set(void **state)
{
    (void)state;
    struct vm *vm = open_vm();
    lua_newtable(vm->L);
    lua_pushinteger(vm->L, 7);
    lua_setfield(vm->L, -2, "seven");
    sandbox_set(vm->L, "late");
    assert_int_equal(lua_gettop(vm->L), 0);
    assert_string_equal(run(vm, "return late.seven").text, "7");
    assert_int_equal(run(vm, "late = 1").status, LUA_ERRRUN);
    assert_int_equal(run(vm, "late.seven = 1").status, LUA_ERRRUN);
    assert_int_equal(run(vm, "early = 1").status, LUA_OK);
    vm_free(vm);
}

static void test_print_logs(void **state)
{
    (void)state;
    struct vm *vm = open_vm();
    run(vm, "print('a', 1, nil, setmetatable({}, {__tostring = function() return 'obj' end}))");
    assert_string_equal(logged, "a\t1\tnil\tobj");
    run(vm, "print({1, {a = 'x\"\\n'}, {}, print == nil}, json, {[2] = 1})");
    assert_string_equal(logged, "[1,{\"a\":\"x\\\"\\n\"},{},false]\tnil\t{\"2\":1}");
    run(vm, "local t = {} t.t = t print(t, {[true] = 0/0 ~= 0/0})");
    assert_string_equal(logged, "{\"t\":\"(cycle)\"}\t{\"true\":true}");
    run(vm, "local t = {} for i = 1, 20 do t = {t} end print(t)");
    assert_non_null(strstr(logged, "[[\"...\"]]"));
    run(vm, "print({print})");
    assert_non_null(strstr(logged, "[\"function: 0x"));
    run(vm, "io.write('a', 1, '\\n')");
    assert_string_equal(logged, "a1");
    run(vm, "io.stderr:write('b'):write('c\\n\\n'):flush()");
    assert_string_equal(logged, "c\n");
    run(vm, "io.write('d') io.write('', '\\n') io.write()");
    assert_string_equal(logged, "d");
    run(vm, "print(io.open('/etc/passwd'))");
    assert_string_equal(logged, "nil\tno files");
    run(vm, "warn('e', 'f') warn('@off')");
    assert_string_equal(logged, "ef");
    run(vm, "print()");
    assert_string_equal(logged, "");
    vm_free(vm);
}

/* States know nothing of each other. */
static void test_states_are_apart(void **state)
{
    (void)state;
    struct vm *one = open_vm(), *other = open_vm();
    assert_int_equal(run(one, "shared = 1").status, LUA_OK);
    assert_string_equal(run(one, "return shared").text, "1");
    assert_string_equal(run(other, "return tostring(shared)").text, "nil");
    vm_free(one);
    vm_free(other);
}

static void test_vm_counts_memory(void **state)
{
    (void)state;
    struct vm *vm = vm_new(1 << 20, NULL);
    assert_non_null(vm);
    assert_true(vm->used > 0 && vm->used <= vm->peak && vm->denials == 0);
    sandbox_open(vm->L, bindings);
    struct lua_run got = run(vm, "return #('x'):rep(1 << 18)");
    assert_string_equal(got.text, "262144");
    got = run(vm, "local s = 'x' while true do s = s .. s end");
    assert_int_equal(got.status, LUA_ERRMEM);
    assert_true(vm->denials > 0 && vm->peak <= 1 << 20);
    vm_free(vm);
    assert_null(vm_new(1000, NULL));
    vm_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allow_list),       cmocka_unit_test(test_modules_are_read_only),
        cmocka_unit_test(test_globals_freeze),   cmocka_unit_test(test_set),
        cmocka_unit_test(test_print_logs),       cmocka_unit_test(test_states_are_apart),
        cmocka_unit_test(test_vm_counts_memory),
    };
    return cmocka_run_group_tests_name("run_sandbox", tests, NULL, NULL);
}
