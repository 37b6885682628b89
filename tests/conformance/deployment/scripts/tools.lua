-- What each of them has to answer is the suite's choice.
local PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
local SOUND = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=="

local image = { type = "image", data = PIXEL, mimeType = "image/png" }
local function resource(uri, text)
  return { type = "resource", resource = { uri = uri, mimeType = "text/plain", text = text } }
end

local answers = {
  test_simple_text = function() return "This is a simple text response for testing." end,
  test_image_content = function() return { content = { image } } end,
  test_audio_content = function() return { content = { { type = "audio", data = SOUND, mimeType = "audio/wav" } } } end,
  test_embedded_resource = function() return { content = { resource("test://embedded-resource", "embedded") } } end,
  test_multiple_content_types = function()
    return { content = { { type = "text", text = "some of each" }, image, resource("test://mixed", "mixed") } }
  end,
  test_error_handling = function()
    return { statusCode = 400, body = "This tool intentionally returns an error for testing" }
  end,
  test_tool_with_progress = function(event)
    for done = 0, 100, 50 do event.progress(done, 100, "at " .. done) end
    return "done"
  end,
  test_streaming_elicitation = function(event)
    event.progress(1, 2)
    return "done"
  end,
  test_logging_tool = function()
    log.info "noted"
    return "noted"
  end,
  test_header = function(event) return tostring(event.arguments.region) end,
  json_schema_2020_12_tool = function() return "fits" end,
}

return function(event) return answers[event.tool](event) end
