-- L04 limit: large texts for the compiler
return function()
  while true do load("return x" .. (".a"):rep(7000)) load(("("):rep(16000)) end
end
