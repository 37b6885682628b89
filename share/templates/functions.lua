-- What is served. `luafn check` says what is wrong with it; `luafn routes` shows where it all is.
return {
  functions = {
  },

  -- Whose tokens are accepted; `luafn dev` brings an issuer of its own, .env names another.
  -- `namespace` comes off the names of claims: the issuer of `dev` writes roles under this one.
  -- auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE, namespace = "http://schemas.sandrino.dev/" },
}
