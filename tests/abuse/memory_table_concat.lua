-- L06 limit: table.concat of a megabyte, many times
return function()
  local t, piece = {}, ("x"):rep(1024 * 1024)
  for i = 1, 1000 do t[i] = piece end
  return table.concat(t)
end
