-- Which version of each function is live.
local seen = require "lib.seen"

local function handler()
  local functions, config_error = seen.functions()
  for _, f in ipairs(functions) do
    f.own = nil
    f.error = f.error and host.clean(f.error)
  end
  return { functions = functions, config_error = config_error and host.clean(config_error) }
end

return {
  handler = handler,
  auth = "public",
  tool = {
    title = "Generations",
    description = "Which generation of each function is live. `generation` counts up with each change that loads; with "
      .. "`error` the newest files do not load, and the generation told here goes on (`serving`), if there is one. "
      .. "`config_error`: functions.lua as it is now is not what is served.",
    annotations = { readOnlyHint = true },
  },
}
