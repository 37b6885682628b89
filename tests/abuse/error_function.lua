-- L13 error: raises a function
return function()
  error(print)
end
