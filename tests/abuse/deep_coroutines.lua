-- L13 error: coroutines inside of coroutines
local function f() return coroutine.wrap(f)() end
return function() return f() end
