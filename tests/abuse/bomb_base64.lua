-- L04 cpu 64MB: base64 of long texts
return function()
  local text = ("x"):rep(4 * 1024 * 1024)
  while true do base64.decode(base64.encode(text)) end
end
