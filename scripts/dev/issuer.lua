-- The development issuer: a small OpenID provider on the origin of `luafn dev`, in Auth0's manner.
-- It has demo users in place of passwords and serves applications on this machine only.
local addresses = require "lib.addresses"
local authorize = require "lib.authorize"
local clients = require "lib.clients"
local config = require "lib.config"
local keys = require "lib.keys"
local settings = require "lib.settings"
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
    registration_endpoint = base .. "oidc/register",
    revocation_endpoint = base .. "oauth/revoke",
    end_session_endpoint = base .. "v2/logout",
    response_types_supported = { "code" },
    response_modes_supported = { "query", "web_message" },
    grant_types_supported = { "authorization_code", "refresh_token", "client_credentials" },
    code_challenge_methods_supported = { "S256" },
    subject_types_supported = { "public" },
    id_token_signing_alg_values_supported = { "RS256" },
    token_endpoint_auth_methods_supported = { "none", "client_secret_post", "client_secret_basic" },
    scopes_supported = { "openid", "profile", "email", "offline_access" },
    claims_supported = { "sub", "iss", "aud", "exp", "iat", "name", "nickname", "email" },
  })
end

local function key_set()
  return web.json(200, keys.set())
end

-- Dynamic registration, for programs that nobody has entered into dev/auth.lua.
local function register(event)
  local fields = (event.headers["content-type"] or ""):find("^application/json") and web.body(event)
  if not fields then return web.error(400, "invalid_client_metadata", "A JSON body is required") end
  local id, client = clients.register(fields)
  if not id then return web.error(400, "invalid_redirect_uri", client) end
  return web.json(201, {
    client_id = id,
    client_id_issued_at = math.floor(time.now()),
    client_name = client.name,
    redirect_uris = json.array(client.callbacks),
    token_endpoint_auth_method = "none",
    grant_types = { "authorization_code", "refresh_token" },
    response_types = { "code" },
  })
end

local MAIN = env.JWT_AUDIENCE -- the API of the demo page

-- For the pages: who there is with which roles, and what the functions expect of tokens.
local function list_users()
  return web.json(200, {
    users = users.describe(),
    rbac = config.apis[MAIN] and settings.api(MAIN, "rbac") or false,
    issuer = env.JWT_ISSUER or tokens.issuer,
    audience = MAIN,
    differs = settings.differ(),
  })
end

local function sorted_names(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- For the issuer's page: all of dev/auth.lua but its secrets, as it stands with the switches.
local function tell_all()
  local apps, apis, roles = json.array {}, json.array {}, json.array {}
  for i, id in ipairs(sorted_names(config.applications)) do
    local app = config.applications[id]
    apps[i] = { id = id, name = app.name, type = app.type, callbacks = app.callbacks, grants = app.grants }
  end
  for i, id in ipairs(sorted_names(config.apis)) do
    local api = config.apis[id]
    apis[i] = {
      id = id,
      name = api.name,
      scopes = json.array(api.scopes),
      rbac = settings.api(id, "rbac"),
      add_permissions = settings.api(id, "add_permissions"),
      token_lifetime = api.token_lifetime,
      browser_lifetime = api.browser_lifetime,
    }
  end
  for i, name in ipairs(sorted_names(config.roles)) do
    roles[i] = { name = name, permits = config.roles[name] }
  end
  local kids = json.array {}
  for i, jwk in ipairs(keys.set().keys) do
    kids[i] = jwk.kid
  end
  return web.json(200, {
    applications = apps,
    apis = apis,
    roles = roles,
    users = users.describe(),
    keys = kids,
    issuer = tokens.issuer,
    differs = settings.differ(),
  })
end

-- The fields of a JSON body. Only JSON from a page of our own is taken, or from a program.
local function json_fields(event)
  local kind = event.headers["content-type"] or ""
  return kind:find("^application/json") and web.body(event) or {}
end

-- A role is switched on or off.
local function switch_role(event)
  local fields = json_fields(event)
  local user = users.find(fields.sub)
  if not user or not config.roles[fields.role or ""] or type(fields.on) ~= "boolean" then
    return web.error(400, "invalid_request", 'Send JSON: {"sub":…,"role":…,"on":true or false}')
  end
  settings.set_role(user, fields.role, fields.on)
  return list_users()
end

-- A switch of an API, as in its settings: whether roles decide at all, and so on.
local function switch_api(event)
  local fields = json_fields(event)
  local audience, name = fields.audience or MAIN, fields.name or "rbac"
  local is_known = config.apis[audience] and (name == "rbac" or name == "add_permissions")
  if not is_known or type(fields.on) ~= "boolean" then
    return web.error(
      400,
      "invalid_request",
      'Send JSON: {"on":true or false}, and "audience" and "name" ("rbac", "add_permissions")'
    )
  end
  settings.set_api(audience, name, fields.on)
  return list_users()
end

-- The next key signs from now on.
local function rotate(event)
  if json_fields(event).rotate ~= true then
    return web.error(400, "invalid_request", 'Send JSON: {"rotate":true}')
  end
  settings.rotate()
  return tell_all()
end

-- All switches are as dev/auth.lua has them.
local function reset(event)
  if json_fields(event).reset ~= true then
    return web.error(400, "invalid_request", 'Send JSON: {"reset":true}')
  end
  settings.reset()
  return tell_all()
end

-- A token for one's own requests: with a scope, or one that is wrong in one way, to see it refused.
local function make_token(event)
  local fields = json_fields(event)
  local user = users.find(fields.sub)
  local token_text
  if user and type(fields.scope) == "string" and config.apis[MAIN] then
    local grant = { sub = user.sub, client_id = "luafn-demo", audience = MAIN, requested = fields.scope }
    token_text = tokens.for_user(user, grant).access_token
  elseif user then
    token_text = tokens.with_fault(user, fields.fault)
  end
  if not token_text then
    return web.error(
      400,
      "invalid_request",
      'Send JSON: {"sub":…,"scope":…} or {"sub":…,"fault":"expired" or "audience"}'
    )
  end
  return web.json(200, { access_token = token_text })
end

-- `open`: pages of other origins on this machine may call it.
local endpoints = {
  ["/.well-known/openid-configuration"] = { open = true, GET = discovery },
  ["/.well-known/oauth-authorization-server"] = { open = true, GET = discovery },
  ["/.well-known/jwks.json"] = { open = true, GET = key_set },
  ["/authorize"] = { GET = authorize.ask, POST = authorize.choose },
  ["/oidc/register"] = { open = true, POST = register },
  ["/oauth/token"] = { open = true, POST = token.issue },
  ["/oauth/revoke"] = { open = true, POST = token.revoke },
  ["/userinfo"] = { open = true, GET = token.userinfo, POST = token.userinfo },
  ["/v2/logout"] = { GET = authorize.logout },
  ["/_luafn/dev/api/issuer"] = { GET = tell_all },
  ["/_luafn/dev/api/rbac"] = { POST = switch_api },
  ["/_luafn/dev/api/reset"] = { POST = reset },
  ["/_luafn/dev/api/rotate"] = { POST = rotate },
  ["/_luafn/dev/api/token"] = { POST = make_token },
  ["/_luafn/dev/api/users"] = { GET = list_users, POST = switch_role },
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
  return addresses.is_loopback("http://" .. (event.headers.host or ""))
end

local function handler(event)
  if not is_called_by_own_name(event) then
    return web.error(403, "forbidden", "The development issuer answers to names of this machine only")
  end
  local endpoint = endpoints[event.route or event.path]
  if event.path:find("^/_luafn/dev/api/") and event.httpMethod == "POST" and not web.is_from_here(event) then
    return web.error(403, "forbidden", "This was not sent from a page of the issuer")
  end
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
