-- L02 cpu: a wrapped coroutine that yields for ever
return function()
  local next_one = coroutine.wrap(function() while true do coroutine.yield(1) end end)
  while true do next_one() end
end
