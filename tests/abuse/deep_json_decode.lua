-- L13 error: a JSON text 100,000 deep
return function() return json.decode(("["):rep(100000)) end
