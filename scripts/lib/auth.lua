-- Who may call a function: the guards that scripts put around their handlers.
local auth = {}

-- Made by the first guard: whoever needs no guard needs no issuer.
local verifier
local function verify(handler)
  verifier = verifier or jwt.verifier {
    issuer = env.JWT_ISSUER,
    audience = env.JWT_AUDIENCE,
    -- Our issuer writes its own claims under a namespace; scope and roles become lists.
    map_claims = jwt.mapping {
      namespace = "http://schemas.sandrino.dev/",
      lists = { "scope", "roles" },
    },
  }
  return verifier(handler)
end

-- An answer in JSON.
function auth.json(status, body)
  return {
    statusCode = status,
    headers = { ["Content-Type"] = "application/json" },
    body = json.encode(body),
  }
end

local function denied(message)
  return auth.json(403, { error = "access_denied", error_description = message })
end

local function contains(list, wanted)
  for _, item in ipairs(list) do
    if item == wanted then return true end
  end
  return false
end

-- Anybody with a valid token: 401 without one.
function auth.require_auth(handler)
  return verify(handler)
end

-- A valid token with that scope: 403 when it lacks it.
function auth.require_scope(scope, handler)
  return auth.require_auth(function(event, context)
    if contains(context.identityContext.claims.scope, scope) then
      return handler(event, context)
    end
    return denied(("Token does not contain the required '%s' scope"):format(scope))
  end)
end

-- A valid token of a user with that role: 403 for everybody else.
function auth.require_role(role, handler)
  return auth.require_auth(function(event, context)
    if contains(context.identityContext.claims.roles, role) then
      return handler(event, context)
    end
    return denied(("User does not have the '%s' role"):format(role))
  end)
end

return auth
