-- POST /.netlify/functions/@NAME@: events from somebody who signs what they send.
return {
  methods = { "POST" },
  -- The host checks who signed the body, and runs each delivery once, before this script sees it. Others are
  -- "standard", "stripe", "slack", "shopify", "twilio", and a table that says how another sender signs.
  auth = { webhook = "github", secret = env.WEBHOOK_SECRET }, -- WEBHOOK_SECRET=... stands in .env

  handler = function(event)
    local message = event:json()
    log.info("event", { type = event.headers["x-github-event"], action = message.action })
    return { statusCode = 204 }
  end,
}
