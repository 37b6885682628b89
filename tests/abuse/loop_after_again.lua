-- L01 after: work after the answer that starts again
return function()
  after_response(function() while true do pcall(sleep, 0) end end) return "ok"
end
