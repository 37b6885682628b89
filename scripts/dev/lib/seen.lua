-- What the tools of `dev` tell of the host that they are part of.
local seen = {}

function seen.refuse(status, text)
  error({ statusCode = status, body = text }, 0)
end

-- The functions as they are loaded: all, or those of the user.
function seen.functions(with_own)
  local state, list = json.decode(host.state()), json.array {}
  for _, f in ipairs(state.functions) do
    if with_own or not f.own then list[#list + 1] = f end
  end
  return list, state.config_error
end

-- Records of the journal, the newest first. `fit(record, line)`: which; `limit`: how many.
function seen.records(limit, fit)
  local list = json.array {}
  for line in host.records():gmatch("[^\n]+") do
    if #list == limit then break end
    local ok, record = pcall(json.decode, line)
    if ok and type(record) == "table" and fit(record, line) then list[#list + 1] = record end
  end
  return list
end

-- What a member of a record says, where JSON has a null or nothing.
function seen.value(value)
  if value ~= json.null then return value end
end

function seen.row(record)
  local fault = seen.value(record.fault)
  return {
    id = record.id,
    time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(record.time)),
    method = record.method,
    target = record.target,
    status = record.status,
    ms = record.ms,
    ["function"] = seen.value(record["function"]),
    generation = seen.value(record.generation),
    error = seen.value(record.error),
    user = seen.value(record.user),
    fault = fault and fault.message,
  }
end

-- Literals that are named as secrets are: functions.lua may have some.
local function hide_literals(line)
  local name, rest = line:match("([%w_]*)%s*%]?%s*=(.*)")
  if not name then return line end
  name = name:lower()
  for _, word in ipairs { "secret", "password", "token", "key" } do
    if name:find(word, 1, true) and rest:find("[\"'%[]") then
      return line:sub(1, #line - #rest) .. ' "[redacted]"'
    end
  end
  return line
end

local AROUND = 3 -- lines of source before and after

-- A text that names a place ("scripts/me.lua:3: ..."), with file, line and some of the source.
function seen.fault(text)
  local fault = { message = host.clean(text) }
  local file, line = text:match("([%w_%-%./]+%.lua):(%d+)")
  if not file then return fault end
  fault.file, fault.line = file, math.tointeger(line)
  local source, lines, number = host.source(file), {}, 0
  for row in ((source or ""):gsub("\n$", "") .. "\n"):gmatch("(.-)\r?\n") do
    number = number + 1
    if math.abs(number - fault.line) <= AROUND then
      lines[#lines + 1] = ("%s%4d  %s"):format(number == fault.line and ">" or " ", number, hide_literals(row))
    end
  end
  if source then fault.source = host.clean(table.concat(lines, "\n")) end
  return fault
end

-- Runs a command of luafn; { code =, out =, err = }. `--name=value`, so that no value is an option.
function seen.run(words, input)
  local done = host.run(words, input)
  if done.code == 2 then seen.refuse(400, (done.err:gsub("; usage.*", ""))) end
  return done
end

return seen
