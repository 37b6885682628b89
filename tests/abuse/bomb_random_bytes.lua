-- L04 ok: crypto.random as much as one likes
return function()
  assert(not pcall(crypto.random, 1 << 40) and not pcall(crypto.random, -1)) return "ok"
end
