-- L01 cpu: a loop inside a callback of gsub, where nothing can yield
return function()
  return ("x"):gsub("x", function() while true do end end)
end
