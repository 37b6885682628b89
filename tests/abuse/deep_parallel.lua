-- L04 limit: parallel in parallel in parallel
return function()
  local function f() return parallel(f, f, f, f, f, f, f, f) end return f()
end
