-- L08 memory: weak tables while memory runs out
return function()
  local t = setmetatable({}, { __mode = "kv" })
  while true do
    local object = {}
    t[object] = setmetatable({ ("x"):rep(1000) .. #t }, { __mode = "k" })
    t[#t + 1] = object
  end
end
