-- L01 cpu: __eq, __lt, __le, __concat, __call loops
return function()
  local t = setmetatable({}, { __lt = function(a, b) while true do end end }) return table.sort({ t, setmetatable({}, getmetatable(t)) })
end
