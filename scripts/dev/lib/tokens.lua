-- What the issuer gives out: access tokens and ID tokens in Auth0's shape, refresh tokens.
local config = require "lib.config"
local keys = require "lib.keys"
local settings = require "lib.settings"
local state = require "lib.state"
local store = require "lib.store"
local users = require "lib.users"

local ID_LIFETIME = 36000

-- The standard scopes, which need no permission.
local OPENID = { "openid", "profile", "email", "offline_access" }

local tokens = { issuer = env.LUAFN_DEV_ISSUER }

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
  local granted, api = { table.unpack(OPENID) }, config.apis[grant.audience]
  if api then
    local of_api = api.scopes
    if settings.api(grant.audience, "rbac") then
      of_api = users.permissions_of(user, grant.audience)
    end
    table.move(of_api, 1, #of_api, #granted + 1, granted)
  end
  return intersect(grant.requested, granted)
end

-- Claims of one's own in access and ID tokens.
local function add_custom(claims, user)
  for name, value in pairs(user.claims or {}) do
    if claims[name] == nil then claims[name] = value end
  end
  if config.roles_claim then claims[config.roles_claim] = users.roles_of(user) end
end

-- The claims of a user's access token for an API.
local function api_claims(user, grant, scope, now)
  local audience, api = grant.audience, config.apis[grant.audience]
  local profiled = api.dialect == "rfc9068_profile"
  local claims = {
    iss = tokens.issuer,
    sub = user.sub,
    aud = audience,
    iat = now,
    exp = now + api.browser_lifetime,
    azp = not profiled and grant.client_id or nil,
    client_id = profiled and grant.client_id or nil,
    jti = profiled and crypto.uuid() or nil,
    scope = scope,
  }
  local all = json.array { audience, grant.resource }
  if has_word(scope, "openid") then all[#all + 1] = tokens.issuer .. "userinfo" end
  if #all > 1 then claims.aud = all end
  if settings.api(audience, "rbac") and settings.api(audience, "add_permissions") then
    claims.permissions = users.permissions_of(user, audience)
  end
  add_custom(claims, user)
  return claims
end

-- An access token for a user. `grant`: sub, client_id, audience (nil: an opaque token), resource (an address of this
-- host, or nil), requested.
local function user_token(user, grant, scope, now)
  local api = config.apis[grant.audience]
  if not api then return store.secret(), ID_LIFETIME end
  local typ = api.dialect == "rfc9068_profile" and "at+jwt" or "JWT"
  return keys.sign(api_claims(user, grant, scope, now), typ), api.browser_lifetime
end

-- What makes a well-signed token wrong.
local faults = {
  expired = function(claims, now)
    claims.iat, claims.exp = now - 7800, now - 600
  end,
  audience = function(claims)
    claims.aud = "https://api/another"
  end,
}

-- A token that the functions must refuse, for the demo page; nil when there is no such fault.
function tokens.with_fault(user, fault)
  local spoil = faults[fault]
  if not spoil or not config.apis[env.JWT_AUDIENCE] then return nil end
  local now = math.floor(time.now())
  local grant = { client_id = "luafn-demo", audience = env.JWT_AUDIENCE }
  local claims = api_claims(user, grant, "read:shows", now)
  spoil(claims, now)
  return keys.sign(claims)
end

-- The claims about a user that a scope opens.
function tokens.profile(user, scope)
  local claims = { sub = user.sub }
  if has_word(scope, "profile") then
    claims.name, claims.nickname, claims.picture = user.name, user.nickname, user.picture
  end
  if has_word(scope, "email") then
    claims.email, claims.email_verified = user.email, user.email and true
  end
  return claims
end

local function id_token(user, grant, scope, now)
  local claims = tokens.profile(user, scope)
  add_custom(claims, user)
  claims.iss, claims.aud = tokens.issuer, grant.client_id
  claims.iat, claims.exp = now, now + ID_LIFETIME
  claims.nonce, claims.sid = grant.nonce, grant.sid
  return keys.sign(claims)
end

-- The answer of the token endpoint for a user's grant. Roles are asked now, so that a switched
-- role shows in the next token. `family` is shared by all refresh tokens that follow each other.
function tokens.for_user(user, grant, family)
  local now = math.floor(time.now())
  local scope = user_scope(user, grant)
  local access, lifetime = user_token(user, grant, scope, now)
  local answer = {
    access_token = access,
    scope = scope,
    expires_in = lifetime,
    token_type = "Bearer",
  }
  state.access:put(access, { sub = user.sub, scope = scope })
  if has_word(scope, "openid") then answer.id_token = id_token(user, grant, scope, now) end
  if has_word(scope, "offline_access") then
    answer.refresh_token = store.secret()
    local entry = { grant = grant, family = family or crypto.uuid() }
    state.refresh:put(answer.refresh_token, entry)
  end
  return answer
end

-- The same for a program, within what it is granted in that API.
function tokens.for_machine(client_id, audience, granted, requested)
  local now = math.floor(time.now())
  local scope = intersect(requested or table.concat(granted, " "), granted)
  local lifetime = config.apis[audience].token_lifetime
  return {
    access_token = keys.sign {
      iss = tokens.issuer,
      sub = client_id .. "@clients",
      aud = audience,
      iat = now,
      exp = now + lifetime,
      azp = client_id,
      gty = "client-credentials",
      scope = scope,
    },
    scope = scope,
    expires_in = lifetime,
    token_type = "Bearer",
  }
end

-- The user and scope of an access token that this issuer gave out, or nil.
function tokens.find_access(token)
  return state.access:get(token)
end

-- The grant of a refresh token of that application, which is used up. One that is shown a second
-- time was stolen by somebody: its whole family ends.
function tokens.use_refresh(token, client_id)
  local entry = state.refresh:get(token)
  if entry and entry.grant.client_id ~= client_id then return nil end
  if not entry or not state.refresh:delete(token) then
    local used = state.used:get(token)
    if used then state.ended:put(used.family, true) end
    return nil
  end
  state.used:put(token, { family = entry.family })
  if state.ended:get(entry.family) then return nil end
  return entry.grant, entry.family
end

function tokens.revoke_refresh(token)
  local entry = state.refresh:get(token) or state.used:get(token)
  if entry then state.ended:put(entry.family, true) end
end

return tokens
