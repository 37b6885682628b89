-- A request to this host, as anybody would send it.
local BODY_MAX = 64 * 1024
local LOOKS, LOOK_SECONDS = 100, 0.02 -- for the record, which is written when the answer has left

local function wait_for_record(id)
  for _ = 1, LOOKS do
    local line = host.record(id)
    if line then return json.decode(line) end
    sleep(LOOK_SECONDS)
  end
end

-- What came of it, without secrets, and the journal's record, where it has one; or nil and why not.
-- `options` as of fetch: method, headers (names in lower case), body.
return function(path, options)
  if path:sub(1, 1) ~= "/" or path:find("^/+_luafn/") then
    return nil, "The path of a function begins with /, and below /_luafn/ there is no function"
  end
  local id = crypto.uuid()
  options.headers["x-request-id"] = id
  options.redirect, options.timeout = "manual", 600
  local ok, res, problem = pcall(fetch, host.origin() .. path, options)
  if not ok or not res then return nil, tostring(not ok and res or problem) end
  local told = { id = id, method = options.method, path = path, status = res.status }
  local body = res.body or ""
  if #body > BODY_MAX then
    told.body_bytes = #body
    body = body:sub(1, (utf8.offset(body, 0, BODY_MAX) or BODY_MAX) - 1)
  end
  if utf8.len(body) then
    told.body = host.clean(body)
  else
    told.body_base64 = base64.encode(body)
  end
  return told, wait_for_record(id)
end
