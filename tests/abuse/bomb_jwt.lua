-- L04 cpu: tokens verified again and again
return function()
  local s = ("x"):rep(8000) .. "." .. ("y"):rep(100) .. "." .. ("z"):rep(100) while true do pcall(jwt.verify, s, { issuer = "http://127.0.0.1:1/" , audience = "x" }) end
end
