-- L06 limit: a coroutine for each of a million values
return function()
  local t = {} for i = 1, 1e7 do t[i] = coroutine.wrap(function() coroutine.yield(t) end) t[i]() end
end
