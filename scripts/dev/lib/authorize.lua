-- /authorize: who is the user, and may this application have a code for them?
local addresses = require "lib.addresses"
local clients = require "lib.clients"
local config = require "lib.config"
local pages = require "lib.pages"
local resources = require "lib.resources"
local state = require "lib.state"
local store = require "lib.store"
local users = require "lib.users"
local web = require "lib.web"

local COOKIE = "luafn_session"

-- Sends `response` back to the application, in the way that it asked for.
local function respond(params, response)
  response.state = params.state
  if params.response_mode == "web_message" then
    return pages.web_message(response, addresses.origin_of(params.redirect_uri))
  end
  return web.redirect(web.with_query(params.redirect_uri, response))
end

local function refuse(params, code, text)
  return respond(params, { error = code, error_description = text })
end

-- What must be right before anything may be sent to the redirect_uri: a page for the user, or nil.
local function unsafe(params)
  if not params then
    return pages.message(400, "Bad request", "A parameter was given twice, or is not UTF-8.")
  end
  local client = clients.find(params.client_id)
  if not client or not clients.may(client, "authorization_code") then
    return pages.message(
      403,
      "Unknown client",
      "dev/auth.lua has no application for users with this client_id."
    )
  end
  if not clients.is_callback(client, params.redirect_uri) then
    return pages.message(
      403,
      "Callback URL mismatch",
      client.callbacks and "The redirect_uri is not one of the application's callbacks in dev/auth.lua."
        or "The redirect_uri must be an address of this machine, such as http://localhost:8888."
    )
  end
end

-- What is wrong with the request itself: code and text, or nil.
local function fault(params)
  if params.response_type ~= "code" then
    return "unsupported_response_type", "The response_type must be code"
  end
  local mode = params.response_mode or "query"
  if mode ~= "query" and mode ~= "web_message" then
    return "invalid_request", "The response_mode must be query or web_message"
  end
  local challenge = params.code_challenge or ""
  if params.code_challenge_method ~= "S256" or #challenge ~= 43 or challenge:find("[^%w_-]") then
    return "invalid_request", "A code_challenge with the code_challenge_method S256 is required"
  end
  if params.audience and not config.apis[params.audience] then
    return "access_denied", "Service not found: " .. params.audience
  end
  if resources.find(params.audience, params.resource) == false then
    return "invalid_target", "The resource is neither an API of dev/auth.lua nor an address of this host"
  end
end

local function session_of(event)
  local session = state.sessions:get(web.cookie(event, COOKIE))
  return session and users.find(session.sub) and session
end

local function give_code(params, session)
  local code = store.secret()
  local audience, resource = resources.find(params.audience, params.resource)
  state.codes:put(code, {
    sub = session.sub,
    sid = session.id,
    client_id = params.client_id,
    redirect_uri = params.redirect_uri,
    challenge = params.code_challenge,
    nonce = params.nonce,
    audience = audience,
    resource = resource,
    requested = params.scope or "openid",
  })
  return respond(params, { code = code })
end

local function consent_key(params, session)
  return table.concat(
    { session.sub, params.client_id, params.audience or "", params.scope or "", params.resource },
    "\n"
  )
end

-- The user is known: a code, or what stands between. `silent`: nobody can be asked.
local function go_on(event, params, session, silent)
  if users.find(session.sub).blocked then return refuse(params, "unauthorized", "user is blocked") end
  local client = clients.find(params.client_id)
  if not client.consent or state.consent:get(consent_key(params, session)) then
    return give_code(params, session)
  end
  if silent then return refuse(params, "consent_required", "Consent required") end
  return pages.consent(client, users.find(session.sub), params, web.target(event))
end

local authorize = {}

-- GET: a code for those who are signed in, else the sign-in page.
function authorize.ask(event)
  local params = web.params(event.rawQuery)
  local answer = unsafe(params)
  if answer then return answer end
  local code, text = fault(params)
  if code then return refuse(params, code, text) end

  local session = session_of(event)
  local silent = params.prompt == "none"
  if session and params.prompt ~= "login" then return go_on(event, params, session, silent) end
  if silent then return refuse(params, "login_required", "Login required") end
  return pages.login(users.describe(), web.target(event))
end

-- A user was chosen: a session for them, and on.
local function sign_in(event, params, user)
  local session = { id = crypto.uuid(), sub = user.sub }
  local sid = store.secret()
  state.sessions:put(sid, session)
  local answer = go_on(event, params, session, false)
  answer.headers["Set-Cookie"] = ("%s=%s; Path=/; HttpOnly; SameSite=Lax"):format(COOKIE, sid)
  return answer
end

-- The question of the consent page was answered.
local function consent(params, session, choice)
  if choice ~= "accept" then
    return refuse(params, "access_denied", "User did not authorize the request")
  end
  state.consent:put(consent_key(params, session), true)
  return give_code(params, session)
end

-- POST: a user was chosen on the sign-in page, or a question was answered. From these pages only: a
-- page elsewhere could sign the person in as somebody else.
function authorize.choose(event)
  if not web.is_from_here(event) then
    return pages.message(403, "Forbidden", "This form was not sent from the issuer's own page.")
  end
  local params = web.params(event.rawQuery)
  local answer = unsafe(params)
  if answer then return answer end
  local code, text = fault(params)
  if code then return refuse(params, code, text) end

  local fields = web.body(event) or {}
  local session = session_of(event)
  if session and fields.consent then return consent(params, session, fields.consent) end
  local user = users.find(fields.user)
  if user then return sign_in(event, params, user) end
  return pages.login(users.describe(), web.target(event))
end

-- Ends the session and leads back.
function authorize.logout(event)
  local params = web.params(event.rawQuery) or {}
  local target = params.returnTo or params.post_logout_redirect_uri
  state.sessions:delete(web.cookie(event, COOKIE))
  local answer
  if not target then
    answer = pages.message(200, "Signed out", "You are signed out of the development issuer.")
  elseif clients.is_way_out(clients.find(params.client_id), target) then
    answer = web.redirect(target)
  else
    answer = pages.message(
      400,
      "Bad request",
      "returnTo must be an address of this machine, and one of the logout_urls where dev/auth.lua lists some."
    )
  end
  answer.headers["Set-Cookie"] = COOKIE .. "=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
  return answer
end

return authorize
