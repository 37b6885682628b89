-- L04 ok: nothing, 2^62 times
return function() return (""):rep(1 << 62) == "" and "ok" end
