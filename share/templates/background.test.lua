-- luafn test @TEST@
test("does its steps", function(t)
  t.clock(0) -- from here on `sleep` moves this clock, and takes no time
  local res = t.invoke("@NAME@", { body = { steps = 5 } })
  t.equal(res.body, "done")
  t.equal(time.now(), 5)
end)
