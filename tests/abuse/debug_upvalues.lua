-- L08 ok: upvalues of the host's functions are neither to be seen nor to be set
return function()
  local seen, functions = {}, {}
  local function walk(value)
    if seen[value] then return end
    if type(value) == "function" then functions[#functions + 1] = value end
    if type(value) ~= "table" and type(value) ~= "function" then return end
    seen[value] = true
    if type(value) == "table" then for _, v in pairs(value) do walk(v) end end
  end
  walk(_G) walk(package.loaded)
  for level = 0, 50 do
    local info = debug.getinfo(level, "fS")
    if info and info.what ~= "C" then walk(info.func) end
    assert(not info or info.what ~= "C" or info.func == nil)
  end
  local stolen = 0
  for _, f in ipairs(functions) do
    if debug.getinfo(f, "S").what == "C" then
      for i = -1, 5 do
        assert(debug.getupvalue(f, i) == nil and debug.setupvalue(f, i, 1e9) == nil and debug.upvalueid(f, i) == nil)
        local own = functions
        local mine = function() return own end
        assert(not pcall(debug.upvaluejoin, mine, 1, f, i) and not pcall(debug.upvaluejoin, f, i, mine, 1))
        stolen = stolen + 1
      end
    end
  end
  assert(stolen > 500, stolen)
  assert(not pcall(string.pack, ("i"):rep(2 ^ 17)))
  return "ok"
end
