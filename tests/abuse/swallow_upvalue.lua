-- L02 cpu: functions whose upvalues and environment change while they run
return function()
  local n = 0
  local f = function() n = n + 1 end
  local g = load("while true do pcall(f) debug.upvaluejoin(f, 1, h, 1) end", "g", "t", setmetatable({ f = f, h = function() return n end }, { __index = _G }))
  debug.setupvalue(g, 1, debug.getupvalue(g, 1) and select(2, debug.getupvalue(g, 1)))
  g()
end
