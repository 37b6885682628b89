-- GET /pictures/ID: its bytes. They never change, so a browser asks once.
local wall = require "lib.wall"

return {
  path = "/pictures/:id", methods = { "GET" }, auth = { login = true },
  memory = "64MB", concurrency = 4,

  handler = function(event)
    local picture = wall.db:one("select type, data from pictures where id = $1", event.params.id)
    if not picture then return respond.error(404, "not_found", "There is no such picture") end
    local headers = { ["Content-Type"] = picture.type, ["Cache-Control"] = "private, max-age=31536000, immutable" }
    return { statusCode = 200, headers = headers, body = picture.data }
  end,
}
