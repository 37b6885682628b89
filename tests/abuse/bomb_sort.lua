-- L04 cpu 128MB: a sort of 2,000,000 numbers, again and again
return function()
  local t = {}
  for i = 1, 2000000 do t[i] = (i * 7919) % 1000003 end
  while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end
end
