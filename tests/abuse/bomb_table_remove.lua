-- L04 error: table.remove from a table that says it has 2^60 elements
return function()
  table.remove(setmetatable({}, { __len = function() return 1 << 60 end }), 1)
end
