-- What the issuer of `luafn dev` knows, in the words of Auth0's dashboard. Saved changes count from
-- the next token on; what is wrong is told with its line. Sign in at any user without a password.
local api = env.JWT_AUDIENCE -- https://api/tv-shows, if .env says nothing else

return {
  -- Applications, by client id. Only addresses of this machine may be callbacks.
  applications = {
    ["luafn-demo"] = {
      name = "TV Shows",
      type = "spa", -- a page: no secret, PKCE. Others: "web" (with a secret), "m2m" (no user)
      -- callbacks = { "http://localhost:3000" }, -- default: any on this machine
      -- logout_urls = { "http://localhost:3000" },
      -- consent = true, -- ask the user whether the application may
    },
    ["luafn-machine"] = {
      name = "A program",
      type = "m2m",
      secret = "luafn-machine-secret",
      grants = { [api] = { "read:shows", "create:shows" } },
    },
  },

  -- APIs, by identifier: the audience of their tokens.
  apis = {
    [api] = {
      name = "TV Shows",
      scopes = { "read:shows", "create:shows" },
      rbac = true, -- false: whoever asks for a scope gets it
      add_permissions = true, -- all permissions of the user into the claim `permissions`
      token_lifetime = 86400, -- seconds
      browser_lifetime = 7200, -- of tokens for pages
    },
  },

  -- What a role permits, by API.
  roles = {
    ["TV Shows Viewer"] = { [api] = { "read:shows" } },
  },

  -- The claim that names the user's roles; Auth0 wants a namespace for claims of one's own.
  roles_claim = "http://schemas.sandrino.dev/roles",

  users = {
    {
      sub = "auth0|vera",
      name = "Vera Viewer",
      email = "vera@example.com",
      roles = { "TV Shows Viewer" },
    },
    {
      sub = "auth0|gus",
      name = "Gus Guest",
      email = "gus@example.com",
      -- roles = {}, permissions = { [api] = { "create:shows" } }, blocked = true,
      -- claims = { ["https://app.example/plan"] = "free" },
    },
  },
}
