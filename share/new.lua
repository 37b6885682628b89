-- `luafn new`: a function to begin with, its test, and its place in functions.lua. Nothing that exists is overwritten.
-- functions.lua gets a line only where that is safe: its new text must load, and must have that function; else the
-- person is told what to write. Raises what went wrong.
local host, name, template, config_file = ...

local NEEDS_AUTH = { protected = true, scope = true } -- scripts/lib/auth.lua, and issuers in functions.lua
local KEYWORDS = [[ and break do else elseif end false for function goto if in local nil not or repeat return then true
until while ]]

local root = config_file:match("^.*/") or "" -- of functions.lua, with the slash
local needs_auth = NEEDS_AUTH[template]
local folder = "scripts" -- of scripts, below the root

local function fail(format, ...) error(format:format(...), 0) end

local function say(format, ...) print(format:format(...)) end

-- ---- files ----

local function write(relative, text)
  local path = root .. relative
  local why = host.create(path, #root, text)
  if why then fail("%s cannot be written: %s", path, why) end
  say("wrote %s", path)
end

-- A file of the program with @NAME@ and @TEST@ filled in.
local function fill(source)
  local text = host.embedded(source) or fail("%s is not inside this program", source)
  local values = { NAME = name, TEST = ("%s%s/%s_test.lua"):format(root, folder, name) }
  return (text:gsub("@(%u+)@", values))
end

-- A file of the program, where there is none of that name yet.
local function write_helper(source, relative)
  if not host.exists(root .. relative) then write(relative, fill(source)) end
end

-- ---- functions.lua ----

local function entry()
  local plain = not (name:find("-", 1, true) or name:find("^%d") or KEYWORDS:find("%s" .. name .. "%s"))
  return (plain and "%s" or '["%s"]'):format(name) .. (' = { script = "%s/%s.lua" },'):format(folder, name)
end

-- The text with one line more, below a line `functions = {` that stands alone; nil where there is none.
local function insert(text)
  local at = 1
  while at <= #text do
    local line, rest = text:match("^([^\n]*)()", at)
    local indent, value = line:match("^([ \t]*)functions[ \t]*=[ \t]*(.-)[ \t]*$")
    if value and (value ~= "{" or rest > #text) then return nil end
    if value then return text:sub(1, rest) .. indent .. "  " .. entry() .. "\n" .. text:sub(rest + 1) end
    at = rest + 1
  end
end

-- Tries the new text beside the old one, since paths are relative to it.
local function replace(text)
  local fresh = config_file .. ".new"
  if host.create(fresh, #fresh, text) then return false end
  local config = host.load(fresh)
  local good = config and config.functions[name] and host.copy_mode(config_file, fresh)
    and os.rename(fresh, config_file)
  if not good then os.remove(fresh) end
  return good
end

-- Adds the function, or tells the person what to add. True: functions.lua names an issuer now.
local function add(text, has_issuer)
  local longer, switched = insert(text), 0
  if longer and needs_auth and not has_issuer then
    -- The first function may have been a public one: then the issuer of share/templates/functions.lua is a comment.
    longer, switched = longer:gsub("%-%- (auth = { issuer = env%.JWT_ISSUER, audience = env%.JWT_AUDIENCE, )", "%1", 1)
  end
  if longer and replace(longer) then
    say("added %s%s to %s", name, switched > 0 and ", and the issuer," or "", config_file)
    return has_issuer or switched > 0
  end
  say("add this to `functions` in %s:\n    %s", config_file, entry())
  return has_issuer
end

-- ---- all of it ----

local is_first = not host.exists(config_file)
-- A netlify.toml stands for the functions.lua that is not there.
local toml_alone = is_first and host.exists(root .. "netlify.toml")
local config = { functions = {}, folder = "" }
if toml_alone or not is_first then
  local loaded, why = host.load(config_file)
  config = loaded or fail("%s", why)
end
local below = config.folder == "" and toml_alone and "netlify/functions" or config.folder
while below:find("^%./") do below = below:sub(3) end
below = below:gsub("(.)/+$", "%1")
local by_folder = below ~= "" and not below:find("^/") -- scripts are taken by folder: nothing is to be added
if by_folder then folder = below end
if config.functions[name] then fail("%s has a function %s already", config_file, name) end
local text
if not is_first then
  local found, why = host.read(config_file)
  text = found or fail("%s %s", config_file, why)
end
for _, suffix in ipairs { "", "_test" } do
  local path = ("%s%s/%s%s.lua"):format(root, folder, name, suffix)
  if host.exists(path) then fail("%s exists already: it is left as it is; choose another name", path) end
end

write(("%s/%s.lua"):format(folder, name), fill(("share/templates/%s.lua"):format(template)))
write(("%s/%s_test.lua"):format(folder, name), fill(("share/templates/%s.test.lua"):format(template)))
if needs_auth then write_helper("scripts/lib/auth.lua", folder .. "/lib/auth.lua") end
write_helper("share/templates/env.example", ".env.example")
write_helper("share/templates/gitignore", ".gitignore")
write_helper("share/templates/luarc.json", ".luarc.json")
write_helper("share/templates/launch.json", ".vscode/launch.json")
write_helper("share/templates/vscode.json", ".vscode/extensions/luafn-debug/package.json")

local has_issuer = config.has_issuer
if by_folder then
  say("every script of %s/ is a function: nothing is to be added", folder)
elseif is_first then
  text = fill(needs_auth and "share/templates/functions_auth.lua" or "share/templates/functions.lua")
  write(config_file:sub(#root + 1), insert(text))
  has_issuer = true
else
  has_issuer = add(text, has_issuer)
end
if needs_auth and not has_issuer then
  say("%s names no issuer: add auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE }", config_file)
end
local option = config_file == "functions.lua" and "" or " --config " .. config_file
say("next: luafn test%s, luafn dev%s", option, option)
