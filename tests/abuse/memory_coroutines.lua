-- L06 memory: coroutines that wait for ever
return function()
  local t = {}
  while true do
    local co = coroutine.create(coroutine.yield)
    coroutine.resume(co)
    t[#t + 1] = co
  end
end
