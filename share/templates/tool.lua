-- @NAME@: a tool for agents (MCP), called by POST /mcp. docs/tools.md tells more.
return {
  auth = "public", -- auth = { scope = "read:@NAME@" } asks for a token with that scope
  tool = {
    description = "Tells how long a text is, in words and in characters",
    input = {
      type = "object",
      properties = { text = { type = "string", maxLength = 10000, description = "The text" } },
      required = { "text" },
      additionalProperties = false,
    },
    annotations = { readOnlyHint = true },
  },

  -- event.arguments are as `input` says. A table is what the caller's program reads, a text is for its model; an answer
  -- with a status of 400 or more, and an error, is told as one.
  handler = function(event)
    local text = event.arguments.text
    local _, words = text:gsub("%S+", "")
    return { words = words, characters = utf8.len(text) }
  end,
}
