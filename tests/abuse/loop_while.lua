-- L01 cpu: a plain loop
return function() while true do end end
