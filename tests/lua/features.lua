-- Uses most of the language once and returns what came out. The test runs it cut into slices of
-- every length: the text must not change.
local out = {}
local function note(...)
    local t = table.pack(...)
    for i = 1, t.n do t[i] = tostring(t[i]) end
    out[#out + 1] = table.concat(t, ",")
end

local function varargs(...)
    local a, b = ...
    return select("#", ...), a, b, (select(-1, ...)), ...
end
note(varargs(1, nil, 3))
note(varargs(table.unpack({ 4, 5, 6 })))

local mt = {}
for _, event in ipairs { "add", "sub", "mul", "div", "mod", "pow", "idiv", "band", "bor", "bxor",
    "shl", "shr", "concat" } do
    mt["__" .. event] = function(a, b)
        local x = type(a) == "table" and a.v or a
        local y = type(b) == "table" and b.v or b
        return event .. "(" .. x .. " " .. y .. ")"
    end
end
mt.__unm = function(a) return "unm(" .. a.v .. ")" end
mt.__bnot = function(a) return "bnot(" .. a.v .. ")" end
mt.__len = function(a) return a.v * 10 end
mt.__eq = function(a, b) local same = a.v == b.v return same end
mt.__lt = function(a, b) local less = a.v < b.v return less end
mt.__le = function(a, b) local less = a.v <= b.v return less end
mt.__call = function(self, ...) return self.v, select("#", ...), ... end
mt.__index = function(_, k) return "index " .. tostring(k) end
mt.__newindex = function(t, k, v) rawset(t, k, v .. "!") end
mt.__tostring = function(a) return "object " .. a.v end
mt.__close = function(a, e) note("close", a.v, e) end
local function object(v) return setmetatable({ v = v }, mt) end
local o, p = object(3), object(4)
note(o + p, o - 1, 2 * o, o / p, o % 2, 2 ^ o, o // p, o & 1, 1 | o, o ~ p, o << 1, 1 >> o)
note("a" .. o, o .. "b", "x" .. "y" .. o, o .. p .. "z", -o, ~o, #o)
note(o == p, o == object(3), o < p, o <= p, o > p, o >= p, o ~= p)
note(o(1, nil), o.missing, tostring(o))
o.field = "v"
note(rawget(o, "field"))

do
    local a <close> = object("a")
    local b <close> = object("b")
    note("in block")
end
local function closing(n)
    local c <close> = object(n)
    if n > 0 then return closing(n - 1) end
    return "closed", n
end
note(closing(3))
note(pcall(function()
    local e <close> = object("e")
    error("planned", 0)
end))
note(pcall(function()
    local e <close> = setmetatable({}, { __close = function(_, m) error(m .. " again", 0) end })
    error("first", 0)
end))
for i, v in (function()
    local n = 0
    return function() n = n + 1 if n <= 3 then return n, n * n end end, nil, nil, object("loop")
end)() do
    note(i, v)
end

local function tail(n, acc) if n == 0 then return acc end return tail(n - 1, acc + n) end
note(tail(50, 0))
local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
note(fib(10))

for i = 3, 1, -1 do note("down", i) end
for x = 0.5, 2, 0.5 do note("float", x) end
local i = 0
repeat local j = i i = i + 1 until j >= 3
while i > 0 do i = i - 1 if i == 1 then break end end
do local n = 0 ::top:: n = n + 1 if n < 4 then goto top end note("goto", n) end
local closures = {}
for k = 1, 3 do closures[k] = function() k = k + 1 return k end end
note(closures[1](), closures[1](), closures[2](), closures[3]())

note(pcall(error, { 1 }) and "?" or "table error")
note(pcall(error))
note(xpcall(function(...) return ... end, print, 1, 2))
note(xpcall(function() local x = nil return x.y end, function(m) return "handled: " .. m end))
note(pcall(pcall, pcall, error, "deep"))
note(select(2, pcall(function() return {} < {} end)))

local function generator(n)
    return coroutine.wrap(function()
        for k = 1, n do coroutine.yield(k, k * 2) end
        return "end"
    end)
end
for a, b in generator(3) do
    note(a, b)
    if a == "end" then break end
end
local nested = coroutine.wrap(function(x)
    local inner = coroutine.wrap(function(y)
        local deepest = coroutine.create(function(z)
            local got = coroutine.yield(z + 1)
            error("from the deepest " .. got, 0)
        end)
        note(coroutine.resume(deepest, y))
        coroutine.yield("inner")
        note(coroutine.resume(deepest, "one"))
        note(coroutine.status(deepest), coroutine.resume(deepest))
        return "inner end"
    end)
    coroutine.yield(inner(x))
    return inner()
end)
note(nested(10))
note(nested())
local held = coroutine.create(function()
    local h <close> = object("held")
    coroutine.yield(1)
end)
note(coroutine.resume(held))
note(coroutine.close(held), coroutine.status(held))
note(pcall(coroutine.wrap(function() local q <close> = object("q") error("wrapped", 0) end)))
local y = coroutine.wrap(function()
    local m = setmetatable({}, {
        __index = function(_, k) return coroutine.yield(k) end,
        __lt = function() return coroutine.yield("lt") end,
        __concat = function() return coroutine.yield("concat") end,
    })
    local r = { m.a, m < m, m .. "x", pcall(coroutine.yield, "in pcall") }
    return table.concat({ tostring(r[1]), tostring(r[2]), tostring(r[3]), tostring(r[4]) }, " ")
end)
note(y(), y("A"), y(true), y("C"), y("D"))

note(("hello world"):gsub("o", function(c) return c:upper() end))
note(("k=v, x=y"):gsub("(%w+)=(%w+)", "%2=%1"))
for w in ("one two three"):gmatch("%a+") do note(w) end
local list = { 5, 2, 8, 1, 9, 3, 7, 3, 11, 4, 6 }
table.sort(list, function(a, b) return a > b end)
note(table.concat(list, " "))
table.insert(list, 1, "first") table.insert(list, "last") note(table.remove(list, 1), #list)
note(table.concat(table.move({ 1, 2, 3 }, 2, 3, 1), " "))
local keys = {}
for k, v in pairs(setmetatable({}, { __pairs = function() return next, { a = 1 }, nil end })) do
    keys[#keys + 1] = k .. v
end
note(table.concat(keys))
local t = { 1, 2, 3, x = { y = { z = 1 } }, [10] = "ten", varargs(7, 8) }
t.x.y.z = t.x.y.z + 1
note(#t, t.x.y.z, t[10], t[8])
note(load("local a, b = ... return b, a")(1, 2))
note(1 // 0.0, -7 // 2, -7 % 3, 7 // 2, 2 ^ 10, 1e15, 10 / 2, 3 | 4, "10" + 5, 0x7fffffffffffffff + 1)
return table.concat(out, "\n")
