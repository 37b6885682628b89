-- L04 cpu: plain find of what is almost there
return function()
  local s = ("a"):rep(2000000) while true do s:find(("a"):rep(100000) .. "b", 1, true) end
end
