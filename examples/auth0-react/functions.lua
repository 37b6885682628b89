-- The page of this example, and the two functions that it calls: the same as in the demo.
return {
  publish = "public",
  functions = {
    me = { script = "../../scripts/me.lua", methods = { "GET" } },
    shows = { script = "../../scripts/shows.lua", methods = { "GET" } },
  },
  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },
}
