-- luafn test @TEST@
local WORLD = { env = { WEBHOOK_SECRET = "a secret of this test" } }
local EVENT = { action = "opened" }

test("takes what is signed", WORLD, function(t)
  t.equal(t.invoke("@NAME@", { body = EVENT, signed = true }).status, 204)
end)

test("refuses what is not", WORLD, function(t)
  t.equal(t.invoke("@NAME@", { body = EVENT }).status, 401)
  local headers = { ["X-Hub-Signature-256"] = "sha256=" .. ("0"):rep(64) }
  t.equal(t.invoke("@NAME@", { body = EVENT, headers = headers }).json().error, "invalid_signature")
end)
