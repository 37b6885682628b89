-- L05 cpu: gmatch with greedy repetitions
return function()
  for _ in ("x"):rep(100000):gmatch(".*.*.*y") do end
end
