/* Our patterns against Lua's own: generated patterns and subjects must give the same results, or
 * the same errors. */
#include "unit.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua_run.h"

/* Each state gets the same calls and writes down what they give; `lib` is its string table. */
static const char describe[] =
    "local function show(...)\n"
    "  local t = {}\n"
    "  for i = 1, select('#', ...) do local v = select(i, ...)\n"
    "    t[i] = type(v) .. ':' .. tostring(v) end\n"
    "  return table.concat(t, ' ')\n"
    "end\n"
    "local function all(s, p, init)\n"
    "  local t, n = {}, 0\n"
    "  for a, b in string.gmatch(s, p, init) do t[#t + 1] = show(a, b) n = n + 1\n"
    "    if n > 40 then break end end\n"
    "  return table.concat(t, ';')\n"
    "end\n"
    "local s, p, r, init, most = ...\n"
    "return table.concat({\n"
    "  show(pcall(string.find, s, p, init)), show(pcall(string.find, s, p, init, true)),\n"
    "  show(pcall(string.match, s, p, init)), show(pcall(all, s, p, init)),\n"
    "  show(pcall(string.gsub, s, p, r)), show(pcall(string.gsub, s, p, r, most)),\n"
    "  show(pcall(string.gsub, s, p, function(a, b) return b end)),\n"
    "  show(pcall(string.gsub, s, p, {a = 'A', b = false, [1] = 'one'})),\n"
    "}, '\\n')";

static uint32_t random_state = 1;

static unsigned pick(unsigned count)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % count;
}

/* Strings of pieces that patterns are made of, broken ones among them. */
static size_t make_pattern(char *out, size_t size)
{
    static const char *const pieces[] = {
        "a",  "b",    "c",     ".",      "%a",     "%d",   "%s",    "%w",  "%A",   "%x",    "%p",
        "%l", "%u",   "%c",    "%g",     "[abc]",  "[^a]", "[a-c]", "[]]", "[^]]", "[%a_]", "[a-]",
        "*",  "+",    "-",     "?",      "(",      ")",    "()",    "(a)", "(.-)", "(.*)",  "%1",
        "%2", "%b()", "%bab",  "%f[a]",  "%f[%w]", "%f",   "%b",    "%",   "[",    "]",     "^",
        "$",  "%%",   "%.",    "[%]a]",  "[a%-z]", "(()",  "a*",    "b-",  "c?",   ".+",    "%9",
        "%0", "\\",   "[^%s]", "[a-%%]", "x",      "%z",   "%Z"};
    size_t len = 0;
    if (pick(6) == 0)
        out[len++] = '^';
    for (unsigned count = 1 + pick(6); count > 0; count--) {
        if (pick(40) == 0) {
            out[len++] = '\0';
            continue;
        }
        const char *piece = pieces[pick(sizeof(pieces) / sizeof(pieces[0]))];
        size_t piece_len = strlen(piece);
        if (len + piece_len >= size)
            break;
        memcpy(out + len, piece, piece_len);
        len += piece_len;
    }
    return len;
}

static size_t make_subject(char *out)
{
    static const char letters[] = "aaabbbccc()[]. 1_%Z\0\xe9-";
    size_t len = pick(14);
    for (size_t i = 0; i < len; i++)
        out[i] = letters[pick(sizeof(letters) - 1)];
    return len;
}

static const char *make_replacement(void)
{
    static const char *const replacements[] = {"",  "x",  "<%0>", "%1",   "%2%1", "%%",
                                               "%", "%x", "%9",   "a%1b", "%0%0"};
    return replacements[pick(sizeof(replacements) / sizeof(replacements[0]))];
}

struct call {
    char subject[64], pattern[128];
    size_t subject_len, pattern_len;
    const char *replacement;
    int init, most;
};

static const char *answer(lua_State *L, const struct call *call)
{
    lua_settop(L, 1);
    lua_pushvalue(L, 1);
    lua_pushlstring(L, call->subject, call->subject_len);
    lua_pushlstring(L, call->pattern, call->pattern_len);
    lua_pushstring(L, call->replacement);
    lua_pushinteger(L, call->init);
    lua_pushinteger(L, call->most);
    if (lua_pcall(L, 5, 1, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    return lua_tostring(L, -1);
}

static void load_describe(lua_State *L)
{
    if (luaL_loadbufferx(L, describe, sizeof(describe) - 1, "=describe", "t") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static void test_same_as_lua(void **state)
{
    (void)state;
    struct vm *vm = script_vm(0);
    lua_State *stock = luaL_newstate();
    luaL_openlibs(stock);
    load_describe(vm->L);
    load_describe(stock);
    int count = (int)(20000 / slowness()), found = 0, refused = 0;
    for (int i = 0; i < count; i++) {
        struct call call = {.replacement = make_replacement()};
        call.subject_len = make_subject(call.subject);
        call.pattern_len = make_pattern(call.pattern, sizeof(call.pattern));
        call.init = (int)pick(24) - 8;
        call.most = (int)pick(5) - 1;
        const char *ours = answer(vm->L, &call), *theirs = answer(stock, &call);
        if (strcmp(ours, theirs) != 0)
            print_message("subject '%.*s' pattern '%.*s' replacement '%s' init %d most %d\n",
                          (int)call.subject_len, call.subject, (int)call.pattern_len, call.pattern,
                          call.replacement, call.init, call.most);
        assert_string_equal(ours, theirs);
        found += strstr(theirs, "boolean:true number:") == theirs;
        refused += strstr(theirs, "boolean:false") == theirs;
    }
    /* The generator makes enough of each kind. */
    assert_true(found > count / 20);
    assert_true(refused > count / 10);
    lua_close(stock);
    vm_free(vm);
}

/* At the limits: depth, captures, long texts. */
static const char *const limits[] = {
    "return string.find(('a'):rep(300), ('a?'):rep(198))",
    "return string.find(('a'):rep(300), ('a?'):rep(199))",
    "return string.find(('a'):rep(300), ('a?'):rep(200))",
    "return string.find(('a'):rep(300), ('a?'):rep(250))",
    "return string.find(('a'):rep(40), ('(a)'):rep(32))",
    "return string.find(('a'):rep(40), ('(a)'):rep(33))",
    "return string.find(('a'):rep(40), ('()'):rep(33))",
    "return string.find('abc', '(a')",
    "return string.find('abc', 'a)')",
    "return string.match('abc', '((a)(b)', 1)",
    "return string.gsub('abc', '(a', '%1')",
    "return string.gsub('abc', '()', '%1')",
    "return string.gsub('abc', 'b', '%1')",
    "return string.gsub('abc', 'b', function() return {} end)",
    "return string.gsub('abc', 'b', true)",
    "return string.gsub('hello world', 'o', '0', 1.5)",
    "return string.gsub('abc def', '%w+', {abc = 1, def = 2.5})",
    "return string.gsub('abc', '%w', '%%%0')",
    "return string.gsub('abc', '^a', 'x')",
    "return string.gsub('', '', 'x')",
    "return string.gsub('abc', '.-', 'x')",
    "return string.find('a\\0b', '\\0')",
    "return string.find('a\\0b', '%z')",
    "return string.find('abc', 'b', math.mininteger)",
    "return string.find('abc', 'b', math.maxinteger)",
    "return string.find('abc', '', 10)",
    "return string.find('abc', '', 4)",
    "return string.find(('ab'):rep(200000) .. 'x', 'x', 1, true)",
    "return string.find(('a'):rep(300000) .. 'b', ('a'):rep(100) .. 'b', 1, true)",
    "return string.find(('a'):rep(300000), ('a'):rep(100) .. 'b', 1, true)",
    "return string.find(('a'):rep(262144) .. 'bc', 'abc', 1, true)",
    "return #(string.gsub(('abc '):rep(20000), '%w+', '<%0>'))",
    "return string.gmatch('abc', 'b', 5)()",
    "return string.find(12345, 34)",
    "return string.find('abc', {})",
    "return string.find()",
    "return string.gmatch('abc')",
    "return string.gsub('abc', 'b')",
    "return ('x'):rep(3, ', '), ('x'):rep(0), ('x'):rep(-1), ('ab'):rep(1, 'z'), (''):rep(9)",
    "return ('aBc'):upper(), ('aBc'):lower(), ('abc'):reverse(), (''):reverse()",
};

/* The results of the text, or its error, as one text; left on the stack. */
static const char *results_of(lua_State *L, const char *text)
{
    int base = lua_gettop(L);
    if (luaL_loadbufferx(L, text, strlen(text), "=limit", "t") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    luaL_Buffer all;
    bool is_error = lua_pcall(L, 0, LUA_MULTRET, 0) != LUA_OK;
    int top = lua_gettop(L);
    luaL_buffinit(L, &all);
    luaL_addstring(&all, is_error ? "error" : "ok");
    for (int i = base + 1; i <= top; i++) {
        luaL_addchar(&all, ' ');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&all);
    }
    luaL_pushresult(&all);
    return lua_tostring(L, -1);
}

static void test_limits_are_luas(void **state)
{
    (void)state;
    struct vm *vm = script_vm(0);
    lua_State *stock = luaL_newstate();
    luaL_openlibs(stock);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        assert_string_equal(results_of(vm->L, limits[i]), results_of(stock, limits[i]));
        lua_settop(vm->L, 0);
        lua_settop(stock, 0);
    }
    lua_close(stock);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_lua),
        cmocka_unit_test(test_limits_are_luas),
    };
    return cmocka_run_group_tests_name("run_pattern", tests, NULL, NULL);
}
