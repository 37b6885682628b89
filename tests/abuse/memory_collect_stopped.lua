-- L06 ok: garbage after collectgarbage was told to stop
return function()
  collectgarbage("stop") collectgarbage("setpause", 1000)
  local n = 0
  for i = 1, 4000 do n = n + #(("x"):rep(10000) .. i) end
  return n > 4e7 and "ok"
end
