-- luafn test @TEST@
test("runs", function(t)
  t.equal(t.invoke("@NAME@").status, 200)
end)
