-- L13 error: the error's __tostring eats memory
return function()
  error(setmetatable({}, { __tostring = function() local s = "x" while true do s = s .. s end end }))
end
