-- L04 ok: os.time and os.date at the ends of time
return function()
  pcall(os.time, { year = math.maxinteger, month = 1, day = 1 }) pcall(os.time, { year = 2020, month = math.mininteger, day = 1 }) pcall(os.date, "%Y", math.maxinteger) pcall(os.date, "*t", -1e308) pcall(os.date, "%Ez%", 0)
  pcall(os.time, setmetatable({}, { __index = function() return 1e308 end })) return "ok"
end
