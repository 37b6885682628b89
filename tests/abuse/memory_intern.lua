-- L06 limit: texts interned without end
return function()
  local t = {} for i = 1, 1e9 do t[i] = "k" .. i end
end
