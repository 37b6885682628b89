-- L13 error 64MB: recursion until the stack is full
local names = ("x,"):rep(150) .. "y"
local f = load("local function f() local " .. names .. " = 1 return 1 + f() end return f")()
return f
