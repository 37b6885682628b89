-- The check of a token with what Debian has for LuaJIT in nginx: luaossl, lua-cjson. The key is parsed
-- once a worker; every token is verified, nothing is cached (as lua-resty-jwt does).
local digest = require "openssl.digest"
local pkey = require "openssl.pkey"
local cjson = require "cjson.safe"

local settings = require "settings" -- written by bench/lib/peers.mjs: issuer, audience, pem
local key = pkey.new(settings.pem)

local function decode(text)
  local padded = text:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#text % 4)
  return ngx.decode_base64(padded)
end

local function list(value)
  if type(value) == "table" then return value end
  local words = {}
  for word in (value or ""):gmatch("%S+") do words[#words + 1] = word end
  return setmetatable(words, cjson.array_mt)
end

local function holds(aud)
  if type(aud) ~= "table" then return aud == settings.audience end
  for _, one in ipairs(aud) do
    if one == settings.audience then return true end
  end
  return false
end

local function verified()
  local token = (ngx.var.http_authorization or ""):match("^[Bb]earer (%S+)$")
  local head, body, signature = (token or ""):match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  if not head then return nil end
  local header = cjson.decode(decode(head) or "")
  if not header or header.alg ~= "RS256" then return nil end
  local sum = digest.new "sha256"
  sum:update(head .. "." .. body)
  if not key:verify(decode(signature) or "", sum) then return nil end
  local claims = cjson.decode(decode(body) or "")
  if type(claims) ~= "table" or claims.iss ~= settings.issuer or not holds(claims.aud) then return nil end
  if type(claims.exp) ~= "number" or claims.exp <= ngx.time() then return nil end
  claims.scope, claims.roles = list(claims.scope), list(claims.roles)
  return claims
end

return function()
  local claims = verified()
  ngx.header.content_type = "application/json"
  if not claims then
    ngx.status = 401
    return ngx.print('{"error":"invalid_token"}')
  end
  return ngx.print(cjson.encode { claims = claims })
end
