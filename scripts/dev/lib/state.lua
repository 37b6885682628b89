-- All that the issuer remembers.
local store = require "lib.store"

local DAY = 24 * 3600

return {
  codes = store.brief(1000, 60), -- authorization codes: one use, one minute
  sessions = store.kept("session/", DAY), -- who is signed in, by cookie
  access = store.kept("access/", DAY), -- by access token, for /userinfo
  refresh = store.kept("refresh/", 30 * DAY), -- tokens that were not used yet
  used = store.kept("used/", 30 * DAY), -- tokens that were used, with their family
  ended = store.kept("ended/", 30 * DAY), -- families of refresh tokens that are no good any more
  registered = store.kept("registered/", 90 * DAY), -- programs that have introduced themselves, by client id
  consent = store.kept("consent/", 365 * DAY), -- what a user has allowed an application
}
