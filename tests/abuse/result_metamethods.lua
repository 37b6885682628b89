-- L13 result: an answer whose metamethods loop
return function()
  local trap = function() while true do end end
  return setmetatable({ statusCode = 200, body = "ok", headers = setmetatable({}, { __index = trap, __pairs = trap, __len = trap }) },
    { __index = trap, __pairs = trap, __len = trap, __tostring = trap })
end
