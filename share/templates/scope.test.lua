-- luafn test @TEST@
test("answers tokens with the scope", function(t)
  local res = t.invoke("@NAME@", { as = "auth0|ada", scope = "openid read:@NAME@" })
  t.equal(res.status, 200)
  t.equal(res.json(), { "one", "two" })
end)

test("refuses tokens without it", function(t)
  local res = t.invoke("@NAME@", { as = "auth0|ada", scope = "openid" })
  t.equal(res.status, 403)
  t.equal(res.json().error_description, "Token does not contain the required 'read:@NAME@' scope")
end)

test("refuses calls without a token", function(t)
  t.equal(t.invoke("@NAME@").status, 401)
end)
