-- What a test sees as `t`. The host runs this once for each test, with its own calls in `host`.
local host = ...
local t, mocks = {}, {}

-- ---- showing and comparing values ----

local function keys_of(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return value == json.null and "json.null" or tostring(value) end
  if depth > 4 then return "{...}" end
  local parts = {}
  for _, key in ipairs(keys_of(value)) do
    if #parts == 20 then
      parts[21] = "..."
      break
    end
    local name = math.type(key) == "integer" and "" or tostring(key) .. " = "
    parts[#parts + 1] = name .. show(value[key], depth + 1)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

-- The path to the first difference, or nil.
local function differs(a, b, path)
  if a == b then return nil end
  if type(a) ~= "table" or type(b) ~= "table" then return path end
  for _, key in ipairs(keys_of(a)) do
    local found = differs(a[key], b[key], path .. "." .. tostring(key))
    if found then return found end
  end
  for _, key in ipairs(keys_of(b)) do
    if a[key] == nil then return path .. "." .. tostring(key) end
  end
end

local function fail(what, text)
  error(what and ("%s: %s"):format(what, text) or text, 3)
end

function t.equal(actual, expected, what)
  local path = differs(actual, expected, "")
  if not path then return end
  local where = path ~= "" and (" (first difference at %s)"):format(path:sub(2)) or ""
  fail(what, ("expected %s, got %s%s"):format(show(expected, 1), show(actual, 1), where))
end

function t.ok(value, what)
  if not value then fail(what, "expected something true, got " .. show(value, 1)) end
  return value
end

function t.match(text, pattern, what)
  if type(text) ~= "string" then fail(what, "expected a text, got " .. show(text, 1)) end
  if not text:find(pattern) then fail(what, ("expected %q to match %q"):format(text, pattern)) end
end

-- The error of f, whose text must match the pattern where one is given.
function t.raises(f, pattern, what)
  local ok, err = pcall(f)
  if ok then fail(what, "expected an error, but nothing was raised") end
  local text = type(err) == "table" and err.message or tostring(err)
  if pattern and not text:find(pattern) then
    fail(what, ("expected an error that matches %q, got %q"):format(pattern, text))
  end
  return err
end

-- ---- the world around: clock, environment, tokens, other hosts ----

function t.clock(seconds)
  if type(seconds) ~= "number" then error("t.clock wants seconds since 1970", 2) end
  host.clock(seconds)
end

function t.env(name, value)
  if type(name) ~= "string" or type(value) ~= "string" then error("t.env wants a name and a text", 2) end
  host.env(name, value)
end

-- Waits until all that was called has ended: after_response, background functions.
function t.wait()
  while host.busy() do sleep(0) end
end

-- kv as the function of that name sees it, from here on.
function t.kv(name)
  if type(name) ~= "string" then error("t.kv wants a function's name", 2) end
  local ok, why = pcall(host.kv, name)
  if not ok then error(why, 2) end
  return kv
end

function t.token(claims)
  if claims ~= nil and type(claims) ~= "table" then error("t.token wants a table of claims", 2) end
  local text = next(claims or {}) ~= nil and json.encode(claims) or "{}"
  return host.token(text)
end

-- `*` stands for any run of characters.
local function as_pattern(glob)
  return "^" .. glob:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

-- Answers calls of fetch; the newest that fits counts. Returns the list of calls.
function t.fetch(pattern, answer)
  local kind = type(answer)
  if type(pattern) ~= "string" or (kind ~= "table" and kind ~= "function" and kind ~= "string") then
    error("t.fetch wants a pattern, and an answer: a table, a text or a function", 2)
  end
  local mock = { pattern = as_pattern(pattern), answer = answer, calls = {} }
  table.insert(mocks, 1, mock)
  return mock.calls
end

local function answer_with(id, answer)
  if type(answer) == "string" then answer = { body = answer } end
  if type(answer) ~= "table" then
    return host.fail(id, "the answer of the test is a " .. type(answer) .. ", not a table or a text")
  end
  local headers, body = {}, answer.body
  for name, value in pairs(answer.headers or {}) do headers[tostring(name):lower()] = tostring(value) end
  if body ~= nil and type(body) ~= "string" then
    body = json.encode(body)
    headers["content-type"] = headers["content-type"] or "application/json"
  end
  host.answer(id, math.tointeger(answer.status or 200) or 200, headers, body or "")
end

host.on_fetch(function(id, method, url, headers, body, as)
  for _, mock in ipairs(mocks) do
    if url:find(mock.pattern) or (method .. " " .. url):find(mock.pattern) then
      local request = { method = method, url = url, headers = headers, body = body, as = as }
      mock.calls[#mock.calls + 1] = request
      local answer = mock.answer
      if type(answer) == "function" then
        local ok, value = pcall(answer, request)
        if not ok then return host.fail(id, tostring(value)) end
        answer = value
      end
      return answer_with(id, answer)
    end
  end
  host.unanswered(id, ("nothing in this test answers %s %s: say t.fetch(%q, ...)"):format(method, url, url))
end)

-- ---- calling functions ----

local function lower_keys(headers)
  local out = {}
  for name, value in pairs(headers or {}) do out[tostring(name):lower()] = tostring(value) end
  return out
end

local function response(status, headers, body)
  return {
    status = status,
    headers = headers,
    body = body,
    json = function() return json.decode(body) end,
  }
end

local function add_token(req, headers, name)
  if req.as == nil and req.scope == nil and req.claims == nil then return end
  local claims = {}
  for key, value in pairs(req.claims or {}) do claims[key] = value end
  claims.sub = claims.sub or req.as or "auth0|test"
  claims.scope = claims.scope or req.scope
  headers.authorization = "Bearer " .. host.token(json.encode(claims), name)
end

local function quoted(text)
  return (tostring(text):gsub('[\r\n"]', { ["\r"] = "%0D", ["\n"] = "%0A", ['"'] = "%22" }))
end

-- A field of a form, or all of that name; a file is a table, as event:form() gives it.
local function add_parts(parts, boundary, name, value)
  if type(value) == "table" and value.data == nil then
    for _, one in ipairs(value) do add_parts(parts, boundary, name, one) end
    return
  end
  local is_file = type(value) == "table"
  parts[#parts + 1] = ('--%s\r\nContent-Disposition: form-data; name="%s"'):format(boundary, quoted(name))
  if is_file then
    parts[#parts + 1] = ('; filename="%s"\r\nContent-Type: %s')
      :format(quoted(value.filename or ""), value.type or "application/octet-stream")
  end
  parts[#parts + 1] = "\r\n\r\n" .. (is_file and value.data or tostring(value)) .. "\r\n"
end

-- A form as a browser sends it: urlencoded, and multipart where there is a file in it.
local function form_of(form, headers)
  local parts, boundary, has_file = {}, "luafn-" .. crypto.uuid(), false
  for name, value in pairs(form) do
    for _, one in ipairs(type(value) == "table" and value.data == nil and value or { value }) do
      has_file = has_file or type(one) == "table"
    end
    add_parts(parts, boundary, name, value)
  end
  headers["content-type"] = "application/x-www-form-urlencoded"
  if not has_file then return url.query(form) end
  headers["content-type"] = "multipart/form-data; boundary=" .. boundary
  return table.concat(parts) .. "--" .. boundary .. "--\r\n"
end

local function body_of(req, headers)
  if req.form ~= nil then
    if type(req.form) ~= "table" or req.body ~= nil then
      error("t.invoke: form is a table of fields, in place of a body", 3)
    end
    return form_of(req.form, headers)
  end
  if type(req.body) == "table" then
    headers["content-type"] = headers["content-type"] or "application/json"
    return json.encode(req.body)
  end
  return req.body
end

local function path_of(req)
  local query = req.query and url.query(req.query) or ""
  if query == "" then return req.path end
  return (req.path or "") .. "?" .. query
end

-- A handler of the test's own: called as it is, in the test's own state.
local function call_handler(handler, req, headers, body)
  local path, query = (path_of(req) or "/"):match("^([^?]*)%??(.*)$")
  local values, lists = {}, {}
  for name, value in pairs(req.query or {}) do
    values[name] = tostring(value)
    lists[name] = { tostring(value) }
  end
  local multi = {}
  for name, value in pairs(headers) do multi[name] = { value } end
  local event = {
    httpMethod = req.method or (body and "POST" or "GET"), path = path, headers = headers, body = body,
    multiValueHeaders = multi, queryStringParameters = values, multiValueQueryStringParameters = lists,
    isBase64Encoded = false, rawQuery = query, rawUrl = "http://localhost" .. path, params = req.params or {},
  }
  local context = {
    functionName = "test", functionVersion = "1", awsRequestId = crypto.uuid(), memoryLimitInMB = 32,
    clientContext = {}, getRemainingTimeInMillis = function() return 10000 end,
  }
  local result = handler(event, context)
  if type(result) == "string" then result = { statusCode = 200, body = result } end
  if type(result) ~= "table" then
    error("the handler returned a " .. type(result) .. ", not a table or a text", 3)
  end
  return response(math.tointeger(tonumber(result.statusCode)), lower_keys(result.headers), result.body or "")
end

local known = {
  method = true, path = true, query = true, headers = true, body = true,
  form = true, as = true, scope = true, claims = true, params = true, signed = true,
}

-- A function by its name, through routes, token checks and limits as over HTTP; or a handler.
function t.invoke(target, req)
  req = req or {}
  for key in pairs(req) do
    if not known[key] then error(("t.invoke: unknown key '%s'"):format(tostring(key)), 2) end
  end
  local headers = lower_keys(req.headers)
  local body = body_of(req, headers)
  add_token(req, headers, type(target) == "string" and target or nil)
  if type(target) == "function" then return call_handler(target, req, headers, body) end
  if type(target) ~= "string" then error("t.invoke wants a function's name or a handler", 2) end
  local ok, status, got, text = pcall(host.invoke, target, req.method, path_of(req), headers, body, req.signed)
  if not ok then error(status, 2) end
  return response(status, got, text)
end

return t
