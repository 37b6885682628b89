-- L07 memory: out of memory in coroutines, again and again
return function()
  while true do
    coroutine.wrap(function()
      local s = "x"
      pcall(function() while true do s = s .. s end end)
    end)()
  end
end
