-- L04 error: table.insert into a table that says it has 2^60 elements
return function()
  table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, "x")
end
