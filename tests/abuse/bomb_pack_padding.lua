-- L04 limit: packs a padding as large as memory
return function()
  local kept = {} for i = 1, 1e9 do kept[i] = string.pack("c1000000", "x") end
end
