-- L08 error: a weak table
return function() setmetatable({}, { __mode = "k" }) end
