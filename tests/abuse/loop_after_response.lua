-- L01 after: a loop after the answer
return function()
  after_response(function() while true do end end)
  return "ok"
end
