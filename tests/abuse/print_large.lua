-- L13 ok: print of a large table
return function()
  local t = {} for i = 1, 20000 do t[i] = i end print(table.unpack(t, 1, 200)) print(t, t, t) return "ok"
end
