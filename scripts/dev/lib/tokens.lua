-- What the issuer signs: access tokens and ID tokens in Auth0's shape.
local clients = require "lib.clients"
local state = require "lib.state"
local store = require "lib.store"
local users = require "lib.users"

local NAMESPACE = "http://schemas.sandrino.dev/"
local BROWSER_LIFETIME, MACHINE_LIFETIME, ID_LIFETIME = 7200, 86400, 36000

-- The standard scopes, which need no permission.
local OPENID = { "openid", "profile", "email", "offline_access" }

local tokens = { issuer = env.LUAFN_DEV_ISSUER }

local jwk -- the public half of the signing key

function tokens.jwk()
  jwk = jwk or jwt.public_jwk(env.LUAFN_DEV_KEY, "RS256")
  return jwk
end

local function sign(claims)
  return jwt.sign(claims, {
    key = env.LUAFN_DEV_KEY,
    algorithm = "RS256",
    kid = tokens.jwk().kid,
    typ = "JWT",
  })
end

local function set_of(list)
  local set = {}
  for _, item in ipairs(list) do
    set[item] = true
  end
  return set
end

-- Does the list, in words, hold this one?
local function has_word(text, wanted)
  for word in text:gmatch("%S+") do
    if word == wanted then return true end
  end
  return false
end

-- The requested scopes that are granted, each once, in the order of the request.
local function intersect(requested, granted)
  local allowed, kept = set_of(granted), {}
  for scope in requested:gmatch("%S+") do
    if allowed[scope] then kept[#kept + 1] = scope end
    allowed[scope] = nil
  end
  return table.concat(kept, " ")
end

-- What a user may have: the standard scopes, and with an API in view the permissions there, or
-- without RBAC all of its scopes.
local function user_scope(user, grant)
  local granted = { table.unpack(OPENID) }
  local of_api = users.rbac and users.permissions_of(user) or clients.scopes
  for _, scope in ipairs(grant.audience and of_api or {}) do
    granted[#granted + 1] = scope
  end
  return intersect(grant.requested, granted)
end

-- The claims of a user's access token for an API.
local function api_claims(user, grant, scope, now)
  local aud = grant.audience
  if has_word(scope, "openid") then aud = json.array { aud, tokens.issuer .. "userinfo" } end
  return {
    iss = tokens.issuer,
    sub = user.sub,
    aud = aud,
    iat = now,
    exp = now + BROWSER_LIFETIME,
    azp = grant.client_id,
    scope = scope,
    permissions = users.rbac and users.permissions_of(user) or nil,
    [NAMESPACE .. "roles"] = users.roles_of(user),
  }
end

-- Access token for a user. `grant`: sub, client_id, audience (nil: an opaque token), requested.
local function user_token(user, grant, scope, now)
  if not grant.audience then return store.secret() end
  return sign(api_claims(user, grant, scope, now))
end

-- What makes a well-signed token wrong.
local faults = {
  expired = function(claims, now)
    claims.iat, claims.exp = now - BROWSER_LIFETIME - 600, now - 600
  end,
  audience = function(claims)
    claims.aud = "https://api/another"
  end,
}

-- A token that the functions must refuse, for the demo page; nil when there is no such fault.
function tokens.with_fault(user, fault)
  local spoil = faults[fault]
  if not spoil then return nil end
  local now = math.floor(time.now())
  local grant = { client_id = "luafn-demo", audience = clients.audience }
  local claims = api_claims(user, grant, "read:shows", now)
  spoil(claims, now)
  return sign(claims)
end

-- The claims about a user that a scope opens.
function tokens.profile(user, scope)
  local claims = { sub = user.sub }
  if has_word(scope, "profile") then
    claims.name, claims.nickname = user.name, user.nickname
  end
  if has_word(scope, "email") then
    claims.email, claims.email_verified = user.email, true
  end
  return claims
end

local function id_token(user, grant, scope, now)
  local claims = tokens.profile(user, scope)
  claims.iss, claims.aud = tokens.issuer, grant.client_id
  claims.iat, claims.exp = now, now + ID_LIFETIME
  claims.nonce, claims.sid = grant.nonce, grant.sid
  return sign(claims)
end

local function hash(token)
  return crypto.sha256(token)
end

-- The answer of the token endpoint for a user's grant. Roles are asked now, so that a switched
-- role shows in the next token. `family` is shared by all refresh tokens that follow each other.
function tokens.for_user(grant, family)
  local user = users.find(grant.sub)
  local now = math.floor(time.now())
  local scope = user_scope(user, grant)
  local answer = {
    access_token = user_token(user, grant, scope, now),
    scope = scope,
    expires_in = BROWSER_LIFETIME,
    token_type = "Bearer",
  }
  state.access:put(hash(answer.access_token), { sub = user.sub, scope = scope })
  if has_word(scope, "openid") then answer.id_token = id_token(user, grant, scope, now) end
  if has_word(scope, "offline_access") then
    answer.refresh_token = store.secret()
    state.refresh:put(hash(answer.refresh_token), { grant = grant, family = family or {} })
  end
  return answer
end

function tokens.for_machine(client_id, requested)
  local now = math.floor(time.now())
  local scope = intersect(requested or table.concat(clients.scopes, " "), clients.scopes)
  return {
    access_token = sign {
      iss = tokens.issuer,
      sub = client_id .. "@clients",
      aud = clients.audience,
      iat = now,
      exp = now + MACHINE_LIFETIME,
      azp = client_id,
      gty = "client-credentials",
      scope = scope,
    },
    scope = scope,
    expires_in = MACHINE_LIFETIME,
    token_type = "Bearer",
  }
end

-- The user and scope of an access token that this issuer gave out, or nil.
function tokens.find_access(token)
  return state.access:get(hash(token))
end

-- The grant of a refresh token, which is used up. One that is shown a second time was stolen by
-- somebody: its whole family ends.
function tokens.use_refresh(token)
  local entry = state.refresh:get(hash(token))
  if not entry or entry.family.revoked then return nil end
  if entry.used then
    entry.family.revoked = true
    return nil
  end
  entry.used = true
  return entry.grant, entry.family
end

function tokens.revoke_refresh(token)
  local entry = state.refresh:get(hash(token))
  if entry then entry.family.revoked = true end
end

return tokens
