-- TOML 1.0 as a tree, for netlify.toml. Strict: a key given twice, a table that is opened twice, bad escapes, bare
-- carriage returns and the like are refused.
--
-- `text` is UTF-8. Returns the root, or raises "LINE: what is wrong". A node: { type=, line=, key=, value=, a child,
-- another, ... }; a table's children are in `members` by their keys, too. A node that is `closed` was written in
-- braces or brackets, so that nothing can be added; a table with `header` had its own [header], one with `dotted` was
-- made by a dotted key; an array with `list` is one of [[tables]].
local text, DEPTH_MAX, NODES_MAX = ...
local at, line, nodes, depth = 1, 1, 0, 0

local function fault(format, ...) error(("%d: %s"):format(line, format:format(...)), 0) end

-- Takes what the pattern matches here; nil where it does not.
local function take(pattern)
  local found = text:match("^" .. pattern, at)
  at = at + #(found or "")
  return found
end

local function peek(word) return text:sub(at, at + #word - 1) == word end

-- Takes the word where it is next.
local function accept(word)
  local found = peek(word)
  if found then at = at + #word end
  return found
end

-- ---- nodes ----

local function new_node(type)
  nodes = nodes + 1
  if nodes > NODES_MAX then fault("more than %d values", NODES_MAX) end
  return { type = type, line = line, members = {} }
end

local function append(parent, child, key)
  child.key = key
  parent[#parent + 1] = child
  if key then parent.members[key] = child end
  return child
end

-- ---- lines ----

local function skip_blanks() take("[ \t]*") end

-- Takes a line end; nothing at the end of the text. False: there is something else.
local function take_line_end()
  if at > #text then return true end
  if not (accept("\r\n") or accept("\n")) then return false end
  line = line + 1
  return true
end

local function at_line_end() return at > #text or peek("\n") or peek("\r\n") end

local function skip_comment()
  if peek("#") and take("[^\0-\8\10-\31\127]*") and not at_line_end() then
    fault("a control character in a comment")
  end
end

local function skip_lines()
  repeat
    skip_blanks()
    skip_comment()
  until at > #text or not take_line_end()
end

-- The rest of a line after what it says.
local function end_line()
  skip_blanks()
  skip_comment()
  if not take_line_end() then fault("text after the end of what this line says") end
end

-- ---- texts ----

local ESCAPES = { b = "\b", t = "\t", n = "\n", f = "\f", r = "\r", ['"'] = '"', ["\\"] = "\\" }

-- After a backslash. At the end of a line, in a text of several lines, the blanks to the next word are dropped.
local function read_escape(many)
  if many and text:find("^[ \t]*\r?\n", at) then
    local _, lines = take("[ \t\r\n]*"):gsub("\n", "")
    line = line + lines
    return ""
  end
  local letter = text:sub(at, at)
  local digits = letter == "u" and 4 or letter == "U" and 8
  if not ESCAPES[letter] and not digits then fault("an unknown escape; write \\\\ for a backslash") end
  at = at + 1
  if not digits then return ESCAPES[letter] end
  local hex = take(("%x"):rep(digits)) or fault("an escape needs %d hexadecimal digits", digits)
  local code = tonumber(hex, 16)
  if code > 0x10FFFF or code >= 0xD800 and code <= 0xDFFF then fault("an escape that is no character") end
  return utf8.char(code)
end

-- At a quote.
local function read_text(may_span_lines)
  local quote = text:sub(at, at)
  local many = accept(quote:rep(3))
  if many and not may_span_lines then fault("a key cannot span lines") end
  if not many then at = at + 1 end
  if many and at <= #text then take_line_end() end -- right after the quotes it is not part of the text
  local plain = quote == '"' and '[^\0-\8\10-\31\127"\\]+' or "[^\0-\8\10-\31\127']+"
  local parts = {}
  while true do
    local run = #text:match("^" .. quote .. "*", at)
    if not many and run > 0 then
      at = at + 1
      return table.concat(parts)
    elseif run >= 3 then -- up to two more belong to the text itself
      run = math.min(run, 5)
      at = at + run
      return table.concat(parts) .. quote:rep(run - 3)
    elseif at > #text or not many and at_line_end() then
      fault("the quote is never closed")
    elseif at_line_end() then -- whatever the file's line ends are, a text has its own
      take_line_end()
      parts[#parts + 1] = "\n"
    elseif quote == '"' and accept("\\") then
      parts[#parts + 1] = read_escape(many)
    else
      parts[#parts + 1] = take(quote .. "+") or take(plain)
        or fault("a control character in a text; write it as an escape")
    end
  end
end

-- ---- numbers and dates ----

local function is_time(s)
  local hour, minute, second, rest = s:match("^(%d%d):(%d%d):(%d%d)(.*)$")
  return hour and tonumber(hour) <= 23 and tonumber(minute) <= 59 and tonumber(second) <= 60
    and (rest == "" or rest:find("^%.%d+$")) and true
end

local function is_day(year, month, day)
  local days = ({ 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 })[month]
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return days and day >= 1 and day <= days and (month ~= 2 or day < 29 or leap)
end

local function is_date(s)
  local year, month, day, rest = s:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  if not year then return is_time(s) end
  if not is_day(tonumber(year), tonumber(month), tonumber(day)) then return false end
  if rest == "" then return true end
  local time = rest:match("^[Tt ](.*)$") or ""
  local clock, hours, minutes = time:match("^(.*)[+-](%d%d):(%d%d)$")
  if clock then return is_time(clock) and tonumber(hours) <= 23 and tonumber(minutes) <= 59 end
  return is_time(time:match("^(.*)[Zz]$") or time)
end

-- 0x, 0o, 0b; nil where it is none, or does not fit.
local function read_based(s)
  local letter, digits = s:match("^0([xob])(%x+)$")
  if not letter then return nil end
  local base, value = ({ x = 16, o = 8, b = 2 })[letter], 0
  for digit in digits:gmatch(".") do
    digit = tonumber(digit, base)
    if not digit or value > (math.maxinteger - digit) // base then return nil end
    value = value * base + digit
  end
  return value
end

-- [+-]digits without leading zeros, then maybe a fraction and an exponent.
local function is_decimal(s)
  local digits, rest = s:match("^[+-]?(%d+)(.*)$")
  return digits and (digits == "0" or digits:sub(1, 1) ~= "0")
    and rest:gsub("^%.%d+", ""):gsub("^[eE][+-]?%d+$", "") == ""
end

local function read_number(word)
  local s = word:gsub("_", "")
  -- Each underscore stands between two digits; in tens 'e' is none.
  local other, padded = word:find("^0x") and "%X" or "%D", " " .. word .. " "
  local plain = #s < 127 and not (padded:find(other .. "_") or padded:find("_" .. other))
  local sign, name = s:match("^([+-]?)(%l%l%l)$")
  if plain and (name == "inf" or name == "nan") then
    return "float", name == "nan" and 0 / 0 or sign == "-" and -math.huge or math.huge
  end
  local value = plain and (read_based(s) or is_decimal(s) and tonumber(s))
  if not value then fault("'%s' is not a value; texts stand in quotes", word:sub(1, 40)) end
  if math.type(value) == "float" and not s:find("[.eE]") then fault("'%s' is too large", s) end
  return math.type(value), value
end

-- A word that is in no quotes. "1979-05-27 07:32:00" is one, too.
local function read_word()
  local word = take("[^ \t\r\n,%]}#=%[{\"'\0]*")
  if word:find("^%d%d%d%d%-%d%d%-%d%d$") and text:find("^ %d%d:", at) then
    word = word .. take(" ") .. take("[^ \t\r\n,%]}#\0]*")
  end
  if word == "" then fault("a value was expected") end
  if word == "true" or word == "false" then return "boolean", word == "true" end
  if is_date(word) then return "date", word end
  return read_number(word)
end

-- ---- keys and values ----

local function read_key()
  if peek('"') or peek("'") then return read_text(false) end
  return take("[%w_-]+") or fault("a key was expected: letters, digits, '_', '-', or a text in quotes")
end

local read_pair, read_value

local function read_list(list)
  list.closed = true
  at = at + 1
  repeat
    skip_lines()
    if peek("]") then break end
    append(list, read_value())
    skip_lines()
  until not accept(",")
  if not accept("]") then fault("',' or ']' was expected in a list") end
end

-- What dotted keys made inside the braces is closed, too.
local function close_tables(node)
  node.closed = true
  for _, child in ipairs(node) do
    if child.type == "table" and not child.closed then close_tables(child) end
  end
end

local function read_braces(node)
  at = at + 1
  skip_blanks()
  while not peek("}") or #node > 0 do
    read_pair(node)
    skip_blanks()
    if not accept(",") then break end
    skip_blanks()
  end
  if not accept("}") then fault("',' or '}' was expected, on the same line") end
  close_tables(node)
end

function read_value()
  depth = depth + 1
  if depth > DEPTH_MAX then fault("nested too deep") end
  local node
  if peek('"') or peek("'") then
    node = new_node("text")
    node.value = read_text(true)
  elseif peek("[") then
    node = new_node("array")
    read_list(node)
  elseif peek("{") then
    node = new_node("table")
    read_braces(node)
  else
    local type, value = read_word()
    node = new_node(type)
    node.value = value
  end
  depth = depth - 1
  return node
end

-- A step of a dotted key before "=": only tables that were made that way, in this very place, can be gone into.
local function step_dotted(parent, key)
  local found = parent.members[key]
  if found and (found.type ~= "table" or found.closed or not found.dotted) then
    fault("'%s' cannot be added to here", key)
  end
  if not found then
    found = append(parent, new_node("table"), key)
    found.dotted = true
  end
  return found
end

-- "key = value" into a table.
function read_pair(parent)
  local key = read_key()
  local dots = 0
  skip_blanks()
  while accept(".") do
    skip_blanks()
    parent = step_dotted(parent, key)
    dots = dots + 1
    if dots > DEPTH_MAX then fault("too many dots in a key") end
    key = read_key()
    skip_blanks()
  end
  if not peek("=") then fault("'=' was expected after the key '%s'", key) end
  if parent.members[key] then fault("the key '%s' is given twice", key) end
  at = at + 1
  skip_blanks()
  append(parent, read_value(), key)
end

-- ---- [headers] ----

-- A step of a header before its last key.
local function step_header(parent, key)
  local found = parent.members[key]
  if not found then return append(parent, new_node("table"), key) end
  if found.list then return found[#found] end
  if found.type ~= "table" or found.closed then fault("'%s' is not a table that can be added to", key) end
  return found
end

-- [table]
local function open_table(parent, key)
  local found = parent.members[key]
  if found and (found.type ~= "table" or found.closed or found.header or found.dotted) then
    fault("'%s' is given twice", key)
  end
  found = found or append(parent, new_node("table"), key)
  found.header, found.line = true, line
  return found
end

-- [[table]]
local function open_item(parent, key)
  local list = parent.members[key]
  if list and not list.list then fault("'%s' is given twice", key) end
  if not list then
    list = append(parent, new_node("array"), key)
    list.list = true
  end
  local item = append(list, new_node("table"))
  item.header = true
  return item
end

-- At '['. The table that the lines below belong to.
local function read_header(root)
  local parent, is_item, dots = root, accept("[["), 0
  if not is_item then at = at + 1 end
  skip_blanks()
  local key = read_key()
  skip_blanks()
  while accept(".") do
    parent = step_header(parent, key)
    skip_blanks()
    dots = dots + 1
    if dots > DEPTH_MAX then fault("too many dots in a table's name") end
    key = read_key()
    skip_blanks()
  end
  local close = is_item and "]]" or "]"
  if not accept(close) then fault("'%s' was expected after the table's name", close) end
  return (is_item and open_item or open_table)(parent, key)
end

accept("\xEF\xBB\xBF")
local root = new_node("table")
local current = root
skip_lines()
while at <= #text do
  if peek("[") then current = read_header(root) else read_pair(current) end
  end_line()
  skip_lines()
end
return root
