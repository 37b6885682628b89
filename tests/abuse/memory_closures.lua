-- L06 memory: closures
return function()
  local f = function() end
  while true do
    local before = f
    f = function() return before end
  end
end
