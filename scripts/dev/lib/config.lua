-- dev/auth.lua, read and checked; where there is none, what `luafn dev` would write there.
local addresses = require "lib.addresses"
local check = require "lib.check"

local function read()
  local ok, value = pcall(require, "dev.auth")
  if ok then return value end
  if not tostring(value):find("^module 'dev.auth' not found") then error(value, 0) end
  return require "auth"
end

local config = read()
check.config(config, addresses.is_loopback)

for _, api in pairs(config.apis) do
  api.scopes = api.scopes or {}
  api.token_lifetime = api.token_lifetime or 86400
  api.browser_lifetime = api.browser_lifetime or 7200
end
for _, user in ipairs(config.users) do
  user.roles, user.permissions = user.roles or {}, user.permissions or {}
  user.nickname = user.nickname or user.sub:match("[^|]*$")
end

return config
