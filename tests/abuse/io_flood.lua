-- L13 limit: writing without end
return function()
  while true do io.write("x", 1, "\n") io.stderr:write(("y"):rep(20000)) io.open("/dev/null") end
end
