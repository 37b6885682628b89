-- L13 result: an answer whose headers contain themselves
return function()
  local headers = {}
  headers["X-A"] = headers
  return { statusCode = 200, headers = headers, body = "ok" }
end
