-- The development issuer: a small OpenID provider on the origin of `luafn dev`, in Auth0's manner.
-- It has demo users in place of passwords and serves applications on this machine only.
local authorize = require "lib.authorize"
local clients = require "lib.clients"
local token = require "lib.token"
local tokens = require "lib.tokens"
local users = require "lib.users"
local web = require "lib.web"

local function discovery()
  local base = tokens.issuer
  return web.json(200, {
    issuer = base,
    authorization_endpoint = base .. "authorize",
    token_endpoint = base .. "oauth/token",
    userinfo_endpoint = base .. "userinfo",
    jwks_uri = base .. ".well-known/jwks.json",
    revocation_endpoint = base .. "oauth/revoke",
    end_session_endpoint = base .. "v2/logout",
    response_types_supported = { "code" },
    response_modes_supported = { "query", "web_message" },
    grant_types_supported = { "authorization_code", "refresh_token", "client_credentials" },
    code_challenge_methods_supported = { "S256" },
    subject_types_supported = { "public" },
    id_token_signing_alg_values_supported = { "RS256" },
    token_endpoint_auth_methods_supported = { "none", "client_secret_post", "client_secret_basic" },
    scopes_supported = {
      "openid", "profile", "email", "offline_access", table.unpack(clients.scopes),
    },
    claims_supported = { "sub", "iss", "aud", "exp", "iat", "name", "nickname", "email" },
  })
end

local function keys()
  return web.json(200, { keys = { tokens.jwk() } })
end

-- For the demo page: who there is with which roles, and what the functions expect of tokens.
local function list_users()
  return web.json(200, {
    users = users.describe(),
    rbac = users.rbac,
    issuer = env.JWT_ISSUER or tokens.issuer,
    audience = clients.audience,
  })
end

-- The fields of a JSON body. Only JSON is taken: pages of other origins cannot send that without
-- asking first, and are not allowed to.
local function json_fields(event)
  local kind = event.headers["content-type"] or ""
  return kind:find("^application/json") and web.body(event) or {}
end

-- A role is switched on or off.
local function switch_role(event)
  local fields = json_fields(event)
  local user = users.find(fields.sub)
  if not user or not users.roles[fields.role or ""] or type(fields.on) ~= "boolean" then
    return web.error(400, "invalid_request", 'Send JSON: {"sub":…,"role":…,"on":true or false}')
  end
  user.role[fields.role] = fields.on or nil
  return list_users()
end

-- Whether roles decide at all, as in the settings of an API.
local function switch_rbac(event)
  local on = json_fields(event).on
  if type(on) ~= "boolean" then
    return web.error(400, "invalid_request", 'Send JSON: {"on":true or false}')
  end
  users.rbac = on
  return list_users()
end

-- A token that is wrong in one way, to see it refused.
local function spoilt_token(event)
  local fields = json_fields(event)
  local user = users.find(fields.sub)
  local token_text = user and tokens.with_fault(user, fields.fault)
  if not token_text then
    return web.error(
      400,
      "invalid_request",
      'Send JSON: {"sub":…,"fault":"expired" or "audience"}'
    )
  end
  return web.json(200, { access_token = token_text })
end

-- `open`: pages of other origins on this machine may call it.
local endpoints = {
  ["/.well-known/openid-configuration"] = { open = true, GET = discovery },
  ["/.well-known/jwks.json"] = { open = true, GET = keys },
  ["/authorize"] = { GET = authorize.ask, POST = authorize.choose },
  ["/oauth/token"] = { open = true, POST = token.issue },
  ["/oauth/revoke"] = { open = true, POST = token.revoke },
  ["/userinfo"] = { open = true, GET = token.userinfo, POST = token.userinfo },
  ["/v2/logout"] = { GET = authorize.logout },
  ["/dev/rbac"] = { POST = switch_rbac },
  ["/dev/token"] = { POST = spoilt_token },
  ["/dev/users"] = { GET = list_users, POST = switch_role },
}

local function wrong_method(endpoint)
  local answer = web.error(405, "method_not_allowed", "This path does not know that method")
  answer.headers.Allow = (endpoint.GET and "GET, HEAD" or "")
    .. (endpoint.GET and endpoint.POST and ", " or "")
    .. (endpoint.POST and "POST" or "")
  return answer
end

-- A page elsewhere can let its own name mean this machine, and would then be of our origin; the
-- name it calls us by gives it away.
local function is_called_by_own_name(event)
  return clients.is_loopback("http://" .. (event.headers.host or ""))
end

local function handler(event)
  if not is_called_by_own_name(event) then
    return web.error(403, "forbidden", "The development issuer answers to names of this machine only")
  end
  local endpoint = endpoints[event.route or event.path]
  local method = event.httpMethod == "HEAD" and "GET" or event.httpMethod
  if method == "OPTIONS" and endpoint.open then return web.preflight(event) end
  local serve = (method == "GET" or method == "POST") and endpoint[method]
  local answer = serve and serve(event) or wrong_method(endpoint)
  return endpoint.open and web.allow_origin(event, answer) or answer
end

local paths = {}
for path in pairs(endpoints) do
  paths[#paths + 1] = path
end
table.sort(paths)

return { handler = handler, path = paths, auth = "public" }
