-- L13 limit: sort in sort in sort
return function()
  local function f() table.sort({ 3, 2, 1 }, function(a, b) f() return a < b end) end while true do pcall(f) end
end
