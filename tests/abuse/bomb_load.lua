-- L04 limit: large texts for the compiler
return function()
  while true do
    load("return x" .. (".a"):rep(500000)) load(("("):rep(1000000)) load(("x = {"):rep(199) .. ("1,"):rep(500000))
    load(("local a <const> = 1 "):rep(190) .. ("f(a, b.c[d]) "):rep(70000))
    load("return " .. ("function() local a, b, c, d return "):rep(190) .. ("y,"):rep(400000))
    load(("::l:: goto l; "):rep(4000) .. ("if a then elseif b then end "):rep(4000))
  end
end
