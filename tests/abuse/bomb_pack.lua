-- L04 ok: string.pack and unpack with sizes of their own
return function()
  assert(not pcall(string.pack, "s99", "x") and not pcall(string.packsize, "c2147483647c2147483647") and not pcall(string.unpack, "c2000000000", "x"))
  assert(not pcall(string.unpack, "s8", ("\255"):rep(8)) and not pcall(string.unpack, "!16 i16", "x"))
  return "ok"
end
