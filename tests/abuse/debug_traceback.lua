-- L03 cpu: traces of a deep recursion without end
return function()
  local function down(n) if n > 0 then return (down(n - 1)) end while true do debug.traceback("x") debug.getinfo(5000, "nSl") end end
  down(10000)
end
