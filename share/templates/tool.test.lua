-- luafn test @TEST@
test("counts words and characters", function(t)
  local res = t.invoke("@NAME@", { body = '{"text":"two words"}' })
  t.equal(res.status, 200)
  t.equal(res.json().result.structuredContent, { words = 2, characters = 9 })
end)

test("tells what its arguments should be", function(t)
  local result = t.invoke("@NAME@", { body = '{"txet":"x"}' }).json().result
  t.equal(result.isError, true)
  t.match(result.content[1].text, "input schema")
end)
