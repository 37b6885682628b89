-- L02 cpu: the message handler loops
return function()
  local function loop() while true do end end
  while true do xpcall(loop, loop) end
end
