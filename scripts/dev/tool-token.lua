-- A token of the dev issuer.
local mint = require "lib.mint"

return {
  handler = function(event) return { token = mint(event.arguments) } end,
  auth = "public",
  timeout = 30,
  tool = {
    title = "Token",
    description = "An access token from the key of this host's development issuer, to call protected functions with: "
      .. "Authorization: Bearer TOKEN. No other host takes it. The tool `invoke` makes one by itself.",
    input = {
      type = "object",
      properties = {
        sub = { type = "string", description = "the user; auth0|dev by default" },
        scope = { type = "string", description = "scopes, with blanks between them" },
        audience = { type = "string", description = "by default that of this host" },
        expires = { type = "string", description = "as 10m or 2h; -1m gives one that has expired" },
        claims = { type = "object", maxProperties = 16, description = "further claims" },
      },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },
}
