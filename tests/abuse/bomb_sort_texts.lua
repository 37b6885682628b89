-- L04 cpu: sort whose order compares texts as long as memory
return function()
  local a = ("x"):rep(1000000) local t = {} for i = 1, 10000 do t[i] = a end while true do table.sort(t) end
end
