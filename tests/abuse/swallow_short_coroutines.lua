-- L02 cpu: coroutines too short for a counter, three deep
local function run(depth)
  local co = coroutine.create(function() if depth > 0 then run(depth - 1) end end)
  coroutine.resume(co)
end
return function() while true do run(3) end end
