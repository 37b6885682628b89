-- L02 cpu: pcall in a loop catches the end
return function()
  while true do pcall(function() while true do end end) end
end
