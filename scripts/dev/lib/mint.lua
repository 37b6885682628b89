-- Tokens from the key of the dev issuer, as `luafn token` makes them.
local seen = require "lib.seen"

-- `wanted`: sub, scope, audience, expires, claims (by name).
return function(wanted)
  local words = { "token" }
  for _, name in ipairs { "sub", "scope", "expires" } do
    if wanted[name] then words[#words + 1] = ("--%s=%s"):format(name, wanted[name]) end
  end
  if wanted.audience then words[#words + 1] = "--aud=" .. wanted.audience end
  for name, value in pairs(wanted.claims or {}) do
    words[#words + 1] = ("--claim=%s=%s"):format(name, json.encode(value))
  end
  local done = seen.run(words)
  if done.code ~= 0 then seen.refuse(400, done.err) end
  return (done.out:gsub("%s+$", ""))
end
