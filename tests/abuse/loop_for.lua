-- L01 cpu: the longest `for` there is
return function()
  local n = 0
  for i = math.mininteger, math.maxinteger do n = n ~ i end
  return n
end
