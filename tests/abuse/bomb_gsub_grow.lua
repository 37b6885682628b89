-- L04 limit: gsub that grows its own replacement
return function()
  local s = ("x"):rep(1000) while true do s = s:gsub("x", "%0%0") end
end
