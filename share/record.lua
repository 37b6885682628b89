-- A test from a record of the journal: the request, the answers that fetch had, what kv held, and what the function
-- answered. `weak`: only its status, where the rest hangs on the time or on random numbers.
local null, record, weak = ...

local function is(value) return value ~= nil and value ~= null end

local lines = {}
local function out(format, ...) lines[#lines + 1] = format:format(...) end

local function quote(text) return (("%q"):format(text):gsub("\\\n", "\\n")) end

-- A text of the record, or nil.
local function text_of(value) return type(value) == "string" and value or nil end

local function key_of(name) return name:find("^[%a_][%w_]*$") and name or "[" .. quote(name) .. "]" end

local literal

local function list_literal(value)
  local parts = {}
  for i, item in ipairs(value) do parts[i] = literal(item) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function literal(value)
  if value == null then return "json.null" end
  if type(value) == "string" then return quote(value) end
  if type(value) ~= "table" then return tostring(value) end
  if next(value) == nil then return "{}" end
  if #value > 0 then return list_literal(value) end
  local names, parts = {}, {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = key_of(name) .. " = " .. literal(value[name]) end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function calls_of()
  local list, by_number = {}, {}
  for _, entry in ipairs(is(record.calls) and record.calls or {}) do
    if entry.call then
      local call = { name = entry.call, args = entry.args, answer = nil }
      by_number[entry.n], list[#list + 1] = call, call
    elseif by_number[entry.n] then
      by_number[entry.n].answer = entry.answer
    end
  end
  return list
end

local calls = calls_of()

-- ---- what fetch answers, in its order ----

local function streamed()
  local parts = {}
  for _, call in ipairs(calls) do
    if call.name == "fetch.chunk" and text_of(call.answer) then parts[#parts + 1] = call.answer end
  end
  return table.concat(parts)
end

local of_connection = {
  connection = true, ["keep-alive"] = true, date = true, ["content-length"] = true, ["content-encoding"] = true,
  ["transfer-encoding"] = true,
}

local function answer_literal(call)
  local answer = call.answer
  if type(answer) ~= "table" then return nil end
  if answer.error then return ("function() error(%s, 0) end"):format(quote(answer.error)) end
  local headers = {}
  for _, pair in ipairs(answer.headers or {}) do
    if not of_connection[pair[1]] then headers[pair[1]] = pair[2] end
  end
  local body = call.args.stream and streamed() or text_of(answer.body) or ""
  return ("{ status = %d, headers = %s, body = %s }"):format(answer.status, literal(headers), quote(body))
end

local function write_fetch()
  local answers = {}
  for _, call in ipairs(calls) do
    if call.name == "fetch" then answers[#answers + 1] = answer_literal(call) end
  end
  if #answers == 0 then return end
  out("  local answers = {")
  for _, answer in ipairs(answers) do out("    %s,", answer) end
  out("  }")
  out([[  t.fetch("*", function()
    local answer = table.remove(answers, 1)
    return type(answer) == "function" and answer() or answer
  end)]])
end

-- ---- what kv held before ----

local function value_before(call)
  local answer = type(call.answer) == "table" and call.answer or {}
  if call.name == "kv.get" and answer.found ~= "absent" then return answer.value end
  if call.name == "kv.incr" and answer.number and answer.number ~= call.args.by then
    return answer.number - call.args.by
  end
  if call.name == "kv.cas" and answer.changed then return call.args.expected end
  if call.name == "kv.delete" and answer.changed then return "x" end
end

local function write_kv()
  local seen, rows = {}, {}
  for _, call in ipairs(calls) do
    local key = call.name:find("^kv%.") and call.name ~= "kv.list" and call.args.key
    if key and not seen[key] then
      seen[key] = true
      local value = value_before(call)
      if is(value) then rows[#rows + 1] = ("  store.set(%s, %s)"):format(quote(key), literal(value)) end
    end
  end
  if #rows == 0 then return end
  out("  local store = t.kv(%s)", quote(record["function"]))
  for _, row in ipairs(rows) do out("%s", row) end
end

-- ---- the call ----

local dropped = {
  authorization = true, dpop = true, host = true, connection = true, ["content-length"] = true,
  ["accept-encoding"] = true, ["transfer-encoding"] = true,
}

-- Where issuer and audience were variables, a token of the test has those of its own.
local function claims_of()
  local claims = {}
  for name, value in pairs(record.claims) do
    local shown = (name == "iss" or name == "aud") and literal(value) or ""
    if not shown:find("[env:", 1, true) then claims[name] = value end
  end
  return claims
end

local function write_call()
  local headers = {}
  for _, pair in ipairs(record.request.headers) do
    if not dropped[pair[1]:lower()] then headers[pair[1]] = pair[2] end
  end
  out("  local res = t.invoke(%s, {", quote(record["function"]))
  out("    method = %s, path = %s,", quote(record.method), quote(record.target))
  if next(headers) then out("    headers = %s,", literal(headers)) end
  if text_of(record.request.body) then out("    body = %s,", quote(record.request.body)) end
  if is(record.claims) then out("    claims = %s,", literal(claims_of())) end
  out("  })")
end

local function write_checks()
  out("  t.equal(res.status, %d)", record.status)
  local body = text_of(record.answer.body)
  if weak or is(record.fault) or not body then return end
  if body:find("^%s*[{%[]") then
    out("  t.equal(res.json(), json.decode(%s))", quote(body))
  else
    out("  t.equal(res.body, %s)", quote(body))
  end
end

out(is(record.was) and "-- What request %s is answered with since it was mended; it was %d before."
  or "-- What request %s did, as the journal has it.", record.id, record.was)
out("test(%s, function(t)", quote(("%s %s: %d"):format(record.method, record.target, record.status)))
out("  t.clock(%.3f)", record.time)
write_kv()
write_fetch()
write_call()
write_checks()
out("end)")
return table.concat(lines, "\n") .. "\n"
