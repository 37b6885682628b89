-- The applications and the API that this issuer knows.
local clients = {}

clients.list = {
  ["luafn-demo"] = { -- a page in a browser: it can keep no secret, PKCE stands in for it
    grants = { authorization_code = true, refresh_token = true },
  },
  ["luafn-machine"] = { -- a program that acts for itself
    secret = "luafn-machine-secret",
    grants = { client_credentials = true },
  },
}

clients.audience = env.JWT_AUDIENCE or "https://api/tv-shows"
clients.scopes = { "read:shows", "create:shows" }

-- http(s) on this machine. Nothing that parsers read in different ways gets this far: user names,
-- backslashes and white space are refused.
function clients.is_loopback(text)
  local parsed = text and not text:find("\\", 1, true) and url.parse(text)
  if not parsed or parsed.user then return false end
  if parsed.scheme ~= "http" and parsed.scheme ~= "https" then return false end
  return parsed.host == "localhost" or parsed.host == "127.0.0.1" or parsed.host == "[::1]"
end

-- May codes be sent there?
function clients.is_callback(text)
  return clients.is_loopback(text) and not text:find("#", 1, true)
end

-- "http://localhost:8888/callback?x" -> "http://localhost:8888"
function clients.origin_of(text)
  return text:match("^%a+://[^/?#]+")
end

return clients
