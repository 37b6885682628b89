-- L01 limit: yields inside of parallel inside of wrap
return function()
  local f = coroutine.wrap(function() while true do coroutine.yield(parallel(function() local x = 0 for i = 1, 1e5 do x = x + i end return x end)) end end) while true do f() end
end
