-- What the issuer remembers, each entry for a time. `store.brief` lives in memory, as long as this
-- generation of the issuer; `store.kept` in kv, so that nobody is signed out by a restart or by a
-- change to dev/auth.lua.
local store = {}

-- A name that nobody guesses.
function store.secret()
  return base64.encode_url(crypto.random(32))
end

local Brief = {}
Brief.__index = Brief

-- `limit` entries at most (the oldest goes), each for `ttl` seconds.
function store.brief(limit, ttl)
  return setmetatable({ limit = limit, ttl = ttl, entries = {}, ring = {}, slot = 0 }, Brief)
end

function Brief:put(key, value)
  self.slot = self.slot % self.limit + 1
  local oldest = self.entries[self.ring[self.slot]]
  if oldest and oldest.slot == self.slot then self.entries[self.ring[self.slot]] = nil end
  self.ring[self.slot] = key
  self.entries[key] = { value = value, slot = self.slot, expires = time.now() + self.ttl }
end

-- The value, or nil when there is none or its time is over.
function Brief:get(key)
  local entry = key and self.entries[key]
  if not entry then return nil end
  if time.now() < entry.expires then return entry.value end
  self.entries[key] = nil
end

-- The same, once: the entry is gone afterwards.
function Brief:take(key)
  local value = self:get(key)
  if value then self.entries[key] = nil end
  return value
end

local Kept = {}
Kept.__index = Kept

-- Secrets are not kept as such: an entry's name is a hash.
local function name_of(self, key)
  return self.prefix .. crypto.sha256(key)
end

-- In kv under `prefix`, each for `ttl` seconds; in memory where kv cannot be had.
function store.kept(prefix, ttl)
  return setmetatable({ prefix = prefix, ttl = ttl, brief = store.brief(1000, ttl) }, Kept)
end

local function has_kv()
  return (pcall(kv.get, "settings"))
end

function Kept:put(key, value)
  if not has_kv() or not kv.set(name_of(self, key), value, { ttl = self.ttl }) then
    self.brief:put(key, value)
  end
end

function Kept:get(key)
  if not key or key == "" then return nil end
  local has, value = pcall(kv.get, name_of(self, key))
  return has and value or self.brief:get(key)
end

-- Removes the entry. True for one caller only.
function Kept:delete(key)
  if not key or key == "" then return false end
  if self.brief:take(key) then return true end
  return has_kv() and kv.delete(name_of(self, key)) or false
end

return store
