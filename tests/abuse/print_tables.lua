-- L13 limit: print of tables that are large, shared and within themselves
return function()
  local t = {} for i = 1, 15 do t = { t, t, up = t } end
  local wide = {} for i = 1, 10000 do wide[i] = i end
  t.t = t
  while true do print(t, wide) end
end
