-- L04 error: rep as a method
return function()
  return ("x"):rep(1 << 40)
end
