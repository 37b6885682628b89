-- L06 error: a text of 10^9 bytes
return function() return ("x"):rep(1000000000) end
