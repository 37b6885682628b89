-- L04 limit: utf8 over long texts
return function()
  local text = ("\u{10FFFF}"):rep(1000000) while true do utf8.len(text) utf8.offset(text, 900000) for _ in utf8.codes(text) do end end
end
