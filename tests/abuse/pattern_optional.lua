-- L05 cpu: thirty optional letters
return function()
  return ("a"):rep(29):find(("a?"):rep(30) .. ("a"):rep(30))
end
