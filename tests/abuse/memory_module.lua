-- L06 memory: growth kept in a table of the script
local kept = {}
return function()
  while true do kept[#kept + 1] = { #kept } end
end
