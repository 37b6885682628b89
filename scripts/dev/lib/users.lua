-- The demo users, their roles, and what a role permits.
local users = {}

-- Whether roles decide about scopes; when not, everybody has what they ask for.
users.rbac = true

users.roles = { ["TV Shows Viewer"] = { "read:shows" } }

users.list = {
  {
    sub = "auth0|vera",
    name = "Vera Viewer",
    nickname = "vera",
    email = "vera@example.com",
    role = { ["TV Shows Viewer"] = true },
  },
  {
    sub = "auth0|gus",
    name = "Gus Guest",
    nickname = "gus",
    email = "gus@example.com",
    role = {},
  },
}

function users.find(sub)
  for _, user in ipairs(users.list) do
    if user.sub == sub then return user end
  end
end

-- The names of a user's roles, sorted.
function users.roles_of(user)
  local names = json.array {}
  for name in pairs(user.role) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

-- What all of the user's roles permit together, as a list.
function users.permissions_of(user)
  local permissions, seen = json.array {}, {}
  for _, name in ipairs(users.roles_of(user)) do
    for _, scope in ipairs(users.roles[name]) do
      if not seen[scope] then permissions[#permissions + 1] = scope end
      seen[scope] = true
    end
  end
  return permissions
end

-- Every user with their roles, for pages.
function users.describe()
  local list = json.array {}
  for i, user in ipairs(users.list) do
    list[i] = { sub = user.sub, name = user.name, email = user.email, roles = users.roles_of(user) }
  end
  return list
end

return users
