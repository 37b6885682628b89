-- L06 memory: looks into another coroutine while memory runs out
return function()
  local function down(n, a, b, c) if n > 0 then return (down(n - 1, n, {}, "x")) end coroutine.yield(a, b, c) end
  local f = load("local a = ... " .. ("a = a\n"):rep(5000) .. "coroutine.yield(a)")
  local first, second = coroutine.create(f), coroutine.create(down)
  coroutine.resume(first, 1) coroutine.resume(second, 50)
  local kept = {}
  while true do
    kept[#kept + 1] = ("x"):rep(100) .. #kept
    for _, co in ipairs { first, second } do
      kept[#kept + 1] = { pcall(debug.getinfo, co, 0, "nSlutfr"), pcall(debug.getinfo, 1, "L") }
      kept[#kept + 1] = { pcall(debug.getinfo, co, 1, "L"), pcall(debug.getlocal, co, 1, 1), pcall(debug.traceback, co, "x") }
    end
  end
end
