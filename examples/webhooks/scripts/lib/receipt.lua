-- Sending a receipt, by the API of whoever sends the mail.
local receipt = {}

local API = env.MAIL_URL or "https://mail.example/send"

receipt.host = API:match("^https?://([^/]+)")

-- Raises where it could not be sent, after three attempts; else the order is crossed out. The mail's own key keeps a
-- second attempt from being a second mail.
function receipt.send(order)
  local res = fetch(API, {
    method = "POST",
    headers = { ["Idempotency-Key"] = "receipt-" .. order.id },
    json = { to = order.email, subject = "Your order " .. order.id, text = "Paid: " .. order.total },
    retry = { times = 2 },
  })
  if not res.ok then error("the mail's API answered " .. res.status) end
  kv.delete("unsent/" .. order.id)
end

return receipt
