-- L04 cpu: collections without end
return function()
  local kept = {} for i = 1, 20000 do kept[i] = { i } end
  while true do collectgarbage() collectgarbage("step", 1e6) collectgarbage("stop") collectgarbage("generational") end
end
