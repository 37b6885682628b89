-- L08 ok: a request adds no name to a library
return function()
  for _, library in ipairs { string, table, os, math, utf8, coroutine, debug, io, package, _G } do
    assert(not pcall(function() library.added = 1 end) and not pcall(rawset, library, "added", 1))
    assert(not pcall(table.insert, library, 1) and not pcall(setmetatable, library, {}))
    assert(library.added == nil and #library == 0)
    local name, value = next(library)
    library[name] = value
    assert(not pcall(rawset, library, name, function() end))
  end
  return "ok"
end
