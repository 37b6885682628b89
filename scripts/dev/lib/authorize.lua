-- /authorize: who is the user, and may this application have a code for them?
local clients = require "lib.clients"
local pages = require "lib.pages"
local state = require "lib.state"
local store = require "lib.store"
local users = require "lib.users"
local web = require "lib.web"

local COOKIE = "luafn_session"

-- Sends `response` back to the application, in the way that it asked for.
local function respond(params, response)
  response.state = params.state
  if params.response_mode == "web_message" then
    return pages.web_message(response, clients.origin_of(params.redirect_uri))
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
  local client = clients.list[params.client_id or ""]
  if not client or not client.grants.authorization_code then
    return pages.message(403, "Unknown client", "There is no application with this client_id.")
  end
  if not clients.is_callback(params.redirect_uri) then
    return pages.message(
      403,
      "Callback URL mismatch",
      "The redirect_uri must be an address of this machine, such as http://localhost:8888."
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
  if params.audience and params.audience ~= clients.audience then
    return "access_denied", "Service not found: " .. params.audience
  end
end

local function session_of(event)
  local sid = web.cookie(event, COOKIE)
  local session = state.sessions:get(sid)
  return session and users.find(session.sub) and session
end

local function give_code(params, session)
  local code = store.secret()
  state.codes:put(code, {
    sub = session.sub,
    sid = session.id,
    client_id = params.client_id,
    redirect_uri = params.redirect_uri,
    challenge = params.code_challenge,
    nonce = params.nonce,
    audience = params.audience,
    requested = params.scope or "openid",
  })
  return respond(params, { code = code })
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
  if session and params.prompt ~= "login" then return give_code(params, session) end
  if params.prompt == "none" then return refuse(params, "login_required", "Login required") end
  return pages.login(users.describe(), "/authorize?" .. (event.rawQuery or ""))
end

-- POST: a user was chosen on the sign-in page.
function authorize.choose(event)
  local params = web.params(event.rawQuery)
  local answer = unsafe(params)
  if answer then return answer end
  local code, text = fault(params)
  if code then return refuse(params, code, text) end

  local user = users.find((web.body(event) or {}).user)
  if not user then return pages.login(users.describe(), "/authorize?" .. (event.rawQuery or "")) end
  local session = { id = crypto.uuid(), sub = user.sub }
  local sid = store.secret()
  state.sessions:put(sid, session)
  answer = give_code(params, session)
  answer.headers["Set-Cookie"] = ("%s=%s; Path=/; HttpOnly; SameSite=Lax"):format(COOKIE, sid)
  return answer
end

-- Ends the session and leads back.
function authorize.logout(event)
  local params = web.params(event.rawQuery) or {}
  local target = params.returnTo or params.post_logout_redirect_uri
  state.sessions:take(web.cookie(event, COOKIE))
  local answer
  if not target then
    answer = pages.message(200, "Signed out", "You are signed out of the development issuer.")
  elseif clients.is_loopback(target) then
    answer = web.redirect(target)
  else
    answer = pages.message(400, "Bad request", "returnTo must be an address of this machine.")
  end
  answer.headers["Set-Cookie"] = COOKIE .. "=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"
  return answer
end

return authorize
