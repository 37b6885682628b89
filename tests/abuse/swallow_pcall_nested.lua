-- L02 cpu: pcalls inside of each other catch the end
local function nest(n)
  while true do pcall(n > 0 and nest or error, n - 1) end
end
return function() nest(20) end
