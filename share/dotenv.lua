-- A .env file, as dotenv 16 reads it: returns a list of names and values, one after the other. What dotenv passes over,
-- a line that is no assignment or a quote that is never closed, is raised as "LINE: what is wrong".
local text = ...
-- Line ends of other systems become line feeds, also within quotes; a mark of UTF-8 is none of the text.
text = text:gsub("\r\n?", "\n"):gsub("^\xEF\xBB\xBF", "")
local at, line = 1, 1
local list, places = {}, {}

local function fault(what) error(("%d: %s"):format(line, what), 0) end

-- Takes what the pattern matches here; nil where it does not.
local function take(pattern)
  local found = text:match("^" .. pattern, at)
  at = at + #(found or "")
  return found
end

local function skip_line()
  take("[^\n]*\n?")
  line = line + 1
end

-- NAME=, or NAME: and a blank.
local function read_name()
  local name = take("[%w_.-]+") or fault("a variable's name was expected")
  if not (text:find("^:[ \t]", at) or take("[ \t]*") and text:find("^=", at)) then
    fault("`=` was expected after the name")
  end
  at = at + 1
  take("[ \t]*")
  return name
end

-- How long the quoted value at the front of `rest` is, with its quotes: it ends at the first quote without a backslash
-- before it; where that cannot be, as only blanks and a comment may follow, at the last one with one, or else at the
-- line's last byte, with quotes in between.
local function quoted_length(rest)
  local quote, stop = rest:sub(1, 1), 2
  while stop <= #rest and rest:sub(stop, stop) ~= quote do
    stop = stop + (rest:sub(stop, stop + 1) == "\\" .. quote and 2 or 1)
  end
  for i = math.min(stop, #rest), 2, -1 do
    if rest:sub(i, i) == quote then
      local _, blanks = rest:find("^[ \t]*", i + 1)
      if blanks == #rest or rest:find("^[\n#]", blanks + 1) then return i end
    end
  end
  local shown = rest:match("^[^\n#]*"):gsub("[ \t]+$", "")
  if #shown > 1 and shown:sub(-1) == quote then return #shown end
  return fault(stop <= #rest and "there is text after the closing quote" or "the quote is never closed")
end

local function read_quoted()
  local length = quoted_length(text:sub(at))
  local value = text:sub(at + 1, at + length - 2)
  local _, lines = value:gsub("\n", "")
  -- A backslash means something before n and r only.
  if text:sub(at, at) == '"' then value = value:gsub("\\([nr])", { n = "\n", r = "\r" }) end
  at, line = at + length, line + lines
  return value
end

while at <= #text do
  take("[ \t]*")
  if not text:find("^[#\n]", at) and at <= #text then
    if text:find("^export[ \t]", at) then take("export[ \t]*") end
    local name = read_name()
    local value = text:find("^[\"'`]", at) and read_quoted() or take("[^\n#]*"):match("^[ \t]*(.-)[ \t]*$")
    local place = places[name] or #list + 1 -- of two in one file the last counts
    places[name], list[place], list[place + 1] = place, name, value
  end
  skip_line()
end
return list
