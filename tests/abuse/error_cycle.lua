-- L13 error: raises itself in a cycle
return function()
  local t = {} t.message = t t.errorType = t error(setmetatable(t, { __index = t, __name = ("x"):rep(100000) }))
end
