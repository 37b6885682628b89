-- L08 ok: package replaces nothing, and takes nothing from a request
return function()
  local encode = json.encode
  for _, name in ipairs { "json", "jwt", "string", "_G", "package", "new.module" } do
    assert(not pcall(function() package.loaded[name] = {} end) and not pcall(rawset, package.loaded, name, {}))
    assert(not pcall(function() package.preload[name] = function() return {} end end))
    assert(not pcall(rawset, package.preload, name, print))
  end
  assert(not pcall(function() package.path = "/etc/?" end) and not pcall(function() package.loaded = {} end))
  assert(not pcall(function() package.searchers = {} end) and package.loadlib == nil and package.searchpath == nil)
  for name in pairs(package.loaded) do assert(rawequal(require(name), package.loaded[name])) end
  assert(rawequal(require("json").encode, encode) and rawequal(package.loaded._G, _G))
  return "ok"
end
