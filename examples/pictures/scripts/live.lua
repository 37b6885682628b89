-- GET /live: the list, now and whenever somebody has added to it. A browser that comes back after a
-- break has all of it again.
local wall = require "lib.wall"

return {
  path = "/live", methods = { "GET" }, auth = { login = true }, concurrency = 1000,

  handler = function()
    return stream.sse(function(send)
      local news <close> = assert(channel.subscribe("wall"))
      repeat send(html.render("views/list.html", { pictures = wall.pictures() })) until not news()
    end)
  end,
}
