-- L04 cpu: log functions with deep tables
return function()
  local t = {} for i = 1, 60 do t = { t, t } end while true do log.info("x", { t = t }) end
end
