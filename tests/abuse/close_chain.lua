-- L08 error 64MB: 20,000 coroutines that close each other
return function()
  local co
  for _ = 1, 20000 do
    local inner = co
    co = coroutine.create(function()
      local guard <close> = setmetatable({}, { __close = function() if inner then assert(coroutine.close(inner)) end end })
      coroutine.yield(guard)
    end)
    assert(coroutine.resume(co))
  end
  assert(coroutine.close(co))
end
