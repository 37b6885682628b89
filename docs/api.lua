--- The public Lua API, as data. docs/api.md and docs/luafn.lua are made from it (tools/docs.lua); the
--- examples are run as those of any page, see tests/README.md.
---
--- args: { name, type, text }, a name with "?" may be left out. returns: { type, text }.

local modules = {}
local types = {}

modules[#modules + 1] = {
  name = "after_response",
  summary = "Work that the client does not wait for.",
  functions = {
    {
      name = "after_response",
      summary = "Runs a function once the answer has been sent. The request's limits still hold; a fault in it is logged.",
      args = { { "fn", "fun()", "called without arguments" } },
      errors = "`fn` is not a function.",
      example = [[
return function(event)
  after_response(function() log.info("answered", { path = event.path }) end)
  return "ok"
end]],
    },
  },
}

modules[#modules + 1] = {
  name = "base64",
  summary = "Base64 (RFC 4648). Decoding is strict: white space, a foreign alphabet and unused bits that are not zero are refused.",
  functions = {
    {
      name = "base64.decode",
      summary = "Decodes the standard alphabet; padding may be left out.",
      args = { { "text", "string", "base64" } },
      returns = { { "string?", "the bytes, or nil" }, { "string?", "why not, with the position in bytes" } },
      errors = "`text` is not a string.",
      example = [[
assert(base64.decode("aGVsbG8=") == "hello")
local bytes, why = base64.decode("aGV!bG8=")
assert(bytes == nil and why == "invalid base64 at byte 4")]],
    },
    {
      name = "base64.decode_url",
      summary = "Decodes the alphabet for URLs (`-` and `_`), without padding, as in tokens.",
      args = { { "text", "string", "base64url" } },
      returns = { { "string?", "the bytes, or nil" }, { "string?", "why not, with the position in bytes" } },
      errors = "`text` is not a string.",
      example = [[
assert(base64.decode_url("-_8") == "\xfb\xff")
assert(base64.decode_url("aGVsbG8=") == nil)]],
    },
    {
      name = "base64.encode",
      summary = "Encodes with the standard alphabet and padding.",
      args = { { "bytes", "string", "any bytes" } },
      returns = { { "string", "base64" } },
      errors = "`bytes` is not a string.",
      example = [[assert(base64.encode("hello") == "aGVsbG8=")]],
    },
    {
      name = "base64.encode_url",
      summary = "Encodes with the alphabet for URLs, without padding.",
      args = { { "bytes", "string", "any bytes" } },
      returns = { { "string", "base64url" } },
      errors = "`bytes` is not a string.",
      example = [[assert(base64.encode_url("\xfb\xff") == "-_8")]],
    },
  },
}

modules[#modules + 1] = {
  name = "channel",
  summary = "Texts from one function to all that listen, in all workers; with KV_URL on all machines. Nothing is kept: a text reaches who listens at that moment, at most once, and those of one speaker on one channel in the order in which they were published. A name is UTF-8, 1 to 128 bytes, and shared by all functions; a text has 64 KiB at most.",
  functions = {
    {
      name = "channel.publish",
      summary = "Says a text to all who have subscribed to that name, here and elsewhere. Waits for none of them, and does not tell whether there are any.",
      args = { { "name", "string", "" }, { "text", "string", "any bytes; see `json.encode`" } },
      returns = { { "boolean?", "true" }, { "string?", "why not: the server of KV_URL cannot be reached" } },
      errors = "A name or a text that is too long or none.",
      example = [[assert(channel.publish("room 5", json.encode { from = "anna", text = "hello" }))]],
    },
    {
      name = "channel.subscribe",
      summary = "Listens from now on. What comes is taken by a `for` loop, or by calling the subscription, which waits. It ends with nil when it was closed, when the client of a WebSocket leaves, and when the host or this generation of the function goes. In a WebSocket or a stream `timeout` does not count while it waits.",
      args = { { "name", "string", "" } },
      returns = {
        { "luafn.Subscription?", "nil if KV_URL's server cannot be reached" },
        { "string?", "why" },
      },
      errors = "A name that is too long or none; where nothing can wait. The loop raises when more waits than 1,024 texts or 256 KiB: who takes nothing is dropped.",
      example = [[
local room <close> = channel.subscribe("room 5")
channel.publish("room 5", "hello")
for text in room do
  assert(text == "hello")
  break
end]],
    },
  },
}

modules[#modules + 1] = {
  name = "crypto",
  summary = "Random bytes, digests, comparison of secrets, keys of passwords, signatures and sealed texts.",
  functions = {
    {
      name = "crypto.decrypt",
      summary = "Opens what `crypto.encrypt` made.",
      args = { { "key", "string", "32 bytes" }, { "sealed", "string", "nonce, text and tag" } },
      returns = { { "string?", "the text, or nil where the key is another or a byte was changed" }, { "string?", "why" } },
      errors = "The key has not 32 bytes.",
      example = [[
local key = crypto.random(32)
assert(crypto.decrypt(key, crypto.encrypt(key, "a text")) == "a text")
assert(crypto.decrypt(crypto.random(32), crypto.encrypt(key, "a text")) == nil)]],
    },
    {
      name = "crypto.encrypt",
      summary = "Seals a text so that nobody without the key can read or change it (AES-256-GCM). A random nonce of 12 bytes stands in front, the tag of 16 behind. One key is good for some four thousand million texts.",
      args = { { "key", "string", "32 bytes: `crypto.random(32)`, or `crypto.hkdf` of a secret" }, { "text", "string", "any bytes" } },
      returns = { { "string", "28 bytes more than the text" } },
      errors = "The key has not 32 bytes.",
      example = [[
local key = crypto.hkdf("sha256", "a long secret", "", "cookie", 32)
local cookie = base64.encode_url(crypto.encrypt(key, "user 5"))
assert(crypto.decrypt(key, base64.decode_url(cookie)) == "user 5")]],
    },
    {
      name = "crypto.equals",
      summary = "Compares two texts in a time that does not depend on where they differ. Texts of different length are different.",
      args = { { "a", "string", "" }, { "b", "string", "" } },
      returns = { { "boolean", "" } },
      errors = "An argument is not a string.",
      example = [[
assert(crypto.equals("secret", "secret"))
assert(not crypto.equals("secret", "secreT"))]],
    },
    {
      name = "crypto.hkdf",
      summary = "A key of a secret, one for each purpose (RFC 5869). Not for passwords: it is quick.",
      args = {
        { "algorithm", '"sha256"|"sha384"|"sha512"|"sha1"', "" },
        { "key", "string", "1 to 1024 bytes" },
        { "salt", "string", "at most 1024 bytes, may be empty" },
        { "info", "string", "what the key is for, at most 1024 bytes" },
        { "length", "integer", "1 to 1024 bytes" },
      },
      returns = { { "string", "`length` bytes" } },
      errors = "An argument is out of range.",
      example = [[assert(#crypto.hkdf("sha256", "a long secret", "", "cookie", 32) == 32)]],
    },
    {
      name = "crypto.hmac",
      summary = "Keyed digest (RFC 2104), as webhooks sign their bodies.",
      args = {
        { "algorithm", '"sha256"|"sha384"|"sha512"|"sha1"', "sha1 only for senders that know nothing better" },
        { "key", "string", "any bytes" },
        { "text", "string", "any bytes" },
        { "encoding?", '"hex"|"base64"|"base64url"|"raw"', 'default "hex", lower case' },
      },
      returns = { { "string", "the digest" } },
      errors = "An unknown algorithm or encoding; key or text is not a string.",
      example = [[
local signature = crypto.hmac("sha256", "Jefe", "what do ya want for nothing?")
assert(signature == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")]],
    },
    {
      name = "crypto.pbkdf2",
      summary = "A key of a password (RFC 8018), slow on purpose: a thread computes it, and the request waits while others run.",
      args = {
        { "algorithm", '"sha256"|"sha384"|"sha512"|"sha1"', "" },
        { "password", "string", "" },
        { "salt", "string", "16 random bytes, kept beside the key" },
        { "iterations", "integer", "1 to 5000000; 600000 of sha256 are advised" },
        { "length", "integer", "1 to 1024 bytes" },
      },
      returns = { { "string", "`length` bytes" } },
      errors = "An argument is out of range; 256 such keys are under way in this worker.",
      example = [[
local salt = crypto.random(16)
local key = crypto.pbkdf2("sha256", "open sesame", salt, 1000, 32)
assert(crypto.equals(key, crypto.pbkdf2("sha256", "open sesame", salt, 1000, 32)))]],
    },
    {
      name = "crypto.random",
      summary = "Bytes that nobody can predict.",
      args = { { "count", "integer", "0 to 65536" } },
      returns = { { "string", "`count` bytes" } },
      errors = "`count` is out of range.",
      example = [[
assert(#crypto.random(16) == 16)
local state = base64.encode_url(crypto.random(24))
assert(#state == 32)]],
    },
    {
      name = "crypto.scrypt",
      summary = "A key of a password (RFC 7914) that costs memory as well as time: 128 * r * n bytes, which the function's `memory` must have free. A thread computes it, and the request waits while others run.",
      args = {
        { "password", "string", "" },
        { "salt", "string", "16 random bytes, kept beside the key" },
        { "options?", "table", "`n` a power of two (default 16384), `r` (8), `p` (1; 5 is advised with that n), `length` in bytes (32)" },
      },
      returns = { { "string", "`length` bytes" } },
      errors = "An option is unknown or out of range, n * r * p above 16777216, not enough `memory`; 256 such keys are under way in this worker.",
      example = [[
local salt = crypto.random(16)
local key = crypto.scrypt("open sesame", salt, { n = 1024, r = 8, p = 5 })
assert(#key == 32 and key ~= crypto.scrypt("open says me", salt, { n = 1024, r = 8, p = 5 }))]],
    },
    {
      name = "crypto.sha1",
      summary = "SHA-1 digest. For senders that know nothing better.",
      args = {
        { "text", "string", "any bytes" },
        { "encoding?", '"hex"|"base64"|"base64url"|"raw"', 'default "hex", lower case' },
      },
      returns = { { "string", "the digest" } },
      errors = "`text` is not a string; an unknown encoding.",
      example = [[assert(crypto.sha1("abc"):sub(1, 16) == "a9993e364706816a")]],
    },
    {
      name = "crypto.sha256",
      summary = "SHA-256 digest.",
      args = {
        { "text", "string", "any bytes" },
        { "encoding?", '"hex"|"base64"|"base64url"|"raw"', 'default "hex", lower case' },
      },
      returns = { { "string", "the digest" } },
      errors = "`text` is not a string; an unknown encoding.",
      example = [[
assert(crypto.sha256("abc"):sub(1, 16) == "ba7816bf8f01cfea")
assert(#crypto.sha256("abc", "raw") == 32)]],
    },
    {
      name = "crypto.sha384",
      summary = "SHA-384 digest.",
      args = {
        { "text", "string", "any bytes" },
        { "encoding?", '"hex"|"base64"|"base64url"|"raw"', 'default "hex", lower case' },
      },
      returns = { { "string", "the digest" } },
      errors = "`text` is not a string; an unknown encoding.",
      example = [[assert(crypto.sha384("abc"):sub(1, 16) == "cb00753f45a35e8b")]],
    },
    {
      name = "crypto.sha512",
      summary = "SHA-512 digest.",
      args = {
        { "text", "string", "any bytes" },
        { "encoding?", '"hex"|"base64"|"base64url"|"raw"', 'default "hex", lower case' },
      },
      returns = { { "string", "the digest" } },
      errors = "`text` is not a string; an unknown encoding.",
      example = [[assert(crypto.sha512("abc"):sub(1, 16) == "ddaf35a193617aba")]],
    },
    {
      name = "crypto.sign",
      summary = "Signs a text with a private key, in the form of a token's signature (RFC 7518: ES is r and s side by side). Whole tokens are `jwt.sign`'s.",
      args = {
        { "algorithm", '"RS256"|"RS384"|"RS512"|"PS256"|"PS384"|"PS512"|"ES256"|"ES384"|"ES512"|"EdDSA"', "as in a token" },
        { "key", "string", "PEM of the private key" },
        { "text", "string", "any bytes" },
      },
      returns = { { "string?", "the signature's bytes, or nil where the key cannot" }, { "string?", "why" } },
      errors = "The algorithm is unknown, or one of shared secrets.",
      example = "local signature, why = crypto.sign(\"ES256\", env.SIGNING_KEY or \"\", \"a text\")\nassert(signature or why)",
    },
    {
      name = "crypto.uuid",
      summary = "A random UUID (version 4).",
      returns = { { "string", "36 characters, lower case" } },
      example = [[
local id = crypto.uuid()
assert(#id == 36 and id:sub(15, 15) == "4")]],
    },
    {
      name = "crypto.verify",
      summary = "Checks a signature over a text.",
      args = {
        { "algorithm", '"RS256"|"RS384"|"RS512"|"PS256"|"PS384"|"PS512"|"ES256"|"ES384"|"ES512"|"EdDSA"', "as in a token" },
        { "key", "string", "PEM of the public key, or of a certificate" },
        { "text", "string", "any bytes" },
        { "signature", "string", "its bytes" },
      },
      returns = { { "boolean?", "is it good? nil where the key cannot" }, { "string?", "why" } },
      errors = "The algorithm is unknown, or one of shared secrets.",
      example = "assert(not crypto.verify(\"ES256\", env.PUBLIC_KEY or \"\", \"a text\", \"\"))",
    },
  },
}

modules[#modules + 1] = {
  name = "env",
  summary = "Environment variables, read-only: `env.NAME` is a string, or nil. A function sees those that its `env` list in functions.lua names (`*` allowed); without a list, all of them in `dev`, and in `serve` those of the .env files. `pairs(env)` walks them; assigning raises.",
  stub = "---@type table<string, string?>\nenv = {}",
  functions = {
    {
      name = "env.NAME",
      is_value = true,
      summary = "The variable NAME, where the function may see it.",
      returns = { { "string?", "its value" } },
      errors = "Assigning: `env is read-only`.",
      example = [[
assert(env.TV_API_URL == "https://api.tvmaze.com/shows")
assert(env.NO_SUCH_VARIABLE == nil)
for name, value in pairs(env) do assert(env[name] == value) end
assert(not pcall(function() env.TV_API_URL = "" end))]],
    },
  },
}

modules[#modules + 1] = {
  name = "fetch",
  summary = "HTTP requests to other services, without blocking the host: other requests run while this one waits.",
  functions = {
    {
      name = "fetch",
      summary = "Sends a request and waits for the answer. Only hosts that the function's `fetch` list names; without a list, any public host. Any status is an answer; look at `res.ok`.",
      args = {
        { "url", "string", "http or https" },
        { "options?", "luafn.FetchOptions", "" },
      },
      returns = { { "luafn.FetchResponse", "" } },
      errors = "No answer: name not found, refused, timeout, a host outside the list, a body over 16 MB, a head over 256 lines or 64 KiB, a gzip, deflate or br body that is cut off or damaged, a head that is cut off, a Content-Length that is not one number, an option that is none, a token that `as` cannot get, a host that it is not for; a connection that was used before and closed without an answer, unless the method may be repeated (GET, HEAD, OPTIONS, TRACE, PUT, DELETE: those are tried again).",
      example = [[
local res = fetch(env.TV_API_URL, { headers = { accept = "application/json" }, timeout = 5 })
if not res.ok then error("TV API said " .. res.status) end
local shows = res:json()

local made = fetch("https://api.example/orders", { json = { item = "tea" }, retry = { times = 3 } })

local ok, why = pcall(fetch, "https://down.example/")
if not ok then log.warn("no answer", { why = tostring(why) }) end]],
    },
  },
}

modules[#modules + 1] = {
  name = "html",
  summary = "Pages: what is not the page's own is escaped as the place wants it, see [pages](scripting.md#pages).",
  functions = {
    {
      name = "html.escape",
      summary = "A text for a page's text, or an attribute in quotes.",
      args = { { "text", "string", "" } },
      returns = { { "string", "" } },
      errors = "`text` is not a string.",
      example = [[assert(html.escape("<b title='x'>") == "&lt;b title=&#39;x&#39;&gt;")]],
    },
    {
      name = "html.render",
      summary = "A page of a template and values. A name that ends in `.html` and has no blank is a file beside the script, anything else the template itself; either is compiled once.",
      args = { { "template", "string", "" }, { "values?", "table", "what names in it stand for" } },
      returns = { { "string", "" } },
      errors = "No such file; a template that is wrong, or includes itself, with its line; a value where none can be made safe; a page over 16 MB.",
      example = [=[
local page = html.render([[<ul>{% for s in shows %}<li><a href="{{ s.url }}">{{ s.name }}</a>{% end %}</ul>]],
  { shows = { { name = "<Girls>", url = "javascript:alert(1)" } } })
assert(page == '<ul><li><a href="about:invalid">&lt;Girls&gt;</a></ul>')]=],
    },
  },
}

modules[#modules + 1] = {
  name = "json",
  summary = "JSON (RFC 8259). Integers stay integers, arrays stay arrays also when they are empty, `null` is `json.null`. At most 64 levels deep.",
  values = { { "null", "lightuserdata", "JSON's null, in both directions. It is true in Lua: compare with `== json.null`." } },
  functions = {
    {
      name = "json.array",
      summary = "Marks a table as an array, so that it encodes as `[]` when it is empty. Tables from `json.decode` are marked already.",
      args = { { "t?", "table", "default: a new table" } },
      returns = { { "table", "`t`" } },
      errors = "`t` is not a table, or has another metatable.",
      example = [=[
assert(json.encode({ tags = {} }) == '{"tags":{}}')
assert(json.encode({ tags = json.array {} }) == '{"tags":[]}')]=],
    },
    {
      name = "json.decode",
      summary = "Reads a JSON text. Numbers without fraction or exponent that fit 64 bits become integers, others floats. Of members with the same name the last one counts. The whole text is checked, but members are made when they are read: three members of a large document cost little, and what nobody touched `json.encode` writes as it came, in the text's order. The text is kept while any part of it is held; `eager` makes all of it at once and keeps nothing.",
      args = { { "text", "string", "one value, in UTF-8" }, { "options?", "luafn.DecodeOptions", "" } },
      returns = { { "any", "" } },
      errors = "The text is not JSON, with the place: `json.decode: expected ',' or '}' at line 1 column 8 (byte 8)`. Numbers beyond a float, half surrogate pairs and invalid UTF-8 are refused too.",
      example = [=[
local v = json.decode('{"id": 7, "score": 0.5, "tags": [], "next": null}')
assert(math.type(v.id) == "integer" and v.score == 0.5)
assert(#v.tags == 0 and v.next == json.null)
v.id = 8
assert(json.encode(v) == '{"id":8,"score":0.5,"tags":[],"next":null}')

local ok, why = pcall(json.decode, '{"a":1 "b":2}')
assert(not ok and why:find("expected ',' or '}' at line 1 column 8", 1, true))]=],
    },
    {
      name = "json.encode",
      summary = "Writes a value as JSON. A table is an array when its keys are exactly 1..n, an object when they are all strings; an empty one is `{}` unless marked by `json.array`. Floats are written so that they read back the same; whole ones below 2^53 without a fraction (`1e3` is `1000`, and decodes as an integer).",
      args = {
        { "value", "any", "nil, boolean, number, string, table or json.null" },
        { "options?", "luafn.JsonOptions", "" },
      },
      returns = { { "string", "" } },
      errors = "What JSON cannot say, with the place: functions, userdata, NaN, infinities, mixed tables and arrays with holes, text that is not UTF-8; more than 64 levels (so also a table that contains itself), more than 16 MB.",
      example = [=[
assert(json.encode({ 1, 2.0, "x", json.null }) == '[1,2,"x",null]')
assert(json.encode({ b = 1, a = 2 }, { sort_keys = true }) == '{"a":2,"b":1}')

local ok, why = pcall(json.encode, { items = { 1, { f = print } } })
assert(not ok and why:find("cannot encode a function at .items[2].f", 1, true))]=],
    },
  },
}

modules[#modules + 1] = {
  name = "jwt",
  summary = "Tokens in Lua, in the manner of serverless-jwt: the same codes and texts, stricter where that is safer. Routes that say `auth` in functions.lua are checked before any Lua runs and need none of this.",
  functions = {
    {
      name = "jwt.claim_to_array",
      summary = "A claim as an array: nil and null give an empty one, a table is returned as it is, a string is split at single spaces (empty parts stay), anything else becomes the only element.",
      args = { { "value", "any", "" } },
      returns = { { "any[]", "" } },
      example = [[
local scopes = jwt.claim_to_array("read:shows create:shows")
assert(#scopes == 2 and scopes[1] == "read:shows")
assert(#jwt.claim_to_array(nil) == 0)]],
    },
    {
      name = "jwt.has_scope",
      summary = "Is the scope one of the whole words of the claims' `scope`, `scp` or `permissions`?",
      args = { { "claims", "table", "verified claims" }, { "scope", "string", "" } },
      returns = { { "boolean", "" } },
      errors = "`scope` is not a string.",
      example = [[
assert(jwt.has_scope({ scope = "read:shows openid" }, "read:shows"))
assert(not jwt.has_scope({ scope = "read:shows2" }, "read:shows"))]],
    },
    {
      name = "jwt.mapping",
      summary = "A function for `map_claims`: first the namespace goes, as by `jwt.remove_namespaces`, then the members in `lists` become lists, as by `jwt.claim_to_array`; those that are not there, empty ones. As only the claims decide, it is worked out once for a token that comes again.",
      args = { { "options", "table", "`namespace?` (text); `lists?` (at most 16 names)" } },
      returns = { { "fun(claims: table): table", "gives a new table" } },
      errors = "An unknown option, or one of the wrong type.",
      example = [[
local map = jwt.mapping { namespace = "https://app.example/", lists = { "scope", "roles" } }
local claims = map { ["https://app.example/roles"] = "admin user", sub = "me" }
assert(claims.roles[2] == "user" and #claims.scope == 0 and claims.sub == "me")]],
    },
    {
      name = "jwt.public_jwk",
      summary = "The public half of a PEM key as a JWK, for a key set of one's own; its `kid` is the RFC 7638 thumbprint.",
      args = {
        { "pem", "string", "a private or public key" },
        { "algorithm?", "string", "default RS256" },
        { "certificate?", "boolean", "with `x5c` and `x5t`: a certificate that the key, private RSA, signs itself" },
      },
      returns = { { "table?", "kty, use, alg, kid and the public members; or nil" }, { "string?", "why not" } },
      errors = "The algorithm is not known.",
      example = [[
return { statusCode = 200, body = json.encode { keys = json.array { jwt.public_jwk(env.SIGNING_KEY, "RS256") } } }]],
    },
    {
      name = "jwt.remove_namespaces",
      summary = "A copy of the claims in which the first occurrence of the namespace in every name is dropped. A registered claim of the token itself is never overwritten.",
      args = { { "namespace", "string", "" }, { "claims", "table", "" } },
      returns = { { "table", "a new table; lists and tables that were not read before are its own" } },
      errors = "`claims` is not a table.",
      example = [[
local claims = jwt.remove_namespaces("https://app.example/", { ["https://app.example/roles"] = "admin" })
assert(claims.roles == "admin")]],
    },
    {
      name = "jwt.require_auth",
      summary = "A handler that runs only for callers with a good token of the issuer of functions.lua; others get 401.",
      args = { { "handler", "luafn.Handler", "" } },
      returns = { { "luafn.Handler", "" } },
      errors = "The handler is not a function; no issuer is configured.",
      example = [[
return jwt.require_auth(function(event, context)
  return json.encode(context.identityContext.claims)
end)]],
    },
    {
      name = "jwt.require_role",
      summary = "A handler that runs only for callers with the role; others get 401 or 403. Uses the issuer of functions.lua.",
      args = { { "role", "string", "one of the claim `roles`" }, { "handler", "luafn.Handler", "" } },
      returns = { { "luafn.Handler", "" } },
      errors = "An argument of the wrong type; no issuer is configured.",
      example = [[
return jwt.require_role("admin", function(event, context)
  return "hello " .. context.identityContext.claims.sub
end)]],
    },
    {
      name = "jwt.require_scope",
      summary = "A handler that runs only for callers with the scope; others get 401 or 403. Uses the issuer of functions.lua.",
      args = { { "scope", "string", "a whole word" }, { "handler", "luafn.Handler", "" } },
      returns = { { "luafn.Handler", "" } },
      errors = "An argument of the wrong type; a scope with a blank, which no token has; no issuer is configured.",
      example = [[
return jwt.require_scope("read:shows", function()
  return { statusCode = 200, body = fetch(env.TV_API_URL):text() }
end)]],
    },
    {
      name = "jwt.revoke",
      summary = "Tokens that are not let in any more, in all workers and on all hosts that share the store. Any function may call it, so give one that does an `auth`.",
      args = { { "what", "luafn.Revocation", "one of `sub`, `sid` and `jti`" } },
      returns = { { "boolean?", "true when it is kept; nil: it counts in this host until that is restarted" }, { "string?", "why it could not be kept" } },
      errors = "None or several of `sub`, `sid` and `jti`; an unknown or wrong member; `before` is yet to come.",
      example = [[
local kept, why = jwt.revoke { sub = "auth0|7" }
assert(kept or why)]],
    },
    {
      name = "jwt.sign",
      summary = "A signed token with these claims.",
      args = {
        { "claims", "table", "taken as they are: `iat` and `exp` are the caller's" },
        { "options", "table", "`key` (PEM of a private key) or `secret`; `algorithm` (default RS256, with a secret HS256); `kid`; `typ` (default JWT)" },
      },
      returns = { { "string?", "the compact token, or nil" }, { "string?", "why not: a key that does not fit" } },
      errors = "Claims that JSON cannot say; an unknown option or algorithm; both or none of `key` and `secret`.",
      example = [[
local token = jwt.sign({ sub = "me", exp = os.time() + 60 },
                       { algorithm = "HS256", secret = env.LINK_SECRET })]],
    },
    {
      name = "jwt.token_from_header",
      summary = "The token in an Authorization header: `Bearer`, in any case, one space, the token.",
      args = { { "header?", "string", "" } },
      returns = { { "string?", "the token, or nil" }, { "luafn.TokenError?", "code `invalid_header`" } },
      example = [[
assert(jwt.token_from_header("Bearer abc") == "abc")
local token, err = jwt.token_from_header(nil)
assert(token == nil and err.code == "invalid_header")]],
    },
    {
      name = "jwt.verifier",
      summary = "Makes a wrapper for handlers, as NetlifyJwtVerifier does: the wrapped handler runs only with a good token, and finds it in `context.identityContext`; otherwise the answer is a 401 in JSON.",
      args = { { "options", "luafn.VerifierOptions", "" } },
      returns = { { "fun(handler: luafn.Handler): luafn.Handler", "the wrapper" } },
      errors = "An option is missing, unknown or wrong, with the texts of serverless-jwt.",
      example = [[
local verify = jwt.verifier { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE }
return verify(function(event, context)
  return { statusCode = 200, body = json.encode { claims = context.identityContext.claims } }
end)]],
    },
    {
      name = "jwt.verify",
      summary = "Checks one token.",
      args = { { "token", "string", "" }, { "options", "luafn.VerifierOptions", "" } },
      returns = { { "table?", "the claims, or nil" }, { "luafn.TokenError?", "" } },
      errors = "An option is missing, unknown or wrong.",
      example = [[
local claims, err = jwt.verify(token, { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE })
if not claims then log.info(err.message, { code = err.code }) end]],
    },
  },
}

local function log_function(level, summary)
  return {
    name = "log." .. level,
    summary = summary,
    args = {
      { "message", "any", "as `tostring` gives it, a table without `__tostring` as JSON; at most 8 KB" },
      { "fields?", "table", "anything that JSON can say; at most 8 KB" },
    },
    errors = "No message; `fields` is not a table. Fields that cannot be encoded are replaced by the reason.",
    example = ('log.%s("shows read", { count = 240, seconds = 0.8 })\nlog.%s("plain")'):format(level, level),
  }
end

modules[#modules + 1] = {
  name = "kv",
  summary = "Values that outlive a request, shared by all workers and kept through restarts. Each function has a namespace of its own, unless functions.lua gives it another with `kv`. A key is UTF-8, 1 to 600 bytes; a value is a string or what JSON can hold, up to 1 MB, and comes back as what it was. Reading is immediate; what writes waits until it is on the disk. With KV_URL all of it is on a server that many machines share, and reading waits, too.",
  functions = {
    {
      name = "kv.cas",
      summary = "Compares and sets: writes the value only if the present one equals `expected`. Strings equal strings, tables equal tables of the same content.",
      args = {
        { "key", "string", "" },
        { "expected", "luafn.KvValue?", "nil: the key must not be there" },
        { "value", "luafn.KvValue?", "nil: delete it" },
        { "options?", "luafn.KvOptions", "" },
      },
      returns = { { "boolean?", "whether it was as expected; nil when it could not be written" }, { "string?", "why not" } },
      errors = "A bad key, value or option.",
      example = [[
local done, why
repeat
  local before = kv.get("names")
  local after = { table.unpack(before or {}) }
  after[#after + 1] = "Ada"
  done, why = kv.cas("names", before, after)
until done or why
assert(done, why)]],
    },
    {
      name = "kv.delete",
      summary = "Deletes a key.",
      args = { { "key", "string", "" } },
      returns = { { "boolean?", "whether it was there; nil when it could not be deleted" }, { "string?", "why not" } },
      errors = "A bad key.",
      example = [[kv.delete("session/1")]],
    },
    {
      name = "kv.get",
      summary = "Reads a value. Without KV_URL it works where nothing can wait, too.",
      args = { { "key", "string", "" } },
      returns = { { "luafn.KvValue?", "nil: there is none, or it has expired" }, { "string?", "the reason, if it could not be read" } },
      errors = "A bad key.",
      example = [[local session = kv.get("session/1") or { cart = {} }]],
    },
    {
      name = "kv.incr",
      summary = "Adds to a counter and returns its new value; a counter that is not there begins at 0. Atomic.",
      args = {
        { "key", "string", "" },
        { "by?", "integer", "default 1; may be negative" },
        { "options?", "luafn.KvOptions", "`ttl` of a counter that this call makes; one that is there keeps its own" },
      },
      returns = { { "integer?", "the new value; nil: it is no integer, or could not be written" }, { "string?", "why not" } },
      errors = "A bad key or option; `by` is not an integer.",
      example = [[local today = kv.incr("mails/" .. os.date("!%Y-%m-%d"), 1, { ttl = 2 * 86400 })]],
    },
    {
      name = "kv.list",
      summary = "Keys that begin with a prefix, in the order of their bytes.",
      args = {
        { "prefix?", "string", "default: all" },
        { "options?", "luafn.KvListOptions", "" },
      },
      returns = {
        { "string[]?", "the keys; nil when they could not be read" },
        { "string?", "where to go on, for `after`, when there may be more; or why there is no list" },
      },
      errors = "A bad prefix or option.",
      example = [[
local after
repeat
  local keys
  keys, after = kv.list("session/", { limit = 100, after = after })
  for _, key in ipairs(keys) do print(key) end
until not after]],
    },
    {
      name = "kv.set",
      summary = "Writes a value.",
      args = {
        { "key", "string", "" },
        { "value", "luafn.KvValue", "" },
        { "options?", "luafn.KvOptions", "" },
      },
      returns = { { "true?", "nil when it could not be written" }, { "string?", "why not" } },
      errors = "A bad key, value or option.",
      example = [[assert(kv.set("session/1", { user = "auth0|1", cart = {} }, { ttl = 3600 }))]],
    },
  },
}

modules[#modules + 1] = {
  name = "log",
  summary = "Lines in the host's log, with time, function, request id and generation. A request may write 64 KB. `print` is `log.info` with its arguments separated by tabs.",
  functions = {
    log_function("debug", "For development: dropped unless the host runs with debug lines."),
    log_function("error", "Something failed and somebody should look."),
    log_function("info", "What happened."),
    log_function("warn", "Something is off, and was dealt with."),
  },
}

modules[#modules + 1] = {
  name = "parallel",
  summary = "Several waits at once.",
  functions = {
    {
      name = "parallel",
      summary = "Runs the functions side by side and waits for all of them: while one waits (`fetch`, `sleep`), the others go on.",
      args = { { "...", "fun(): any", "functions without arguments" } },
      returns = { { "any ...", "the first result of each, in the order of the arguments" } },
      errors = "What one of them raised; the others are cancelled.",
      example = [[
local shows, people = parallel(
  function() return fetch("https://api.tvmaze.com/shows"):json() end,
  function() return fetch("https://api.tvmaze.com/people"):json() end)]],
    },
  },
}

modules[#modules + 1] = {
  name = "queue",
  summary = "Work for later: a job is stored before it is promised, and runs at least once, whatever ends meanwhile.",
  functions = {
    {
      name = "queue.send",
      summary = "Stores a job for a function. It gets a POST with the value as JSON, `x-nf-event: queue` and `event.job`, is called when it has a free slot, and has failed when it raises, passes a limit or answers 500 or above: then it is tried again by its `retry`.",
      args = {
        { "name", "string", "of the function" },
        { "value", "any", "what JSON can hold, up to 8 MB" },
        { "options?", "luafn.QueueOptions", "" },
      },
      returns = { { "string?", "the job's id; nil when it was not stored" }, { "string?", "why not: `taken` where the key is" } },
      errors = "There is no such function; a bad value or option.",
      example = [[
local mail = context.functionName -- or any other function: "mail"
local id, why = queue.send(mail, { to = "ada@example.org" }, { key = "welcome/auth0|7", delay = 5 })
if not id and why ~= "taken" then error(why) end]],
    },
  },
}
modules[#modules + 1] = {
  name = "read_file",
  summary = "Files of the deployment.",
  functions = {
    {
      name = "read_file",
      summary = "The bytes of a file that the function's `files` lists, at most 1 MiB. What has been read stays until the function is loaded again, as a change of the file makes it.",
      args = { { "path", "string", "from functions.lua's folder" } },
      returns = { { "string?", "its bytes, or nil" }, { "string?", "why not" } },
      errors = "`files` does not list it, or it is hidden (`.env`).",
      example = [[
local ok, why = pcall(read_file, "scripts/me.lua")
assert(not ok and why:find("is not among the `files`", 1, true))]],
    },
  },
}

modules[#modules + 1] = {
  name = "respond",
  summary = "Answers, to be returned or raised: `return respond.json(200, list)`, `error(respond.error(404, \"not_found\", \"No such show\"))`.",
  functions = {
    {
      name = "respond.cookie",
      summary = "The text of a cookie, for `multiValueHeaders[\"Set-Cookie\"]`. Of the value, what a cookie cannot hold is percent-encoded; `event:cookies()` undoes that.",
      args = { { "name", "string", "" }, { "value", "string", "any bytes" }, { "options?", "luafn.CookieOptions", "" } },
      returns = { { "string", "" } },
      errors = "A name with blanks or separators, an unknown option, an option of another type, what browsers drop (`SameSite=None` or `Partitioned` without `Secure`).",
      example = [[
assert(respond.cookie("seen", "a b") == "seen=a%20b; Secure; HttpOnly; SameSite=Lax")
assert(respond.cookie("seen", "", { max_age = 0 }) == "seen=; Max-Age=0; Secure; HttpOnly; SameSite=Lax")]],
    },
    {
      name = "respond.error",
      summary = "An error as the host itself gives it: `{\"error\":code,\"error_description\":text}`.",
      args = { { "status", "integer", "200 to 599" }, { "code", "string", "a word for programs" }, { "text", "string", "for people" } },
      returns = { { "luafn.Response", "" } },
      errors = "An argument of another type, a status out of range.",
      example = [[
local answer = respond.error(404, "not_found", "No such show")
assert(answer.statusCode == 404 and json.decode(answer.body).error == "not_found")]],
    },
    {
      name = "respond.html",
      summary = "A page, `text/html; charset=utf-8`.",
      args = { { "text", "string", "" }, { "status?", "integer", "200 to 599; default 200" } },
      returns = { { "luafn.Response", "" } },
      errors = "`text` is not a string, a status out of range.",
      example = [[
assert(respond.html("<p>hello").headers["Content-Type"] == "text/html; charset=utf-8")
assert(respond.html("<p>a title is missing", 422).statusCode == 422)]],
    },
    {
      name = "respond.json",
      summary = "A value as JSON; what `json.decode` gave and nobody touched is written as it came.",
      args = { { "status", "integer", "200 to 599" }, { "value", "any", "" }, { "headers?", "table<string, string>", "more of them; a Content-Type there counts" } },
      returns = { { "luafn.Response", "" } },
      errors = "A status out of range, what JSON cannot hold, names of headers that are no texts.",
      example = [[
local answer = respond.json(201, { id = 7 }, { Location = "/shows/7" })
assert(answer.statusCode == 201 and answer.body == '{"id":7}')
assert(answer.headers["Content-Type"] == "application/json" and answer.headers.Location == "/shows/7")]],
    },
    {
      name = "respond.redirect",
      summary = "A redirect.",
      args = { { "url", "string", "for `Location`" }, { "status?", "integer", "300 to 399; default 302" } },
      returns = { { "luafn.Response", "" } },
      errors = "An empty URL or one with control characters, a status out of range.",
      example = [[assert(respond.redirect("/elsewhere", 303).headers.Location == "/elsewhere")]],
    },
  },
}

modules[#modules + 1] = {
  name = "schema",
  summary = "Values against JSON Schemas (2020-12), written as tables. For a whole request the function keys `input` and `query` do that before it runs.",
  functions = {
    {
      name = "schema.check",
      summary = "Is the value as the schema says? All keywords; `format` is an annotation, `pattern` an expression of JavaScript's. References stay within the schema. An empty table is an object and an array. A schema is compiled at its first check: what is changed in its table later is not seen.",
      args = { { "schema", "table|boolean", "" }, { "value", "any", "what JSON can hold" } },
      returns = { { "any", "the value, or nil" }, { "luafn.SchemaError[]?", "what is wrong with it, at most 32" } },
      errors = "`schema` is no schema, or refers to itself without going into the value.",
      example = [[
local person = {
  type = "object", required = { "name" }, additionalProperties = false,
  properties = { name = { type = "string", minLength = 1 }, age = { type = "integer", minimum = 0 } },
}
assert(schema.check(person, { name = "Ada", age = 36 }))
local value, errors = schema.check(person, { name = "Ada", age = "36" })
assert(value == nil and errors[1].path == "/age")
assert(errors[1].message == "must be an integer, not a string")]],
    },
  },
}

modules[#modules + 1] = {
  name = "sql",
  summary = "Databases: PostgreSQL and SQLite. `sql.null` is NULL in a row or as a parameter; it is `json.null`.",
  functions = {
    {
      name = "sql.open",
      summary = "The database of an address, for any number of requests; connects when it is used.",
      args = { { "url", "string", "`postgres://...` or `sqlite:FILE`; must be the value of a variable that the function's `sql` lists" } },
      returns = { { "luafn.Database", "" } },
      errors = "The address is not listed, or cannot be read.",
      example = 'local ok, db = pcall(sql.open, env.DATABASE_URL or "sqlite:notes.db")\nassert(ok or db)',
    },
  },
}

modules[#modules + 1] = {
  name = "sleep",
  summary = "Waiting.",
  functions = {
    {
      name = "sleep",
      summary = "Waits without blocking the host. Counts against the function's `timeout`, not its `cpu`.",
      args = { { "seconds", "number", "fractions allowed" } },
      errors = "`seconds` is not a number, or negative.",
      example = [[sleep(0.25)]],
    },
  },
}

modules[#modules + 1] = {
  name = "stream",
  summary = "Answers in pieces. A result whose `body` is a function is sent as that function writes: `body = function(write) write(\"piece\") end`; `write` waits while the client is slow, and returns false once nobody reads. This module has what is built on that.",
  functions = {
    {
      name = "stream.sse",
      summary = "A result that sends server-sent events. `fn` gets `send`, which takes a text or an event and waits as `write` does.",
      args = {
        { "fn", "fun(send: fun(event: string|luafn.ServerSentEvent): boolean)", "runs after the head has been sent" },
        { "headers?", "table<string, string>", "more headers" },
      },
      returns = { { "luafn.Response", "to be returned by the handler" } },
      errors = "`fn` is not a function. `send` raises for an event without fields, and for an `event` or `id` of more than one line.",
      example = [[
return function(event)
  return stream.sse(function(send)
    for i = 1, 10 do
      send { event = "tick", id = tostring(i), data = { count = i } }
      sleep(1)
    end
  end)
end]],
    },
  },
}

modules[#modules + 1] = {
  name = "time",
  summary = "Times are numbers: seconds since 1970-01-01 UTC, with a fraction, between the years 0 and 9999.",
  functions = {
    {
      name = "time.http",
      summary = "A date as HTTP headers have it (RFC 9110).",
      args = { { "t?", "number", "seconds; default: now" } },
      returns = { { "string", "" } },
      errors = "`t` is not such a time.",
      example = [[assert(time.http(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT")]],
    },
    {
      name = "time.iso",
      summary = "ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString`.",
      args = { { "t?", "number", "seconds; default: now" } },
      returns = { { "string", "" } },
      errors = "`t` is not such a time.",
      example = [[assert(time.iso(1595000000.75) == "2020-07-17T15:33:20.750Z")]],
    },
    {
      name = "time.monotonic",
      summary = "Seconds on a clock that is never set, for measuring.",
      returns = { { "number", "seconds since some moment" } },
      example = [[
local start = time.monotonic()
assert(time.monotonic() - start >= 0)]],
    },
    {
      name = "time.now",
      summary = "The current time, finer than `os.time()`.",
      returns = { { "number", "seconds" } },
      example = [[assert(math.abs(time.now() - os.time()) < 2)]],
    },
    {
      name = "time.parse",
      summary = "Reads RFC 3339 (`2026-01-02T03:04:05.678+01:00`, `Z`), or a date alone, which is its midnight UTC.",
      args = { { "text", "string", "" } },
      returns = { { "number?", "seconds (an integer where there is no fraction), or nil" }, { "string?", "why not" } },
      errors = "`text` is not a string.",
      example = [[
assert(time.parse("2026-01-02T03:04:05Z") == 1767323045)
assert(time.parse("2026-01-02T04:04:05+01:00") == 1767323045)
assert(time.parse("yesterday") == nil)]],
    },
  },
}

modules[#modules + 1] = {
  name = "url",
  summary = "URLs and query strings (RFC 3986).",
  functions = {
    {
      name = "url.decode",
      summary = "Percent-decodes. `+` stays `+`.",
      args = { { "text", "string", "" } },
      returns = { { "string?", "the bytes, or nil" }, { "string?", "why not, with the position in bytes" } },
      errors = "`text` is not a string.",
      example = [[
assert(url.decode("a%20b%26c") == "a b&c")
local text, why = url.decode("50%")
assert(text == nil and why == "'%' without two hexadecimal digits at byte 3")]],
    },
    {
      name = "url.encode",
      summary = "Percent-encodes everything but letters, digits and `-._~`, as for one value or one path segment.",
      args = { { "text", "string", "any bytes" } },
      returns = { { "string", "" } },
      errors = "`text` is not a string.",
      example = [[assert(url.encode("a b&c/d") == "a%20b%26c%2Fd")]],
    },
    {
      name = "url.parse",
      summary = "Takes a URL, or a reference like `/path?x`, apart. Parts are not percent-decoded; those that are absent are nil. Scheme and host become lower case. A URL of http or https is read as `fetch` reads it, and gives the host that `fetch` asks: `http://127.1/` has the host `127.0.0.1`, `http://bücher.example/` has `xn--bcher-kva.example`; blanks are percent-encoded, `/a/../b` is `/b`.",
      args = { { "text", "string", "" } },
      returns = { { "luafn.Url?", "" }, { "string?", "why not" } },
      errors = "`text` is not a string.",
      example = [[
local u = url.parse("https://API.example:8443/shows?page=1#top")
assert(u.scheme == "https" and u.host == "api.example" and u.port == 8443)
assert(u.path == "/shows" and u.query == "page=1" and u.fragment == "top")
assert(url.parse("http://host:port/") == nil)]],
    },
    {
      name = "url.parse_query",
      summary = "Reads a query string or a form body: percent-decoded, `+` is a space, a leading `?` is skipped.",
      args = { { "text", "string", "" } },
      returns = {
        { "table<string, string>", "name to last value" },
        { "table<string, string[]>", "name to all its values" },
      },
      errors = "`text` is not a string.",
      example = [[
local query, all = url.parse_query("tag=a&tag=b&q=x+y")
assert(query.tag == "b" and query.q == "x y")
assert(#all.tag == 2 and all.tag[1] == "a")]],
    },
    {
      name = "url.query",
      summary = "Writes a query string. Names are sorted; an array repeats its name; a space is `%20`.",
      args = { { "values", "table<string, string|number|boolean|(string|number|boolean)[]>", "" } },
      returns = { { "string", "without `?`" } },
      errors = "A name that is not a string, a value of another type.",
      example = [[assert(url.query { q = "x y", page = 2, tag = { "a", "b" } } == "page=2&q=x%20y&tag=a&tag=b")]],
    },
  },
}

types[#types + 1] = {
  name = "luafn.Event",
  summary = "The request, as Netlify Functions give it.",
  fields = {
    { "httpMethod", "string", "`GET`, as sent" },
    { "path", "string", "percent-encoded as sent; the original one after a rewrite" },
    { "headers", "table<string, string>", "lower-case names; several values joined by `, `" },
    { "multiValueHeaders", "table<string, string[]>", "" },
    { "queryStringParameters", "table<string, string>", "several values joined by `, `" },
    { "multiValueQueryStringParameters", "table<string, string[]>", "" },
    { "body?", "string", "text, or base64; nil with `stream_body`" },
    { "isBase64Encoded", "boolean", "by Content-Type: false for text and JSON, else true" },
    { "rawUrl", "string", "" },
    { "rawQuery", "string", "without `?`" },
    { "route?", "string", "the pattern that matched" },
    { "params", "table<string, string>", "path parameters: `/shows/:id`" },
    { "chunks", "fun(self): fun(): string?", "the body's bytes, for a `for` loop: in one piece, or as they come with `stream_body`; raises when they do not come in full" },
    { "json", "fun(self): any", "the body as JSON; raises the answer 400 `invalid_json` or 415" },
    { "form", "fun(self, options?: { lists: boolean }): table<string, any>", "the fields of a form, the first of several, or with `lists` all; a file is `{ filename, type, size, data }`; raises the answer 400 `invalid_form`, 413 or 415" },
    { "parts", "fun(self): fun(): luafn.Part?", "the parts of a multipart form, for a `for` loop, as they come with `stream_body`; raises the answer 400 `invalid_form`, 413 or 415" },
    { "cookies", "fun(self): table<string, string>", "decoded; the first of several" },
    { "query", "fun(self): table<string, string|string[]>", "a name that is repeated is a list" },
    { "job?", "{ id: string, attempt: integer, key?: string }", "of a job of the queue; `attempt` is 1 the first time" },
    { "tool?", "string", "the tool's name, where it is called as one" },
    { "arguments?", "table", "of that call, as `input` of the tool says" },
    { "progress", "fun(done: number, total?: number, text?: string): boolean", "of that call: tells the client, if it asked for it; true if it sees it" },
  },
}
types[#types + 1] = {
  name = "luafn.Part",
  summary = "A part of a form, as `event:parts()` gives it.",
  fields = {
    { "name", "string", "of the field, as it was sent" },
    { "filename?", "string", "as it was sent: of a file, and not to be trusted" },
    { "type?", "string", "its `Content-Type`" },
    { "chunks", "fun(self): fun(): string?", "the part's bytes as they come, for a `for` loop, or as the `body` of a `fetch`; to be read before the next part" },
  },
}
types[#types + 1] = {
  name = "luafn.Context",
  summary = "About this call.",
  fields = {
    { "functionName", "string", "" },
    { "functionVersion", "string", "the generation: 1 and up, one more for each reload" },
    { "awsRequestId", "string", "the request id of the log" },
    { "memoryLimitInMB", "integer", "" },
    { "getRemainingTimeInMillis", "fun(): integer", "until the timeout" },
    { "identityContext?", "{ token: string, claims: table }", "only from a verified token" },
    { "clientContext", "{ user?: table }", "`user`: the claims of a verified token" },
  },
}
types[#types + 1] = {
  name = "luafn.Database",
  summary = "What `sql.open` gives, and without `transaction` what its function gets. Parameters stand in the text as `$1`, `$2` ...: strings, numbers, booleans, nil, `sql.null`, tables as JSON. Errors of the database are raised as `{ code = SQLSTATE, message, detail, constraint }`.",
  fields = {
    { "query", "fun(self, text: string, ...): table[]", "the rows, tables by the columns' names; `affected` beside them" },
    { "one", "fun(self, text: string, ...): table?", "the first row" },
    { "exec", "fun(self, text: string, ...): integer", "how many rows were written" },
    { "transaction", "fun(self, f: fun(tx: luafn.Database): ...): ...", "what `f` returns, committed; rolled back where it raises or does not come to its end" },
  },
}
types[#types + 1] = {
  name = "luafn.Subscription",
  summary = "What `channel.subscribe` gives: called, as a `for` loop does, it waits for the next text. Closed at the end of its `<close>` variable, of the loop that made it, or of the request.",
  fields = {
    { "close", "fun(self)", "listens no more: who waits for the next text gets nil" },
  },
}
types[#types + 1] = {
  name = "luafn.WebSocket",
  summary = "A connection that sends messages both ways, as the function `websocket` of a result gets it.",
  fields = {
    { "messages", "fun(self): fun(): string?, string?", 'for a `for` loop: the next message and its kind, `"text"` or `"binary"`; ends with the connection' },
    { "send", "fun(self, message: string, kind?: string): boolean", 'sends a text (UTF-8, or it raises), or with `"binary"` bytes, 6 MB at most; waits while 64 KiB are unsent; false when the connection is over' },
    { "close", "fun(self, code?: integer, reason?: string)", "says good-bye: 1000 by default, your own are 4000 to 4999; the reason has 123 bytes at most" },
    { "protocol?", "string", "the subprotocol that was chosen" },
  },
}
types[#types + 1] = {
  name = "luafn.Response",
  summary = "What a handler returns; a bare string is a 200 with that text.",
  fields = {
    { "statusCode", "integer", "" },
    { "headers?", "table<string, string|number|boolean>", "" },
    { "multiValueHeaders?", "table<string, string[]>", "for Set-Cookie; replaces the same name in `headers`" },
    { "body?", "string|fun(write: fun(piece: string): boolean)", "a function is run after the head has left, and writes the body" },
    { "websocket?", "fun(ws: luafn.WebSocket)", "instead of `statusCode` and `body`: the connection becomes a WebSocket and the function runs with it" },
    { "protocols?", "string[]", "with `websocket`: the first that the client has offered is chosen" },
    { "origins?", "string[]", 'with `websocket`: pages that may connect, `"*"` for all; default: those of this host' },
    { "message?", "integer|string", 'with `websocket`: bytes of a message, as `"1MB"`; default: the function\'s `message`' },
    { "isBase64Encoded?", "boolean", "`body` is base64 of the bytes to send" },
  },
}
types[#types + 1] = {
  name = "luafn.SchemaError",
  summary = "What `schema.check` finds wrong.",
  fields = {
    { "path", "string", "a JSON Pointer into the value; empty: all of it" },
    { "message", "string", "for people" },
  },
}
types[#types + 1] = {
  name = "luafn.CookieOptions",
  summary = "What `respond.cookie` takes.",
  fields = {
    { "max_age?", "integer", "seconds; 0 or less deletes it; without it, it ends with the browser" },
    { "path?", "string", "without it, the folder of the request's path" },
    { "domain?", "string", "without it, this host alone" },
    { "secure?", "boolean", "default true" },
    { "http_only?", "boolean", "default true: no script of the page reads it" },
    { "same_site?", "string", "`Strict`, `Lax` (default) or `None`" },
    { "partitioned?", "boolean", "default false" },
  },
}
types[#types + 1] = {
  name = "luafn.FetchOptions",
  summary = "Options of `fetch`.",
  fields = {
    { "method?", "string", 'default "GET", with `json` or `form` "POST"; DELETE, GET, HEAD, OPTIONS, POST and PUT in any case' },
    { "headers?", "table<string, string>", "" },
    { "body?", "string|fun(): string?", "a text; or a function that gives a piece at each call, and nil at the end" },
    { "length?", "integer", "bytes of a body in pieces; without it they are sent as chunks" },
    { "json?", "any", "in place of `body`: a value that is sent as JSON" },
    { "form?", "table<string, string|number|boolean|table>", "in place of `body`: sent as `application/x-www-form-urlencoded`; a list repeats its name" },
    { "timeout?", "number", "seconds for the whole call; for a stream, until its head and between two pieces; default 10" },
    { "retry?", "luafn.FetchRetry", "send it again after some failures" },
    { "sign?", "string", '"aws4": by AWS Signature Version 4, with the next five; a redirect is an answer then' },
    { "access_key?", "string", "" },
    { "secret_key?", "string", "" },
    { "region?", "string", "as `eu-central-1`" },
    { "service?", "string", "as `s3`" },
    { "session_token?", "string", "of credentials that are lent for a time" },
    { "as?", "string", "a name of `outbound` in functions.lua, whose token the request brings" },
    { "stream?", "boolean", "return when the head is there, and read the body with `res:chunks()`" },
    { "redirect?", "string", '"follow" (default, at most 10), "manual": a redirect is an answer like any other, or "error": it raises' },
  },
}
types[#types + 1] = {
  name = "luafn.FetchRetry",
  summary = "When `fetch` sends a request again. Without an answer it does so only if the method may be repeated, or nothing of it was sent.",
  fields = {
    { "times?", "integer", "repeats, 0 to 10; default 2" },
    { "status?", "integer[]", "answers that are no answer; default 429, 502, 503, 504" },
    { "backoff?", "number", "seconds before the first, doubled for each that follows; default 0.25. A longer `Retry-After` counts; where there is no time for it, the answer is the result" },
  },
}
types[#types + 1] = {
  name = "luafn.FetchResponse",
  summary = "An answer to `fetch`.",
  fields = {
    { "status", "integer", "" },
    { "ok", "boolean", "a status of 200 to 299" },
    { "url", "string", "of the last hop" },
    { "headers", "table<string, string>", "lower-case names; `set-cookie` is a list when it came more than once" },
    { "body", "string", "unpacked where its coding is gzip, deflate or br; another coding, and a part (206), as it came" },
    { "text", "fun(self): string", "the body" },
    { "json", "fun(self): any", "the body through json.decode; raises as that does" },
    { "chunks", "fun(self): fun(): string?", "the pieces of a stream, for a `for` loop; raises when it breaks off" },
  },
}
types[#types + 1] = {
  name = "luafn.ServerSentEvent",
  summary = "An event for `send` of `stream.sse`; one field at least.",
  fields = {
    { "data?", "string|number|table", "the text, of any number of lines; a table is sent as JSON" },
    { "event?", "string", "its type; browsers say `message` without one" },
    { "id?", "string|number", "comes back as the `last-event-id` header after a break" },
    { "retry?", "integer", "milliseconds until browsers connect again" },
    { "comment?", "string", "not seen by readers; keeps proxies from closing a quiet stream" },
  },
}
types[#types + 1] = {
  name = "luafn.KvOptions",
  summary = "Options of `kv.set`, `kv.incr` and `kv.cas`.",
  fields = { { "ttl?", "number", "seconds, after which the value is gone; default: never" } },
}
types[#types + 1] = {
  name = "luafn.QueueOptions",
  summary = "Options of `queue.send`.",
  fields = {
    { "delay?", "number", "seconds until it may run" },
    { "run_at?", "number", "the same as a time: seconds since 1970" },
    { "key?", "string", "up to 600 bytes: of several jobs of a function with the same one in 24 hours the first is taken" },
  },
}
types[#types + 1] = {
  name = "luafn.KvListOptions",
  summary = "Options of `kv.list`.",
  fields = {
    { "limit?", "integer", "keys at most, 1 to 1000, the default" },
    { "after?", "string", "begin behind this key" },
  },
}
types[#types + 1] = {
  name = "luafn.DecodeOptions",
  summary = "Options of `json.decode`.",
  fields = {
    { "eager?", "boolean", "plain tables at once, which do not keep the text; default false" },
  },
}
types[#types + 1] = {
  name = "luafn.JsonOptions",
  summary = "Options of `json.encode`.",
  fields = {
    { "indent?", "integer", "spaces a level, 0 to 8; default 0: one line" },
    { "sort_keys?", "boolean", "members by name; default: in no order" },
  },
}
types[#types + 1] = {
  name = "luafn.Revocation",
  summary = "What `jwt.revoke` is to refuse from now on.",
  fields = {
    { "sub?", "string", "tokens of this subject, whose `auth_time` (or `iat`, where there is none) is not after `before`" },
    { "sid?", "string", "tokens of this session" },
    { "jti?", "string", "tokens with this `jti`" },
    { "before?", "number", "seconds since 1970, not in the future; default now with `sub`, else any time" },
    { "issuer?", "string", "only tokens with this `iss`; default any" },
  },
}
types[#types + 1] = {
  name = "luafn.TokenError",
  summary = "Why a token was refused.",
  fields = {
    { "code", "string", "`jwt_invalid`, `jwt_expired`, `jwt_missing`, `invalid_header`, ..." },
    { "message", "string", "for people" },
  },
}
types[#types + 1] = {
  name = "luafn.VerifierOptions",
  summary = "Options of `jwt.verifier` and `jwt.verify`.",
  fields = {
    { "issuer", "string", "exactly the token's `iss`; http only on loopback" },
    { "audience", "string", "one of the token's `aud`" },
    { "map_claims?", "fun(claims: table): table", "changes the claims before the handler sees them" },
    { "handle_error?", "fun(err: luafn.TokenError): luafn.Response", "makes the answer instead of the 401" },
    { "algorithms?", "string[]", 'default { "RS256" }' },
    { "require_exp?", "boolean", "default true" },
    { "clock_tolerance?", "number", "seconds; default 0" },
    { "audience_claim?", "string", "the claim that is held against `audience`; default aud" },
    { "secret?", "string", "for HS256, HS384, HS512" },
    { "jwks_uri?", "string", "instead of discovery" },
  },
}
types[#types + 1] = {
  name = "luafn.Url",
  summary = "A URL in parts.",
  fields = {
    { "scheme?", "string", "lower case" },
    { "user?", "string", "what is before `@`" },
    { "host?", "string", "lower case; IPv6 with its brackets" },
    { "port?", "integer", "only where the URL names one" },
    { "path", "string", "may be empty" },
    { "query?", "string", "without `?`" },
    { "fragment?", "string", "without `#`" },
  },
}

return {
  modules = modules,
  types = types,
  aliases = {
    { "luafn.KvValue", "string|number|boolean|table" },
    { "luafn.Handler", "fun(event: luafn.Event, context: luafn.Context): luafn.Response|string" },
  },
}
