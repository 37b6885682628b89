-- /oauth/token and what belongs to it: codes, secrets and refresh tokens become access tokens.
local clients = require "lib.clients"
local config = require "lib.config"
local resources = require "lib.resources"
local state = require "lib.state"
local tokens = require "lib.tokens"
local users = require "lib.users"
local web = require "lib.web"

local grants = {}

local function is_text(value)
  return type(value) == "string" and value ~= ""
end

local NOT_GRANTED = 'Client is not authorized to access "%s". You might probably want to create a '
  .. '"client-grant" associated to this API. See: '
  .. "https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants"

-- The tokens, if there is still such a user who may have some. `resource`: what they are asked for (RFC 8707 2.2).
local function for_user(grant, resource, family)
  if resource and resource ~= grant.resource and resource ~= grant.audience then
    return web.error(400, "invalid_target", "The tokens of this grant are for another resource")
  end
  local user = users.find(grant.sub)
  if not user or user.blocked then return web.error(403, "unauthorized", "user is blocked") end
  return web.json(200, tokens.for_user(user, grant, family))
end

function grants.authorization_code(client_id, fields)
  local code = is_text(fields.code) and state.codes:take(fields.code)
  if not code or code.client_id ~= client_id or code.redirect_uri ~= fields.redirect_uri then
    return web.error(403, "invalid_grant", "Invalid authorization code")
  end
  local verifier = fields.code_verifier
  if not is_text(verifier) or crypto.sha256(verifier, "base64url") ~= code.challenge then
    return web.error(403, "invalid_grant", "Failed to verify code verifier")
  end
  return for_user(code, fields.resource)
end

function grants.refresh_token(client_id, fields)
  local grant, family
  if is_text(fields.refresh_token) then
    grant, family = tokens.use_refresh(fields.refresh_token, client_id)
  end
  if not grant then return web.error(403, "invalid_grant", "Unknown or invalid refresh token.") end
  return for_user(grant, fields.resource, family)
end

function grants.client_credentials(client_id, fields)
  local meant = resources.find(is_text(fields.audience) and fields.audience or nil, fields.resource)
  local audience = meant or is_text(fields.audience) and fields.audience or ""
  if not config.apis[audience] then
    local text = "Service not enabled within domain: " .. audience
    return web.error(403, "access_denied", text)
  end
  local granted = (clients.find(client_id).grants or {})[audience]
  if not granted then return web.error(403, "access_denied", NOT_GRANTED:format(audience)) end
  local requested = is_text(fields.scope) and fields.scope or nil
  return web.json(200, tokens.for_machine(client_id, audience, granted, requested))
end

-- Name and secret, from the body or from a Basic header (RFC 6749 2.3.1).
local function credentials(event, fields)
  local basic = (event.headers.authorization or ""):match("^[Bb]asic (%S+)$")
  local id, secret = (basic and base64.decode(basic) or ""):match("^([^:]*):(.*)$")
  if id then return url.decode(id), url.decode(secret) end
  return fields.client_id, fields.client_secret
end

local token = {}

-- POST /oauth/token
function token.issue(event)
  local fields = web.body(event)
  if not fields then return web.error(400, "invalid_request", "A form or JSON body is required") end
  local client_id, secret = credentials(event, fields)
  local client = clients.find(client_id)
  local known = client
    and (not client.secret or is_text(secret) and crypto.equals(secret, client.secret))
  if not known then return web.error(401, "access_denied", "Unauthorized") end
  local grant = grants[fields.grant_type]
  if not grant or not clients.may(client, fields.grant_type) then
    local name = is_text(fields.grant_type) and fields.grant_type or ""
    local text = ("Grant type '%s' not allowed for the client."):format(name)
    return web.error(403, "unauthorized_client", text)
  end
  return grant(client_id, fields)
end

-- POST /oauth/revoke: 200 also for tokens that are not known (RFC 7009 2.2).
function token.revoke(event)
  local fields = web.body(event)
  if not fields or not is_text(fields.token) then
    return web.error(400, "invalid_request", "The token is missing")
  end
  tokens.revoke_refresh(fields.token)
  return web.json(200, {})
end

-- GET or POST /userinfo
function token.userinfo(event)
  local sent = (event.headers.authorization or ""):match("^[Bb][Ee][Aa][Rr][Ee][Rr] (%S+)$")
  local access = sent and tokens.find_access(sent)
  local user = access and users.find(access.sub)
  if not user then
    local answer = web.error(401, "invalid_token", "The access token is missing or not known here")
    answer.headers["WWW-Authenticate"] = 'Bearer realm="luafn dev"'
      .. (sent and ', error="invalid_token"' or "")
    return answer
  end
  return web.json(200, tokens.profile(user, access.scope))
end

return token
