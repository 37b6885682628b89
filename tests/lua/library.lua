-- Lua's library: what each function gives, or says, for every combination of some values, and cases
-- where it is easy to be almost right. The texts of errors count, too.
local out = {}
local function note(...)
    local t = table.pack(...)
    for i = 1, t.n do
        t[i] = (tostring(t[i]):gsub("0x%x+", "ADDRESS"))
    end
    out[#out + 1] = table.concat(t, " ")
end

-- ---- every function with every value -------------------------------------------------------------
local makers = {
    function() return nil end, function() return true end, function() return -2 end, function() return 0 end,
    function() return 1 end, function() return 3 end, function() return 2.5 end, function() return "10" end,
    function() return "a%d.x" end, function() return {} end, function() return { 3, 1, 2 } end,
    function()
        return setmetatable({}, { __index = function(_, k) return k end, __len = function() return 2 end })
    end,
    function() return function(a, b) return a, b end end,
    function() return coroutine.create(function(a) coroutine.yield(a) end) end,
}
local libraries = {
    _G = "assert error ipairs next pairs pcall rawequal rawget rawlen rawset select setmetatable tonumber tostring"
        .. " type xpcall",
    coroutine = "close create isyieldable resume status wrap",
    math = "abs ceil cos exp floor fmod log max min modf pow tointeger type ult",
    string = "byte char find format gmatch gsub len lower match rep reverse sub upper pack packsize unpack",
    table = "concat insert move pack remove unpack",
    utf8 = "char codepoint codes len offset",
}
local function show(value, depth)
    if type(value) == "string" or type(value) == "number" then return (tostring(value):gsub("0x%x+", "ADDRESS")) end
    if type(value) ~= "table" or depth > 2 then return type(value) end
    local parts = {}
    for i = 1, rawlen(value) do parts[i] = show(rawget(value, i), depth + 1) end
    return "{" .. table.concat(parts, ",") .. "}"
end
local function call(f, count, ...)
    local given = { ... }
    local got = table.pack(pcall(f, table.unpack(given, 1, count)))
    for i = 1, got.n do got[i] = show(got[i], 0) end
    for i = 1, count do got[got.n + i] = show(given[i], 0) end -- what it did to its arguments
    return table.concat(got, "\1", 1, got.n + count)
end
local function digest(sum, text)
    for i = 1, #text do sum = (sum * 31 + text:byte(i)) % 2147483647 end
    return sum
end
local names = {}
for library, list in pairs(libraries) do
    for name in list:gmatch("%S+") do names[#names + 1] = { library, name } end
end
table.sort(names, function(a, b) return a[1] .. a[2] < b[1] .. b[2] end)
for _, entry in ipairs(names) do
    local f, sum = _G[entry[1]][entry[2]], 7
    sum = digest(sum, call(f, 0))
    for _, a in ipairs(makers) do
        sum = digest(sum, call(f, 1, a()))
        for _, b in ipairs(makers) do
            sum = digest(sum, call(f, 2, a(), b()))
        end
        sum = digest(sum, call(f, 3, a(), a(), a()))
        sum = digest(sum, call(f, 3, a(), 1, 2))
        sum = digest(sum, call(f, 4, { 1, 2 }, a(), 2, a()))
    end
    note(entry[1], entry[2], sum)
end

local function why(f, ...) return (select(2, pcall(f, ...))) end

-- ---- edges ----------------------------------------------------------------------------------------
local empty, list = {}, { 1, 2, 3 }
note(table.remove(empty, #empty), table.remove(list, #list), table.remove(list, 3), #list)
note(pcall(table.remove, {}, 7))
note(pcall(table.remove, {}, -1))
note(pcall(table.remove, { 1 }, 3))
note(table.remove(setmetatable({}, { __len = function() return -3 end }), -3))

note(load("return 1")(), load("x ="))
note(load("return 1", "name", "b"))
note(load("return 1", "=name", "b"))
note(load("return ...", "@name", "t")(5))
note(load(function() error("in the reader", 0) end))
note(load(function() error({}) end))
note(select("#", load(function() error() end)), load(function() error() end))
note(coroutine.wrap(function() return load(function() error("in the reader", 0) end) end)())
note(load(function() return {} end))
note(load(function() return true end))
note(type(load(function() return nil end)), load(function() return nil end)())
note(type(load("")), type(load(function() return "" end)))
note(pcall(load))
note(pcall(load, {}))
note(pcall(load, "x", {}))
note(pcall(load, "x", "x", {}))
note(pcall(load, function() return {} end))
note(pcall(load, function() error("in the reader") end))
note(load(coroutine.wrap(function() coroutine.yield("return ") coroutine.yield(7) end))())
note(load("return x", "n", "t", { x = "env" })(), pcall(load("return x.y", "n", "t", nil)))
note(load("return '" .. ("y"):rep(100000) .. "'")():len())
note(load(("x = 1 "):rep(20000) .. "return 'long'", "=long", "t", {})())
note(load("\n\nx = = 1"))
note(load("x = = 1", "@file.lua"))
note(load("x = = 1", "=(name)"))

note(type(next(string)), next(string) == next(string), next({}), type(next({ 1 })))
local names_of_math = 0
for name, value in next, math do
    assert(math[name] == value)
    names_of_math = names_of_math + 1
end
note(names_of_math)
note(math.pow(2, 10), math.ldexp(1, 4), math.frexp(8), math.log10(1000), math.cosh(0), math.sinh(0), math.tanh(0))
note(_VERSION, type(warn), pcall(warn))
note(why(string.rep), why(("x").rep, "x", {}), why(setmetatable, 1), why(utf8.char, -1), why(math.floor, {}))
note(select(2, pcall(function() ("x"):rep({}) end)), select(2, pcall(function() string.rep() end)))
note(select(2, pcall(function() local t = {} t.x.y = 1 return t end)), select(2, pcall(function() return #nil end)))
note(select(2, pcall(table.sort, { 3, 1, "x" })), select(2, pcall(table.concat, { 1, {}, 3 })))
local sorted = {}
for i = 1, 1000 do sorted[i] = i * 7919 % 1009 end
table.sort(sorted)
note(table.concat(sorted, " ", 1, 20))
table.sort(sorted, function(a, b) return a > b end)
note(table.concat(sorted, " ", 1, 20))
for _, maker in ipairs(makers) do note(why(table.sort, maker()), why(table.sort, {}, maker())) end
note(getmetatable({}), getmetatable(setmetatable({}, { __metatable = "mine" })), pcall(getmetatable))
note(getmetatable(setmetatable({}, { __mode = "k" })).__mode)
note(select(2, pcall(error, setmetatable({}, { __tostring = function() return "object" end }))))
note(tostring(print):match("^builtin") or tostring(print):match("^function"))
note(xpcall(function() error("x", 0) end, function(m) return m .. "!" end))
note(tostring(1e15), tostring(-0.0), 2^63, math.tointeger("8"), 1e100, 10 // 3, -7 % 3, 7 // 0.0, 1 < 1.5)
note(string.format("%q %5.2f %-5s| %x %g %a %i %c %s", "a\n\0b", 3.14159, "ab", 255, 1e20, 1.0, 42, 65, true))
note(("x"):rep(3, ","), ("abc"):byte(1, -1), #("%bxy"), ("key = value"):match("^(%w+)%s*=%s*(%w+)$"))
return table.concat(out, "\n")
