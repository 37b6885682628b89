-- POST /.netlify/functions/@NAME@: answered with 202 at once; the work goes on for up to 15 minutes.
return {
  methods = { "POST" },
  auth = "public",
  background = true,

  handler = function(event)
    local job = json.decode(event.body or "{}")
    for i = 1, job.steps or 3 do
      log.info("working", { step = i })
      sleep(1) -- waits without holding up anybody else
    end
    -- What it returns goes nowhere; what it raises goes to the log.
    return { statusCode = 200, body = "done" }
  end,
}
