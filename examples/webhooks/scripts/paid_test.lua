-- luafn test
local WORLD = { env = { SHOP_SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" } }
local PAID = { type = "order.paid", data = { id = "7", email = "ada@example.com", total = "40.00 EUR" } }
local MAIL = "https://mail.example/send"

test("sends a receipt for what the shop has signed", WORLD, function(t)
  local mails = t.fetch(MAIL, {})
  t.equal(t.invoke("paid", { path = "/hooks/paid", body = PAID, signed = true }).status, 204)
  t.equal(#mails, 1)
  t.equal(json.decode(mails[1].body).to, "ada@example.com")
  t.equal(t.kv("paid").list("unsent/"), {})
end)

test("sends none for anybody else", WORLD, function(t)
  local mails = t.fetch(MAIL, {})
  t.equal(t.invoke("paid", { path = "/hooks/paid", body = PAID }).status, 401)
  t.equal(#mails, 0)
end)

test("tries again what could not be sent", WORLD, function(t)
  t.clock(0)
  t.fetch(MAIL, { status = 400 })
  t.ok(t.invoke("paid", { path = "/hooks/paid", body = PAID, signed = true }).status >= 500)
  t.equal(t.kv("paid").list("unsent/"), { "unsent/7" })
  local mails = t.fetch(MAIL, {})
  t.invoke("unsent")
  t.equal(#mails, 1)
  t.equal(t.kv("paid").list("unsent/"), {})
end)
