-- L05 cpu: balanced brackets that are not
return function()
  return ("("):rep(1000000):find("%b()")
end
