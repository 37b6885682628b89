-- L06 memory: a text that doubles
return function()
  local s = "x"
  while true do s = s .. s end
end
