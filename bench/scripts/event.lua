-- Looks at everything that a function is given.
local sink

return function(event, context)
  for _, value in pairs(event) do sink = value end
  for _, value in pairs(context) do sink = value end
  return { statusCode = sink and 204 or 204 }
end
