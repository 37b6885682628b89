-- L08 error: a finalizer that loops
return function()
  setmetatable({}, { __gc = function() while true do end end })
end
