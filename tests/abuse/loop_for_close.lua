-- L01 cpu: __close in a for loop that never ends
return function()
  for i in function(_, i) return (i or 0) + 1 end, nil, nil, setmetatable({}, { __close = function() while true do end end }) do end
end
