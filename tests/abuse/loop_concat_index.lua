-- L01 cpu: table.concat of what __index and __len make up
return function()
  return table.concat(setmetatable({}, { __index = function(_, i) return "" end, __len = function() return 1 << 62 end }), "", 1, 9999999)
end
