-- luafn test @TEST@
test("says hello to whom one names", function(t)
  local res = t.invoke("@NAME@", { query = { name = "Ada" } })
  t.equal(res.status, 200)
  t.equal(res.json(), { hello = "Ada" })
end)

test("says hello to the world", function(t)
  t.equal(t.invoke("@NAME@").json().hello, "world")
end)
