-- GET /.netlify/functions/me: the claims of the caller's token.
local auth = require "lib.auth"

return auth.require_auth(function(_, context)
  return auth.json(200, { claims = context.identityContext.claims })
end)
