-- What was switched on the issuer's pages, on top of dev/auth.lua: roles of users, RBAC of APIs, the
-- key that signs. Switches are kept over restarts, until dev/auth.lua says something else.
local config = require "lib.config"

local KEY = "settings"

-- A text that is the same for tables of the same content.
local function canonical(value)
  if type(value) ~= "table" then return json.encode(value) end
  local parts = {}
  for key, item in pairs(value) do
    parts[#parts + 1] = json.encode(tostring(key)) .. ":" .. canonical(item)
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local FILE = crypto.sha256(canonical(config))

local settings = {}
local memory -- where kv cannot be had

local function read()
  local has, kept = pcall(kv.get, KEY)
  kept = has and kept or memory or {}
  if kept.file ~= FILE then kept = { file = FILE, signs_next = kept.signs_next } end
  kept.roles, kept.apis = kept.roles or {}, kept.apis or {}
  return kept
end

local function write(kept)
  local can, done = pcall(kv.set, KEY, kept)
  if not can or not done then memory = kept end
end

-- Has the user that role, as the file and the switches have it?
function settings.has_role(user, role)
  local switched = (read().roles[user.sub] or {})[role]
  if switched ~= nil then return switched end
  for _, name in ipairs(user.roles) do
    if name == role then return true end
  end
  return false
end

function settings.set_role(user, role, on)
  local kept = read()
  kept.roles[user.sub] = kept.roles[user.sub] or {}
  kept.roles[user.sub][role] = on
  write(kept)
end

-- A switch of an API, `rbac` or `add_permissions`.
function settings.api(audience, name)
  local switched = (read().apis[audience] or {})[name]
  if switched ~= nil then return switched end
  return config.apis[audience][name] == true
end

function settings.set_api(audience, name, on)
  local kept = read()
  kept.apis[audience] = kept.apis[audience] or {}
  kept.apis[audience][name] = on
  write(kept)
end

-- Do the switches say something else than dev/auth.lua?
function settings.differ()
  local kept = read()
  for sub, roles in pairs(kept.roles) do
    for role, on in pairs(roles) do
      local in_file = false
      for _, user in ipairs(config.users) do
        for _, name in ipairs(user.sub == sub and user.roles or {}) do in_file = in_file or name == role end
      end
      if on ~= in_file then return true end
    end
  end
  for audience, switches in pairs(kept.apis) do
    for name, on in pairs(switches) do
      if on ~= (config.apis[audience][name] == true) then return true end
    end
  end
  return false
end

-- All switches but the key that signs.
function settings.reset()
  write { file = FILE, signs_next = read().signs_next, roles = {}, apis = {} }
end

-- Does the second of the two keys sign?
function settings.signs_next()
  return read().signs_next == true
end

-- The other key signs from now on; both stay published.
function settings.rotate()
  local kept = read()
  kept.signs_next = not kept.signs_next
  write(kept)
end

return settings
