-- L05 cpu: a pattern bomb in a callback of gsub
return function()
  return (("x"):gsub("x", function() return (("a"):rep(30)):match(("a?"):rep(30) .. ("a"):rep(31)) end))
end
