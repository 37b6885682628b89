-- GET /: the page. Who has not signed in is sent to do so.
local wall = require "lib.wall"

return {
  path = "/", methods = { "GET" }, auth = { login = true },
  handler = function(_, context) return wall.page(context) end,
}
