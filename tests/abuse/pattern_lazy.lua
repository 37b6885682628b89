-- L05 cpu: five lazy repetitions
return function()
  return ("x"):rep(20000):find((".-"):rep(5) .. "y")
end
