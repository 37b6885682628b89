-- What does not load, and what failed last.
local seen = require "lib.seen"

-- The same fault of many requests is told once.
local function failed(limit)
  local list, by_text = json.array {}, {}
  seen.records(500, function(record)
    local is_fault = seen.value(record.fault) ~= nil
    if record.status < 500 and not is_fault then return false end
    local text = is_fault and record.fault.message or record.error or ("status " .. record.status)
    local key = tostring(record["function"]) .. "\n" .. text
    local known = by_text[key]
    if known then
      known.times = known.times + 1
    elseif #list < limit then
      local fault = seen.fault(text)
      local row = seen.row(record)
      for _, name in ipairs { "id", "time", "method", "target", "status", "function", "generation" } do
        fault[name] = row[name]
      end
      if is_fault then fault.trace = seen.value(record.fault.trace) end
      fault.times = 1
      by_text[key], list[#list + 1] = fault, fault
    end
    return false
  end)
  return list
end

local function handler(event)
  local functions, config_error = seen.functions(true)
  local loading = json.array {}
  if config_error then loading[1] = seen.fault(config_error) end
  for _, f in ipairs(functions) do
    if f.error and f.error ~= config_error then
      local fault = seen.fault(f.error)
      fault["function"] = f.name
      -- The generation before goes on, where there is one.
      fault.live_generation = f.serving and f.generation or nil
      loading[#loading + 1] = fault
    end
  end
  return { not_loaded = loading, failed = failed(event.arguments.limit or 5) }
end

return {
  handler = handler,
  auth = "public", -- the address has a token of its own
  memory = "128MB",
  cpu = 10,
  tool = {
    title = "Faults",
    description = "What does not load (functions.lua and scripts) and what failed last, each with file, line and a few "
      .. "lines of the source. Call it after a change, and when a request was answered with 500 and above. `id` is "
      .. "for the tool `request`.",
    input = {
      type = "object",
      properties = {
        limit = { type = "integer", minimum = 1, maximum = 50, description = "failures of requests; 5 by default" },
      },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },
}
