-- L04 cpu 32MB: next over a table that was emptied
return function()
  local t = {} for i = 1, 50000 do t["k" .. i] = 1 end for k in pairs(t) do t[k] = nil end while true do next(t) end
end
