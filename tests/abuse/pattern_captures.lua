-- L05 cpu: many captures and a frontier
return function()
  return (("ab"):rep(20000)):match(("(.-)"):rep(6) .. "%f[z]z")
end
