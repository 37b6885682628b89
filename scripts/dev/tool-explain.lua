-- Why is a token let through, or not?
local seen = require "lib.seen"

local function handler(event)
  local wanted = event.arguments
  local words = { "explain", "-", "--dev" }
  if wanted.route then words[#words + 1] = "--route=" .. wanted.route end
  local done = seen.run(words, wanted.token)
  if done.out == "" then seen.refuse(400, done.err) end
  return { let_through = done.code == 0, text = done.out }
end

return {
  handler = handler,
  auth = "public",
  timeout = 30,
  tool = {
    title = "Explain",
    description = "Every check on an access token, expected beside actual, and the verdict, for one function, one path "
      .. "of the site, or in general. Call it where a request was answered with 401 or 403.",
    input = {
      type = "object",
      properties = {
        token = { type = "string", minLength = 1, description = "the access token, without Bearer" },
        route = { type = "string", description = "a function, as `routes` has it, or a path such as /admin/x" },
      },
      required = { "token" },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },
}
