-- GET /.netlify/functions/@NAME@?name=you: says hello.
return {
  methods = { "GET" },
  auth = "public", -- everybody may call it; `true`: who has a token

  handler = function(event)
    local name = event.queryStringParameters.name or "world"
    return {
      statusCode = 200,
      headers = { ["Content-Type"] = "application/json" },
      body = json.encode { hello = name },
    }
  end,
}
