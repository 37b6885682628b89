-- L04 error 64MB: string.byte of a whole long text
return function()
  local text = ("x"):rep(6000000) return #{ text:byte(1, -1) }
end
