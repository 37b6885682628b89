-- L13 error: gsub inside of gsub
local function f() return ("x"):gsub("x", f) end
return function() return f() end
