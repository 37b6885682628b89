-- The applications: what each may do, and where its users may be sent.
local addresses = require "lib.addresses"
local config = require "lib.config"

local GRANTS = {
  spa = { authorization_code = true, refresh_token = true },
  web = { authorization_code = true, refresh_token = true },
  m2m = { client_credentials = true },
}

local clients = {}

-- The application of that client id, or nil.
function clients.find(id)
  return type(id) == "string" and config.applications[id] or nil
end

function clients.may(client, grant)
  return GRANTS[client.type][grant] == true
end

local function is_listed(list, wanted)
  for _, address in ipairs(list) do
    if address == wanted then return true end
  end
  return false
end

-- May codes be sent there? Compared to the letter where the application lists its callbacks.
function clients.is_callback(client, address)
  if not addresses.is_loopback(address) or address:find("#", 1, true) then return false end
  return not client.callbacks or is_listed(client.callbacks, address)
end

-- May users be led there after signing out? `client` may be nil: any page of this machine.
function clients.is_way_out(client, address)
  if not addresses.is_loopback(address) then return false end
  return not (client and client.logout_urls) or is_listed(client.logout_urls, address)
end

return clients
