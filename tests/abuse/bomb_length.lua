-- L04 cpu: the length of a table with a hole in its hash part
return function()
  local t = {} for i = 1, 100000 do t[i] = i end while true do local _ = #t end
end
