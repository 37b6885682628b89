-- L13 limit: recursion through metamethods of C functions
return function()
  local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) local f f = function() return (("x"):gsub("x", f)) end while true do pcall(f) pcall(tostring, t) end
end
