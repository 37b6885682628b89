-- L01 error: load of a reader that never ends
return function()
  return load(function() return "x=1 " end)() or "no"
end
