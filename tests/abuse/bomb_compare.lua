-- L04 cpu: compares of long texts
return function()
  local a, b = ("x"):rep(2000000) .. "a", ("x"):rep(2000000) .. "b" while true do local _ = a < b end
end
