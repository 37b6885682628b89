-- luafn test @TEST@
local API = "https://api.tvmaze.com/*"

test("hands on the names", function(t)
  local calls = t.fetch(API, { body = { { show = { name = "Girls" } }, { show = { name = "Girls5eva" } } } })
  local res = t.invoke("@NAME@", { query = { q = "girls" } })
  t.equal(res.status, 200)
  t.equal(res.json(), { "Girls", "Girls5eva" })
  t.equal(calls[1].url, "https://api.tvmaze.com/search/shows?q=girls")
end)

test("says so when the API fails", function(t)
  t.fetch(API, { status = 500 })
  local res = t.invoke("@NAME@", { query = { q = "girls" } })
  t.equal(res.status, 502)
  t.equal(res.json().error, "the API answered 500")
end)

test("says so when the API cannot be reached", function(t)
  t.fetch(API, function() error("connection refused") end)
  t.equal(t.invoke("@NAME@", { query = { q = "girls" } }).status, 502)
end)

test("wants to know what to look for", function(t)
  t.equal(t.invoke("@NAME@").status, 400)
end)
