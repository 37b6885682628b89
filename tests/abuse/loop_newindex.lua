-- L01 cpu: setmetatable chain of __newindex
return function()
  local t = setmetatable({}, {}) getmetatable(t).__newindex = function(s, k, v) s[k] = v end while true do pcall(function() t.x = 1 end) end
end
