-- L01 cpu: goto
return function()
  ::again::
  goto again
end
