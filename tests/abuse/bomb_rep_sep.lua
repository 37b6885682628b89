-- L04 error: a separator, 2^62 times
return function() return (""):rep(1 << 62, ",") end
