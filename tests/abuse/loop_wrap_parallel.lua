-- L01 cpu: a coroutine in pcall in parallel
return function()
  local function f() pcall(function() for _ in coroutine.wrap(function() while true do coroutine.yield(1) end end) do end end) end
  parallel(f, f, f) return "no"
end
