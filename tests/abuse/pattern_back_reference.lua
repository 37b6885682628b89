-- L05 cpu: back references over long captures
return function()
  return ("x"):rep(200000):find("(.+)%1y")
end
