/* json.encode, json.decode, and jansson trees: tables of texts, values and refusals. */
#include "unit.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json.h"
#include "lua/json_decode.h"
#include "lua/json_lazy.h"
#include "lua/vm.h"

static lua_State *L;

static int set_up(void **state)
{
    (void)state;
    static struct vm vm;
    L = luaL_newstate();
    if (L == NULL)
        return -1;
    vm = (struct vm){0};
    *(struct vm **)lua_getextraspace(L) = &vm;
    luaL_openlibs(L);
    lua_pushcfunction(L, open_json);
    lua_call(L, 0, 1);
    lua_setglobal(L, "json");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    lua_close(L);
    buf_free(json_scratch());
    return 0;
}

/* Runs "return EXPRESSION"; the result, or the error, is at index 1, and its text is given. */
static const char *eval(const char *expression, int expected_status)
{
    lua_settop(L, 0);
    lua_pushfstring(L, "return %s", expression);
    int status = luaL_loadstring(L, lua_tostring(L, 1));
    lua_remove(L, 1);
    if (status == LUA_OK)
        status = lua_pcall(L, 0, 1, 0);
    const char *text = luaL_tolstring(L, -1, NULL);
    if (status != expected_status)
        fail_msg("%s: status %d: %s", expression, status, text);
    return text;
}

static void run(const char *code)
{
    lua_settop(L, 0);
    if (luaL_dostring(L, code) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static void test_encode(void **state)
{
    (void)state;
    static const struct {
        const char *value, *text;
    } cases[] = {
        {"nil", "null"},
        {"json.null", "null"},
        {"true", "true"},
        {"0", "0"},
        {"-1", "-1"},
        {"math.maxinteger", "9223372036854775807"},
        {"math.mininteger", "-9223372036854775808"},
        {"5.0", "5"},
        {"1e3", "1000"},
        {"-0.0", "-0"},
        {"0.1", "0.1"},
        {"-12.75", "-12.75"},
        {"0.05", "0.05"},
        {"0.000001", "0.000001"},
        {"1e-7", "1e-07"},
        {"0.1 + 0.2", "0.30000000000000004"},
        {"1/3", "0.3333333333333333"},
        {"1e300", "1e+300"},
        {"2^53", "9007199254740992"},
        {"2^63", "9.223372036854776e+18"},
        {"''", "\"\""},
        {"'a\"b\\\\c/'", "\"a\\\"b\\\\c/\""},
        {"'\\b\\f\\n\\r\\t\\v\\0\\x1f\\x7f'", "\"\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\x7f\""},
        {"'12345678\\n'", "\"12345678\\n\""},
        {"'gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e \xe2\x80\xa8'",
         "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e \xe2\x80\xa8\""},
        {"{}", "{}"},
        {"json.array{}", "[]"},
        {"json.array()", "[]"},
        {"{1, 2, 3}", "[1,2,3]"},
        {"{[3]='c', [2]='b', [1]='a'}", "[\"a\",\"b\",\"c\"]"},
        {"{{}, {{}}, json.null}", "[{},[{}],null]"},
        {"{a={b={1}}}", "{\"a\":{\"b\":[1]}}"},
        {"{['']=1}", "{\"\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expression[256];
        snprintf(expression, sizeof(expression), "json.encode(%s)", cases[i].value);
        assert_string_equal(eval(expression, LUA_OK), cases[i].text);
    }
}

static void test_encode_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *value, *message;
    } cases[] = {
        {"print", "json.encode: cannot encode a function"},
        {"{items={1, 2, {f=print}}}", "cannot encode a function at .items[3].f"},
        {"{a={coroutine.create(print)}}", "cannot encode a thread at .a[1]"},
        {"io.stdout", "cannot encode a userdata"},
        {"{0/0}", "cannot encode NaN at [1]"},
        {"{a=1/0}", "cannot encode an infinite number at .a"},
        {"{1, 2, nil, 4}", "neither all strings nor exactly 1..n"},
        {"{[2]=1}", "neither all strings nor exactly 1..n"},
        {"{[0]=1}", "neither all strings nor exactly 1..n"},
        {"{1, a=1}", "neither all strings nor exactly 1..n"},
        {"{x={1, a=1}}", "exactly 1..n at .x"},
        {"json.array{a=1}", "neither all strings nor exactly 1..n"},
        {"{x={[true]=1}}", "cannot encode a boolean key (keys must all be strings, or be exactly "
                           "1..n) at .x"},
        {"{[1.5]=1}", "cannot encode a number key"},
        {"'ab\\xff'", "invalid UTF-8 at byte 3 of a string"},
        {"{k='\xc3\xa4\\xc3'}", "invalid UTF-8 at byte 3 of a string at .k"},
        {"'\\xed\\xa0\\x80'", "invalid UTF-8 at byte 1"},
        {"{['\\xff']=1}", "invalid UTF-8 at byte 1"},
        {"1, {indent=9}", "indent must be 0 to 8 spaces"},
        {"1, {indnet=2}", "unknown option"},
        {"1, 2", "table expected"},
        {"", "value expected"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expression[256];
        snprintf(expression, sizeof(expression), "json.encode(%s)", cases[i].value);
        const char *message = eval(expression, LUA_ERRRUN);
        if (strstr(message, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].value, message);
    }
}

static void test_encode_depth(void **state)
{
    (void)state;
    run("local function nest(n) local t = 1 for i = 1, n do t = {t} end return t end\n"
        "assert(json.encode(nest(64)) == ('['):rep(64) .. '1' .. (']'):rep(64))\n"
        "local ok, err = pcall(json.encode, nest(65))\n"
        "assert(not ok and err:find('nested deeper than 64 levels at [1][1]', 1, true), err)\n"
        "local t = {} t.self = t\n"
        "ok, err = pcall(json.encode, t)\n"
        "assert(not ok and err:find('nested deeper than 64 levels at .self.self', 1, true), err)\n");
}

/* A table that is referred to twice at each level would write 2^60 values. */
static void test_encode_bounded(void **state)
{
    (void)state;
    run("local t = {('x'):rep(4096)}\n"
        "local ok, err = pcall(function() for i = 1, 9 do t = {t, t} end return json.encode(t) end)\n"
        "assert(ok, err)\n"
        "for i = 1, 40 do t = {t, t} end\n"
        "ok, err = pcall(json.encode, t)\n"
        "assert(not ok and err:find('the text is over 16 MB', 1, true), err)\n"
        "assert(json.encode{1} == '[1]')\n");
}

static void test_encode_style(void **state)
{
    (void)state;
    run("local v = {b={1, 2}, a={}, ['a\\0b']=json.array(), aa={x=json.null}}\n"
        "assert(json.encode(v, {sort_keys=true}) ==\n"
        "  [[{\"a\":{},\"a\\u0000b\":[],\"aa\":{\"x\":null},\"b\":[1,2]}]])\n"
        "assert(json.encode({b={1, 2}, a={}}, {sort_keys=true, indent=2}) ==\n"
        "  '{\\n  \"a\": {},\\n  \"b\": [\\n    1,\\n    2\\n  ]\\n}')\n"
        "local ok, err = pcall(json.encode, {x={a=1, [2.5]=2}}, {sort_keys=true})\n"
        "assert(not ok and err:find('cannot encode a number key', 1, true) and err:find('at .x', 1, "
        "true), err)\n");
}

/* Keys come again in objects side by side: short ones, some to escape, and longer ones than Lua has
 * one string of; in any order, in objects within. */
static void test_encode_keys(void **state)
{
    (void)state;
    run("local names = { 'id', 'name', '', 'a\"b', 'gr\\u{fc}', 'n' .. ('x'):rep(39), 'n' .. ('x'):rep(40), 'n' .. ('x'):rep(90) }\n"
        "local function text(name) return '\"' .. name:gsub('\"', '\\\\\"') .. '\":' end\n"
        "for _, style in ipairs { {}, { sort_keys = true } } do\n"
        "  for round = 1, 200 do\n"
        "    local list, want = {}, {}\n"
        "    for i = 1, 5 do\n"
        "      local a, b, c = math.random(#names), math.random(#names), math.random(#names)\n"
        "      list[i] = { [names[a] .. ''] = { [names[b]] = { [names[c]] = i } } }\n"
        "      want[i] = '{' .. text(names[a]) .. '{' .. text(names[b]) .. '{' .. text(names[c]) .. i .. '}}}'\n"
        "    end\n"
        "    local got = json.encode(list, style)\n"
        "    assert(got == '[' .. table.concat(want, ',') .. ']', got)\n"
        "  end\n"
        "  local rows = {}\n"
        "  for i = 1, 50 do rows[i] = {} for n, name in ipairs(names) do rows[i][name .. i % 3] = n end end\n"
        "  for i, row in ipairs(json.decode(json.encode(rows, style))) do\n"
        "    for n, name in ipairs(names) do assert(row[name .. i % 3] == n) end\n"
        "  end\n"
        "end\n");
}

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *text, *check; /* v is the value */
    } cases[] = {
        {"null", "v == json.null"},
        {" \\t\\r\\n true ", "v == true"},
        {"false", "v == false"},
        {"0", "math.type(v) == 'integer' and v == 0"},
        {"-0", "math.type(v) == 'float' and 1/v == -math.huge"},
        {"-0.0", "1/v == -math.huge"},
        {"9223372036854775807", "v == math.maxinteger"},
        {"-9223372036854775808", "v == math.mininteger"},
        {"9223372036854775808", "math.type(v) == 'float' and v == 2^63"},
        {"-9223372036854775809", "math.type(v) == 'float' and v == -2^63"},
        {"12345678901234567890", "v == 12345678901234567890.0"},
        {"1.0", "math.type(v) == 'float' and v == 1"},
        {"-12.75", "v == -12.75"},
        {"0.1", "v == 0.1"},
        {"0.30000000000000004", "v == 0.1 + 0.2"},
        {"1e3", "math.type(v) == 'float' and v == 1000"},
        {"1E+2", "v == 100"},
        {"25e-1", "v == 2.5"},
        {"1e-400", "v == 0"},
        {"0.0000000000000000000000000000000000000000000000000000000000000000000000001",
         "v == 1e-73"},
        {"\"\"", "v == ''"},
        {"\"a\\\\u0000b\"", "v == 'a\\0b'"},
        {"\"\\\\\"\\\\\\\\\\\\/\\\\b\\\\f\\\\n\\\\r\\\\t\"", "v == '\"\\\\/\\b\\f\\n\\r\\t'"},
        {"\"\\\\u00fC\\\\u20AC\\\\uD834\\\\udd1e!\"",
         "v == '\xc3\xbc\xe2\x82\xac\xf0\x9d\x84\x9e!'"},
        {"\"\xc3\xbc\\\\n\xe2\x82\xac\"", "v == '\xc3\xbc\\n\xe2\x82\xac'"},
        {"[]", "#v == 0 and json.encode(v) == '[]'"},
        {"{}", "next(v) == nil and json.encode(v) == '{}'"},
        {"[1,[2,[]],{\"a\":[]}]", "json.encode(v) == '[1,[2,[]],{\"a\":[]}]'"},
        {"{\"a\":1,\"a\":2}", "v.a == 2"},
        {"{\"\":{\"x\":null}}", "v[''].x == json.null"},
        {"[1]", "table.remove(v) == 1 and json.encode(v) == '[]'"},
        {"[1]", "getmetatable(v) == false and not pcall(setmetatable, v, {})"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char expression[512];
        snprintf(expression, sizeof(expression), "(function(v) return %s end)(json.decode('%s'))",
                 cases[i].check, cases[i].text);
        if (strcmp(eval(expression, LUA_OK), "true") != 0)
            fail_msg("%s is not %s", cases[i].text, cases[i].check);
    }
}

/* Where a message ends with a place, the place is checked too. */
static const struct {
    const char *text, *message;
} bad_texts[] = {
    {"", "unexpected end of text at line 1 column 1 (byte 1)"},
    {"  ", "unexpected end of text at line 1 column 3 (byte 3)"},
    {"{\"a\":1 \"b\":2}", "expected ',' or '}' at line 1 column 8 (byte 8)"},
    {"[1,\n 2\n 3]", "expected ',' or ']' at line 3 column 2 (byte 9)"},
    {"[1,]", "expected a value at line 1 column 4"},
    {"[,1]", "expected a value at line 1 column 2"},
    {"{\"a\":1,}", "expected a string as the key at line 1 column 8"},
    {"{a:1}", "expected a string as the key"},
    {"{1:1}", "expected a string as the key"},
    {"{\"a\" 1}", "expected ':' at line 1 column 6"},
    {"{\"a\":}", "expected a value"},
    {"[1", "unexpected end of text"},
    {"{\"a\"", "unexpected end of text"},
    {"]", "expected a value at line 1 column 1"},
    {"1 2", "unexpected text after the value at line 1 column 3"},
    {"{}x", "unexpected text after the value"},
    {"tru", "expected a value"},
    {"nul", "expected a value"},
    {"truex", "unexpected text after the value"},
    {"NaN", "expected a value"},
    {"-Infinity", "expected a digit"},
    {"+1", "expected a value"},
    {"01", "must not begin with 0 at line 1 column 2"},
    {"-01", "must not begin with 0"},
    {"-", "unexpected end of text"},
    {"1.", "unexpected end of text"},
    {"1.e5", "expected a digit"},
    {".5", "expected a value"},
    {"1e", "unexpected end of text"},
    {"1e+x", "expected a digit"},
    {"1e400", "a number out of range at line 1 column 1"},
    {"[-1e400]", "a number out of range at line 1 column 2"},
    {"0x10", "unexpected text after the value"},
    {"\"abc", "unexpected end of text"},
    {"\"abc\\", "unexpected end of text"},
    {"\"abc\\n", "unexpected end of text"},
    {"\"abc\\\"", "unexpected end of text"},
    {"\"a\nb\"", "a control character in a string must be escaped at line 1 column 3"},
    {"\"\\n\x01\"", "a control character in a string must be escaped"},
    {"\"\\x41\"", "unknown escape in a string"},
    {"\"\\u12g4\"", "\\u needs four hexadecimal digits at line 1 column 2"},
    {"\"\\u12\"", "\\u needs four hexadecimal digits"},
    {"\"\\ud834\"", "a surrogate without its other half"},
    {"\"\\ud834\\u0041\"", "a surrogate without its other half"},
    {"\"\\udd1e\\ud834\"", "a surrogate without its other half"},
    {"\"ab\xff\"", "invalid UTF-8 at line 1 column 4"},
    {"\"\\n\xc3\"", "invalid UTF-8"},
    {"\"\xed\xa0\x80\"", "invalid UTF-8"},
    {"\"\xc0\x80\"", "invalid UTF-8"},
    {"\xef\xbb\xbf{}", "expected a value at line 1 column 1"},
    {"'a'", "expected a value"},
    {"[1]//", "unexpected text after the value"},
};

static void test_decode_refuses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bad_texts) / sizeof(bad_texts[0]); i++) {
        lua_settop(L, 0);
        assert_int_equal(json_decode_text(L, str_from(bad_texts[i].text)), -1);
        assert_int_equal(lua_gettop(L), 1);
        if (strstr(lua_tostring(L, 1), bad_texts[i].message) == NULL)
            fail_msg("%s: %s", bad_texts[i].text, lua_tostring(L, 1));
        lua_pushstring(L, bad_texts[i].text);
        assert_int_equal(json_lazy_decode(L, 2), -1);
        assert_string_equal(lua_tostring(L, 3), lua_tostring(L, 1));
    }
    run("local ok, err = pcall(json.decode, '[1')\n"
        "assert(not ok and err:find('json.decode: unexpected end of text', 1, true), err)\n"
        "assert(not pcall(json.decode, 5))\n"
        "ok, err = pcall(json.decode, '[1\\0]')\n"
        "assert(not ok and err:find(\"expected ',' or ']'\", 1, true), err)\n");
}

/* Every prefix of a text is refused, whatever lies behind it in memory. */
static void test_decode_prefixes(void **state)
{
    (void)state;
    static const char text[] = "[{\"key\":1,\"b\":2},{\"key\":3,\"b\":4},"
                               "{\"a\\u00e4\\ud834\\udd1e\":[1.5e3,-7,\"\xc3\xa4\",true,null,{}]}]";
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char *copy = malloc(len + 1); /* a byte too many: malloc(0) may be NULL */
        assert_non_null(copy);
        memcpy(copy + 1, text, len);
        lua_settop(L, 0);
        int result = json_decode_text(L, (struct str){copy + 1, len});
        free(copy);
        assert_int_equal(result, -1);
        lua_pushlstring(L, text, len);
        assert_int_equal(json_lazy_decode(L, -1), -1);
    }
    lua_settop(L, 0);
    assert_int_equal(json_decode_text(L, STR(text)), 0);
    assert_int_equal(lua_gettop(L), 1);
}

static void test_decode_depth(void **state)
{
    (void)state;
    run("local function nest(n) return ('['):rep(n) .. (']'):rep(n) end\n"
        "assert(json.encode(json.decode(nest(64))) == nest(64))\n"
        "local ok, err = pcall(json.decode, nest(65))\n"
        "assert(not ok and err:find('nested deeper than 64 levels at line 1 column 65', 1, true), "
        "err)\n"
        "ok, err = pcall(json.decode, ('{\"a\":'):rep(1e6))\n"
        "assert(not ok and err:find('nested deeper than 64 levels', 1, true), err)\n"
        "assert(#json.decode('[' .. ('[],'):rep(1000) .. '[]]') == 1001)\n");
}

/* Doubles come back as they were, whichever way they were written. */
static void test_numbers_round_trip(void **state)
{
    (void)state;
    run("math.randomseed(42)\n"
        "for i = 1, 20000 do\n"
        "  local bits = string.pack('I8', math.random(0))\n"
        "  local v = ({string.unpack('d', bits), math.random(10^9) / 10^math.random(0, 9),\n"
        "              math.random() * 10^math.random(-20, 20)})[i % 3 + 1]\n"
        "  if v == v and v ~= 1/0 and v ~= -1/0 then\n"
        "    local text = json.encode(v)\n"
        "    assert(json.decode(text) == v and tonumber(text) == v, text)\n"
        "  end\n"
        "end\n");
}

/* Runs out of memory at every allocation in turn: an error each time, and no harm. */
static size_t allocations_left;

static void *failing_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
    (void)ud;
    if (nsize == 0) {
        free(ptr);
        return NULL;
    }
    if (ptr == NULL || nsize > osize) {
        if (allocations_left == 0)
            return NULL;
        allocations_left--;
    }
    return realloc(ptr, nsize);
}

static int l_round_trip(lua_State *S)
{
    static const char text[] =
        "{\"a\":[1,2,3,[]],\"b\":{\"c\":\"x\\ny\",\"d\":null},\"long\":\"\\t012345678901234567890\"}";
    static const struct json_style style = {2, true};
    if (json_decode_text(S, STR(text)) != 0)
        return lua_error(S);
    if (json_encode_styled(S, -1, &style, json_scratch()) != 0)
        return lua_error(S);
    lua_pushlstring(S, text, sizeof(text) - 1);
    if (json_lazy_decode(S, -1) != 0)
        return lua_error(S);
    lua_getfield(S, -1, "a");
    lua_geti(S, -1, 4);
    lua_pop(S, 2);
    if (json_encode_value(S, -1, json_scratch()) != 0)
        return lua_error(S);
    lua_pushboolean(S, true);
    return 1;
}

static void test_out_of_memory(void **state)
{
    (void)state;
    int status = LUA_ERRMEM;
    size_t tries = 0;
    for (; status != LUA_OK && tries < 10000; tries++) {
        allocations_left = (size_t)-1;
        struct vm vm = {0};
        lua_State *S = lua_newstate(failing_alloc, NULL);
        assert_non_null(S);
        *(struct vm **)lua_getextraspace(S) = &vm;
        lua_pushcfunction(S, l_round_trip);
        allocations_left = tries;
        status = lua_pcall(S, 0, 1, 0);
        assert_true(status == LUA_OK ? lua_toboolean(S, -1) : status == LUA_ERRMEM);
        lua_close(S);
    }
    assert_int_equal(status, LUA_OK);
    assert_in_range(tries, 10, 9999);
}

static void test_array(void **state)
{
    (void)state;
    run("local t = {1}\n"
        "assert(json.array(t) == t and json.array(t) == t)\n"
        "assert(not pcall(json.array, setmetatable({}, {})))\n"
        "assert(not pcall(json.array, 5))\n"
        "t[2] = 2 table.insert(t, 3)\n"
        "assert(#t == 3 and json.encode(t) == '[1,2,3]')\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_encode_refuses),
        cmocka_unit_test(test_encode_depth),
        cmocka_unit_test(test_encode_bounded),
        cmocka_unit_test(test_encode_style),
        cmocka_unit_test(test_encode_keys),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_refuses),
        cmocka_unit_test(test_decode_prefixes),
        cmocka_unit_test(test_decode_depth),
        cmocka_unit_test(test_numbers_round_trip),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_array),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
