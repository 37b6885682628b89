-- Every ten minutes: what is still written down is tried again, such as what a machine's end has interrupted.
local receipt = require "lib.receipt"

return {
  schedule = "*/10 * * * *",
  kv = "receipts",
  fetch = { receipt.host },

  handler = function()
    for _, key in ipairs(kv.list("unsent/")) do
      local sent, why = pcall(receipt.send, kv.get(key))
      if not sent then log.warn("not sent", { key = key, why = tostring(why) }) end
    end
  end,
}
