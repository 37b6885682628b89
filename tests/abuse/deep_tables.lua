-- L13 error: a constructor 300 tables deep
return function()
  return assert(load("return " .. ("{"):rep(300) .. ("}"):rep(300)))
end
