--- Makes docs/api.md (for people) and docs/luafn.lua (for the Lua language server) from docs/api.lua.
---
---   lua5.4 tools/docs.lua           writes both
---   lua5.4 tools/docs.lua --check   exit 1 when one of them is not what would be written

local root = arg[0]:match("^(.*)tools/[^/]*$") or "../"
local api = dofile(root .. "docs/api.lua")

local function split_name(name)
  local bare = name:gsub("%?$", "")
  return bare, bare ~= name
end

--- "json.encode(value [, options])"
local function signature(fn)
  if fn.is_value then return fn.name end
  local parts, closing = {}, ""
  for i, a in ipairs(fn.args or {}) do
    local name, optional = split_name(a[1])
    local comma = i > 1 and ", " or ""
    if optional then
      parts[#parts + 1] = (i > 1 and " [" or "[") .. comma .. name
      closing = closing .. "]"
    else
      parts[#parts + 1] = comma .. name
    end
  end
  return fn.name .. "(" .. table.concat(parts) .. closing .. ")"
end

local function sentence(text)
  return text ~= "" and ": " .. text or ""
end

-- ---- Markdown ----

local function cell(text)
  return (text:gsub("|", "\\|"))
end

local function md_function(out, fn)
  out("### `%s`", signature(fn))
  out("%s", fn.summary)
  out("")
  for _, a in ipairs(fn.args or {}) do
    local name = split_name(a[1])
    out("* `%s` (`%s`)%s", name, a[2], sentence(a[3]))
  end
  for i, r in ipairs(fn.returns or {}) do
    out("* %s `%s`%s", i == 1 and "returns" or "and", r[1], sentence(r[2]))
  end
  if fn.errors then out("* raises: %s", fn.errors) end
  out("")
  out("```lua\n%s\n```\n", assert(fn.example, fn.name .. " has no example"))
end

local function md_types(out)
  out("## Types\n")
  for _, alias in ipairs(api.aliases) do
    out("`%s`: `%s`\n", alias[1], alias[2])
  end
  for _, t in ipairs(api.types) do
    out("### `%s`", t.name)
    out("%s\n\n| field | type | what it is |\n|---|---|---|", t.summary)
    for _, f in ipairs(t.fields) do
      out("| `%s` | `%s` | %s |", f[1], cell(f[2]), cell(f[3]))
    end
    out("")
  end
end

local function markdown(out)
  out("# The Lua API\n")
  out("<!-- made from docs/api.lua by tools/docs.lua -->\n")
  out("What a script finds as globals, beside Lua's own libraries; `require` returns the same.")
  out("A wrong argument raises; a text that does not parse gives `nil` and a message, except for")
  out("`json.decode`, which raises as `JSON.parse` does. Times are seconds, sizes are bytes. A field or")
  out("argument with `?`, or in brackets, may be left out.\n")
  for _, m in ipairs(api.modules) do
    out("## %s", m.name)
    out("%s\n", m.summary)
    for _, v in ipairs(m.values or {}) do
      out("### `%s.%s`\n%s\n", m.name, v[1], v[3])
    end
    for _, fn in ipairs(m.functions) do
      md_function(out, fn)
    end
  end
  md_types(out)
end

-- ---- stubs for the language server ----

local function stub_function(out, fn)
  if fn.is_value then return end
  out("---%s", fn.summary)
  if fn.errors then out("---\n---Raises: %s", fn.errors) end
  local names = {}
  for _, a in ipairs(fn.args or {}) do
    names[#names + 1] = split_name(a[1])
    out("---@param %s %s%s", a[1], a[2], a[3] ~= "" and " " .. a[3] or "")
  end
  for _, r in ipairs(fn.returns or {}) do
    local bare, several = r[1]:gsub(" %.%.%.$", "")
    out("---@return %s%s%s", bare, several > 0 and " ..." or "", r[2] ~= "" and " # " .. r[2] or "")
  end
  out("function %s(%s) end\n", fn.name, table.concat(names, ", "))
end

local function stub_module(out, m)
  local is_function = #m.functions == 1 and m.functions[1].name == m.name
  if m.stub then
    out("---%s\n%s\n", m.summary, m.stub)
  elseif not is_function then
    out("---%s\n---@class luafn.%s", m.summary, m.name)
    for _, v in ipairs(m.values or {}) do
      out("---@field %s %s %s", v[1], v[2], v[3])
    end
    out("%s = {}\n", m.name)
  end
  for _, fn in ipairs(m.functions) do
    stub_function(out, fn)
  end
end

local function stubs(out)
  out("---@meta luafn\n")
  out("-- Made from docs/api.lua by tools/docs.lua.\n")
  for _, alias in ipairs(api.aliases) do
    out("---@alias %s %s\n", alias[1], alias[2])
  end
  for _, t in ipairs(api.types) do
    out("---%s\n---@class %s", t.summary, t.name)
    for _, f in ipairs(t.fields) do
      out("---@field %s %s%s", f[1], f[2], f[3] ~= "" and " " .. f[3] or "")
    end
    out("")
  end
  for _, m in ipairs(api.modules) do
    stub_module(out, m)
  end
end

-- ---- files ----

local function render(writer)
  local lines = {}
  writer(function(format, ...)
    lines[#lines + 1] = format:format(...)
  end)
  return (table.concat(lines, "\n"):gsub("\n+$", "")) .. "\n"
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local outputs = { { "docs/api.md", markdown }, { "docs/luafn.lua", stubs } }
local stale = false
for _, output in ipairs(outputs) do
  local text = render(output[2])
  if arg[1] ~= "--check" then
    write(root .. output[1], text)
  elseif read(root .. output[1]) ~= text then
    io.stderr:write(output[1], " is stale: run lua5.4 tools/docs.lua\n")
    stale = true
  end
end
os.exit(stale and 1 or 0)
