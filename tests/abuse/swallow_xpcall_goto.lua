-- L02 cpu: a goto loop in the handler of xpcall
return function()
  xpcall(error, function() ::again:: goto again end) return "no"
end
