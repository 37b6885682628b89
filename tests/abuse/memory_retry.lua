-- L07 memory: out of memory, caught and tried again
return function()
  while true do
    pcall(function()
      local t = {}
      while true do t[#t + 1] = ("x"):rep(100000) .. #t end
    end)
  end
end
