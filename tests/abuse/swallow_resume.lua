-- L02 cpu: resume catches the end
return function()
  while true do
    local co = coroutine.create(function() while true do end end)
    coroutine.resume(co)
    coroutine.close(co)
  end
end
