-- L13 error: raises nil
return function()
  error(nil)
end
