-- L13 error: a chain of __index tables
return function()
  local t = {}
  for _ = 1, 3000 do t = setmetatable({}, { __index = t }) end
  return t.x
end
