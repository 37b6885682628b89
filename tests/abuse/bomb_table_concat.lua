-- L04 error: table.concat of what __index makes up
return function()
  local t = setmetatable({}, { __index = function() return "x" end, __len = function() return 1 << 40 end })
  return table.concat(t)
end
