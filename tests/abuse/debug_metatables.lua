-- L08 ok: protected metatables stay, those of texts and functions too
return function()
  local protected = setmetatable({}, { __metatable = "mine" })
  for _, t in ipairs { _G, string, json, package, package.loaded, protected, env } do
    assert(type(debug.getmetatable(t)) ~= "table" and not pcall(debug.setmetatable, t, {}))
  end
  for _, v in ipairs { "", 1, true, print, coroutine.running() } do assert(not pcall(debug.setmetatable, v, {})) end
  assert(not pcall(debug.setmetatable, {}, { __gc = print }))
  return "ok"
end
