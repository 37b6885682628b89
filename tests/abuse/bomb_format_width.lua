-- L04 ok: format with widths and precisions as large as they come
return function()
  assert(not pcall(string.format, "%1000000s", "x") and not pcall(string.format, "%.999999f", 1e300) and not pcall(string.format, "%099999999999d", 1))
  return #string.format("%99.99f", 1e300) > 300 and "ok"
end
