-- L02 cpu: a handler that raises, again and again
return function()
  while true do xpcall(error, function() error("again") end) end
end
