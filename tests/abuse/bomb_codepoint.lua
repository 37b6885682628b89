-- L04 error 64MB: utf8.codepoint of a whole long text
return function()
  local text = ("x"):rep(6000000) return #{ utf8.codepoint(text, 1, -1) }
end
