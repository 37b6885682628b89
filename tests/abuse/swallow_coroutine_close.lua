-- L02 cpu: coroutine.close of a coroutine whose variable loops
return function()
  local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function() while true do end end }) coroutine.yield() end) coroutine.resume(co) pcall(coroutine.close, co) return "no"
end
