-- L06 result: a header that is large
return function()
  return { statusCode = 200, headers = { x = ("y"):rep(3000000) }, body = "x" }
end
