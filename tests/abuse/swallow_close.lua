-- L02 cpu: a <close> variable loops when the end comes
return function()
  local guard <close> = setmetatable({}, { __close = function() while true do end end })
  while guard do end
end
