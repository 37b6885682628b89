-- What the host gives to a script (docs/scripting.md), on top of Lua's own libraries.
std = "lua54"
max_line_length = 120
local host = {
    "after_response", "base64", "channel", "crypto", "env", "fetch", "html", "json", "jwt", "kv", "log", "parallel",
    "queue", "read_file", "respond", "schema", "sleep", "sql", "stream", "time", "url",
}
read_globals = host
files["scripts/dev/lib/check.lua"] = { read_globals = { "locate" } }
files["scripts/dev/tool-*.lua"] = { read_globals = { "host" } }
files["scripts/dev/dashboard.lua"] = { read_globals = { "host" } }
files["scripts/dev/greeting.lua"] = { read_globals = { "host" } }
files["scripts/dev/lib/call.lua"] = { read_globals = { "host" } }
files["scripts/dev/lib/seen.lua"] = { read_globals = { "host" } }
-- What scripts of the host itself have: another of them.
files["share/cover.lua"] = { read_globals = { "include" } }
files["docs/*.lua"] = { globals = host, ignore = { "631", "121", "122", "131", "211", "212", "213", "221", "231" } }
-- A variable to be closed is used by leaving its block.
files["tests/lua/features.lua"] = { ignore = { "211" } }
-- Functions of older versions that Lua still has.
files["tests/lua/library.lua"] = { ignore = { "143/math" } }
files["bench/peers/haproxy/*.lua"] = { read_globals = { "core" } }
files["bench/peers/nginx/*.lua"] = { globals = { "ngx" } }
files["bench/wrk.lua"] = { globals = { "wrk", "init", "request", "done" } }
-- What `luafn test` gives to tests.
files["share/templates/*.test.lua"] = { read_globals = { "test" } }
files["scripts/*_test.lua"] = { read_globals = { "test" } }
files["examples/*/scripts/*_test.lua"] = { read_globals = { "test" } }
-- Scripts that misbehave on purpose.
files["tests/abuse/*.lua"] = { ignore = { "211", "212", "213", "241", "331", "631" } }
