-- L04 cpu 64MB: hashes of long texts
return function()
  local text = ("x"):rep(8 * 1024 * 1024)
  while true do crypto.sha256(text) end
end
