-- L06 limit: varargs as many as the stack takes
return function()
  local function f(...) return f(1, ...) end return f()
end
