-- L03 limit: lists of lines and of variables without end
return function()
  local f = load(("local a = 1\n"):rep(190) .. ("b = 1\n"):rep(20000))
  local kept = {}
  while true do kept[#kept + 1] = debug.getinfo(f, "L") debug.getlocal(f, 1e9) end
end
