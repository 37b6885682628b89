-- L06 memory: an answer of a gigabyte
return function()
  local s = "x" while #s < 1 << 30 do s = s .. s end return { statusCode = 200, body = s }
end
