-- L04 limit: a small tree that is 2^60 nodes when written out
return function()
  local node = {}
  for _ = 1, 60 do node = { node, node } end
  while true do pcall(json.encode, node) end
end
