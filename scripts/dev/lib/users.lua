-- The users, their roles, and what these permit in an API.
local config = require "lib.config"
local settings = require "lib.settings"

local users = {}

function users.find(sub)
  for _, user in ipairs(config.users) do
    if user.sub == sub then return user end
  end
end

-- The names of a user's roles, sorted.
function users.roles_of(user)
  local names = {}
  for name in pairs(config.roles) do
    if settings.has_role(user, name) then names[#names + 1] = name end
  end
  table.sort(names)
  return json.array(names)
end

-- What all of the user's roles permit in that API together with what is the user's own, as a list.
function users.permissions_of(user, audience)
  local permissions, seen = json.array {}, {}
  local function add(scopes)
    for _, scope in ipairs(scopes or {}) do
      if not seen[scope] then permissions[#permissions + 1] = scope end
      seen[scope] = true
    end
  end
  for _, name in ipairs(users.roles_of(user)) do
    add(config.roles[name][audience])
  end
  add(user.permissions[audience])
  return permissions
end

-- Every user with their roles, for pages.
function users.describe()
  local list = json.array {}
  for i, user in ipairs(config.users) do
    list[i] = {
      sub = user.sub,
      name = user.name,
      email = user.email,
      blocked = user.blocked or nil,
      roles = users.roles_of(user),
    }
  end
  return list
end

return users
