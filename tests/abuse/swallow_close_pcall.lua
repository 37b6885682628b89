-- L02 cpu: <close>, pcall and a loop together
return function()
  while true do
    pcall(function()
      local guard <close> = setmetatable({}, { __close = function()
        while true do pcall(function() while true do end end) end
      end })
      error(guard)
    end)
  end
end
