-- Runs by itself, every day at 03:30 (UTC). By hand: luafn invoke @NAME@
return {
  schedule = "30 3 * * *", -- minute hour day month weekday; or @hourly, @daily, @weekly, @monthly, @yearly

  handler = function(event)
    local run = json.decode(event.body)
    log.info("cleaning up", { next_run = run.next_run })
    return { statusCode = 200 }
  end,
}
