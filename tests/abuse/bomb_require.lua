-- L04 error: require of odd names
return function()
  for _, n in ipairs { "../../etc/passwd", "/etc/passwd", "a..b", "", ("x."):rep(5000), "a\0b", "..", "%2e%2e", "a/../b", "a/./b", "a//b", "a/", "./a" } do assert(not pcall(require, n), n) end error("refused")
end
