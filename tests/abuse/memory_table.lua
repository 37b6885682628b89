-- L06 memory: a table that grows
return function()
  local t = {}
  while true do t[#t + 1] = {} end
end
