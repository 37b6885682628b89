-- L08 ok: the host's frames, coroutines and registry are not to be had
return function()
  assert(debug.getregistry == nil and debug.getuservalue == nil and debug.setlocal == nil and debug.debug == nil)
  local function deep()
    for level = 1, 100 do
      local info = debug.getinfo(level, "nSltuf")
      if not info then break end
      for i = -20, 200 do
        local name = debug.getlocal(level, i)
        assert(info.what ~= "C" or name == nil)
        assert(name == nil or name:sub(1, 1) ~= "(")
      end
    end
  end
  table.sort({ 1, 2, 3 }, function(a, b) deep() return a < b end)
  string.gsub("x", "x", deep)
  local co = coroutine.wrap(function() deep() return coroutine.running() end)()
  assert(debug.traceback(co) and debug.getinfo(co, 0) == nil)
  local main = coroutine.running()
  coroutine.wrap(function()
    for _, f in ipairs { "traceback", "getinfo", "getlocal" } do assert(not pcall(debug[f], main, 1, 1)) end
  end)()
  for _, options in ipairs { ">S", "X", "SX", ">" } do assert(not pcall(debug.getinfo, 1, options)) end
  assert(not pcall(debug.getinfo, print, ">f"))
  return "ok"
end
