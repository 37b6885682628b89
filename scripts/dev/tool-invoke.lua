-- Calls a function of this host as anybody would, and tells what became of it.
local call = require "lib.call"
local mint = require "lib.mint"
local seen = require "lib.seen"

local function rows_of(name)
  local rows, names = {}, {}
  for _, row in ipairs(json.decode(host.routes())) do
    if row["function"] == name then rows[#rows + 1] = row end
    names[seen.value(row["function"]) or name] = true
  end
  if #rows > 0 then return rows end
  local list = {}
  for known in pairs(names) do
    if known ~= name then list[#list + 1] = known end
  end
  table.sort(list)
  seen.refuse(404, ("There is no function %s; there are: %s"):format(name, table.concat(list, ", ")))
end

-- The path that is called, and the row that it is of.
local function choose(rows, path)
  if path then
    if path:sub(1, 1) ~= "/" then seen.refuse(400, "`path` must begin with /") end
    return path, rows[1]
  end
  for _, row in ipairs(rows) do
    local plain = row.path:gsub("/%*$", "")
    if not row.tool and not plain:find("[:*]") then return plain == "" and "/" or plain, row end
  end
  if rows[1].tool then return rows[1].path, rows[1] end
  seen.refuse(400, ("Say which `path` is meant: the function is at %s"):format(rows[1].path))
end

local function method_for(wanted, row)
  if wanted.method then return wanted.method end
  local usual = wanted.payload ~= nil and "POST" or "GET"
  if row.method == "*" or row.method == "-" then return usual end
  for method in row.method:gmatch("%a+") do
    if method == usual then return usual end
  end
  return row.method:match("%a+")
end

-- A tool's arguments, as its callers send them.
local function as_tool(name, payload)
  local arguments = payload
  if type(payload) == "string" then arguments = json.decode(payload) end
  return { jsonrpc = "2.0", id = 1, method = "tools/call", params = { name = name, arguments = arguments or {} } }
end

local function request_of(wanted)
  local rows = rows_of(wanted["function"])
  local path, row = choose(rows, wanted.path)
  local payload, method = wanted.payload, method_for(wanted, row)
  if row.tool and path == row.path then
    payload, method = as_tool(wanted["function"], payload), "POST"
  end
  local headers = {}
  for name, value in pairs(wanted.headers or {}) do
    headers[name:lower()] = value
  end
  if payload ~= nil and type(payload) ~= "string" then
    payload = json.encode(payload)
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  if wanted.as or wanted.scope then
    headers.authorization = "Bearer " .. mint { sub = wanted.as, scope = wanted.scope }
  end
  return path, { method = method, headers = headers, body = payload }
end

local function handler(event)
  local path, options = request_of(event.arguments)
  local told, record = call(path, options)
  if not told then seen.refuse(502, record) end
  if record then
    for _, name in ipairs { "function", "generation", "ms", "error", "fault", "logs" } do
      told[name] = seen.value(record[name])
    end
    told.headers = record.answer and record.answer.headers
  end
  return told
end

return {
  handler = handler,
  auth = "public",
  timeout = 620,
  concurrency = 16,
  tool = {
    title = "Invoke",
    description = "Calls a function of this host, as it is live now, and gives status, headers and body, its logs, and "
      .. "its fault with the trace. With `as` or `scope` the call has a token of the development issuer. What the "
      .. "function does (kv, fetch, sql) it does. `id` is for the tool `request`.",
    input = {
      type = "object",
      properties = {
        ["function"] = { type = "string", minLength = 1, description = "its name, as `routes` has it" },
        payload = { description = "the body: a text as it is, else JSON; of a tool its arguments" },
        method = { type = "string", enum = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" } },
        path = { type = "string", description = "with query; by default the function's own path" },
        headers = { type = "object", additionalProperties = { type = "string" }, maxProperties = 32 },
        as = { type = "string", description = "the user (`sub`) who calls" },
        scope = { type = "string", description = "scopes of his token, with blanks between them" },
      },
      required = { "function" },
      additionalProperties = false,
    },
    annotations = { destructiveHint = true, openWorldHint = true },
  },
}
