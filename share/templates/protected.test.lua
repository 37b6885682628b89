-- luafn test @TEST@
test("knows who calls", function(t)
  local res = t.invoke("@NAME@", { as = "auth0|ada" })
  t.equal(res.status, 200)
  t.equal(res.json().hello, "auth0|ada")
end)

test("refuses calls without a token", function(t)
  local res = t.invoke("@NAME@")
  t.equal(res.status, 401)
  t.match(res.headers["www-authenticate"], "^Bearer")
end)

test("refuses tokens that have expired", function(t)
  local token = t.token { sub = "auth0|ada", exp = time.now() - 60 }
  local res = t.invoke("@NAME@", { headers = { Authorization = "Bearer " .. token } })
  t.equal(res.status, 401)
end)
