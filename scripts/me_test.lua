-- luafn test scripts/me_test.lua
test("tells who is signed in", function(t)
  local res = t.invoke("me", { as = "auth0|vera" })
  t.equal(res.status, 200)
  t.equal(res.json().claims.sub, "auth0|vera")
end)

test("refuses who is not", function(t)
  t.equal(t.invoke("me").status, 401)
end)
