/* Tables of JSON whose members are made when they are read: whatever a script does with one, it
 * says what the plain table of the same text says; and what nobody touched is written as it came.
 */
#include "unit.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/bindings.h"
#include "bindings/json.h"
#include "lua/json_decode.h"
#include "lua/json_lazy.h"
#include "lua/sandbox.h"
#include "lua/vm.h"

enum { ROUNDS = 2000, TEXTS = 20000 };

static const struct binding modules[] = {
    {"json", open_json}, {"jwt", open_jwt}, {"url", open_url}, {NULL, NULL}};

/* (table) -> are its members not all made? */
static int l_is_lazy(lua_State *L)
{
    lua_pushboolean(L, json_lazy_level(L, 1) != NULL);
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
    lua_pushcfunction(L, l_is_lazy);
    lua_pushinteger(L, argument);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
}

static void run_alone(const char *text, int argument)
{
    struct vm *vm = open_vm(64 << 20);
    run(vm, text, argument);
    vm_free(vm);
}

/* Both get the same steps at the same place, and must say the same after each. */
static const char texts_script[] =
    "local is_lazy, rounds = ...\n"
    "local random = math.random\n"
    "local function dump(v)\n"
    "  if type(v) == 'function' then return 'function' end\n"
    "  if math.type(v) == 'float' then return (('%.17g'):format(v)) end\n" /* 2500, if 2.5e3 was */
    "  if type(v) ~= 'table' then return tostring(v) end\n"
    "  local out = { tostring(getmetatable(v)):match('^%a+') }\n"
    "  for k, x in pairs(v) do out[#out + 1] = dump(k) .. '=' .. dump(x) end\n"
    "  table.sort(out)\n"
    "  return '{' .. table.concat(out, ',') .. '}'\n"
    "end\n"
    "local function any(list) return list[random(#list)] end\n"
    "local scalars = { '1', '-5', '1.10', '2.5e3', '-0', '0.0', 'true', 'false', 'null', '\"\"',\n"
    "  '\"text\"', '\"a\\\\u00e9\\\\n\\\\\"\\\\\\\\\"', '\"\\u{e9}\"', '12345678901234567890', '9007199254740993',\n"
    "  '\"a b\"', '\"{[\\\\\"\"' }\n"
    "local names = { 'a', 'b', 'c', 'd', 'e', 'name', 'scope', '1', 'n/a', '', 'f', 'g', 'h', 'i' }\n"
    "local blank = { '', '', '', ' ', '\\n\\t' }\n"
    "local text_of\n"
    "";

static const char rows_script[] =
    /* objects side by side that mostly have the same members in the same order */
    "local function rows_of(depth, spaced)\n"
    "  local first, out = random(#names), {}\n"
    "  for i = 1, random(3, 7) do\n"
    "    local row = {}\n"
    "    for n = first, first + random(0, 10) do\n"
    "      if random(8) > 1 then\n"
    "        table.insert(row, random(9) == 1 and 1 or #row + 1,\n"
    "          '\"' .. names[n % #names + 1] .. '\"' .. (spaced and any(blank) or '') .. ':' .. text_of(random(5) == 1 and depth - 1 or 0, spaced))\n"
    "      end\n"
    "    end\n"
    "    out[i] = random(20) == 1 and text_of(depth - 1, spaced) or '{' .. table.concat(row, spaced and ' ,' or ',') .. '}'\n"
    "  end\n"
    "  return '[' .. table.concat(out, ',') .. ']'\n"
    "end\n"
    "function text_of(depth, spaced)\n"
    "  local function gap() return spaced and any(blank) or '' end\n"
    "  local kind = depth == 0 and 0 or random(0, 4)\n"
    "  if kind == 4 then return rows_of(depth, spaced) end\n"
    "  if kind == 0 then return any(scalars) end\n"
    "  local out, had = {}, {}\n"
    "  for i = 1, kind == 1 and random(0, 5) or random(0, 13) do\n"
    "    local name = any(names)\n"
    "    local value = gap() .. text_of(depth - 1, spaced) .. gap()\n"
    "    if kind == 1 then out[#out + 1] = value\n"
    "    elseif not had[name] then out[#out + 1] = gap() .. '\"' .. name .. '\"' .. gap() .. ':' .. value end\n"
    "    had[name] = random(200) > 1\n"
    "  end\n"
    "  if kind == 1 then return '[' .. gap() .. table.concat(out, ',') .. ']' end\n"
    "  return '{' .. gap() .. table.concat(out, ',') .. '}'\n"
    "end\n"
    "";

static const char steps_script[] =
    "local values = { 'v', 7, true, false, 1.5, json.null }\n"
    "local keys = { 1, 2, 3, 5 }\n"
    "table.move(names, 1, #names, 5, keys)\n"
    "local function key_of(v) return type(v) == 'table' and 'z' .. #v or type(v) .. tostring(v) end\n"
    "local steps = {\n"
    "  function(t, k) return t[k] end,\n"
    "  function(t, k) return t[k], t[k] == t[k] end,\n"
    "  function(t, k) return t.a, t.b, t.c, t.d, t.e end,\n"
    "  function(t, k, v) t[k] = v end,\n"
    "  function(t, k) t[k] = nil end,\n"
    "  function(t, k, v) t[k] = v t[k] = nil return t[k] end,\n"
    "  function(t, k) t[k] = { 'list' } t[k][2] = k end,\n"
    "  function(t, k) return #t, t[1], t[#t] end,\n"
    "  function(t, k) local s = {} for i, x in ipairs(t) do s[i] = x end return s end,\n"
    "  function(t, k) local s = {} for i, x in ipairs(t) do s[i] = type(x) == 'table' and { x.a, x.name, x[k] } end return s end,\n"
    "  function(t, k) for _, x in ipairs(t) do if type(x) == 'table' then dump({ x.b, x.name }) end end return json.decode(json.encode(t)) end,\n"
    "  function(t, k, v) for i, x in ipairs(t) do if type(x) == 'table' and x.b then x.b, x[k] = v, i end end end,\n"
    "  function(t, k, v) for i, x in ipairs(t) do if type(x) == 'table' then x.a, x.a = nil, x.name end end end,\n"
    "  function(t, k) local x = t[1] return type(x) == 'table' and { x.c, x.d, x[k] } end,\n"
    "  function(t, k) return jwt.claim_to_array(t[k]), jwt.has_scope(t, 'a') end,\n"
    "  function(t) return json.decode(json.encode(t)) end,\n"
    "  function(t) return json.decode(json.encode({ c = t, d = { t } })) end,\n"
    "  function(t) return json.encode(t, { sort_keys = true }) end,\n"
    "  function(t) return json.decode(json.encode(t, { indent = 2 })) end,\n"
    "  function(t, k) t[k] = print return (pcall(json.encode, t)) end,\n"
    "  function(t) return getmetatable(t), type(t), tostring(t):match('^[a-z]+: ') end,\n"
    "  function(t) return pcall(rawset, t, nil, 1), (pcall(function() t[nil] = 1 end)) end,\n"
    "  function(t, k) return rawget(t, k) end,\n"
    "  function(t, k, v) rawset(t, k, v) return t[k] end,\n"
    "  function(t) return rawlen(t), rawequal(t, t) end,\n"
    "  function(t) return next(t) ~= nil end,\n"
    "  function(t) local k = next(t) return k ~= nil and (next(t, k)) == nil end,\n"
    "  function(t) return dump(t) end,\n"
    "  function(t, k, v) t[k], t[2.5], t[true] = v, 1, 2 return t[2.5] end,\n"
    "  function(t, k) table.insert(t, k) return t[1] end,\n"
    "  function(t, k) table.insert(t, 1, k) return t[1], t[2] end,\n"
    "  function(t) return table.remove(t) end,\n"
    "  function(t) return table.remove(t, 1) end,\n"
    "  function(t) return table.unpack(t) end,\n"
    "  function(t) return table.move(t, 1, #t, 2) end,\n"
    "  function(t) return pcall(table.concat, t, ',') and table.concat(t, ',') end,\n"
    "  function(t) table.sort(t, function(a, b) return key_of(a) < key_of(b) end) end,\n"
    "  function(t) return (pcall(setmetatable, t, { __index = function(_, k) return type(k) == 'string' and 'no ' .. k or nil end })), t.nothing end,\n"
    "  function(t) return (pcall(json.array, t)) end,\n"
    "  function(t) return select(2, pcall(url.query, t)) end,\n"
    "  function(t, k) return ('$a $name'):gsub('%a+', function(w) return type(t[w]) == 'string' and t[w] or nil end) end,\n"
    "}\n"
    "";

static const char rounds_script[] =
    "local function said_by(step, t, k, v)\n"
    "  local text = dump(table.pack(pcall(step, t, k, v)))\n"
    "  return (text:gsub('cannot encode .*', ''):gsub('table: 0x%x+', ''):gsub('test:%d+:.*', 'error'))\n"
    "end\n"
    "local function same(a, b, said, text)\n"
    "  local i = 1\n"
    "  while a ~= b and a:sub(i, i) == b:sub(i, i) do i = i + 1 end\n"
    "  assert(a == b, said .. ': ' .. a:sub(i - 30, i + 50) .. ' / ' .. b:sub(i - 30, i + 50) .. ' ' .. text)\n"
    "end\n"
    "local lazy_after = 0\n"
    "for seed = 1, rounds do\n"
    "  math.randomseed(seed)\n"
    "  local text = text_of(3, seed % 3 == 0)\n"
    "  local a, b = json.decode(text), json.decode(text, { eager = true })\n"
    "  assert(not is_lazy(b))\n"
    "  local said = tostring(seed)\n"
    "  local root, root_b = a, b\n"
    "  for i = 1, random(12) do\n"
    "    local k, v = any(keys), any(values)\n"
    "    if type(a) ~= 'table' or random(6) == 1 then a, b = root, root_b end\n"
    "    if type(a) ~= 'table' then break end\n"
    "    local n = random(#steps)\n"
    "    if math.type(k) then k = math.max(1, #b) end\n" /* no holes */
    "    said = said .. ' ' .. n .. tostring(k)\n"
    "    local x, y = said_by(steps[n], a, k, v), said_by(steps[n], b, k, v)\n"
    "    same(x, y, said, text)\n"
    "    if random(2) == 1 then\n"
    "      local down = any(keys)\n"
    "      if type(b[down]) == 'table' then a, b = a[down], b[down] said = said .. ' >' .. tostring(down) end\n"
    "    end\n"
    "  end\n"
    "  if type(root) == 'table' and is_lazy(root) then lazy_after = lazy_after + 1 end\n"
    "  same(dump(root), dump(root_b), said, text)\n"
    "end\n"
    "assert(lazy_after > rounds / 32, 'hardly any was lazy to the end: ' .. lazy_after)\n";

static void behaves_as_a_plain_table(void **state)
{
    (void)state;
    struct buf script = BUF_INIT;
    buf_add_str(&script, STR(texts_script));
    buf_add_str(&script, STR(rows_script));
    buf_add_str(&script, STR(steps_script));
    buf_add_str(&script, STR(rounds_script));
    buf_add_char(&script, '\0');
    run_alone(script.data, ROUNDS);
    buf_free(&script);
}

static void writes_what_was_not_touched(void **state)
{
    (void)state;
    static const char script[] =
        "local is_lazy = ...\n"
        "local function after(text, change, want)\n"
        "  local t = json.decode(text)\n"
        "  assert(is_lazy(t))\n"
        "  change(t)\n"
        "  local got = json.encode { c = t }\n"
        "  assert(got == '{\"c\":' .. want .. '}', got)\n"
        "end\n"
        "local function nothing() end\n"
        "local small = '{\"z\":1.10,\"a\":[1.50,2,\"\\\\u0041\"],\"m\":{\"y\":1e2,\"b\":[]},\"s\":\"\\\\/\"}'\n"
        "after(small, nothing, small)\n"
        "after(small:gsub(',', ' ,\\n '):gsub(':', '\\t: '), nothing, small)\n"
        "after(small, function(t) return t.z, t.a, t.none end, small)\n"
        "after(small, function(t) return t.a[1], t.m.b end, small)\n"
        "after(small, function(t) return #t.a, ipairs(t.a)(t.a, 1) end, small)\n"
        "after(small, function(t) t.z = 2 t.s = 'x' end,\n"
        "  '{\"z\":2,\"a\":[1.50,2,\"\\\\u0041\"],\"m\":{\"y\":1e2,\"b\":[]},\"s\":\"x\"}')\n"
        "after(small, function(t) t.a[2] = 3 t.a[4] = 'n' t.m.y = nil end,\n"
        "  '{\"z\":1.10,\"a\":[1.50,3,\"\\\\u0041\",\"n\"],\"m\":{\"b\":[]},\"s\":\"\\\\/\"}')\n"
        "after(small, function(t) t.a, t.m = nil end, '{\"z\":1.10,\"s\":\"\\\\/\"}')\n"
        "after(small, function(t) t.z, t.a, t.m = nil t.s = nil t.n = 1 end, '{\"n\":1}')\n"
        "after(small, function(t) t.z = nil t.z = 1.1 end, small)\n"
        "after('[{\"b\":1,\"a\":2.0},[1.0]]', function(t) return t[1], t[2] end, '[{\"b\":1,\"a\":2.0},[1.0]]')\n"
        "local wide = {}\n"
        "for i = 1, 40 do wide[i] = ('\"k%d\":%d.0'):format(i, i) end\n"
        "wide = '{' .. table.concat(wide, ',') .. '}'\n"
        "after('{\"a\":{\"b\":1.50,\"c\":2} ,\"d\":[2.0] }', function(t) return t.a.b, t.d[1], t.d.x end,\n"
        "  '{\"a\":{\"b\":1.50,\"c\":2},\"d\":[2.0]}')\n"
        "after('{\"a\":{\"b\":1.50,\"c\":2} }', function(t) t.a.b = 0 end, '{\"a\":{\"b\":0,\"c\":2}}')\n"
        "after(wide, nothing, wide)\n"
        "after(wide, function(t) assert(t.k40 and t['k3\":3.0,\"k4'] == nil) end, wide)\n"
        "after(wide, function(t) return t.k7, t.k9 end, wide)\n"
        "after(wide, function(t) for i = 1, 40 do assert(t['k' .. i] == i) end end, wide)\n"
        "after(wide, function(t) t.k7 = nil t.k40 = nil end, (wide:gsub('\"k7\":7.0,', ''):gsub(',\"k40\":40.0', '')))\n"
        "after(wide, function(t) t.more = 1 end, wide:sub(1, -2) .. ',\"more\":1}')\n"
        "local deep = json.decode(('['):rep(60) .. '1.0' .. (']'):rep(60))\n"
        "assert(json.encode{ { { { deep } } } }:find('1.0', 1, true))\n"
        "local ok, why = pcall(json.encode, { { { { { deep } } } } })\n"
        "assert(not ok and why:find('nested deeper than 64 levels at [1][1][1]', 1, true), why)\n"
        "local t = json.decode(small)\n"
        "t.a[1] = { deep = print }\n"
        "ok, why = pcall(json.encode, { c = t })\n"
        "assert(why:find('cannot encode a function at .c.a[1].deep', 1, true), why)\n";
    run_alone(script, 0);
}

/* Objects side by side are made with the members that were read of the first; which these are is
 * told by nothing but time. */
static void makes_rows_like_the_first(void **state)
{
    (void)state;
    static const char script[] =
        "local is_lazy = ...\n"
        "local long = ('x'):rep(1000)\n"
        "local function row(i, more)\n"
        "  return ('{\"id\":%d,\"n\":%d.50,\"at\":{\"x\":1.0},\"text\":\"\\\\u00e9%d\",\"name\":\"%s\",\"k\":[1.10]%s}')\n"
        "    :format(i, i, i, i == 7 and long or 'Row ' .. i, more or '')\n"
        "end\n"
        "local wide = ''\n"
        "for i = 1, 9 do wide = wide .. (',\"w%d\":%d.0'):format(i, i) end\n"
        "for _, more in ipairs { '', wide, ' ' } do\n"
        "local list = {}\n"
        "for i = 1, 12 do list[i] = row(i, more) end\n"
        "list[5] = '{\"name\":\"Row 5\",\"id\":5}'\n"
        "list[6] = '{\"other\":6}'\n"
        "list[9] = '[9]'\n"
        "local bare = {}\n"
        "for i, r in ipairs(list) do bare[i] = r:gsub(' }$', '}') end\n"
        "local function with(i, pattern, by)\n"
        "  local copy = { table.unpack(bare) }\n"
        "  copy[i] = copy[i]:gsub(pattern, by)\n"
        "  return '[' .. table.concat(copy, ',') .. ']'\n"
        "end\n"
        "local function check(change, want)\n"
        "  local t = json.decode('[' .. table.concat(list, ',') .. ']')\n"
        "  assert(is_lazy(t))\n"
        "  change(t)\n"
        "  local got = json.encode(t)\n"
        "  if got ~= (want or with(1, '', '')) then error(got, 2) end\n"
        "end\n"
        "local function read(t)\n"
        "  for i, r in ipairs(t) do\n"
        "    if i ~= 6 and i ~= 9 then assert(r.id == i and r.name == (i == 7 and long or 'Row ' .. i)) end\n"
        "    assert(i == 6 or i == 9 or i == 5 or r.n == i + 0.5)\n"
        "    assert(is_lazy(r))\n"
        "  end\n"
        "end\n"
        "local function read_all(t)\n"
        "  for i, r in ipairs(t) do assert(i == 5 or i == 6 or i == 9 or r.at.x == 1 and r.text == 'é' .. i and r.k[1] == 1.1) end\n"
        "end\n"
        "check(read)\n"
        "check(read_all)\n"
        "check(function(t) read(t) read_all(t) end)\n"
        "check(function(t) local r = t[1] assert(#t == 12 and r == t[1] and r.id == 1 and r.none == nil) end)\n"
        "check(function(t) read(t) for i = 1, 12 do t[i] = t[i] end end)\n"
        "check(function(t) read(t) t[2].id = 2 t[2].name = nil t[2].name = 'Row 2' end)\n"
        "check(function(t) read(t) t[3].name = nil end, with(3, ',\"name\":\"Row 3\"', ''))\n"
        "check(function(t) read(t) t[3].name = 7 end, with(3, '\"Row 3\"', '7'))\n"
        "check(function(t) read(t) t[3].text = 7 end, with(3, '\"\\\\u00e93\"', '7'))\n"
        "check(function(t) read(t) t[3].at = nil end, with(3, ',\"at\":{\"x\":1.0}', ''))\n"
        "check(function(t) read_all(t) t[3].at.x = nil end, with(3, '\"x\":1.0', ''))\n"
        "check(function(t) read(t) t[3].id = nil t[3].id = 3 end)\n"
        "check(function(t) read(t) t[6].id = 6 end, with(6, '6', '6,\"id\":6'))\n"
        "check(function(t) read(t) table.remove(t) t[#t + 1] = { id = 0 } end, with(12, '.*', '{\"id\":0}'))\n"
        "check(function(t) assert(t[1].id == 1) t[1] = nil t[1] = 'one' end, with(1, '.*', '\"one\"'))\n"
        "check(function(t) assert(t[1].id == 1) t[1].id = 'one' end, with(1, '\"id\":1', '\"id\":\"one\"'))\n"
        "check(function(t)\n"
        "  assert(t[1].id == 1)\n"
        "  for k, v in pairs(t[2]) do assert(k ~= 'id' or v == 2) end\n"
        "  t[2] = 2\n"
        "end, with(2, '.*', '2'))\n"
        "end\n"
        "local t = json.decode('[{\"a\":1},{\"a\":2},{\"a\":3},{\"a\":4}]')\n"
        "assert(t[1].a == 1)\n"
        "t[1] = nil\n"
        "assert(t[1] == nil and t[2].a == 2 and t[1] == nil and t[4].a == 4 and t[5] == nil)\n"
        "t = json.decode('[{\"a\":1},{\"a\":2},{\"a\":3},{\"a\":4}]')\n"
        "assert(t[1].a == 1 and #t == 4 and t[2].a == 2 and next(t[2]) == 'a' and next(t[2], 'a') == nil)\n"
        "assert(rawlen(t) == 4 and rawget(t[3], 'a') == 3 and not is_lazy(t))\n";
    run_alone(script, 0);
}

/* What gains nothing is a plain table at once, and what is no JSON is refused as ever. */
static void leaves_some_to_the_other_decoder(void **state)
{
    (void)state;
    static const char script[] =
        "local is_lazy = ...\n"
        "local names = {}\n"
        "for i = 1, 1025 do names[i] = ('\"n%d\":%d'):format(i, i) end\n"
        "for _, text in ipairs { '1', '\"a\"', '{}', '[]', '{\"a\":1,\"a\":2}', '{\"\\\\u0061\":1}',\n"
        "  '{' .. table.concat(names, ',') .. '}', '[' .. ('[],'):rep(500) .. '[]]' } do\n"
        "  assert(not is_lazy(json.decode(text)), text)\n"
        "end\n"
        "table.remove(names)\n"
        "assert(is_lazy(json.decode('{' .. table.concat(names, ',') .. '}')))\n"
        "local many = '{' .. table.concat(names, ',', 1, 100)\n"
        "assert(is_lazy(json.decode('[' .. many .. '},' .. many .. '}]')))\n"
        "assert(not is_lazy(json.decode('[' .. many .. '},' .. many .. ',\"n99\":1}]')))\n"
        "assert(json.decode('{\"a\":{\"a\":1},\"b\":2,\"a\":3}').a == 3)\n"
        "assert(is_lazy(json.decode('{\"a\":{\"a\":1,\"b\":{\"a\":2}},\"b\":{\"b\":1,\"a\":1}}')))\n"
        "assert(not is_lazy(json.decode('{\"a\":[1]}', { eager = true }).a))\n"
        "assert(is_lazy(json.decode('{\"a\":[1]}', { eager = false })))\n"
        "local ok, why = pcall(json.decode, '{}', { eagre = true })\n"
        "assert(not ok and why:find('eager', 1, true), why)\n"
        "assert(not pcall(json.decode, '{}', true))\n";
    run_alone(script, 0);
}

static const char *const seeds[] = {
    "{\"a\":[1,2.50,-0,1e5,{\"b\":null,\"c\":[true,false,\"x\\u00e9\\n\"]}],\"d\":{\"a\":\"\xc3\xa9\"}}",
    "[ {\"id\" : 1, \"name\":\"\\ud83d\\ude00\"},\n {\"id\":2,\"name\":\"b\"}, [[],{}], 0.1, -12 ]",
    "[{\"thirteen-long\":1,\"fourteen-long.\":2,\"a\" :3},{\"thirteen-long\":4,\"fourteen-long.\":5,\"a\":6},"
    "{\"thirteen-long\" : 1,\"fourteen-long.\":\"a string of thirty bytes, or so\",\"a\":3}]",
    "{\"k\":1e308,\"l\":1E-7,\"m\":123456789012345678901,\"n\":\"\\\\\\\"\\/\\b\"}",
};

/* One to four bytes changed, dropped or doubled. */
static size_t garble(char *text, size_t len)
{
    static const char bytes[] = "{}[]\",:\\ue1290.-+E tfn\x01\xc3\xa9\xed\x80 \n";
    for (unsigned n = 1 + next_random() % 4; n > 0; n--) {
        size_t at = next_random() % len;
        switch (next_random() % 3) {
        case 0:
            text[at] = bytes[next_random() % (sizeof(bytes) - 1)];
            break;
        case 1:
            memmove(text + at, text + at + 1, len - at - 1);
            len--;
            break;
        default:
            memmove(text + at + 1, text + at, len - at);
            len++;
        }
    }
    return len;
}

/* The text is taken, or refused, as by the other decoder, and both say the same. */
static void check_text(lua_State *L, struct str text)
{
    lua_settop(L, 0);
    lua_pushlstring(L, text.ptr, text.len);
    int lazy = json_lazy_decode(L, 1), eager = json_decode_text(L, text);
    if (lazy != eager)
        fail_msg("%d, not %d: %.*s", lazy, eager, STR_ARG(text));
    assert_int_equal(lua_gettop(L), 3);
    if (lazy != 0) {
        assert_string_equal(lua_tostring(L, 2), lua_tostring(L, 3));
        return;
    }
    static const struct json_style sorted = {.sort_keys = true};
    for (int index = 2; index <= 3; index++) {
        struct buf *out = json_scratch();
        assert_int_equal(json_encode_styled(L, index, index == 2 ? NULL : &sorted, out), 0);
        lua_pushlstring(L, out->data, out->len);
    }
    struct str written;
    written.ptr = lua_tolstring(L, 4, &written.len);
    assert_int_equal(json_decode_text(L, written), 0);
    struct buf *out = json_scratch();
    assert_int_equal(json_encode_styled(L, 6, &sorted, out), 0);
    struct str wanted = {NULL, 0};
    wanted.ptr = lua_tolstring(L, 5, &wanted.len);
    if (!str_eq(buf_str(out), wanted))
        fail_msg("%.*s: %.*s", STR_ARG(text), STR_ARG(buf_str(out)));
}

static void takes_what_the_other_takes(void **state)
{
    (void)state;
    struct vm *vm = open_vm(0);
    unsigned taken = 0;
    for (unsigned i = 0; i < TEXTS; i++) {
        const char *seed = seeds[next_random() % (sizeof(seeds) / sizeof(seeds[0]))];
        char text[512];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        len = garble(text, len);
        char *exact = malloc(len + 1); /* the sanitizer sees a byte too far */
        assert_non_null(exact);
        memcpy(exact, text, len);
        exact[len] = '\0';
        check_text(vm->L, (struct str){exact, len});
        uint32_t count;
        taken += json_boxes((struct str){exact, len}, &count) != NULL;
        free(exact);
    }
    assert_in_range(taken, TEXTS / 20, TEXTS);
    vm_free(vm);
}

/* The text and its places are the function's memory, and go with the last table of it. */
static void counts_as_memory(void **state)
{
    (void)state;
    static const char script[] =
        "local function text(n) return '[' .. ('{\"a\":\"' .. ('x'):rep(100) .. '\"},'):rep(n) .. '1]' end\n"
        "local one = text(1000)\n"
        "for i = 1, 200 do\n"
        "  local t = json.decode(one)\n"
        "  assert(#t == 1001 and t[i].a == ('x'):rep(100))\n"
        "end\n"
        "local kept = {}\n"
        "for i = 1, 20 do kept[i] = json.decode(text(500))[1] end\n"
        "assert(collectgarbage('count') > 20 * 50, collectgarbage('count'))\n";
    struct vm *vm = open_vm(4 << 20);
    run(vm, script, 0);
    vm_free(vm);
}

/* Documents that are hard on a table, whole or member by member. */
static void takes_what_is_hard(void **state)
{
    (void)state;
    static const char script[] =
        "local is_lazy = ...\n"
        "local numbers = json.decode('[' .. ('7,'):rep(999999) .. '8]')\n"
        "assert(is_lazy(numbers) and #numbers == 1000000 and numbers[1000000] == 8 and numbers[1] == 7)\n"
        "numbers = nil\n"
        "local parts = {}\n"
        "for i = 1, 100000 do parts[i] = ('\"%d\":%d'):format(i, -i) end\n"
        "local members = json.decode('{' .. table.concat(parts, ',') .. '}')\n"
        "assert(members['1'] == -1 and members['100000'] == -100000 and members['0'] == nil)\n"
        "local one = ('x'):rep(6 << 20)\n"
        "local text = '{\"a\":\"' .. one .. '\",\"b\":[1.10]}'\n"
        "local t = json.decode(text)\n"
        "assert(is_lazy(t) and json.encode(t) == text and t.a == one and #json.encode { t } == #text + 2)\n"
        "one, text, t = nil\n"
        "for _, depth in ipairs { 1, 63, 64, 65, 66, 1000, 1000000 } do\n"
        "  for _, open in ipairs { '[', '{\"a\":' } do\n"
        "    local ok, why = pcall(json.decode, open:rep(depth) .. '1' .. (open == '[' and ']' or '}'):rep(depth))\n"
        "    assert(ok == (depth <= 64), depth)\n"
        "    assert(ok or why:find('nested deeper than 64 levels', 1, true), why)\n"
        "  end\n"
        "end\n"
        "assert(#json.decode('[' .. ('[],'):rep(299999) .. '[]]') == 300000)\n";
    run_alone(script, 0);
}

/* Members in any order, again and again; set and taken away while somebody walks over them. */
static void reads_in_any_order(void **state)
{
    (void)state;
    static const char script[] =
        "local parts, order = {}, {}\n"
        "for i = 1, 1000 do\n"
        "  parts[i] = ('\"k%d\":%s'):format(i, i % 3 == 0 and '[' .. i .. ']' or i)\n"
        "  table.insert(order, math.random(#order + 1), i)\n"
        "end\n"
        "local text = '{' .. table.concat(parts, ',') .. '}'\n"
        "local function value(v) return type(v) == 'table' and v[1] or v end\n"
        "for reads = 0, 20 do\n"
        "  local t, sum = json.decode(text), 0\n"
        "  for i = 1, reads do assert(value(t['k' .. order[i]]) == order[i]) end\n"
        "  for i = 1, reads do t['k' .. order[i]] = nil end\n"
        "  for k, v in pairs(t) do\n"
        "    assert(k == 'k' .. value(v))\n"
        "    sum = sum + value(v)\n"
        "    t[k] = nil\n"
        "  end\n"
        "  for i = 1, reads do sum = sum + order[i] end\n"
        "  assert(sum == 500500 and next(t) == nil, sum)\n"
        "  t = json.decode(text)\n"
        "  for i = 1, 1000 do t['k' .. order[i]] = i end\n"
        "  t = json.decode(json.encode(t))\n"
        "  for i = 1, 1000 do assert(t['k' .. order[i]] == i) end\n"
        "end\n"
        "local list = json.decode('[' .. ('{\"n\":1},'):rep(99) .. '{\"n\":1}]')\n"
        "for i, v in ipairs(list) do\n"
        "  if i % 2 == 0 then list[i] = { n = i } else v.n, v.m = v.n + i, i end\n"
        "  if i < 150 then list[#list + 1] = { n = 0 } end\n"
        "end\n"
        "assert(#list == 249 and list[1].n == 2 and list[2].n == 2 and list[99].m == 99)\n";
    run_alone(script, 0);
}

/* A document that is too large for a function's memory ends what decodes it, and nothing of it
 * stays. */
static void keeps_to_the_memory(void **state)
{
    (void)state;
    static const char large[] = "local text = '[' .. ('{\"a\":1,\"b\":2},'):rep(100000) .. '1]'\n"
                                "kept = true\n"
                                "kept = json.decode(text)\n";
    struct vm *vm = open_vm(3 << 20);
    lua_State *L = vm->L;
    lua_gc(L, LUA_GCCOLLECT, 0);
    size_t before = vm->used;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(luaL_loadstring(L, large), LUA_OK);
        assert_int_equal(lua_pcall(L, 0, 0, 0), LUA_ERRMEM);
        assert_int_equal(lua_getglobal(L, "kept"), LUA_TBOOLEAN);
        lua_settop(L, 0);
        lua_gc(L, LUA_GCCOLLECT, 0);
        assert_in_range(vm->used, 0, before + 64 * 1024);
        run(vm, "assert(#json.decode('[' .. ('{\"a\":1},'):rep(100) .. '1]') == 101)", 0);
    }
    vm_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(behaves_as_a_plain_table),
        cmocka_unit_test(writes_what_was_not_touched),
        cmocka_unit_test(makes_rows_like_the_first),
        cmocka_unit_test(leaves_some_to_the_other_decoder),
        cmocka_unit_test(takes_what_the_other_takes),
        cmocka_unit_test(counts_as_memory),
        cmocka_unit_test(takes_what_is_hard),
        cmocka_unit_test(reads_in_any_order),
        cmocka_unit_test(keeps_to_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
