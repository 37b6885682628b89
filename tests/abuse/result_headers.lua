-- L06 result: fifty thousand headers
return function()
  local h = {} for i = 1, 50000 do h["x" .. i] = "y" end return { statusCode = 200, headers = h, body = "x" }
end
