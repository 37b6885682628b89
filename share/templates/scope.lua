-- GET /.netlify/functions/@NAME@: for tokens with the scope read:@NAME@.
local auth = require "lib.auth"

return {
  methods = { "GET" },
  auth = { scope = "read:@NAME@" }, -- 401 without a token, 403 without the scope

  handler = function()
    return auth.json(200, json.array { "one", "two" })
  end,
}
