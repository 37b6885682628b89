-- L13 error: a table 100,000 deep for json.encode
return function()
  local t = {}
  for _ = 1, 100000 do t = { t } end
  return json.encode(t)
end
