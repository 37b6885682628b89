-- L04 limit: concatenation of long texts
return function()
  local a = ("x"):rep(1000000) while true do local b = a .. a .. a end
end
