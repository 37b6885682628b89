-- L08 memory: a metatable that turns weak while memory runs out
return function()
  local mt = { __newindex = function(t, k, v) rawset(t, k, v) end }
  local t = setmetatable({}, mt)
  mt.__mode = "kv"
  while true do
    local object = {}
    t[object] = ("x"):rep(1000) .. #t
    t[#t + 1] = object
  end
end
