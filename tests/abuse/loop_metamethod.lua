-- L01 cpu: a metamethod that loops inside a comparison in sort
return function()
  local mt = { __lt = function() while true do end end }
  local a, b = setmetatable({}, mt), setmetatable({}, mt)
  table.sort({ a, b })
end
