-- What `luafn test --coverage` tells: a row a script, and the lcov file. Which lines could run is in the compiled form
-- alone, also for functions that were never made: so a file is compiled and dumped, and the line of each instruction is
-- read from there (the format of Lua 5.4's ldump.c).
--
-- `files`: a list of { name=, hits= }, how often each line began. Raises where something cannot be told.
local files, root, config, lcov_path = ...

local HEADER_BYTES, FLOAT, INTEGER, SHORT_TEXT, LONG_TEXT = 32, 19, 3, 4, 20

local function reader(bytes)
  local r, at = {}, HEADER_BYTES + 1
  function r.skip(count) at = at + count end
  function r.byte()
    at = at + 1
    return bytes:byte(at - 1)
  end
  -- Seven bits a byte, the highest first; the last one is marked.
  function r.size()
    local value, byte = 0, 0
    while byte & 0x80 == 0 do
      byte = r.byte()
      value = value << 7 | byte & 0x7f
    end
    return value
  end
  function r.signed() return (string.unpack("b", bytes, at)), r.skip(1) end
  function r.skip_text() r.skip(math.max(r.size() - 1, 0)) end
  return r
end

-- Not the first instruction of a function with varargs, which has no line of its own, nor the last one, the return that
-- the compiler adds.
local function read_lines(r, line, is_vararg, code)
  local deltas, far, used = {}, {}, 0
  for i = 1, r.size() do deltas[i] = r.signed() end
  for i = 1, r.size() do far[i] = { r.size(), r.size() } end
  for i, delta in ipairs(deltas) do
    if delta == -128 then -- too far: in the list beside, in the same order
      used = used + 1
      line = far[used][2]
    else
      line = line + delta
    end
    if not (is_vararg and i == 1) and i < #deltas then code[line] = true end
  end
end

local function read_function(r, code)
  r.skip_text() -- source
  local line = r.size()
  r.size()
  r.byte()
  local is_vararg = r.byte() ~= 0
  r.byte()
  r.skip(4 * r.size()) -- instructions
  for _ = 1, r.size() do
    local kind = r.byte()
    if kind == FLOAT or kind == INTEGER then r.skip(8) end
    if kind == SHORT_TEXT or kind == LONG_TEXT then r.skip_text() end
  end
  r.skip(3 * r.size()) -- upvalues
  for _ = 1, r.size() do read_function(r, code) end
  read_lines(r, line, is_vararg, code)
  for _ = 1, r.size() do -- local variables
    r.skip_text()
    r.size()
    r.size()
  end
  for _ = 1, r.size() do r.skip_text() end -- names of upvalues
end

-- The lines of a script of the deployment that could run: { [line] = true }; nil for a test, functions.lua, and what is
-- no file or does not compile.
local function lines_of(name)
  local file = not name:find("_test%.lua$") and name ~= config and io.open(root .. name, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  -- As a chunk is loaded: a mark of UTF-8 and a first line that begins with '#' are none of it.
  local chunk = text and load((text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")), "=cover", "t")
  if not chunk then return nil end
  local code = {}
  read_function(reader(string.dump(chunk)), code)
  return code
end

local function print_row(name, hit, total)
  print(("# %-40s %6d /%6d  %5.1f %%"):format(name, hit, total, total > 0 and 100 * hit / total or 100))
end

-- By name: the order in which tests met them says nothing.
table.sort(files, function(a, b) return a.name < b.name end)
local records, all_hit, all_total = {}, 0, 0
for _, file in ipairs(files) do
  local code = lines_of(file.name)
  if code then
    local lines, hit = {}, 0
    for line in pairs(code) do lines[#lines + 1] = line end
    table.sort(lines)
    records[#records + 1] = ("SF:%s%s\n"):format(root, file.name)
    for _, line in ipairs(lines) do
      local count = file.hits[line] or 0
      hit = hit + (count > 0 and 1 or 0)
      records[#records + 1] = ("DA:%d,%d\n"):format(line, count)
    end
    records[#records + 1] = ("LF:%d\nLH:%d\nend_of_record\n"):format(#lines, hit)
    print_row(file.name, hit, #lines)
    all_hit, all_total = all_hit + hit, all_total + #lines
  end
end
print_row("all", all_hit, all_total)

local out, why = io.open(lcov_path, "w")
if not out then error(("--lcov: %s cannot be written: %s"):format(lcov_path, why:sub(#lcov_path + 3)), 0) end
local written = out:write(table.concat(records))
if not out:close() or not written then error(("--lcov: %s cannot be written"):format(lcov_path), 0) end
