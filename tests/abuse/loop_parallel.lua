-- L01 cpu: eight loops side by side share one budget
return function()
  local loops = {}
  for i = 1, 8 do loops[i] = function() while true do end end end
  parallel(table.unpack(loops))
end
