-- What `luafn dev` says when it is ready: who can sign in, what is locked, what is watched.
local has_users, config = pcall(require, "lib.config")
local seen = require "lib.seen"

local MOST = 8 -- of one kind in a line

local function list(items, more, none)
  local shown = table.move(items, 1, math.min(#items, MOST), 1, {})
  if #items > MOST then shown[MOST + 1] = ("and %d more: %s"):format(#items - MOST, more) end
  return #shown > 0 and table.concat(shown, ", ") or none
end

local function users()
  if not has_users then return "nobody: " .. tostring(config) end
  local names = {}
  for _, user in ipairs(config.users) do
    if not user.blocked then names[#names + 1] = user.name or user.sub end
  end
  return list(names, "dev/auth.lua", "nobody") .. "; no password, from dev/auth.lua"
end

-- "shows (scope read:shows)"
local function locks()
  local items, told = {}, {}
  for _, row in ipairs(json.decode(host.routes())) do
    local name = seen.value(row["function"])
    if name and not told[name] then
      told[name] = true
      items[#items + 1] = ("%s (%s)"):format(name, seen.value(row.error) and "does not load" or row.auth)
    end
  end
  return list(items, "luafn routes", "none yet: luafn new NAME writes one")
end

local function handler()
  return table.concat({
    "sign in as  " .. users(),
    "functions   " .. locks(),
    "watching    functions.lua, its scripts and what they require, .env: what is saved is served",
    "",
  }, "\n")
end

return { handler = handler, path = "/_luafn/dev/greeting", auth = "public" }
