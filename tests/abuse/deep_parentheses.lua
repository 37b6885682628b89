-- L13 error: a million brackets for the compiler
return function()
  return assert(load("return " .. ("("):rep(1000000) .. "1" .. (")"):rep(1000000)))
end
