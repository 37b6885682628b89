-- L02 cpu: code made with load loops under pcall
return function()
  while true do pcall(load("while true do end")) end
end
