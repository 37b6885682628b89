-- L04 error: %q of a long text, again and again
return function()
  local text = ("\0"):rep(1000000) return string.format("%q", text)
end
