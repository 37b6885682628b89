-- Tables that cannot grow without bound: `limit` entries at most (the oldest goes), each for `ttl`
-- seconds.
local store = {}
store.__index = store

function store.new(limit, ttl)
  return setmetatable({ limit = limit, ttl = ttl, entries = {}, ring = {}, slot = 0 }, store)
end

function store:put(key, value)
  self.slot = self.slot % self.limit + 1
  local oldest = self.entries[self.ring[self.slot]]
  if oldest and oldest.slot == self.slot then self.entries[self.ring[self.slot]] = nil end
  self.ring[self.slot] = key
  self.entries[key] = { value = value, slot = self.slot, expires = time.now() + self.ttl }
end

-- The value, or nil when there is none or its time is over.
function store:get(key)
  local entry = key and self.entries[key]
  if not entry then return nil end
  if time.now() < entry.expires then return entry.value end
  self.entries[key] = nil
end

-- The same, once: the entry is gone afterwards.
function store:take(key)
  local value = self:get(key)
  if value then self.entries[key] = nil end
  return value
end

-- A name that nobody guesses.
function store.secret()
  return base64.encode_url(crypto.random(32))
end

return store
