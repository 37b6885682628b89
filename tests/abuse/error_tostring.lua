-- L13 error: an error value whose __tostring loops
return function()
  error(setmetatable({}, { __tostring = function() while true do end end, __index = function() while true do end end }))
end
