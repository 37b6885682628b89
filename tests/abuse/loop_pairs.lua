-- L01 cpu: pairs over __pairs that never ends
return function()
  for _ in pairs(setmetatable({}, { __pairs = function() return function(_, k) return (k or 0) + 1 end end })) do end
end
