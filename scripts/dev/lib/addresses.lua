-- Which addresses are those of this machine.
local addresses = {}

-- http(s) on this machine. Nothing that parsers read in different ways gets this far: user names,
-- backslashes and white space are refused.
function addresses.is_loopback(text)
  local parsed = text and not text:find("\\", 1, true) and url.parse(text)
  if not parsed or parsed.user then return false end
  if parsed.scheme ~= "http" and parsed.scheme ~= "https" then return false end
  return parsed.host == "localhost" or parsed.host == "127.0.0.1" or parsed.host == "[::1]"
end

-- "http://localhost:8888/callback?x" -> "http://localhost:8888"
function addresses.origin_of(text)
  return text:match("^%a+://[^/?#]+")
end

return addresses
