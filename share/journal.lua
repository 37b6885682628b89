-- What records of the journal look like to people: a row each, or a page of one. `null`: what JSON's null is.
local null, colour = ...

local view = {}

local function is(value) return value ~= nil and value ~= null end

local function time_of(record)
  return os.date("%Y-%m-%d %H:%M:%S", math.floor(record.time))
end

local function paint(code, text) return colour and ("\27[%sm%s\27[0m"):format(code, text) or text end

local function status_of(record)
  local status = record.status
  return paint(status >= 500 and "31" or status >= 400 and "33" or "32", tostring(status))
end

-- Nothing that moves the cursor.
local function plain(text) return (tostring(text):gsub("\t", "  "):gsub("[^\n%C]", "?")) end
local function line(text) return (plain(text):gsub("\n", " ")) end

local function shorten(text, max)
  return utf8.len(text) and #text > max and text:sub(1, (utf8.offset(text, 0, max) or max) - 1) .. "..." or text
end

function view.row(record)
  local words = { record.id, time_of(record), ("%-6s"):format(line(record.method)),
                  shorten(line(record.target or "*"), 60), status_of(record), ("%.1f ms"):format(record.ms) }
  local function add(value) if is(value) then words[#words + 1] = line(value) end end
  add(record["function"] and record["function"] .. "@" .. record.generation)
  add(record.error)
  add(record.user and "user " .. record.user)
  if is(record.fault) then add(shorten(line(record.fault.message), 80)) end
  return table.concat(words, "  ")
end

-- ---- values, as one would write them in a script ----

local write

local function is_list(value)
  local count = 0
  for _ in pairs(value) do count = count + 1 end
  return count == #value
end

local function write_table(value)
  local parts = {}
  if is_list(value) then
    for i, item in ipairs(value) do parts[i] = write(item) end
  else
    local names = {}
    for name in pairs(value) do names[#names + 1] = tostring(name) end
    table.sort(names)
    for i, name in ipairs(names) do
      local key = name:find("^[%a_][%w_]*$") and name or ("[%q]"):format(name)
      parts[i] = key .. " = " .. write(value[name])
    end
  end
  return #parts == 0 and "{}" or "{ " .. table.concat(parts, ", ") .. " }"
end

function write(value)
  if value == null then return "nil" end
  if type(value) == "table" then
    if value.cut and value.text then
      return ("%q (%d bytes)"):format(shorten(value.text, 200), value.cut)
    end
    if value.base64 then return "base64 " .. ("%q"):format(shorten(value.base64, 200)) end
    return write_table(value)
  end
  return type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
end

local function shown(value) return plain(shorten(write(value), 400)) end

-- Begin and end of a call are two entries: here they are one.
function view.calls(record)
  local list, by_number = {}, {}
  for _, entry in ipairs(is(record.calls) and record.calls or {}) do
    local call = by_number[entry.n]
    if entry.call then
      call = { name = entry.call, task = entry.task, from = entry.us, at = entry.at, args = entry.args }
      by_number[entry.n], list[#list + 1] = call, call
    elseif call then
      call.to, call.answer = entry.us, entry.answer
    end
  end
  return list
end

-- ---- a page ----

local function add_headers(out, headers)
  for _, header in ipairs(headers or {}) do out("  %s: %s", line(header[1]), line(header[2])) end
end

local function text_of(body)
  if type(body) ~= "table" then return body end
  return body.text and body.text .. "\n... " .. body.cut .. " bytes in all" or "(base64) " .. tostring(body.base64)
end

local function add_body(out, part)
  if not is(part.body) then return end
  out("")
  for text in (plain(text_of(part.body)) .. "\n"):gmatch("(.-)\n") do out("  %s", text) end
end

local function add_calls(out, record)
  local calls = view.calls(record)
  if #calls > 0 then out("\ncalls") end
  for _, call in ipairs(calls) do
    local took = call.to and ("%.1f ms"):format((call.to - call.from) / 1000) or "never ended"
    out("  %9.1f ms  %s%s  %s  %s", call.from / 1000, call.task > 0 and "[" .. call.task .. "] " or "", call.name, took,
        call.at or "")
    if is(call.args) then out("                < %s", shown(call.args)) end
    if call.answer ~= nil then out("                > %s", shown(call.answer)) end
  end
end

local function add_run(out, record)
  if record.cpu_us then
    out("queue %.1f ms, processor %.1f ms in %d slices, memory %.1f of %.1f MB", record.queue_us / 1000,
        record.cpu_us / 1000, #(record.slices or {}), record.memory.used / 2 ^ 20, record.memory.limit / 2 ^ 20)
  end
  if is(record.error) then out("error %s", line(record.error)) end
  if is(record.claims) then out("claims %s", shown(record.claims)) end
  if record.cut then out("not all of it was kept: it was too long") end
end

function view.page(record)
  local lines = {}
  local function out(format, ...) lines[#lines + 1] = format:format(...) end
  out("%s", view.row(record))
  add_run(out, record)
  out("\nrequest  %s %s", line(record.method), line(record.target or "*"))
  add_headers(out, record.request.headers)
  add_body(out, record.request)
  add_calls(out, record)
  if is(record.logs) then
    out("\nlogs")
    for _, entry in ipairs(record.logs) do
      out("  %9.1f ms  %s  %s%s", entry.us / 1000, entry.level, plain(text_of(entry.message)),
          is(entry.fields) and "  " .. shown(entry.fields) or "")
    end
  end
  if is(record.fault) then
    out("\nfault  %s: %s", plain(record.fault.type), plain(record.fault.message))
    if is(record.fault.trace) then out("%s", plain(record.fault.trace)) end
  end
  out("\nanswer  %d", record.status)
  add_headers(out, record.answer.headers)
  add_body(out, record.answer)
  return table.concat(lines, "\n")
end

-- ---- which are wanted ----

-- `status` is 404, 4xx, or >=400.
local function has_status(record, wanted)
  local digit, least = wanted:match("^(%d)xx$"), wanted:match("^>=(%d%d%d)$")
  if digit then return record.status // 100 == tonumber(digit) end
  if least then return record.status >= tonumber(least) end
  return record.status == tonumber(wanted)
end

-- `text` stands anywhere in the record's line.
function view.matches(record, text, filter)
  return (not filter["function"] or record["function"] == filter["function"])
    and (not filter.status or has_status(record, filter.status))
    and (not filter.user or record.user == filter.user)
    and (not filter.text or text:lower():find(filter.text:lower(), 1, true) ~= nil)
end

return view
