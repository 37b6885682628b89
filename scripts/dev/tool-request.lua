-- One record of the journal whole.
local seen = require "lib.seen"

local function handler(event)
  local line = host.record(event.arguments.id)
  if not line then seen.refuse(404, "The journal has no request of that id; the tool `requests` lists them") end
  return json.decode(line)
end

return {
  handler = handler,
  auth = "public",
  tool = {
    title = "Request",
    description = "One request whole: head and body, what the host did for the script (fetch, kv, time ...) with "
      .. "arguments and answers, logs, the answer, or the fault with its trace. Credentials are redacted.",
    input = {
      type = "object",
      properties = { id = { type = "string", minLength = 1, description = "of `requests`, `faults` or `invoke`" } },
      required = { "id" },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },
}
