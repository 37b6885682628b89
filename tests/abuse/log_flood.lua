-- L13 limit: log lines without end
return function()
  local text = ("x"):rep(10000)
  while true do log.info(text, { text = text }) end
end
