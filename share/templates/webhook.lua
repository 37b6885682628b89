-- POST /.netlify/functions/@NAME@: events from somebody who signs what they send.
-- The signature is HMAC-SHA256 over the body, in hex: "X-Signature: sha256=...".
local function is_signed(event, body)
  local sent = (event.headers["x-signature"] or ""):match("^sha256=(%x+)$")
  if not sent then return false end
  local expected = crypto.hmac("sha256", env.WEBHOOK_SECRET, body)
  return crypto.equals(sent:lower(), expected) -- takes the same time wherever they differ
end

return {
  methods = { "POST" },
  auth = "public", -- the signature is the check

  handler = function(event)
    if not env.WEBHOOK_SECRET then error("WEBHOOK_SECRET is not set: write it into .env") end
    local body = event.body or ""
    if event.isBase64Encoded then body = base64.decode(body) end
    if not is_signed(event, body) then
      return { statusCode = 401, body = "the signature does not fit" }
    end

    local parsed, message = pcall(json.decode, body)
    if not parsed then return { statusCode = 400, body = "the body is not JSON" } end
    log.info("event", { type = message.type })
    return { statusCode = 204 }
  end,
}
