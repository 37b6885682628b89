-- L05 cpu: gsub with lazy repetitions
return function()
  return ("x"):rep(100000):gsub(".-.-.-y", "")
end
