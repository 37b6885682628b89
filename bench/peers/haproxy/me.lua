-- The answer of `me`: jwt_verify has checked the signature before (see haproxy.cfg, written by
-- bench/lib/peers.mjs); the claims are judged and written here.
local cjson = require "cjson"

local issuer, audience = os.getenv "BENCH_ISSUER", os.getenv "BENCH_AUDIENCE"

local function list(value)
  if type(value) == "table" then return value end
  local words = {}
  for word in (value or ""):gmatch("%S+") do words[#words + 1] = word end
  return words
end

local function send(applet, status, body)
  applet:set_status(status)
  applet:add_header("content-type", "application/json")
  applet:add_header("content-length", #body)
  applet:start_response()
  applet:send(body)
end

core.register_service("me", "http", function(applet)
  local read, claims = pcall(cjson.decode, applet:get_var "txn.payload" or "")
  if not read or claims.iss ~= issuer or claims.aud ~= audience
    or type(claims.exp) ~= "number" or claims.exp <= core.now().sec then
    return send(applet, 401, '{"error":"invalid_token"}')
  end
  claims.scope, claims.roles = list(claims.scope), list(claims.roles)
  return send(applet, 200, cjson.encode { claims = claims })
end)

core.register_service("hello", "http", function(applet)
  applet:set_status(200)
  applet:add_header("content-length", 5)
  applet:start_response()
  applet:send "hello"
end)
