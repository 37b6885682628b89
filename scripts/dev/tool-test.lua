-- `luafn test`, in a process of its own.
local seen = require "lib.seen"

local function handler(event)
  local wanted = event.arguments
  local words = { "test" }
  for i, file in ipairs(wanted.files or {}) do
    if file:sub(1, 1) == "-" then seen.refuse(400, "A file's name does not begin with -: " .. file) end
    words[i + 1] = file
  end
  if wanted.filter then words[#words + 1] = "--filter=" .. wanted.filter end
  local done = seen.run(words)
  local passed, failed = done.out:match("\n# (%d+) passed, (%d+) failed")
  return {
    ok = done.code == 0,
    passed = math.tointeger(passed),
    failed = math.tointeger(failed),
    tap = host.clean(done.out),
    log = host.clean(done.err),
  }
end

return {
  handler = handler,
  auth = "public",
  timeout = 600,
  concurrency = 2,
  tool = {
    title = "Test",
    description = "Runs the tests of functions (*_test.lua, each in a fresh state with fake fetch, clock and tokens) "
      .. "and gives the TAP. What failed has its place and what was expected.",
    input = {
      type = "object",
      properties = {
        files = {
          type = "array",
          items = { type = "string", minLength = 1 },
          maxItems = 16,
          description = "files or folders; all by default",
        },
        filter = { type = "string", minLength = 1, description = "only tests whose name contains it" },
      },
      additionalProperties = false,
    },
  },
}
