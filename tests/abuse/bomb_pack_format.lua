-- L04 limit: pack formats with a million options
return function()
  local f = (" "):rep(7000000) while true do string.pack(f) end
end
