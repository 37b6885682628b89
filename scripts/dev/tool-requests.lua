-- The last requests, a row each.
local seen = require "lib.seen"

-- 404, 4xx or >=400
local function has_status(record, wanted)
  local digit, least = wanted:match("^(%d)xx$"), wanted:match("^>=(%d%d%d)$")
  if digit then return record.status // 100 == math.tointeger(digit) end
  if least then return record.status >= math.tointeger(least) end
  return record.status == math.tointeger(wanted)
end

local function handler(event)
  local wanted = event.arguments
  local text = wanted.text and wanted.text:lower()
  local records = seen.records(wanted.limit or 20, function(record, line)
    return (not wanted["function"] or record["function"] == wanted["function"])
      and (not wanted.status or has_status(record, wanted.status))
      and (not wanted.user or record.user == wanted.user)
      and (not text or line:lower():find(text, 1, true) ~= nil)
  end)
  for i, record in ipairs(records) do
    records[i] = seen.row(record)
  end
  return { requests = records }
end

return {
  handler = handler,
  auth = "public",
  memory = "128MB",
  cpu = 10,
  tool = {
    title = "Requests",
    description = "The last requests of this host, the newest first: id, time, method, target, status, function, "
      .. "milliseconds, user, fault. The journal keeps 500.",
    input = {
      type = "object",
      properties = {
        ["function"] = { type = "string", description = "of this function alone" },
        status = {
          type = "string",
          pattern = "^([1-9]xx|(>=)?[1-9][0-9][0-9])$",
          description = "as 404, 5xx or >=400",
        },
        user = { type = "string", description = "the `sub` of the token" },
        text = { type = "string", description = "what stands anywhere in the record, without regard to case" },
        limit = { type = "integer", minimum = 1, maximum = 100, description = "20 by default" },
      },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },
}
