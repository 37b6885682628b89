-- Requests taken apart, answers put together.
local addresses = require "lib.addresses"

local web = {}

function web.json(status, body)
  return {
    statusCode = status,
    headers = {
      ["Content-Type"] = "application/json",
      ["Cache-Control"] = "no-store",
      ["X-Content-Type-Options"] = "nosniff",
    },
    body = json.encode(body),
  }
end

function web.error(status, code, text)
  return web.json(status, { error = code, error_description = text })
end

function web.redirect(target)
  local headers = { Location = target, ["Cache-Control"] = "no-store" }
  return { statusCode = 302, headers = headers, body = "" }
end

-- Form fields or a query as a table; nil when a name is given twice (RFC 6749 3.1) or a value is
-- not UTF-8.
function web.params(text)
  local last, all = url.parse_query(text or "")
  for _, values in pairs(all) do
    if #values > 1 or not utf8.len(values[1]) then return nil end
  end
  return last
end

-- The fields of a form or JSON body, or nil.
function web.body(event)
  local body = event.body or ""
  if event.isBase64Encoded then body = base64.decode(body) or "" end
  local kind = (event.headers["content-type"] or ""):lower()
  if kind:find("^application/json") then
    local ok, fields = pcall(json.decode, body)
    return ok and type(fields) == "table" and fields or nil
  end
  return kind:find("^application/x%-www%-form%-urlencoded") and web.params(body) or nil
end

function web.cookie(event, name)
  for pair in (event.headers.cookie or ""):gmatch("[^;]+") do
    local key, value = pair:match("^%s*([^=]+)=(.-)%s*$")
    if key == name then return value end
  end
end

-- Adds `params` to the query of `target`; empty ones are left out.
function web.with_query(target, params)
  return target .. (target:find("?", 1, true) and "&" or "?") .. url.query(params)
end

-- Path and query of the request, for forms that come back to it.
function web.target(event)
  return event.path .. "?" .. (event.rawQuery or "")
end

-- Was it sent by a page of this origin? Programs other than browsers say nothing about that.
function web.is_from_here(event)
  local site, origin = event.headers["sec-fetch-site"], event.headers.origin
  if site and site ~= "same-origin" then return false end
  return not origin or addresses.is_loopback(origin)
    and origin:match("^%a+://(.*)$") == event.headers.host
end

-- Lets pages of this machine read an answer.
function web.allow_origin(event, answer)
  local origin = event.headers.origin
  answer.headers.Vary = "Origin"
  if addresses.is_loopback(origin) then answer.headers["Access-Control-Allow-Origin"] = origin end
  return answer
end

function web.preflight(event)
  local answer = web.allow_origin(event, { statusCode = 204, headers = {}, body = "" })
  answer.headers["Access-Control-Allow-Methods"] = "GET, POST"
  answer.headers["Access-Control-Allow-Headers"] = "authorization, content-type, auth0-client, mcp-protocol-version"
  answer.headers["Access-Control-Max-Age"] = "600"
  return answer
end

return web
