-- L06 result: a header with very many values
return function()
  local values = {}
  for i = 1, 50000 do values[i] = "v" .. i end
  return { statusCode = 200, multiValueHeaders = { x = values }, body = "x" }
end
