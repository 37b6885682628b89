-- The issuer's two keys: the one that signs and the one that will sign next. Both are published, as
-- Auth0 does, so that a rotation surprises nobody.
local settings = require "lib.settings"

local pems = { env.LUAFN_DEV_KEY, env.LUAFN_DEV_KEY_NEXT }
local jwks = {}

local function jwk(i)
  jwks[i] = jwks[i] or jwt.public_jwk(pems[i], "RS256", true)
  return jwks[i]
end

local function order()
  if settings.signs_next() then return 2, 1 end
  return 1, 2
end

local keys = {}

-- The set as it is published: the one that signs first.
function keys.set()
  local current, following = order()
  return { keys = json.array { jwk(current), jwk(following) } }
end

-- `typ` is that of the header.
function keys.sign(claims, typ)
  local current = order()
  return jwt.sign(claims, {
    key = pems[current],
    algorithm = "RS256",
    kid = jwk(current).kid,
    typ = typ or "JWT",
  })
end

return keys
