-- All that the issuer remembers. It lives as long as the loaded generation of this function.
local store = require "lib.store"

return {
  codes = store.new(1000, 60), -- authorization codes: one use, one minute
  sessions = store.new(1000, 24 * 3600), -- who is signed in, by cookie
  access = store.new(5000, 24 * 3600), -- by hash of the access token, for /userinfo
  refresh = store.new(5000, 30 * 24 * 3600), -- by hash of the refresh token
}
