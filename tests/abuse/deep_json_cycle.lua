-- L13 error: a table that contains itself
return function()
  local t = {}
  t.t = t
  return json.encode(t)
end
