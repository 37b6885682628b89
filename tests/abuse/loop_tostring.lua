-- L01 cpu: __tostring in __tostring in __name
return function()
  local t t = setmetatable({}, { __tostring = function() return tostring(t) end, __name = ("x"):rep(1000) })
  while true do pcall(tostring, t) end
end
