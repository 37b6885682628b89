-- L02 cpu: a hundred tasks of parallel that each swallow
return function()
  local function f() while true do pcall(function() while true do end end) end end local t = {} for i = 1, 60 do t[i] = f end pcall(parallel, table.unpack(t)) return "no"
end
