-- Is a table what dev/auth.lua should be? Every fault says where it is written.
local check = {}

local MODULE = "dev.auth"

-- Ends the load. `path` is that of the value, such as "users[2].roles".
local function fault(path, text)
  local is_file, where = pcall(locate, MODULE, path)
  error(("%s: %s: %s"):format(is_file and where or "dev/auth.lua", path, text), 0)
end

local function join(path, key)
  if math.type(key) == "integer" then return ("%s[%d]"):format(path, key) end
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

-- How many edits lie between two names.
local function distance(a, b)
  local row = {}
  for j = 0, #b do
    row[j] = j
  end
  for i = 1, #a do
    local before = row[0]
    row[0] = i
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j) and 0 or 1
      before, row[j] = row[j], math.min(before + same, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

-- "; did you mean 'x'?" for the nearest name, if one is near.
local function nearest(name, known)
  local best, found = 4, nil
  for other in pairs(known) do
    local d = #name <= 64 and #other <= 64 and distance(name, other) or best
    if d < best or (d == best and found and other < found) then
      best, found = d, other
    end
  end
  return found and (" (did you mean '%s'?)"):format(found) or ""
end

local function of_type(wanted)
  return function(value, path)
    if type(value) ~= wanted then
      fault(path, ("expected a %s, got %s"):format(wanted, type(value)))
    end
  end
end

local text, flag = of_type("string"), of_type("boolean")

local function filled(value, path)
  text(value, path)
  if value == "" then fault(path, "must not be empty") end
end

local function seconds(value, path)
  if type(value) ~= "number" or value < 1 or value > 30 * 86400 then
    fault(path, "expected seconds, from 1 to 2592000 (30 days)")
  end
end

-- A list whose elements pass `each`.
local function list(each)
  return function(value, path)
    of_type("table")(value, path)
    for key in pairs(value) do
      if math.type(key) ~= "integer" or key < 1 or key > #value then
        fault(path, "expected a list")
      end
    end
    for i, item in ipairs(value) do
      each(item, join(path, i))
    end
  end
end

-- A table from names to what passes `each`.
local function map(each)
  return function(value, path)
    of_type("table")(value, path)
    for key, item in pairs(value) do
      if type(key) ~= "string" then fault(path, "expected names, got a list") end
      each(item, join(path, key))
    end
  end
end

-- A table with these members and no others.
local function record(members)
  return function(value, path)
    of_type("table")(value, path == "" and "the file" or path)
    for key, item in pairs(value) do
      local each = members[key]
      if not each then
        fault(join(path, key), "unknown key" .. nearest(tostring(key), members))
      end
      each(item, join(path, key))
    end
  end
end

local function one_of(known)
  return function(value, path)
    if not known[value] then
      local names = {}
      for name in pairs(known) do
        names[#names + 1] = ("'%s'"):format(name)
      end
      table.sort(names)
      fault(path, "expected one of " .. table.concat(names, ", "))
    end
  end
end

local shape = record {
  applications = map(record {
    name = filled,
    type = one_of { spa = true, web = true, m2m = true },
    secret = filled,
    callbacks = list(filled),
    logout_urls = list(filled),
    consent = flag,
    grants = map(list(filled)),
  }),
  apis = map(record {
    name = filled,
    scopes = list(filled),
    rbac = flag,
    add_permissions = flag,
    token_lifetime = seconds,
    browser_lifetime = seconds,
    dialect = one_of { access_token = true, rfc9068_profile = true },
  }),
  roles = map(map(list(filled))),
  roles_claim = filled,
  users = list(record {
    sub = filled,
    name = filled,
    nickname = filled,
    email = filled,
    picture = filled,
    blocked = flag,
    roles = list(filled),
    permissions = map(list(filled)),
    claims = map(function() end),
  }),
}

local function set_of(items)
  local set = {}
  for _, item in ipairs(items or {}) do
    set[item] = true
  end
  return set
end

-- { [api] = { scopes } }, as roles, users and programs have it: both must exist.
local function known_scopes(config, grants, path)
  for audience, scopes in pairs(grants or {}) do
    local at, api = join(path, audience), config.apis[audience]
    if not api then fault(at, "no such API" .. nearest(audience, config.apis)) end
    local known = set_of(api.scopes)
    for i, scope in ipairs(scopes) do
      if not known[scope] then fault(join(at, i), "no such scope" .. nearest(scope, known)) end
    end
  end
end

local function known_application(config, id, app, is_loopback)
  local path = join("applications", id)
  if not app.type then fault(path, "`type` is missing: \"spa\", \"web\" or \"m2m\"") end
  if (app.type == "spa") == (app.secret ~= nil) then
    fault(path, app.secret and "a page cannot keep a secret" or "`secret` is missing")
  end
  if app.grants and app.type ~= "m2m" then
    fault(join(path, "grants"), "only programs (\"m2m\") are granted scopes; users have roles")
  end
  known_scopes(config, app.grants, join(path, "grants"))
  for _, name in ipairs { "callbacks", "logout_urls" } do
    for i, address in ipairs(app[name] or {}) do
      if not is_loopback(address) then
        fault(join(join(path, name), i), "only addresses of this machine, as http://localhost:3000")
      end
    end
  end
end

local function known_user(config, i, user, seen)
  local path = join("users", i)
  for _, name in ipairs { "sub", "name" } do
    if not user[name] then fault(path, ("`%s` is missing"):format(name)) end
  end
  if seen[user.sub] then fault(join(path, "sub"), "taken by another user") end
  seen[user.sub] = true
  for k, role in ipairs(user.roles or {}) do
    if not config.roles[role] then
      fault(join(join(path, "roles"), k), "no such role" .. nearest(role, config.roles))
    end
  end
  known_scopes(config, user.permissions, join(path, "permissions"))
end

-- Raises the first fault, with its place. `is_loopback` judges addresses.
function check.config(config, is_loopback)
  shape(config, "")
  for _, name in ipairs { "applications", "apis", "roles", "users" } do
    if not config[name] then fault(name, "is missing") end
  end
  for id, app in pairs(config.applications) do
    known_application(config, id, app, is_loopback)
  end
  for role, grants in pairs(config.roles) do
    known_scopes(config, grants, join("roles", role))
  end
  local seen = {}
  for i, user in ipairs(config.users) do
    known_user(config, i, user, seen)
  end
end

return check
