-- GET /.netlify/functions/@NAME@?q=girls: asks another API, and hands on what is of use.
local API = "https://api.tvmaze.com/search/shows"

local function answer(status, body)
  return { statusCode = status, headers = { ["Content-Type"] = "application/json" }, body = json.encode(body) }
end

return {
  methods = { "GET" },
  auth = "public",
  fetch = { "api.tvmaze.com" }, -- no other host can be reached

  handler = function(event)
    local q = event.queryStringParameters.q
    if not q then return answer(400, { error = "q is missing" }) end

    local called, res = pcall(fetch, API .. "?" .. url.query { q = q }, { timeout = 5 })
    if not called then return answer(502, { error = "the API cannot be reached" }) end
    if not res.ok then return answer(502, { error = "the API answered " .. res.status }) end

    local names = json.array {}
    for i, found in ipairs(res:json()) do names[i] = found.show.name end
    return answer(200, names)
  end,
}
