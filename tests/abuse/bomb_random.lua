-- L04 ok: math.random over odd ranges
return function()
  for _ = 1, 1000 do math.random(0) end assert(not pcall(math.random, 2, 1)) math.random(math.mininteger, math.maxinteger) math.randomseed(1) return "ok"
end
