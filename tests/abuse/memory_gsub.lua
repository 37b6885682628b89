-- L06 limit: gsub that multiplies
return function()
  local s = ("x"):rep(1000)
  while true do s = s:gsub("x", "xxxxxxxxxxxxxxxx") end
end
