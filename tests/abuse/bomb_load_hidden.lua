-- L04 ok: chains of indexes that hide from who looks only roughly
return function()
  local chain = ("a"):rep(3) .. (".a"):rep(20000)
  for _, before in ipairs { "--\r return ", "return '\\z\n', ", "return '\\\r\n', ", "return 0xe+", "return [[\n]], " } do
    for _, after in ipairs { "", ", '", ", \"" } do
      local chunk, why = load(before .. chain .. after)
      assert(chunk == nil and why:find("indexes in a row"), why)
    end
  end
  return "ok"
end
