-- What a token is to be for: an API by its identifier (`audience`, as at Auth0, or `resource`, RFC 8707), or an address
-- of this host, whose functions take the tokens of the demo's API.
local addresses = require "lib.addresses"
local config = require "lib.config"

local resources = {}

local function port_of(address)
  return addresses.origin_of(address):match(":(%d+)$")
end

local function is_own(address)
  return addresses.is_loopback(address) and not address:find("#", 1, true)
    and port_of(address) == port_of(env.LUAFN_DEV_ISSUER)
end

-- The API that is meant, and the address if one was named; nil where neither is. Or false: there is no such thing.
function resources.find(audience, resource)
  local meant = audience or config.apis[resource] and resource or nil
  if not resource or resource == meant then return meant end
  if not is_own(resource) then return false end
  meant = meant or env.JWT_AUDIENCE
  return config.apis[meant] and meant or false, resource
end

return resources
