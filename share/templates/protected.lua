-- GET /.netlify/functions/@NAME@: for everybody with a valid token.
local auth = require "lib.auth"

return {
  methods = { "GET" },
  auth = true, -- the host refuses everybody else before this script sees the request

  handler = function(_, context)
    local claims = context.identityContext.claims
    return auth.json(200, { hello = claims.sub })
  end,
}
