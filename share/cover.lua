-- What `luafn test --coverage` tells: a row a script, and the lcov file.
--
-- `files`: a list of { name=, hits= }, how often each line began. Raises where something cannot be told.
local files, root, config, lcov_path = ...
local lines_in = include("share/lines.lua")

-- The lines of a script of the deployment that could run: { [line] = true }; nil for a test, functions.lua, and what is
-- no file or does not compile.
local function lines_of(name)
  local file = not name:find("_test%.lua$") and name ~= config and io.open(root .. name, "rb")
  local text = file and file:read("a")
  if file then file:close() end
  return text and (lines_in(text))
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
