-- luafn test scripts/shows_test.lua
test("hands on the shows' names", function(t)
  t.fetch("*", { body = { { id = 1, url = "https://tv.example/1", name = "Girls", premiered = "2012" } } })
  local res = t.invoke("shows", { as = "auth0|vera", scope = "read:shows" })
  t.equal(res.status, 200)
  t.equal(res.json(), { { id = 1, url = "https://tv.example/1", name = "Girls" } })
end)

test("says so when the API fails", function(t)
  t.fetch("*", { status = 500 })
  t.equal(t.invoke("shows", { as = "auth0|vera", scope = "read:shows" }).status, 502)
end)

test("refuses tokens without the scope", function(t)
  t.equal(t.invoke("shows", { as = "auth0|gus", scope = "openid" }).status, 403)
end)
