-- Folder = layer: fails when a file includes, or calls, what its room may not see (docs/architecture.md),
-- when a library's header is included where it does not belong, when files need each other in a circle, when a name
-- is exported that does not tell where it is from, and when a function of a library is called that loses something.
--
--   lua5.4 tools/layers.lua [FOLDER]     FOLDER: of the object files; without it only includes are checked

-- room -> rooms that it may use, beside its own and base; "*" for all
local uses = {
  base = "", shared = "", json = "", http = "", store = "", sql = "",
  channel = "shared store",
  schema = "json",
  html = "lua",
  auth = "shared json http",
  journal = "json http auth",
  lua = "json journal",
  client = "http",
  otlp = "json http auth journal client",
  issuer = "json http auth client store",
  server = "http",
  options = "json schema http auth lua",
  config = "json schema http auth journal lua options server store",
  run = "shared json schema http auth journal lua options",
  debug = "shared json schema http auth journal lua options run",
  bindings = "shared json schema http auth journal store channel sql lua html client issuer options run",
  app = "shared json schema http auth journal store channel sql lua html client otlp issuer server options config run "
    .. "bindings debug",
  process = "shared json schema http auth journal store channel sql lua html client otlp issuer server options config "
    .. "run bindings debug app",
  cli = "*", host = "*",
}

local WITH_LUA = {
  "^host/lua/", "^host/options/", "^host/config/", "^host/run/", "^host/app/", "^host/cli/", "^bindings/",
  "^host/debug/",
}

-- headers of libraries, and the files that may include them (Lua patterns)
local owned = {
  { "^llhttp%.h$", { "^host/http/parser%.c$" } },
  { "^jwt%.h$", { "^host/auth/" } },
  { "^openssl/", { "^host/auth/", "^host/shared/digest%.c$",
                   "^host/http/websocket%.c$", "^bindings/crypto[a-z_]*%.[ch]$", "^host/server/tls%.[ch]$",
                   "^host/store/redis_tls%.c$", "^host/debug/dap%.c$", "^host/client/client_socket%.c$", "^host/cli/",
                   "^host/main%.c$" } },
  { "^libpq%-fe%.h$", { "^host/sql/postgres%.c$" } },
  { "^sqlite3%.h$", { "^host/sql/sqlite%.c$" } },
  { "^lmdb%.h$", { "^host/store/" } },
  { "^hiredis/", { "^host/store/redis" } },
  { "^zlib%.h$", { "^host/http/encoding%.c$", "^host/http/decoding%.c$" } },
  { "^brotli/", { "^host/http/encoding%.c$", "^host/http/decoding%.c$" } },
  { "^idn2%.h$", { "^host/http/host_name%.c$" } },
  { "^pcre2%.h$", { "^host/schema/schema_regex%.c$" } },
  { "^nghttp2/", { "^host/server/h2[a-z_]*%.[ch]$" } },
  { "^curl/", { "^host/client/", "^host/cli/", "^host/main%.c$" } },
  { "^lua%.h$", WITH_LUA },
  { "^lauxlib%.h$", WITH_LUA },
  { "^lualib%.h$", { "^host/lua/", "^host/run/instance%.c$" } },
  { "^uv%.h$", { "^host/server/", "^host/client/", "^host/otlp/", "^host/issuer/", "^host/store/", "^host/channel/",
                 "^host/sql/", "^host/lua/", "^host/debug/", "^host/run/", "^host/app/", "^host/process/",
                 "^host/cli/", "^host/main%.c$", "^bindings/" } },
}

-- functions of libraries that are not called, and what is there in their place
local refused = {
  json_dumps = "json/dump.h, as it leaves out what it has no memory for",
  json_loads = "json/strict.h, as it leaves out what it has no memory for",
  json_loadb = "json/strict.h, as it leaves out what it has no memory for",
}
local WATCHED = "host/json/strict.c" -- which looks after it

local faults = 0
local function fault(place, format, ...)
  print(place .. ": " .. format:format(...))
  faults = faults + 1
end

local function lines_of(command)
  local pipe = assert(io.popen(command))
  local lines = {}
  for line in pipe:lines() do lines[#lines + 1] = line end
  pipe:close()
  return lines
end

-- "host/http/parser.c" -> "http"
local function room_of(file)
  if file:match("^bindings/") then return "bindings" end
  return file:match("^host/([^/]+)/") or "host"
end

local function may_use(room, other)
  local list = uses[room]
  local listed = (" " .. list .. " "):find(" " .. other .. " ", 1, true) ~= nil
  return list == "*" or other == room or other == "base" or listed
end

-- ---- includes ----

local function check_project_header(place, file, name)
  local room, other = room_of(file), name:match("^([^/]+)/")
  if other == nil then
    fault(place, "'%s' lies beside main.c, where only main.c is", name)
  elseif not may_use(room, other) then
    fault(place, "%s may not see %s (it sees: base %s)", room, name, uses[room])
  end
end

local function check_library_header(place, file, name)
  for _, rule in ipairs(owned) do
    if name:match(rule[1]) then
      local allowed = false
      for _, pattern in ipairs(rule[2]) do allowed = allowed or file:match(pattern) ~= nil end
      if not allowed then fault(place, "<%s> does not belong here, but in %s", name, table.concat(rule[2], " ")) end
    end
  end
end

local function check_includes(file)
  local number = 0
  for line in io.lines(file) do
    number = number + 1
    local open, name = line:match('^%s*#%s*include%s*([<"])([^>"]+)[>"]')
    local place = file .. ":" .. number
    if open == '"' then
      check_project_header(place, file, name)
    elseif open == "<" then
      check_library_header(place, file, name)
    end
  end
end

-- ---- links ----

-- For each source file the files that define what it uses: { [from] = { [to] = symbol } }
local function links(folder, sources)
  local defined, wanted, graph = {}, {}, {}
  for _, source in ipairs(sources) do
    wanted[source] = {}
    for _, line in ipairs(lines_of(("nm '%s/%s.o'"):format(folder, source:sub(1, -3)))) do
      local kind, name = line:match("(%a) (%S+)$")
      if kind == "U" then
        table.insert(wanted[source], name)
        if refused[name] and source ~= WATCHED then
          fault(source, "calls %s; in its place stands %s", name, refused[name])
        end
      elseif kind and kind:match("[TDBRVC]") then
        defined[name] = source
      end
    end
  end
  for source, names in pairs(wanted) do
    graph[source] = {}
    for _, name in ipairs(names) do
      local to = defined[name]
      if to and to ~= source then graph[source][to] = name end
    end
  end
  return graph, defined
end

-- ---- names ----

-- Beginnings that a file's exported names may have: the module's name, the room's, and of a module that is a part of
-- another also either half; for several of a thing its plural.
local function beginnings(file)
  local room, stem = room_of(file), file:match("([^/]+)%.c$")
  local list = { stem, room }
  for place in stem:gmatch("()_") do
    table.insert(list, stem:sub(1, place - 1))
    table.insert(list, stem:sub(place + 1))
  end
  if room == "bindings" then table.insert(list, "open_" .. stem) end
  if room == "cli" then table.insert(list, "command_" .. stem:gsub("_command$", "")) end
  return list
end

local function check_names(defined)
  for name, file in pairs(defined) do
    local plain, known = name:lower():gsub("^lx?_", ""), name == "main"
    for _, start in ipairs(beginnings(file)) do
      known = known or plain == start or plain:find("^" .. start:gsub("s$", "") .. "s?_") ~= nil
    end
    if not known then fault(file, "exports %s, which does not begin as the file is called", name) end
  end
end

local function check_links(graph)
  for from, tos in pairs(graph) do
    for to, name in pairs(tos) do
      if not may_use(room_of(from), room_of(to)) then
        fault(from, "%s may not use %s of %s", room_of(from), name, to)
      end
    end
  end
end

-- Lists of files that need each other (Tarjan's strongly connected components of more than one).
local function components(graph)
  local index, low, stack, on_stack, found, count = {}, {}, {}, {}, {}, 0
  local function visit(v)
    count = count + 1
    index[v], low[v] = count, count
    stack[#stack + 1], on_stack[v] = v, true
    for w in pairs(graph[v]) do
      if not index[w] then
        visit(w)
        low[v] = math.min(low[v], low[w])
      elseif on_stack[w] then
        low[v] = math.min(low[v], index[w])
      end
    end
    if low[v] ~= index[v] then return end
    local members = {}
    repeat
      local w = table.remove(stack)
      on_stack[w] = nil
      members[#members + 1] = w
    until w == v
    if #members > 1 then
      table.sort(members)
      found[#found + 1] = members
    end
  end
  for v in pairs(graph) do if not index[v] then visit(v) end end
  return found
end

local function check_circles(graph)
  for _, members in ipairs(components(graph)) do
    fault(members[1], "needs these, and they need it: %s", table.concat(members, " "))
  end
end

local sources = {}
for _, file in ipairs(lines_of("git ls-files 'host/*.[ch]' 'bindings/*.[ch]'")) do
  if not uses[room_of(file)] then fault(file, "is in no room of docs/architecture.md") end
  check_includes(file)
  if file:match("%.c$") then sources[#sources + 1] = file end
end
if arg[1] then
  local graph, defined = links(arg[1], sources)
  check_names(defined)
  check_links(graph)
  check_circles(graph)
end
os.exit(faults == 0)
