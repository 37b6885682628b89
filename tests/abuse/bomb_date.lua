-- L04 cpu: long date formats
return function()
  while true do pcall(os.date, ("%c"):rep(500)) end
end
