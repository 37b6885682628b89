-- What `luafn routes` and /_luafn/routes tell: a row a path of each function, then those of `protect`, which are of the
-- site, and of auth.revocation, as JSON or as a table for people. `d` as for openapi.lua, with more of each function;
-- `quote(text)` is the text as JSON.
local d, quote, form = ...

local METHODS = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" }

local function methods_of(f)
  local names = {}
  for i, name in ipairs(METHODS) do
    if f.methods >> (i - 1) & 1 == 1 then names[#names + 1] = name end
  end
  return f.schedule and "-" or #names == #METHODS and "*" or table.concat(names, ",")
end

-- Calls row(f, path, methods) for all but the functions of `dev`; a tool is called at the path of tools, too.
local function each_row(row)
  for _, f in ipairs(d.functions) do
    for _, path in ipairs(f.is_dev and {} or f.paths) do row(f, path, methods_of(f)) end
    if f.tool then row(f, f.tool, "POST") end
  end
end

local function as_json()
  local rows = {}
  each_row(function(f, path, methods)
    local text = ('{"method":%s,"path":%s,"function":%s,"script":%s,"auth":%s'):format(
      quote(methods), quote(path), quote(f.name), quote(f.script), quote(f.who))
    if path == f.tool then text = text .. ',"tool":true' end
    text = text .. (',"limits":{"timeout":%g,"cpu":%g,"memory":%d,"body":%d,"concurrency":%d,"queue":%d}'):format(
      f.timeout, f.cpu, f.memory, f.body, f.concurrency, f.queue)
    text = text .. (',"background":%s,"generation":%d'):format(f.background, f.generation)
    if f.schedule then
      text = text .. (',"schedule":%s,"next_run":%s'):format(quote(f.schedule), quote(f.next_run))
    end
    if f.error then text = text .. (',"error":%s,"serving":%s'):format(quote(f.error), f.serving) end
    rows[#rows + 1] = text .. "}"
  end)
  for _, r in ipairs(d.receivers) do
    rows[#rows + 1] = ('{"method":%s,"path":%s,"function":null,"script":null,"auth":%s}')
      :format(quote(r.site and "*" or "POST"), quote(r.path), quote(r.who))
  end
  return "[" .. table.concat(rows, ",") .. "]"
end

local function as_text()
  local lines = { { "METHOD", "PATH", "FUNCTION", "SCRIPT", "AUTH", "LIMITS", "GENERATION" } }
  each_row(function(f, path, methods)
    local limits = ("%gs cpu %gs %dMB x%d"):format(f.timeout, f.cpu, f.memory >> 20, f.concurrency)
    local line = { methods, path, f.name, f.script, f.who, limits, tostring(f.generation), notes = {} }
    local notes = line.notes
    if path == f.tool then notes[1] = "as a tool (MCP)" end
    if f.schedule then notes[#notes + 1] = ('runs at "%s" (UTC), next %s'):format(f.schedule, f.next_run) end
    if f.error then
      notes[#notes + 1] = (f.serving and "generation " .. f.generation .. " goes on, as its files do not load: "
        or "does not load: ") .. f.error
    end
    lines[#lines + 1] = line
  end)
  for _, r in ipairs(d.receivers) do
    lines[#lines + 1] = { r.site and "*" or "POST", r.path, "-", "-", r.who, "-", "-" }
  end
  local widths, out = {}, {}
  for _, line in ipairs(lines) do
    for i, cell in ipairs(line) do widths[i] = math.max(widths[i] or 0, #cell) end
  end
  for _, line in ipairs(lines) do
    for i = 1, #line - 1 do line[i] = line[i] .. (" "):rep(widths[i] - #line[i]) end
    out[#out + 1] = table.concat(line, "  ")
    for _, note in ipairs(line.notes or {}) do out[#out + 1] = (" "):rep(widths[1]) .. "  " .. note end
  end
  return table.concat(out, "\n") .. "\n"
end

return form == "json" and as_json() or as_text()
