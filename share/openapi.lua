-- The deployment as an OpenAPI 3.1 document. `d`: { url=, issuer=, asks_provider=, functions= }, the last a list of
-- { name=, paths=, tool= (the path of tools), who=, policy= "token", "webhook", "public" or "unset", scopes=, any=,
-- role=, claims=, proof= "required" or "optional", background=, limited=, input=, query= (schemas, as JSON), fields=
-- (of the query: { name=, required= }) }. `match(path, method)` says which of them answers there, by its number;
-- `quote(text)` is the text as JSON.
local d, quote, _, match = ... -- the third says which form, where there are several

local METHODS = { "get", "head", "post", "put", "patch", "delete", "options" }
local HAS_BODY = { post = true, put = true, patch = true }

-- Names and their JSON, one after the other; what is false or nil is left out.
local function object(...)
  local parts, members = {}, table.pack(...)
  for i = 1, members.n, 2 do
    if members[i + 1] then parts[#parts + 1] = quote(members[i]) .. ":" .. members[i + 1] end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function array(list) return "[" .. table.concat(list, ",") .. "]" end

local TEXT = object("type", '"string"')

local function reference(pointer) return object("$ref", quote("#/components/" .. pointer)) end

-- A name within a JSON Pointer within a URI's fragment.
local function escaped(name)
  name = name:gsub("~", "~0"):gsub("/", "~1")
  return (name:gsub("[^%w._~-]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- Our pattern as OpenAPI writes paths: ":id" and ":id?" become "{id}", a final star "{splat}". A parameter has to be
-- there in OpenAPI: without its last one (`whole` false) the path is another. `named` false: without the names of
-- parameters, as two that differ in those alone are the same path.
local function path_text(pattern, whole, named)
  local path = ""
  for segment in pattern:gmatch("[^/]+") do
    local optional, splat = segment:sub(-1) == "?", segment == "*"
    local name = splat and "splat" or segment:match("^:(.+)$")
    if whole or not (optional or splat) then
      name = name and optional and name:sub(1, -2) or name
      path = path .. "/" .. (name and "{" .. (named and name or "") .. "}" or segment)
    end
  end
  return path ~= "" and path or "/"
end

-- Those that stand in braces, and the proof of possession, as a header beside `Authorization`.
local function parameters(path, f)
  local list = {}
  for name in path:gmatch("/{([^/]*)}") do
    list[#list + 1] = object("in", '"path"', "required", "true", "schema", TEXT, "name", quote(name))
  end
  for _, field in ipairs(f.fields or {}) do
    list[#list + 1] = object("in", '"query"', "name", quote(field.name), "required", tostring(field.required or false),
      "schema", reference("schemas/" .. f.name .. "_query/properties/" .. escaped(field.name)))
  end
  if f.policy == "token" and f.proof then
    local bound = f.proof == "optional" and ", for a token that is bound to a key" or ""
    list[#list + 1] = object("in", '"header"', "name", '"DPoP"', "required", tostring(f.proof == "required"),
      "schema", TEXT, "description", quote("A proof of possession (RFC 9449)" .. bound))
  end
  return array(list)
end

-- "any" of several scopes: one alternative each; "all": one requirement with all of them.
local function security(f)
  local scopes, list = {}, {}
  for i, scope in ipairs(f.scopes) do scopes[i] = quote(scope) end
  if not f.any or #scopes == 0 then return array { object("issuer", array(scopes)) } end
  for i, scope in ipairs(scopes) do list[i] = object("issuer", array { scope }) end
  return array(list)
end

local function responses(f)
  local token = f.policy == "token"
  local asks = token or f.policy == "webhook"
  local refused = reference("responses/refused")
  return object(
    "202", f.background and object("description", '"Accepted"'),
    "200", not f.background and object("description", [["The handler's answer"]]),
    "401", asks and refused,
    "503", asks and refused,
    "403", token and (#f.scopes > 0 or f.role or f.claims) and refused,
    "422", (f.input or f.query) and reference("responses/invalid"),
    "429", f.limited and refused)
end

local function request_body(f)
  if not f.input then return object("content", object("*/*", "{}")) end
  local schema = object("schema", reference("schemas/" .. f.name .. "_input"))
  return object("required", "true", "content", object("application/json", schema))
end

local turns = {} -- how many operations each function has, by method: an id is good once in a document

local function operation(f, path, method)
  local id = method .. "_" .. f.name
  turns[id] = (turns[id] or 0) + 1
  local token = f.policy == "token"
  return object(
    "operationId", quote(turns[id] > 1 and id .. "." .. turns[id] or id),
    "summary", quote(f.name .. ": " .. f.who),
    "parameters", parameters(path, f),
    "requestBody", HAS_BODY[method] and request_body(f),
    "security", token and security(f) or f.policy == "public" and "[]",
    "x-luafn-role", token and f.role and quote(f.role),
    "responses", responses(f))
end

-- Scheduled ones run by themselves, and those of `dev` are not part of the deployment.
local function is_called(f) return not f.schedule and not f.is_dev end

-- Who answers there the router says: other functions may have the same path under other methods.
local function operations(path)
  local members = {}
  for i, method in ipairs(METHODS) do
    local f = d.functions[match(path, i - 1)]
    if f and is_called(f) then table.move({ method, operation(f, path, method) }, 1, 2, #members + 1, members) end
  end
  return object(table.unpack(members))
end

-- What is said there is JSON-RPC; each tool has its schemas in the answer to `tools/list`.
local function tools()
  local names, open = {}, false
  for _, f in ipairs(d.functions) do
    if f.tool then
      names[#names + 1] = f.name
      open = open or f.policy ~= "token"
    end
  end
  return object(
    "operationId", '"post_tools"',
    "summary", quote("Tools for agents (MCP): " .. table.concat(names, ", ")),
    "requestBody", object("content", object("application/json", object("schema", object("type", '"object"')))),
    "security", array(open and { "{}", object("issuer", "[]") } or { object("issuer", "[]") }),
    "responses", object("200", object("description", '"The answer, as JSON or as a stream of events"'),
      "202", object("description", '"A notification was taken"'),
      "401", object("$ref", '"#/components/responses/refused"'),
      "403", object("$ref", '"#/components/responses/refused"')))
end

local function paths()
  local members, shapes = {}, {}
  local function add(pattern, whole)
    local shape = path_text(pattern, whole, false)
    if shapes[shape] then return end
    shapes[shape] = true
    local path = path_text(pattern, whole, true)
    members[#members + 1] = quote(path) .. ":" .. operations(path)
  end
  for _, f in ipairs(d.functions) do
    for _, pattern in ipairs(is_called(f) and f.paths or {}) do
      if pattern:find("/%*$") or pattern:find("%?$") then add(pattern, false) end
      add(pattern, true)
    end
  end
  for _, f in ipairs(d.functions) do
    if f.tool then
      members[#members + 1] = quote(f.tool) .. ":" .. object("post", tools())
      break
    end
  end
  return "{" .. table.concat(members, ",") .. "}"
end

-- The issuer's discovery document tells a client all the rest.
local function issuer()
  if not d.issuer then return object("type", '"http"', "scheme", '"bearer"', "bearerFormat", '"JWT"') end
  return object("type", '"openIdConnect"',
    "openIdConnectUrl", quote(d.issuer:gsub("/$", "") .. "/.well-known/openid-configuration"),
    "description", d.asks_provider and quote("A JWT, or an opaque token that the issuer is asked about (RFC 7662)"))
end

local function components()
  local frame = object("type", '"object"', "required", '["error","error_description"]',
    "properties", object("error", TEXT, "error_description", TEXT))
  local wrong = object("type", '"object"', "required", '["path","message"]',
    "properties", object("path", TEXT, "message", TEXT))
  local invalid = object("type", '"object"', "required", '["error","errors"]',
    "properties", object("error", TEXT, "errors", object("type", '"array"', "items", wrong)))
  local function answer(text, schema)
    return object("description", quote(text), "content", object("application/json", object("schema", schema)))
  end
  local list = {}
  for _, f in ipairs(d.functions) do
    for _, kind in ipairs(is_called(f) and { "input", "query" } or {}) do
      if f[kind] then table.move({ f.name .. "_" .. kind, f[kind] }, 1, 2, #list + 1, list) end
    end
  end
  local validated = #list > 0
  return object("schemas", validated and object(table.unpack(list)),
    "responses", object("refused", answer("No, and why", frame),
      "invalid", validated and answer("The body or the query is not as the schema says", invalid)),
    "securitySchemes", object("issuer", issuer()))
end

-- Where it is reached the host cannot know: a proxy may stand before it. `URL` says it, as at Netlify; in `dev` it is
-- there.
local function servers()
  if d.url then return array { object("url", quote(d.url)) } end
  return array { object("url", '"{origin}"', "variables", object("origin", object(
    "default", '"http://127.0.0.1:8888"',
    "description", quote("Where the host is reached. The variable URL of its environment says it here.")))) }
end

return object("openapi", '"3.1.0"', "info", object("title", '"luafn"', "version", '"1"'), "servers", servers(),
  "paths", paths(), "components", components())
