-- L13 error 64MB: an error text of 8 MB
return function() error(("x"):rep(8 * 1024 * 1024)) end
