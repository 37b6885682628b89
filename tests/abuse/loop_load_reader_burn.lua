-- L01 cpu: load of a reader that gives nothing but loops
return function()
  return load(function() while true do end end)
end
