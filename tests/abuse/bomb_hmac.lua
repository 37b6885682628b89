-- L04 limit: crypto over long texts
return function()
  local s = ("x"):rep(3000000) while true do crypto.hmac("sha512", s, s) crypto.sha256(s) crypto.equals(s, s) end
end
