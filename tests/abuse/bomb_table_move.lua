-- L04 error: table.move of 2^60 elements
return function() return table.move({}, 1, 1 << 60, 2, {}) end
