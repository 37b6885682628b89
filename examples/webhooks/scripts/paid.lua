-- POST /hooks/paid: the shop has its 202 at once, and the receipt is sent in the background. Who says 202 will not be
-- told again, so the order is written down first, and crossed out when its receipt is sent.
local receipt = require "lib.receipt"

return {
  path = "/hooks/paid", methods = { "POST" },
  -- Judged before this script sees anything; a delivery that comes again while it runs, or after, is not run.
  auth = { webhook = "standard", secret = env.SHOP_SECRET },
  background = true,
  kv = "receipts",
  fetch = { receipt.host },

  handler = function(event)
    local message = event:json()
    if message.type ~= "order.paid" then return { statusCode = 204 } end
    kv.set("unsent/" .. message.data.id, message.data)
    receipt.send(message.data)
    return { statusCode = 204 }
  end,
}
