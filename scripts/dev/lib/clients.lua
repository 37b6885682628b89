-- The applications: what each may do, and where its users may be sent.
local addresses = require "lib.addresses"
local config = require "lib.config"
local state = require "lib.state"

local GRANTS = {
  spa = { authorization_code = true, refresh_token = true },
  web = { authorization_code = true, refresh_token = true },
  m2m = { client_credentials = true },
}

local clients = {}

-- The application of that client id, or nil.
function clients.find(id)
  return type(id) == "string" and (config.applications[id] or state.registered:get(id)) or nil
end

-- A program introduces itself (RFC 7591): its client id and what is kept of it, or nil and what is wrong. It gets codes
-- for its addresses on this machine, with PKCE and without a secret.
function clients.register(fields)
  local kept = {}
  for _, address in ipairs(type(fields.redirect_uris) == "table" and fields.redirect_uris or {}) do
    local good = type(address) == "string" and addresses.is_loopback(address) and not address:find("#", 1, true)
    if good and #kept < 20 then kept[#kept + 1] = address end
  end
  if #kept == 0 then
    return nil, "redirect_uris must name an address of this machine, such as http://127.0.0.1:3000/callback"
  end
  local id = crypto.uuid()
  local name = type(fields.client_name) == "string" and fields.client_name:sub(1, 100) or "A program"
  local client = { name = utf8.len(name) and name or "A program", type = "spa", callbacks = kept }
  state.registered:put(id, client)
  return id, client
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
