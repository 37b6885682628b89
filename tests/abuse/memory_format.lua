-- L06 limit: formats of long texts
return function()
  local s = "x"
  while true do s = string.format("%s%s", s, s) end
end
