-- L04 error: table.unpack of 10^7 elements
return function() return table.unpack({}, 1, 1e7) end
