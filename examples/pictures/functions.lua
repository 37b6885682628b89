-- A wall of pictures for those who sign in: a page, a form with a file, and a list that moves by itself.
return {
  functions = {
    wall = { script = "scripts/wall.lua", sql = { "DATABASE_URL" } },
    add = { script = "scripts/add.lua", sql = { "DATABASE_URL" } },
    picture = { script = "scripts/picture.lua", sql = { "DATABASE_URL" } },
    live = { script = "scripts/live.lua", sql = { "DATABASE_URL" } },
  },
  auth = {
    issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE,
    login = { client_id = env.CLIENT_ID, client_secret = env.CLIENT_SECRET, secret = env.SESSION_SECRET },
  },
  publish = "web",
}
