-- L04 cpu: tonumber and tostring of long digits
return function()
  local s = ("9"):rep(2000000) while true do tonumber(s) tonumber(s, 10) local _ = pcall(math.tointeger, s) end
end
