-- L13 error: a child of parallel raises an odd value
return function()
  parallel(function() error(setmetatable({}, { __tostring = function() while true do end end })) end, function() while true do sleep(1) end end)
end
