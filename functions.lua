-- The demo deployment: a profile for everybody who is signed in, TV shows for those with the scope.
-- Who issues tokens, and where the shows come from, is said by the environment; `luafn dev` brings
-- an issuer, a TV API and a page to try them with.
return {
  functions = {
    me = { script = "scripts/me.lua", methods = { "GET" }, env = { "JWT_*" } },
    shows = { script = "scripts/shows.lua", methods = { "GET" }, env = { "JWT_*", "TV_API_URL" } },
  },
  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },
}
