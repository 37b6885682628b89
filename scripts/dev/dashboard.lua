-- What the dashboard asks the host for, beside the journal and the routes. No secret leaves here: texts are
-- cleaned as the journal cleans its own.
local addresses = require "lib.addresses"
local call = require "lib.call"
local mint = require "lib.mint"
local seen = require "lib.seen"
local web = require "lib.web"

local function refuse(text)
  return web.error(400, "invalid_request", text)
end

-- A word of a command line that is no option.
local function is_word(text)
  return type(text) == "string" and text ~= "" and text:sub(1, 1) ~= "-" and not text:find("\0", 1, true)
end

-- A recorded request on the scripts as they are now, with the recorded answers of the outside.
local function replay(fields)
  if not is_word(fields.id) then return refuse "Send JSON: {\"id\": the id of a record}" end
  local done = host.run { "replay", fields.id, "--json" }
  local ok, result = pcall(json.decode, done.out)
  if ok and type(result) == "table" then return web.json(200, result) end
  return web.json(200, { fault = done.err ~= "" and host.clean(done.err) or "The replay ended without an answer" })
end

local METHODS = { GET = true, HEAD = true, POST = true, PUT = true, PATCH = true, DELETE = true, OPTIONS = true }

-- A request as anybody would send it: its answer, and its record.
local function send(fields)
  if not METHODS[fields.method] or type(fields.path) ~= "string" or type(fields.headers) ~= "table" then
    return refuse "Send JSON: {\"method\": …, \"path\": …, \"headers\": { NAME: VALUE }, \"body\": …}"
  end
  local headers = {}
  for name, value in pairs(fields.headers) do
    headers[tostring(name):lower()] = value
  end
  local body = type(fields.body) == "string" and fields.body ~= "" and fields.body or nil
  local told, record = call(fields.path, { method = fields.method, headers = headers, body = body })
  if not told then return web.error(400, "not_sent", host.clean(record)) end
  told.record = record
  return web.json(200, told)
end

-- ---- kv ----

local VALUE_MAX = 4096

-- The namespaces of the functions that there are: { { name =, functions = } }
local function spaces()
  local list, by_name = json.array {}, {}
  for _, f in ipairs(seen.functions()) do
    local space = by_name[f.kv]
    if not space then
      space = { name = f.kv, functions = json.array {} }
      by_name[f.kv], list[#list + 1] = space, space
    end
    space.functions[#space.functions + 1] = f.name
  end
  return list, by_name
end

local function shown_value(space, key)
  local value = host.kv(space, nil, key)
  local kind = type(value) == "string" and "text" or value == nil and "gone" or "json"
  local text = kind == "json" and json.encode(value) or value or ""
  local row = { key = host.clean(key), kind = kind, bytes = #text }
  if not utf8.len(text) then
    row.kind, text = "bytes", base64.encode(text:sub(1, VALUE_MAX))
  elseif #text > VALUE_MAX then
    text = text:sub(1, utf8.offset(text, 0, VALUE_MAX + 1) - 1)
    row.cut = true
  end
  row.value = host.clean(text)
  return row
end

-- ?space=NAME&after=KEY: keys and values of a namespace; without one which there are.
local function look_at_kv(_, event)
  local query = event.queryStringParameters
  local list, known = spaces()
  if not query.space then return web.json(200, { spaces = list }) end
  if not known[query.space] then return web.error(404, "not_found", "No function has that namespace") end
  local keys, after = host.kv(query.space, query.after)
  if not keys then return web.error(503, "unavailable", after) end
  local rows = json.array {}
  for i, key in ipairs(keys) do
    rows[i] = shown_value(query.space, key)
  end
  return web.json(200, { rows = rows, after = after })
end

-- ---- tests ----

-- TAP: what failed has its reasons in the comments behind it.
local function read_tap(out)
  local tests, covered = json.array {}, json.array {}
  for line in out:gmatch("[^\n]+") do
    local failed, name = line:match("^(n?o?t? ?)ok %d+ %-? ?(.*)$")
    local script, hit, total = line:match("^# (%S.-)%s+(%d+) /%s*(%d+)%s+[%d.]+ %%$")
    if failed then
      tests[#tests + 1] = { name = name, ok = failed == "", said = "" }
    elseif script then
      covered[#covered + 1] = { script = script, hit = math.tointeger(hit), total = math.tointeger(total) }
    elseif #tests > 0 and not tests[#tests].ok and not line:find("^%d+%.%.") and not line:find("^# %d+ passed") then
      tests[#tests].said = tests[#tests].said .. line .. "\n"
    end
  end
  return tests, covered
end

local function run_tests(fields)
  local words = { "test", "--coverage", "--lcov=/dev/null" }
  if is_word(fields.filter) then words[#words + 1] = "--filter=" .. fields.filter end
  local done = host.run(words)
  local tests, covered = read_tap(host.clean(done.out))
  return web.json(200, { ok = done.code == 0, tests = tests, covered = covered, log = host.clean(done.err) })
end

-- ---- audit ----

local RESULTS = { "ok", "FAULT", "LET THROUGH" }
local ROW = "^%s+(.-)%s%s+(%u+) (%S+)%s+(%d.-)%s%s+(.*)$"

local function read_row(line)
  for _, result in ipairs(RESULTS) do
    if line:sub(1, #result + 1) == result .. " " then
      local attack, method, path, expected, actual = line:sub(#result + 1):match(ROW)
      return attack
        and { result = result, attack = attack, route = method .. " " .. path, expected = expected, actual = actual }
    end
  end
end

local function read_table(out)
  local rows, notes = json.array {}, json.array {}
  for line in out:gmatch("[^\n]+") do
    local row = read_row(line)
    local reason, open_method, open_path = line:match("^open%s+(.-)%s%s+(%u+) (%S+)$")
    if row then
      rows[#rows + 1] = row
    elseif reason then
      notes[#notes + 1] = ("%s %s: %s"):format(open_method, open_path, reason)
    elseif line:find("%S") and not line:find("^%s+attack") then
      notes[#notes + 1] = line
    end
  end
  return rows, notes
end

-- The known attacks, fired at this host; with a good token each change to it, too.
local function audit(fields)
  local words = { "audit", host.origin() }
  if type(fields.sub) == "string" then
    words[#words + 1] = "--token=" .. mint { sub = fields.sub, scope = fields.scope or "" }
  end
  local done = host.run(words)
  local rows, notes = read_table(host.clean(done.out))
  return web.json(200, { ok = done.code == 0, rows = rows, notes = notes, log = host.clean(done.err) })
end

-- ---- what is there ----

local function state()
  local found = json.decode(host.state())
  return web.json(200, { root = found.root })
end

local BASE = "/_luafn/dev/api/"
local endpoints = {
  audit = { POST = audit },
  kv = { GET = look_at_kv },
  replay = { POST = replay },
  send = { POST = send },
  state = { GET = state },
  tests = { POST = run_tests },
}

-- What a page elsewhere sends does not get here: it is no JSON, or the browser asks before, and nobody answers.
local function handler(event)
  local endpoint = endpoints[event.path:sub(#BASE + 1)]
  local serve = endpoint and endpoint[event.httpMethod]
  if not serve then return web.error(405, "method_not_allowed", "This path does not know that method") end
  if not addresses.is_loopback("http://" .. (event.headers.host or "")) or not web.is_from_here(event) then
    return web.error(403, "forbidden", "This was not sent from a page of the dashboard")
  end
  local kind = event.headers["content-type"] or ""
  local fields = event.httpMethod == "POST" and kind:find("^application/json") and web.body(event)
  if event.httpMethod == "POST" and not fields then return refuse "A JSON body is required" end
  return serve(fields, event)
end

local paths = {}
for name in pairs(endpoints) do
  paths[#paths + 1] = BASE .. name
end
table.sort(paths)

return {
  handler = handler,
  path = paths,
  auth = "public",
  timeout = 620,
  cpu = 10,
  memory = "128MB",
  concurrency = 4,
}
