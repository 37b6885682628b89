-- L04 ok: sleep with odd numbers
return function()
  assert(not pcall(sleep, 1e308) and not pcall(sleep, -1) and not pcall(sleep, 0/0) and not pcall(sleep, 1/0) and not pcall(sleep, "x") and not pcall(sleep)) return "ok"
end
