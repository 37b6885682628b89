-- L13 memory: recursion without end
local function f() return 1 + f() end
return function() return f() end
