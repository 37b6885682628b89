-- L05 cpu: a set as long as a book
return function()
  return (("b"):rep(100000)):find("[" .. ("a"):rep(100000) .. "]")
end
