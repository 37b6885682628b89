-- A shop says that orders were paid; who bought gets a receipt.
return {
  functions = {
    paid = { script = "scripts/paid.lua", env = { "SHOP_SECRET", "MAIL_URL" } },
    unsent = { script = "scripts/unsent.lua", env = { "MAIL_URL" } },
  },
}
