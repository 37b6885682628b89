-- L04 ok: select with huge numbers
return function()
  assert(not pcall(select, math.mininteger, 1)) assert(select("#", select(math.maxinteger, 1)) == 0) return "ok"
end
