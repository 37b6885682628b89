-- `luafn audit`: the known attacks on tokens, as requests that no host may let through. An attack is what an
-- Authorization header (or two, or the query) says. The first ones need nothing but a guess at issuer and audience, and
-- for some the public key; the last ones are made from one good token: every change to it must be noticed.
--
-- `plan`: targets, a list of { method=, path=, asks=, is_site=, forged= (of a webhook: what its sender never sent) },
-- issuer, audience, token (or nil), now, kid, colour, key, a public one of the issuer (or nil), revokes, and maker, the
-- private key of the dev issuer where that is the issuer (or nil). Prints what becomes of each; returns whether all was
-- as expected, or nil where the token is no signed one.
local host, plan = ...

local attacks = {}

-- `more`: headers and query in place of the token; `good`, it must be let in: what the refusals are held against;
-- `oversize`, where closing the connection is an answer, too.
local function add(name, token, more)
  local attack = more or {}
  attack.name = name
  attack.headers = attack.headers or { "Bearer " .. token }
  attacks[#attacks + 1] = attack
end

local function quote(text)
  return '"' .. text:gsub('[%c"\\]', function(c) return ("\\u%04x"):format(c:byte()) end) .. '"'
end

-- ---- forged tokens: good in every way, but for who signed them ----

local forger = host.new_key("RS256")
local kid = host.kid_of(plan.token or "") or plan.kid
local claims = host.claims_of(plan.token or "")
  or ('{"iss":%s,"aud":%s,"sub":"auth0|audit","azp":"audit","iat":%d,"exp":%d}'):format(
  quote(plan.issuer), quote(plan.audience), plan.now - 60, plan.now + 3600)

local function with_kid(more) return '{"kid":' .. quote(kid) .. (more or "") .. "}" end

local function compact(header, payload, signature)
  return host.encode(header) .. "." .. host.encode(payload) .. "." .. signature
end

-- `header`: members beside alg, typ and kid.
local function sign(key, alg, header, payload) return host.sign(key, alg, header or with_kid(), payload or claims) end

-- The third part is a signature of the right length over something else.
local function unsigned(header)
  return compact(header, claims, sign(forger, "RS256", "{}"):match("[^.]*$"))
end

local function forge_forms()
  add("no token", nil, { headers = {} })
  add("scheme alone", nil, { headers = { "Bearer" } })
  add("Basic", nil, { headers = { "Basic YWRtaW46YWRtaW4=" } })
  add("junk", "junk")
  add("empty segments", "..")
  add("a session of junk", nil, { headers = { { "Cookie", "__Host-luafn=" .. ("A"):rep(400) } } })
  add("two parts", "eyJhbGciOiJub25lIn0.e30")
  add("no header", ".e30.AAAA")
  add("no payload", "eyJhbGciOiJub25lIn0..AAAA")
  add("five parts (JWE)", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA")
  add("JSON serialisation", ('{"protected":"%s","payload":"%s","signature":""}'):format(
    host.encode('{"alg":"none"}'), host.encode(claims)))
  add("10,000 dots", ("."):rep(10000), { oversize = true })
  add("20,000 letters", ("A"):rep(20000), { oversize = true })
  add("64 KB", ("A"):rep(65536), { oversize = true })
end

local function forge_none()
  for _, alg in ipairs { "none", "None", "NONE", "nOnE", "none ", "" } do
    local header = ('{"alg":"%s","typ":"JWT"}'):format(alg)
    add(('alg "%s", no signature'):format(alg), compact(header, claims, ""))
    add(('alg "%s", some signature'):format(alg), compact(header, claims, "c2lnbmF0dXJl"))
  end
  for _, alg in ipairs { '"rs256"', '"RS256 "', '["RS256"]', "256", "null", "{}", '"HS1"' } do
    add("alg " .. alg, unsigned(('{"alg":%s}'):format(alg)))
  end
  add("alg missing", unsigned('{"typ":"JWT"}'))
  add("alg twice, none last", compact('{"alg":"RS256","alg":"none"}', claims, ""))
  add("alg twice, none first", compact('{"alg":"none","alg":"RS256"}', claims, ""))
end

local function forge_own_key()
  for _, alg in ipairs { "RS256", "RS384", "RS512", "PS256" } do add("another key, " .. alg, sign(forger, alg)) end
  for _, alg in ipairs { "ES256", "EdDSA" } do add("another key, " .. alg, sign(host.new_key(alg), alg)) end
  add("another key, no kid", sign(forger, "RS256", "{}"))
  add("no signature", compact('{"alg":"RS256",' .. with_kid():sub(2), claims, ""))
end

-- What is wrong with the times must not hide what is wrong with the key.
local function forge_times()
  for _, member in ipairs { '"exp":1', '"exp":1e300', '"exp":"never"', '"exp":9999999999', '"nbf":1e300' } do
    add("another key, " .. member, sign(forger, "RS256", "{}", ('{"iss":"x",%s}'):format(member)))
  end
end

-- Headers that ask for the key to be taken from the token, or for other rules.
local function forge_headers()
  for _, row in ipairs {
    { "its own jwk", '"jwk":' .. host.jwk(forger) },
    { "its own jku", '"jku":"http://127.0.0.1:9/jwks.json"' },
    { "its own x5u", '"x5u":"http://127.0.0.1:9/cert.pem"' },
    { "its own x5c", '"x5c":["MIIB"]' },
    { "crit empty", '"crit":[]' },
    { "crit exp", '"crit":["exp"],"exp":1' },
    { "crit unknown", '"crit":["x"],"x":1' },
    { "b64 false", '"b64":false,"crit":["b64"]' },
    { "cty JWT", '"cty":"JWT"' },
    { "zip", '"zip":"DEF"' },
    { "enc", '"enc":"A128GCM"' },
  } do
    add(row[1], sign(forger, "RS256", with_kid("," .. row[2])))
  end
end

local function forge_kids()
  for _, value in ipairs {
    '""', "5", "null", "[]", "{}", "true", '"../../../../dev/null"', '"/dev/null"', [["' UNION SELECT 'secret"]],
    [["'--"]], [["\u0000"]], '"|sleep 10"', '"http://127.0.0.1:9/key"', '"__proto__"',
  } do
    add("kid " .. value, unsigned(('{"alg":"RS256","kid":%s}'):format(value)))
  end
  add("kid of 4,000 letters", unsigned(('{"alg":"RS256","kid":"%s"}'):format(("k"):rep(4000))))
end

-- ---- secrets that everybody knows, and the public key as a secret ----

local function forge_with_secret(secret, name)
  for _, alg in ipairs { "HS256", "HS384", "HS512" } do
    local key = host.secret(secret, alg)
    if key then add(alg .. ", " .. name, sign(key, alg)) end
  end
end

-- HMAC fills a key up with zeros to the size of a block, so that these are the short keys.
local function forge_secrets()
  for _, secret in ipairs { "", "secret", "password", "changeme", "jwt", "your-256-bit-secret", "null", "undefined" } do
    forge_with_secret(secret .. ("\0"):rep(64 - #secret), ('key "%s"'):format(secret))
  end
end

local function forge_with_public(key)
  local pem, jwk = host.pem(key), host.jwk(key)
  if not pem then return end
  local lines = pem:gsub("%-[^\n]*", ""):gsub("%s", "")
  local der = host.decode((lines:gsub("[+/=]", { ["+"] = "-", ["/"] = "_", ["="] = "" })))
  local n = jwk:match('"n":"([^"]*)"')
  forge_with_secret(pem, "key: PEM")
  forge_with_secret(pem:sub(1, -2), "key: PEM without newline")
  forge_with_secret(" " .. pem, "key: space and PEM")
  forge_with_secret(der, "key: DER")
  forge_with_secret(jwk, "key: JWK")
  if not n then return end
  forge_with_secret(der:sub(25), "key: PKCS#1") -- behind the header of SubjectPublicKeyInfo, for 2048 bits and more
  forge_with_secret(n, "key: n of the JWK")
  forge_with_secret(host.decode(n), "key: bytes of n")
end

-- ---- changes to a good token ----

local token, header, payload, signature
local header_text, payload_text, signature_bytes

local function join(a, b, c) return a .. "." .. b .. "." .. c end

-- What a token is bound to (RFC 8705, RFC 9449), which we do not have; or nil.
local function bound_to(text)
  return text:find('"x5t#S256"', 1, true) and "certificate" or text:find('"jkt"', 1, true) and "proof" or nil
end

local function add_good()
  local bound = bound_to(payload_text)
  if bound then return add("the good token without its " .. bound, token) end
  for _, scheme in ipairs { "Bearer", "bearer", "BEARER" } do
    add("the good token, " .. scheme, nil, { headers = { scheme .. " " .. token }, good = true })
  end
end

local function flip(at, name)
  local byte = string.char(signature_bytes:byte(at) ~ 1)
  add(name .. " byte of the signature flipped",
    join(header, payload, host.encode(signature_bytes:sub(1, at - 1) .. byte .. signature_bytes:sub(at + 1))))
end

-- Other spellings of the same bytes: unused bits of the last character, padding, the alphabet of ordinary Base64.
local function respell()
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
  if #signature % 4 ~= 0 then
    local last = (alphabet:find(signature:sub(-1), 1, true) - 1 | 1) + 1
    add("unused bits of the signature", join(header, payload, signature:sub(1, -2) .. alphabet:sub(last, last)))
    add("signature padded", token .. ("="):rep(-#signature % 4))
  end
  local ordinary = signature:gsub("[-_]", { ["-"] = "+", ["_"] = "/" })
  if ordinary ~= signature then add("signature in ordinary Base64", join(header, payload, ordinary)) end
end

local function change_signature()
  flip(1, "first")
  flip(#signature_bytes // 2 + 1, "middle")
  flip(#signature_bytes, "last")
  add("signature empty", join(header, payload, ""))
  add("signature cut by 4", join(header, payload, signature:sub(1, -5)))
  add("signature longer by 4", token .. "AAAA")
  add("no third part", header .. "." .. payload)
  add("signature of zeros", join(header, payload, host.encode(("\0"):rep(#signature_bytes))))
  respell()
end

-- Calls try(name, text) for the object's text with each member put last, and first.
local function with_members(object, members, try)
  for _, member in ipairs(members) do
    try(member .. " last", object:sub(1, -2) .. "," .. member .. "}")
    try(member .. " first", "{" .. member .. "," .. object:sub(2))
  end
end

local function change_header()
  with_members(header_text, {
    '"alg":"none"', '"alg":"HS256"', '"alg":"RS512"', '"kid":"x"', '"crit":["x"]', '"b64":false', '"typ":"JWE"',
    '"jku":"http://127.0.0.1:9/"',
  }, function(name, text) add("header: " .. name, join(host.encode(text), payload, signature)) end)
  add("header replaced, alg none", join(host.encode('{"alg":"none"}'), payload, ""))
  add("space in the header", join(host.encode(header_text .. " "), payload, signature))
end

local function change_payload()
  with_members(payload_text, {
    '"sub":"admin"', '"exp":9999999999', '"scope":"admin"', '"roles":["admin"]', '"cnf":{}',
  }, function(name, text) add("payload: " .. name, join(header, host.encode(text), signature)) end)
  add("space in the payload", join(header, host.encode(payload_text .. " "), signature))
  add("header padded", join(header .. "=", payload, signature))
  add("payload padded", join(header, payload .. "=", signature))
end

local function change_delivery()
  for _, form in ipairs { "Basic TOKEN", "TOKEN", "Bearer  TOKEN", "Bearer TOKEN x", "Bearer,TOKEN", "Bearer TOKEN.",
    "Bearer .TOKEN", "Bearer TOKEN.e30" } do
    add(("sent as '%s'"):format(form), nil, { headers = { (form:gsub("TOKEN", token)) } })
  end
  local good = "Bearer " .. token
  add("twice in one header", token .. ", " .. good)
  add("two headers, good first", nil, { headers = { good, "Bearer junk" } })
  add("two headers, good last", nil, { headers = { "Bearer junk", good } })
  add("two headers, the same", nil, { headers = { good, good } })
  add("as a session's cookie", nil, { headers = { { "Cookie", "__Host-luafn=" .. token } } })
  add("in the query alone", nil, { headers = {}, query = "access_token=" .. token })
end

local function change(good)
  token = good
  header, payload, signature = token:match("^([^.]*)%.([^.]*)%.([^.]*)$")
  if not header then return false end
  header_text, payload_text, signature_bytes = host.decode(header), host.decode(payload), host.decode(signature)
  if #(header_text or "") <= 2 or #(payload_text or "") <= 2 or #(signature_bytes or "") == 0 then return false end
  add_good()
  change_signature()
  change_header()
  change_payload()
  change_delivery()
  return true
end

forge_forms()
forge_none()
forge_own_key()
forge_times()
forge_headers()
forge_kids()
forge_secrets()
if plan.key then forge_with_public(plan.key) end
if plan.token and not change(plan.token) then return nil end

-- ---- the site: other ways to write a path that a rule of `protect` covers, and other methods ----

local function respellings(path)
  local list = {}
  for _, spelled in ipairs {
    "/" .. path, path .. "/", path:upper(), (path:gsub("%a", function(c) return ("%%%02x"):format(c:byte()) end, 1)),
  } do
    if spelled ~= path then
      list[#list + 1] = { name = "no token, as " .. spelled, path = spelled, headers = {} }
    end
  end
  for _, method in ipairs { "HEAD", "POST", "OPTIONS" } do
    list[#list + 1] = { name = "no token, " .. method, method = method, headers = {} }
  end
  return list
end

-- ---- firing ----

local COLOURS = { ok = "\27[32m", ["LET THROUGH"] = "\27[31m", FAULT = "\27[33m" }
local tally = { ok = 0, ["LET THROUGH"] = 0, FAULT = 0 }

local function send(target, attack)
  local headers = attack.headers
  if target.body then
    headers = table.move(headers, 1, #headers, 2, { { "Content-Type", "application/json" } })
  end
  local path = (attack.path or target.path) .. (attack.query and "?" .. attack.query or "")
  return host.send(attack.method or target.method, path, headers, target.body)
end

-- What the host must refuse is a 401, or a head that is too much for it. Any other answer to a bad token, a 403 or a
-- 404 of the handler's own among them, means that it was believed, unless that is what the host says to plain junk.
-- Whom the site lets in finds whatever is there: a file, a redirect, nothing.
local function judge(target, attack, status, junk_status)
  local success = status >= 200 and (status < 300 or target.is_site and status < 500 and status ~= 401)
  if attack.good then return (success or status == 403) and "ok" or "FAULT" end -- a 403: who it is may not do this
  if status == 0 then return attack.oversize and "ok" or "FAULT" end
  if status >= 500 then return "FAULT" end
  local refused = status == 401 or status == 400 or status == 413 or status == 414 or status == 431
  return (refused or not success and status == junk_status) and "ok" or "LET THROUGH"
end

-- A revocation is heard of a moment later: what waits for one is sent until it is refused, for five seconds.
local function fire(target, attack, junk_status)
  local status, code, why
  for _ = 1, attack.waits and 100 or 1 do
    status, code, why = send(target, attack)
    if not attack.waits or status == 401 then break end
    host.sleep(0.05)
  end
  local result = judge(target, attack, status, junk_status)
  local actual = status == 0 and "no answer: " .. code or why == "" and tostring(status)
    or status .. "  " .. why:sub(1, 199)
  local expected = not attack.good and "401" or target.is_site and "no 401" or "200, 403"
  local word = ("%-11s"):format(result)
  tally[result] = tally[result] + 1
  print(("%s  %-42s  %s %-30s  %-9s  %s"):format(plan.colour and COLOURS[result] .. word .. "\27[0m" or word,
    attack.name, target.method, target.path, expected, actual))
end

-- Is the route there, and does it ask for a token? A function without `auth` may be open on purpose. The status of
-- plain junk there, or nil.
local function protected(target)
  local status, code = send(target, { headers = {} })
  local missing = status == 0 or status == 405 or status == 404 and code == "not_found"
  local open = not target.asks and not missing and status < 500 and status ~= 401
  if not open and not missing then return target.forged and status or send(target, { headers = { "Bearer junk" } }) end
  local what = status == 0 and code or missing and "there is nothing to attack"
    or "let in without a token, and has no `auth`"
  print(("%-11s  %-42s  %s %s"):format(missing and "FAULT" or "open", what, target.method, target.path))
  if missing then tally.FAULT = tally.FAULT + 1 end
end

-- ---- tokens that are good until they are revoked ----

local revocable = {}

-- Of each kind one, with names of its own that nobody else has; where they cannot be made, the good one.
local function find_revocable()
  for _, kind in ipairs { "jti", "sid", "sub" } do
    local made, id
    if plan.maker and not bound_to(claims) then
      local fresh = claims
      for _, name in ipairs { "jti", "sid", "sub" } do
        fresh = host.with(fresh, name, ("audit|%016x"):format(math.random(0)))
      end
      made, id = host.sign(plan.maker, "RS256", "{}", fresh), host.member(fresh, kind)
    elseif plan.token and not plan.maker and #revocable == 0 and not bound_to(claims) then
      made, id = plan.token, host.member(claims, kind)
    end
    if id then revocable[#revocable + 1] = { kind = kind, id = id, headers = { "Bearer " .. made } } end
  end
end

-- At each of these targets: let in, and then not any more.
local function fire_revoked(targets)
  local sent = 0
  for _, one in ipairs(revocable) do
    local before = { name = "a token, before its " .. one.kind .. " is revoked", headers = one.headers, good = true }
    local after = { name = "a token whose " .. one.kind .. " was revoked", headers = one.headers, waits = true }
    for _, target in ipairs(targets) do fire(target, before, 401) end
    local trouble = host.revoke(one.kind, one.id, host.member(claims, "iss") or "")
    if trouble then error("nothing was revoked: " .. trouble, 0) end
    for _, target in ipairs(targets) do fire(target, after, 401) end
    sent = sent + 2 * #targets
  end
  return sent
end

if plan.revokes then find_revocable() end

print(("forged tokens say iss %s, aud %s"):format(plan.issuer, plan.audience))
if not plan.key then print("skipped: public keys as secrets; give --jwks URL") end
if not plan.token then print("skipped: changes to a good token; give --token TOKEN") end
if #revocable == 0 then
  print("skipped: revoked tokens; " .. (plan.revokes and "give --token TOKEN, with a jti, sid or sub, bound to nothing"
    or "give --revoke to have some revoked"))
end
print(("\n%-11s  %-42s  %-34s  %-9s  %s"):format("", "attack", "route", "expected", "actual"))
local routes, fired, asking = 0, 0, {}
for _, target in ipairs(plan.targets) do
  local junk_status = protected(target)
  if junk_status then
    routes = routes + 1
    local here = target.forged or attacks
    for _, attack in ipairs(here) do fire(target, attack, junk_status) end
    fired = fired + #here
    for _, attack in ipairs(target.is_site and respellings(target.path) or {}) do
      fire(target, attack, junk_status)
      fired = fired + 1
    end
    if target.asks and not target.forged then asking[#asking + 1] = target end
    io.stdout:flush()
  end
end
fired = fired + fire_revoked(asking)
print(("\n%d requests at %d protected route%s: %d as expected, %d let through, %d faults"):format(fired, routes,
  routes == 1 and "" or "s", tally.ok, tally["LET THROUGH"], tally.FAULT))
if routes == 0 then error("no protected route was found", 0) end
return tally["LET THROUGH"] + tally.FAULT == 0
