-- L08 ok: a finalizer put into a metatable that is in use never runs
return function()
  local mt = {}
  for _ = 1, 100 do setmetatable({}, mt) end
  mt.__gc = function() while true do end end
  local waste = 0
  for i = 1, 20000 do waste = waste + #{ i } end
  return waste == 20000 and "ok"
end
