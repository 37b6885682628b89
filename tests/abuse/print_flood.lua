-- L13 limit: print without end
return function()
  local t = ("x"):rep(100000) while true do print(t, t, t, t, t, t) end
end
