-- L01 ok: load of a reader that never ends
return function()
  local chunk, why = load(function() return "x=1 " end)
  return chunk == nil and why:find("too long") and "ok" or "no"
end
