-- GET /.netlify/functions/shows: TV shows, for tokens with the scope read:shows.
local auth = require "lib.auth"

local function failure(status, message)
  return auth.json(status, { error_description = message })
end

return auth.require_scope("read:shows", function()
  local called, res = pcall(fetch, env.TV_API_URL)
  if not called then return failure(502, "The TV API cannot be reached") end
  if not res.ok then return failure(502, ("The TV API answered %d"):format(res.status)) end

  local parsed, list = pcall(res.json, res)
  if not parsed or type(list) ~= "table" or #list == 0 and next(list) ~= nil then
    return failure(500, "The TV API did not answer with a list")
  end

  local shows = json.array {}
  for i, show in ipairs(list) do
    shows[i] = { id = show.id, url = show.url, name = show.name }
  end
  return auth.json(200, shows)
end)
