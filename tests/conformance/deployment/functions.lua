-- The tools that the suite looks for, by the names that it has for them.
local function tool(description, input)
  return {
    script = "scripts/tools.lua",
    auth = "public",
    tool = { description = description, input = input or { type = "object", additionalProperties = false } },
  }
end

local text = { type = "string" }

return {
  prefix = "/functions",
  mcp = { name = "conformance", version = "1" },
  functions = {
    test_simple_text = tool "A text",
    test_image_content = tool "An image",
    test_audio_content = tool "A sound",
    test_embedded_resource = tool "A resource",
    test_multiple_content_types = tool "Some of each",
    test_error_handling = tool "What goes wrong",
    test_tool_with_progress = tool "What takes a while",
    test_streaming_elicitation = tool "What takes a while, and asks nothing back",
    test_logging_tool = tool "What writes a log",
    test_header = tool("An argument that a header repeats", {
      type = "object",
      properties = { region = { type = "string", ["x-mcp-header"] = "Region" } },
    }),
    json_schema_2020_12_tool = tool("Arguments by many words of JSON Schema", {
      ["$schema"] = "https://json-schema.org/draft/2020-12/schema",
      ["$defs"] = {
        address = { ["$anchor"] = "addressDef", type = "object", properties = { street = text, city = text } },
      },
      type = "object",
      properties = {
        name = text, phone = text, email = text,
        address = { ["$ref"] = "#/$defs/address" },
        contactMethod = { type = "string", enum = { "phone", "email" } },
      },
      allOf = { { anyOf = { { required = { "phone" } }, { required = { "email" } } } } },
      ["if"] = { properties = { contactMethod = { const = "phone" } }, required = { "contactMethod" } },
      ["then"] = { required = { "phone" } },
      ["else"] = { required = { "email" } },
      additionalProperties = false,
    }),
  },
}
