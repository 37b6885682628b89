-- L02 cpu: an error that leaves a variable to close, which raises again
return function()
  local mt = { __close = function() while true do pcall(error) end end }
  pcall(function() local x <close> = setmetatable({}, mt) error(setmetatable({}, mt)) end) return "no"
end
