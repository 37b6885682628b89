-- L13 ok: JSON of a table whose metatable makes up more
return function()
  local mt = {}
  mt.__index = function() return setmetatable({}, mt) end
  mt.__pairs = function() return function() return 1, setmetatable({}, mt) end end
  return json.encode(setmetatable({ setmetatable({}, mt) }, mt)) == "[{}]" and "ok"
end
