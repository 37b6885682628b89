-- luafn test @TEST@
local SECRET = "a secret of this test"

local function post(t, body, signature)
  t.env("WEBHOOK_SECRET", SECRET)
  return t.invoke("@NAME@", { body = body, headers = { ["X-Signature"] = signature } })
end

test("takes what is signed", function(t)
  local body = json.encode { type = "order.paid" }
  t.equal(post(t, body, "sha256=" .. crypto.hmac("sha256", SECRET, body)).status, 204)
end)

test("refuses another's signature", function(t)
  t.equal(post(t, "{}", "sha256=" .. crypto.hmac("sha256", "another secret", "{}")).status, 401)
  t.equal(post(t, "{}", "sha256=nonsense").status, 401)
  t.equal(post(t, "{}").status, 401)
end)
