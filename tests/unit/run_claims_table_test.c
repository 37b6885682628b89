/* A table of claims behaves as the plain one that a jansson tree makes, whatever a script does with
 * it: both get the same steps, and must say the same after each. */
#include "unit.h"

#include <lauxlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "run/claims_table.h"
#include "lua/json_lazy.h"
#include "lua/tree.h"
#include "lua/vm.h"

enum { ROUNDS = 3000 };

static const struct binding modules[] = {
    {"json", open_json}, {"jwt", open_jwt}, {"url", open_url}, {NULL, NULL}};

/* (text) -> a table of claims, a plain one of the same claims, was it of the lazy kind? */
static int l_both(lua_State *L)
{
    const char *text = luaL_checkstring(L, 1);
    json_t *json = json_loads(text, JSON_ALLOW_NUL, NULL);
    assert_non_null(json);
    struct claims *claims = claims_new(json_incref(json), str_from(text), ALG_RS256, CLAIMS_ANY);
    claims_table_push(L, claims, (struct str){NULL, 0});
    claims_unref(claims); /* the table needs them no more */
    tree_push(L, json);
    json_decref(json);
    lua_pushboolean(L, json_lazy_sheet(L, -2) != NULL);
    return 3;
}

/* (table) -> are its members not all made? */
static int l_is_lazy(lua_State *L)
{
    lua_pushboolean(L, json_lazy_sheet(L, 1) != NULL || json_lazy_level(L, 1) != NULL);
    return 1;
}

static struct vm *open_vm(size_t memory)
{
    struct vm *vm = vm_new(memory, NULL);
    assert_non_null(vm);
    sandbox_open(vm->L, modules);
    return vm;
}

static void run(struct vm *vm, const char *text, int argument)
{
    lua_State *L = vm->L;
    if (luaL_loadbufferx(L, text, strlen(text), "=test", "t") != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pushcfunction(L, l_both);
    lua_pushcfunction(L, l_is_lazy);
    lua_pushinteger(L, argument);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static const char steps_script[] =
    "local both, is_lazy, rounds = ...\n"
    "local function dump(v)\n"
    "  if type(v) == 'function' then return 'function' end\n"
    "  if type(v) ~= 'table' then return (math.type(v) or type(v)) .. ':' .. tostring(v) end\n"
    "  local out = {}\n"
    "  for k, x in pairs(v) do out[#out + 1] = dump(k) .. '=' .. dump(x) end\n"
    "  table.sort(out)\n"
    "  return '{' .. table.concat(out, ',') .. '}'\n"
    "end\n"
    "local texts = {\n"
    "  '{\"iss\":\"i\",\"sub\":\"s\",\"n/roles\":[\"a\",\"b\"],\"scope\":\"a b\",\"exp\":5}',\n"
    "  '{\"roles\":[],\"n/roles\":{\"x\":[1,2.5]},\"sub\":\"\\\\u00e9\\\\n\\\\\"\",\"iat\":1.5,\"z\":null,\"t\":true}',\n"
    "  '{\"sub\":\"\",\"a\":-1,\"scp\":[\"a\"]}', '{}', '{\"1\":\"one\",\"n/\":0,\"exp\":9007199254740993}'}\n"
    "local names = {'iss', 'sub', 'roles', 'n/roles', 'scope', 'exp', 'new', 'iat', 'z', '1'}\n"
    "local values = {'v', 7, true, false, 1.5}\n"
    "local function any(list) return list[math.random(#list)] end\n"
    "local steps = {\n"
    "  function(t, k) return t[k] end,\n"
    "  function(t, k) return t[k], t[k] == t[k] end,\n"
    "  function(t, k, v) t[k] = v end,\n"
    "  function(t, k) t[k] = nil end,\n"
    "  function(t, k, v) t[k] = v t[k] = nil return t[k] end,\n"
    "  function(t, k) t[k] = { 'list' } t[k][2] = k end,\n"
    "  function(t, k) if type(t[k]) == 'table' then t[k].x = 1 end end,\n"
    "  function(t, k) if type(t[k]) == 'table' then t[k] = nil end return t[k] end,\n"
    "  function(t, k) t[k] = jwt.claim_to_array(t[k]) end,\n"
    "  function(t) return #t, rawlen(t), t[1], t[0] end,\n"
    "  function(t, k) return jwt.has_scope(t, 'a'), jwt.has_scope(t, k) end,\n"
    "  function(t) return json.decode(json.encode(t)) end,\n"
    "  function(t) return json.decode(json.encode({ c = t, d = { t } })) end,\n"
    "  function(t) return json.encode(t, { sort_keys = true }) end,\n"
    "  function(t) return json.decode(json.encode(t, { indent = 2 })) end,\n"
    "  function(t) t.f = print return select(2, pcall(json.encode, t)) end,\n"
    "  function(t) t.f = nil end,\n"
    "  function(t) return getmetatable(t), type(t), tostring(t):match('^table: ') end,\n"
    "  function(t) return pcall(rawset, t, nil, 1), (pcall(function() t[nil] = 1 end)) end,\n"
    "}\n"
    "local makes_whole = {\n"
    "  function(t, k) return rawget(t, k) end,\n"
    "  function(t, k, v) rawset(t, k, v) return t[k] end,\n"
    "  function(t) return (next(t)) ~= nil end,\n"
    "  function(t) return dump(t) end,\n"
    "  function(t, k, v) t[1] = v return t[1], #t end,\n"
    "  function(t, k, v) t[k], t[2.5], t[true] = v, 1, 2 return t[2.5] end,\n"
    "  function(t, k) table.insert(t, k) return t[1] end,\n"
    "  function(t) return table.remove(t) end,\n"
    "  function(t) setmetatable(t, { __index = function(_, k) return 'no ' .. tostring(k) end }) return t.nothing end,\n"
    "  function(t) return json.encode(t, { sort_keys = true }) end,\n"
    "}\n"
    "local lazy_after = 0\n"
    "for seed = 1, rounds do\n"
    "  math.randomseed(seed)\n"
    "  local text = any(texts)\n"
    "  local a, b, lazy = both(text)\n"
    "  assert(lazy, text)\n"
    "  local said = text\n"
    "  local first = seed % 3 == 0 and jwt.remove_namespaces(any{'n/', '', 'o', 's'}, a) or nil\n"
    "  if first then math.randomseed(seed) any(texts) b = jwt.remove_namespaces(any{'n/', '', 'o', 's'}, b) a = first end\n"
    "  for i = 1, math.random(12) do\n"
    "    local list = math.random(8) == 1 and makes_whole or steps\n"
    "    local n, k, v = math.random(#list), any(names), any(values)\n"
    "    said = said .. ' ' .. (list == steps and 's' or 'w') .. n .. k\n"
    "    if math.random(10) == 1 then\n"
    "      a, b = jwt.remove_namespaces('n/', a), jwt.remove_namespaces('n/', b)\n"
    "      said = said .. ' strip'\n"
    "    end\n"
    "    local x, y = dump(table.pack(pcall(list[n], a, k, v))), dump(table.pack(pcall(list[n], b, k, v)))\n"
    "    -- which member is refused first is Lua's choice\n"
    "    x, y = x:gsub('cannot encode a .*', ''), y:gsub('cannot encode a .*', '')\n"
    "    assert(x == y, said .. '\\n' .. x .. '\\n' .. y)\n"
    "  end\n"
    "  if is_lazy(a) then lazy_after = lazy_after + 1 end\n"
    "  a, b = dump(a), dump(b)\n"
    "  assert(a == b, said .. '\\n' .. a .. '\\n' .. b)\n"
    "end\n"
    "assert(lazy_after > rounds / 8, 'hardly any was lazy to the end: ' .. lazy_after)\n";

static void behaves_as_a_plain_table(void **state)
{
    (void)state;
    struct vm *vm = open_vm(64 << 20);
    run(vm, steps_script, ROUNDS);
    vm_free(vm);
}

/* What an answer is made of, in the token's order: text is taken over as it is. */
static void writes_what_was_not_touched(void **state)
{
    (void)state;
    static const char script[] =
        "local both, is_lazy = ...\n"
        "local text = '{\"iss\":\"i\",\"roles\":[\"a\"],\"exp\":5,\"sub\":\"s\"}'\n"
        "local function after(change, want)\n"
        "  local t = both(text)\n"
        "  change(t)\n"
        "  local got = json.encode { c = t }\n"
        "  assert(got == '{\"c\":' .. want .. '}', got)\n"
        "  assert(is_lazy(t))\n"
        "end\n"
        "after(function() end, text)\n"
        "after(function(t) return t.iss, t.exp end, text)\n"
        "after(function(t) t.roles[2] = 'b' end, '{\"iss\":\"i\",\"roles\":[\"a\",\"b\"],\"exp\":5,\"sub\":\"s\"}')\n"
        "after(function(t) t.iss = nil end, '{\"roles\":[\"a\"],\"exp\":5,\"sub\":\"s\"}')\n"
        "after(function(t) t.sub = nil end, '{\"iss\":\"i\",\"roles\":[\"a\"],\"exp\":5}')\n"
        "after(function(t) t.exp = 1 t.exp = nil end, '{\"iss\":\"i\",\"roles\":[\"a\"],\"sub\":\"s\"}')\n"
        "after(function(t) t.iss, t.roles, t.exp, t.sub = nil end, '{}')\n"
        "after(function(t) t.more = json.null end, text:sub(1, -2) .. ',\"more\":null}')\n"
        "after(function(t) t.iss, t.roles, t.exp, t.sub, t.x = nil, nil, nil, nil, 1 end, '{\"x\":1}')\n"
        "local t = both(text)\n"
        "t.roles[1] = { deep = print }\n"
        "local _, why = pcall(json.encode, { c = t })\n"
        "assert(why:find('cannot encode a function at .c.roles[1].deep', 1, true), why)\n"
        "assert(json.encode(both('{}')) == '{}')\n";
    struct vm *vm = open_vm(4 << 20);
    run(vm, script, 0);
    vm_free(vm);
}

/* jwt.mapping gives of text what it gives of tables, and a table of its own each time. */
static void maps_as_tables_are_mapped(void **state)
{
    (void)state;
    static const char script[] =
        "local both, is_lazy = ...\n"
        "local texts = { '{}', '{\"n/roles\":\"a b\",\"sub\":\"s\"}', "
        "'{\"roles\":[\"x\"],\"n/roles\":\"y\",\"scope\":\"\"}',\n"
        "  '{\"roles\":{\"a\":[1]},\"scope\":null}', "
        "'{\"scope\":5,\"n/sub\":\"n/\",\"sub\":\"s\",\"an/b\":1}',\n"
        "  '{\"roles\":\" a  b\",\"scope\":\"\\\\\" \\\\n\\\\u00e9 c\"}', "
        "'{\"roles\":false,\"a\\\\nb\":1}' }\n"
        "local options = { {}, { namespace = 'n/' }, { lists = { 'scope', 'roles' } },\n"
        "  { namespace = 'n/', lists = { 'roles', 'scope', 'more', 'roles' } },\n"
        "  { namespace = '', lists = {} }, { namespace = 'n/', lists = { 'a\\nb', 'sub' } } }\n"
        "for _, option in ipairs(options) do\n"
        "  local map = jwt.mapping(option)\n"
        "  for _, text in ipairs(texts) do\n"
        "    local lazy, plain = both(text)\n"
        "    local touched, wanted = both(text), json.encode(map(plain), { sort_keys = true })\n"
        "    touched.x = 1 touched.x = nil\n"
        "    for i = 1, 3 do\n"
        "      local got = map(lazy)\n"
        "      assert(got ~= lazy and got.other == nil)\n"
        "      local again = json.decode(json.encode(got))\n"
        "      assert(json.encode(again, { sort_keys = true }) == wanted, text)\n"
        "      assert(json.encode(got, { sort_keys = true }) == wanted, text)\n"
        "      got.other, got.roles, got.sub = i, i, nil\n"
        "    end\n"
        "    assert(json.encode(map(touched), { sort_keys = true }) == wanted, text)\n"
        "    assert(json.encode(lazy, { sort_keys = true }) == json.encode(plain, { sort_keys = true }))\n"
        "  end\n"
        "end\n"
        "local map = jwt.mapping { lists = { 'roles' } }\n"
        "local a, b = both('{\"roles\":\"a\"}'), both('{\"roles\":\"b\"}')\n"
        "assert(is_lazy(map(a)) and map(a).roles[1] == 'a')\n"
        "assert(map(b).roles[1] == 'b' and map(a).roles[1] == 'a')\n"
        "local half = jwt.remove_namespaces('\\xc3', (both('{\"\\\\u00e9\":1}')))\n"
        "assert(half['\\xa9'] == 1 and not pcall(json.encode, half))\n"
        "map = jwt.mapping { lists = { 'sub' } }\n"
        "local wide = {}\n"
        "for i = 1, 63 do wide[i] = ('\"m%d\":%d'):format(i, i) end\n"
        "local t = map(both('{' .. table.concat(wide, ',') .. '}'))\n"
        "assert(t.m63 == 63 and #t.sub == 0)\n"
        "local function refused(why, ...)\n"
        "  local ok, text = pcall(jwt.mapping, ...)\n"
        "  assert(not ok and text:find(why, 1, true), text)\n"
        "end\n"
        "refused('table expected')\n"
        "refused('list', { list = {} })\n"
        "refused('lists must be a list of names, got string', { lists = 'scope' })\n"
        "refused('a name in lists must be text, got number', { lists = { 5 } })\n"
        "refused('namespace must be text, got boolean', { namespace = true })\n"
        "local many = {} for i = 1, 17 do many[i] = 'n' .. i end\n"
        "refused('lists has more than 16 names', { lists = many })\n"
        "many[17] = nil jwt.mapping { lists = many }\n"
        "assert(not pcall(map, 'text') and not pcall(map))\n";
    struct vm *vm = open_vm(4 << 20);
    run(vm, script, 0);
    vm_free(vm);
}

/* Claims that no sheet can hold are a plain table from the start. */
static void does_without_a_sheet(void **state)
{
    (void)state;
    static const char script[] =
        "local both = ...\n"
        "local t, plain, lazy = both('{\"a\\\\nb\":1,\"sub\":\"s\"}')\n"
        "assert(not lazy and t['a\\nb'] == 1 and t.sub == 's')\n"
        "assert(json.encode(t, { sort_keys = true }) == json.encode(plain, { sort_keys = true }))\n";
    struct vm *vm = open_vm(4 << 20);
    run(vm, script, 0);
    vm_free(vm);
}

/* Tables live as long as a script keeps them, and no longer: sheets are shared and counted. */
static void leaves_nothing_behind(void **state)
{
    (void)state;
    static const char script[] =
        "local both = ...\n"
        "local kept = both('{\"sub\":\"first\",\"roles\":[\"a\"]}')\n"
        "for i = 1, 20000 do\n"
        "  local t = both(('{\"sub\":\"%d\",\"pad\":\"%s\"}'):format(i, ('x'):rep(500)))\n"
        "  assert(t.sub == tostring(i))\n"
        "  local u = jwt.remove_namespaces('p', t)\n"
        "  assert(u.sub == t.sub and #u.ad == 500)\n"
        "end\n"
        "assert(kept.sub == 'first' and kept.roles[1] == 'a')\n";
    struct vm *vm = open_vm(1 << 20); /* 20,000 of them would take 40 MB */
    run(vm, script, 0);
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_as_a_plain_table),  cmocka_unit_test(writes_what_was_not_touched),
        cmocka_unit_test(maps_as_tables_are_mapped), cmocka_unit_test(does_without_a_sheet),
        cmocka_unit_test(leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
