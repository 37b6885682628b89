-- Which lines of a Lua text could run is in its compiled form alone, also for functions that were never made: so it is
-- compiled and dumped, and the line of each instruction is read from there (the format of Lua 5.4's ldump.c).
--
-- Returns a function: (text) -> { [line] = true } and the last of them; nil for what does not compile.
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

return function(text)
  -- As a chunk is loaded: a mark of UTF-8 and a first line that begins with '#' are none of it.
  local chunk = load((text:gsub("^\xEF\xBB\xBF", ""):gsub("^#[^\n]*", "")), "=lines", "t")
  if not chunk then return nil end
  local code, last = {}, 0
  read_function(reader(string.dump(chunk)), code)
  for line in pairs(code) do last = math.max(last, line) end
  return code, last
end
