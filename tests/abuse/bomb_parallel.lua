-- L04 error: parallel of a hundred thousand functions
return function()
  local fs = {} for i = 1, 100000 do fs[i] = print end return parallel(table.unpack(fs))
end
