-- L04 limit: load of a reader that gives single bytes
return function()
  while true do load(function() return " " end) end
end
