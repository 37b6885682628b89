-- L01 ok: integer loops at the ends of the range
return function()
  local n = 0 for i = math.maxinteger - 1, math.maxinteger do n = n + 1 end for i = math.mininteger, math.mininteger + 1, 1 do n = n + 1 end
  assert(not pcall(function() for i = 1, 10, 0 do end end)) assert(n == 4) return "ok"
end
