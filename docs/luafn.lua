---@meta luafn

-- Made from docs/api.lua by tools/docs.lua.

---@alias luafn.KvValue string|number|boolean|table

---@alias luafn.Handler fun(event: luafn.Event, context: luafn.Context): luafn.Response|string

---The request, as Netlify Functions give it.
---@class luafn.Event
---@field httpMethod string `GET`, as sent
---@field path string percent-encoded as sent; the original one after a rewrite
---@field headers table<string, string> lower-case names; several values joined by `, `
---@field multiValueHeaders table<string, string[]>
---@field queryStringParameters table<string, string> several values joined by `, `
---@field multiValueQueryStringParameters table<string, string[]>
---@field body? string text, or base64; nil with `stream_body`
---@field isBase64Encoded boolean by Content-Type: false for text and JSON, else true
---@field rawUrl string
---@field rawQuery string without `?`
---@field route? string the pattern that matched
---@field params table<string, string> path parameters: `/shows/:id`
---@field chunks fun(self): fun(): string? the body's bytes, for a `for` loop: in one piece, or as they come with `stream_body`; raises when they do not come in full
---@field json fun(self): any the body as JSON; raises the answer 400 `invalid_json` or 415
---@field form fun(self, options?: { lists: boolean }): table<string, any> the fields of a form, the first of several, or with `lists` all; a file is `{ filename, type, size, data }`; raises the answer 400 `invalid_form`, 413 or 415
---@field parts fun(self): fun(): luafn.Part? the parts of a multipart form, for a `for` loop, as they come with `stream_body`; raises the answer 400 `invalid_form`, 413 or 415
---@field cookies fun(self): table<string, string> decoded; the first of several
---@field query fun(self): table<string, string|string[]> a name that is repeated is a list
---@field job? { id: string, attempt: integer, key?: string } of a job of the queue; `attempt` is 1 the first time
---@field tool? string the tool's name, where it is called as one
---@field arguments? table of that call, as `input` of the tool says
---@field progress fun(done: number, total?: number, text?: string): boolean of that call: tells the client, if it asked for it; true if it sees it

---A part of a form, as `event:parts()` gives it.
---@class luafn.Part
---@field name string of the field, as it was sent
---@field filename? string as it was sent: of a file, and not to be trusted
---@field type? string its `Content-Type`
---@field chunks fun(self): fun(): string? the part's bytes as they come, for a `for` loop, or as the `body` of a `fetch`; to be read before the next part

---About this call.
---@class luafn.Context
---@field functionName string
---@field functionVersion string the generation: 1 and up, one more for each reload
---@field awsRequestId string the request id of the log
---@field memoryLimitInMB integer
---@field getRemainingTimeInMillis fun(): integer until the timeout
---@field identityContext? { token: string, claims: table } only from a verified token
---@field clientContext { user?: table } `user`: the claims of a verified token

---What `sql.open` gives, and without `transaction` what its function gets. Parameters stand in the text as `$1`, `$2` ...: strings, numbers, booleans, nil, `sql.null`, tables as JSON. Errors of the database are raised as `{ code = SQLSTATE, message, detail, constraint }`.
---@class luafn.Database
---@field query fun(self, text: string, ...): table[] the rows, tables by the columns' names; `affected` beside them
---@field one fun(self, text: string, ...): table? the first row
---@field exec fun(self, text: string, ...): integer how many rows were written
---@field transaction fun(self, f: fun(tx: luafn.Database): ...): ... what `f` returns, committed; rolled back where it raises or does not come to its end

---What `channel.subscribe` gives: called, as a `for` loop does, it waits for the next text. Closed at the end of its `<close>` variable, of the loop that made it, or of the request.
---@class luafn.Subscription
---@field close fun(self) listens no more: who waits for the next text gets nil

---A connection that sends messages both ways, as the function `websocket` of a result gets it.
---@class luafn.WebSocket
---@field messages fun(self): fun(): string?, string? for a `for` loop: the next message and its kind, `"text"` or `"binary"`; ends with the connection
---@field send fun(self, message: string, kind?: string): boolean sends a text (UTF-8, or it raises), or with `"binary"` bytes, 6 MB at most; waits while 64 KiB are unsent; false when the connection is over
---@field close fun(self, code?: integer, reason?: string) says good-bye: 1000 by default, your own are 4000 to 4999; the reason has 123 bytes at most
---@field protocol? string the subprotocol that was chosen

---What a handler returns; a bare string is a 200 with that text.
---@class luafn.Response
---@field statusCode integer
---@field headers? table<string, string|number|boolean>
---@field multiValueHeaders? table<string, string[]> for Set-Cookie; replaces the same name in `headers`
---@field body? string|fun(write: fun(piece: string): boolean) a function is run after the head has left, and writes the body
---@field websocket? fun(ws: luafn.WebSocket) instead of `statusCode` and `body`: the connection becomes a WebSocket and the function runs with it
---@field protocols? string[] with `websocket`: the first that the client has offered is chosen
---@field origins? string[] with `websocket`: pages that may connect, `"*"` for all; default: those of this host
---@field message? integer|string with `websocket`: bytes of a message, as `"1MB"`; default: the function's `message`
---@field isBase64Encoded? boolean `body` is base64 of the bytes to send

---What `schema.check` finds wrong.
---@class luafn.SchemaError
---@field path string a JSON Pointer into the value; empty: all of it
---@field message string for people

---What `respond.cookie` takes.
---@class luafn.CookieOptions
---@field max_age? integer seconds; 0 or less deletes it; without it, it ends with the browser
---@field path? string without it, the folder of the request's path
---@field domain? string without it, this host alone
---@field secure? boolean default true
---@field http_only? boolean default true: no script of the page reads it
---@field same_site? string `Strict`, `Lax` (default) or `None`
---@field partitioned? boolean default false

---Options of `fetch`.
---@class luafn.FetchOptions
---@field method? string default "GET", with `json` or `form` "POST"; DELETE, GET, HEAD, OPTIONS, POST and PUT in any case
---@field headers? table<string, string>
---@field body? string|fun(): string? a text; or a function that gives a piece at each call, and nil at the end
---@field length? integer bytes of a body in pieces; without it they are sent as chunks
---@field json? any in place of `body`: a value that is sent as JSON
---@field form? table<string, string|number|boolean|table> in place of `body`: sent as `application/x-www-form-urlencoded`; a list repeats its name
---@field timeout? number seconds for the whole call; for a stream, until its head and between two pieces; default 10
---@field retry? luafn.FetchRetry send it again after some failures
---@field sign? string "aws4": by AWS Signature Version 4, with the next five; a redirect is an answer then
---@field access_key? string
---@field secret_key? string
---@field region? string as `eu-central-1`
---@field service? string as `s3`
---@field session_token? string of credentials that are lent for a time
---@field as? string a name of `outbound` in functions.lua, whose token the request brings
---@field stream? boolean return when the head is there, and read the body with `res:chunks()`
---@field redirect? string "follow" (default, at most 10), "manual": a redirect is an answer like any other, or "error": it raises

---When `fetch` sends a request again. Without an answer it does so only if the method may be repeated, or nothing of it was sent.
---@class luafn.FetchRetry
---@field times? integer repeats, 0 to 10; default 2
---@field status? integer[] answers that are no answer; default 429, 502, 503, 504
---@field backoff? number seconds before the first, doubled for each that follows; default 0.25. A longer `Retry-After` counts; where there is no time for it, the answer is the result

---An answer to `fetch`.
---@class luafn.FetchResponse
---@field status integer
---@field ok boolean a status of 200 to 299
---@field url string of the last hop
---@field headers table<string, string> lower-case names; `set-cookie` is a list when it came more than once
---@field body string unpacked where its coding is gzip, deflate or br; another coding, and a part (206), as it came
---@field text fun(self): string the body
---@field json fun(self): any the body through json.decode; raises as that does
---@field chunks fun(self): fun(): string? the pieces of a stream, for a `for` loop; raises when it breaks off

---An event for `send` of `stream.sse`; one field at least.
---@class luafn.ServerSentEvent
---@field data? string|number|table the text, of any number of lines; a table is sent as JSON
---@field event? string its type; browsers say `message` without one
---@field id? string|number comes back as the `last-event-id` header after a break
---@field retry? integer milliseconds until browsers connect again
---@field comment? string not seen by readers; keeps proxies from closing a quiet stream

---Options of `kv.set`, `kv.incr` and `kv.cas`.
---@class luafn.KvOptions
---@field ttl? number seconds, after which the value is gone; default: never

---Options of `queue.send`.
---@class luafn.QueueOptions
---@field delay? number seconds until it may run
---@field run_at? number the same as a time: seconds since 1970
---@field key? string up to 600 bytes: of several jobs of a function with the same one in 24 hours the first is taken

---Options of `kv.list`.
---@class luafn.KvListOptions
---@field limit? integer keys at most, 1 to 1000, the default
---@field after? string begin behind this key

---Options of `json.decode`.
---@class luafn.DecodeOptions
---@field eager? boolean plain tables at once, which do not keep the text; default false

---Options of `json.encode`.
---@class luafn.JsonOptions
---@field indent? integer spaces a level, 0 to 8; default 0: one line
---@field sort_keys? boolean members by name; default: in no order

---What `jwt.revoke` is to refuse from now on.
---@class luafn.Revocation
---@field sub? string tokens of this subject, whose `auth_time` (or `iat`, where there is none) is not after `before`
---@field sid? string tokens of this session
---@field jti? string tokens with this `jti`
---@field before? number seconds since 1970, not in the future; default now with `sub`, else any time
---@field issuer? string only tokens with this `iss`; default any

---Why a token was refused.
---@class luafn.TokenError
---@field code string `jwt_invalid`, `jwt_expired`, `jwt_missing`, `invalid_header`, ...
---@field message string for people

---Options of `jwt.verifier` and `jwt.verify`.
---@class luafn.VerifierOptions
---@field issuer string exactly the token's `iss`; http only on loopback
---@field audience string one of the token's `aud`
---@field map_claims? fun(claims: table): table changes the claims before the handler sees them
---@field handle_error? fun(err: luafn.TokenError): luafn.Response makes the answer instead of the 401
---@field algorithms? string[] default { "RS256" }
---@field require_exp? boolean default true
---@field clock_tolerance? number seconds; default 0
---@field audience_claim? string the claim that is held against `audience`; default aud
---@field secret? string for HS256, HS384, HS512
---@field jwks_uri? string instead of discovery

---A URL in parts.
---@class luafn.Url
---@field scheme? string lower case
---@field user? string what is before `@`
---@field host? string lower case; IPv6 with its brackets
---@field port? integer only where the URL names one
---@field path string may be empty
---@field query? string without `?`
---@field fragment? string without `#`

---Runs a function once the answer has been sent. The request's limits still hold; a fault in it is logged.
---
---Raises: `fn` is not a function.
---@param fn fun() called without arguments
function after_response(fn) end

---Base64 (RFC 4648). Decoding is strict: white space, a foreign alphabet and unused bits that are not zero are refused.
---@class luafn.base64
base64 = {}

---Decodes the standard alphabet; padding may be left out.
---
---Raises: `text` is not a string.
---@param text string base64
---@return string? # the bytes, or nil
---@return string? # why not, with the position in bytes
function base64.decode(text) end

---Decodes the alphabet for URLs (`-` and `_`), without padding, as in tokens.
---
---Raises: `text` is not a string.
---@param text string base64url
---@return string? # the bytes, or nil
---@return string? # why not, with the position in bytes
function base64.decode_url(text) end

---Encodes with the standard alphabet and padding.
---
---Raises: `bytes` is not a string.
---@param bytes string any bytes
---@return string # base64
function base64.encode(bytes) end

---Encodes with the alphabet for URLs, without padding.
---
---Raises: `bytes` is not a string.
---@param bytes string any bytes
---@return string # base64url
function base64.encode_url(bytes) end

---Texts from one function to all that listen, in all workers; with KV_URL on all machines. Nothing is kept: a text reaches who listens at that moment, at most once, and those of one speaker on one channel in the order in which they were published. A name is UTF-8, 1 to 128 bytes, and shared by all functions; a text has 64 KiB at most.
---@class luafn.channel
channel = {}

---Says a text to all who have subscribed to that name, here and elsewhere. Waits for none of them, and does not tell whether there are any.
---
---Raises: A name or a text that is too long or none.
---@param name string
---@param text string any bytes; see `json.encode`
---@return boolean? # true
---@return string? # why not: the server of KV_URL cannot be reached
function channel.publish(name, text) end

---Listens from now on. What comes is taken by a `for` loop, or by calling the subscription, which waits. It ends with nil when it was closed, when the client of a WebSocket leaves, and when the host or this generation of the function goes. In a WebSocket or a stream `timeout` does not count while it waits.
---
---Raises: A name that is too long or none; where nothing can wait. The loop raises when more waits than 1,024 texts or 256 KiB: who takes nothing is dropped.
---@param name string
---@return luafn.Subscription? # nil if KV_URL's server cannot be reached
---@return string? # why
function channel.subscribe(name) end

---Random bytes, digests, comparison of secrets, keys of passwords, signatures and sealed texts.
---@class luafn.crypto
crypto = {}

---Opens what `crypto.encrypt` made.
---
---Raises: The key has not 32 bytes.
---@param key string 32 bytes
---@param sealed string nonce, text and tag
---@return string? # the text, or nil where the key is another or a byte was changed
---@return string? # why
function crypto.decrypt(key, sealed) end

---Seals a text so that nobody without the key can read or change it (AES-256-GCM). A random nonce of 12 bytes stands in front, the tag of 16 behind. One key is good for some four thousand million texts.
---
---Raises: The key has not 32 bytes.
---@param key string 32 bytes: `crypto.random(32)`, or `crypto.hkdf` of a secret
---@param text string any bytes
---@return string # 28 bytes more than the text
function crypto.encrypt(key, text) end

---Compares two texts in a time that does not depend on where they differ. Texts of different length are different.
---
---Raises: An argument is not a string.
---@param a string
---@param b string
---@return boolean
function crypto.equals(a, b) end

---A key of a secret, one for each purpose (RFC 5869). Not for passwords: it is quick.
---
---Raises: An argument is out of range.
---@param algorithm "sha256"|"sha384"|"sha512"|"sha1"
---@param key string 1 to 1024 bytes
---@param salt string at most 1024 bytes, may be empty
---@param info string what the key is for, at most 1024 bytes
---@param length integer 1 to 1024 bytes
---@return string # `length` bytes
function crypto.hkdf(algorithm, key, salt, info, length) end

---Keyed digest (RFC 2104), as webhooks sign their bodies.
---
---Raises: An unknown algorithm or encoding; key or text is not a string.
---@param algorithm "sha256"|"sha384"|"sha512"|"sha1" sha1 only for senders that know nothing better
---@param key string any bytes
---@param text string any bytes
---@param encoding? "hex"|"base64"|"base64url"|"raw" default "hex", lower case
---@return string # the digest
function crypto.hmac(algorithm, key, text, encoding) end

---A key of a password (RFC 8018), slow on purpose: a thread computes it, and the request waits while others run.
---
---Raises: An argument is out of range; 256 such keys are under way in this worker.
---@param algorithm "sha256"|"sha384"|"sha512"|"sha1"
---@param password string
---@param salt string 16 random bytes, kept beside the key
---@param iterations integer 1 to 5000000; 600000 of sha256 are advised
---@param length integer 1 to 1024 bytes
---@return string # `length` bytes
function crypto.pbkdf2(algorithm, password, salt, iterations, length) end

---Bytes that nobody can predict.
---
---Raises: `count` is out of range.
---@param count integer 0 to 65536
---@return string # `count` bytes
function crypto.random(count) end

---A key of a password (RFC 7914) that costs memory as well as time: 128 * r * n bytes, which the function's `memory` must have free. A thread computes it, and the request waits while others run.
---
---Raises: An option is unknown or out of range, n * r * p above 16777216, not enough `memory`; 256 such keys are under way in this worker.
---@param password string
---@param salt string 16 random bytes, kept beside the key
---@param options? table `n` a power of two (default 16384), `r` (8), `p` (1; 5 is advised with that n), `length` in bytes (32)
---@return string # `length` bytes
function crypto.scrypt(password, salt, options) end

---SHA-1 digest. For senders that know nothing better.
---
---Raises: `text` is not a string; an unknown encoding.
---@param text string any bytes
---@param encoding? "hex"|"base64"|"base64url"|"raw" default "hex", lower case
---@return string # the digest
function crypto.sha1(text, encoding) end

---SHA-256 digest.
---
---Raises: `text` is not a string; an unknown encoding.
---@param text string any bytes
---@param encoding? "hex"|"base64"|"base64url"|"raw" default "hex", lower case
---@return string # the digest
function crypto.sha256(text, encoding) end

---SHA-384 digest.
---
---Raises: `text` is not a string; an unknown encoding.
---@param text string any bytes
---@param encoding? "hex"|"base64"|"base64url"|"raw" default "hex", lower case
---@return string # the digest
function crypto.sha384(text, encoding) end

---SHA-512 digest.
---
---Raises: `text` is not a string; an unknown encoding.
---@param text string any bytes
---@param encoding? "hex"|"base64"|"base64url"|"raw" default "hex", lower case
---@return string # the digest
function crypto.sha512(text, encoding) end

---Signs a text with a private key, in the form of a token's signature (RFC 7518: ES is r and s side by side). Whole tokens are `jwt.sign`'s.
---
---Raises: The algorithm is unknown, or one of shared secrets.
---@param algorithm "RS256"|"RS384"|"RS512"|"PS256"|"PS384"|"PS512"|"ES256"|"ES384"|"ES512"|"EdDSA" as in a token
---@param key string PEM of the private key
---@param text string any bytes
---@return string? # the signature's bytes, or nil where the key cannot
---@return string? # why
function crypto.sign(algorithm, key, text) end

---A random UUID (version 4).
---@return string # 36 characters, lower case
function crypto.uuid() end

---Checks a signature over a text.
---
---Raises: The algorithm is unknown, or one of shared secrets.
---@param algorithm "RS256"|"RS384"|"RS512"|"PS256"|"PS384"|"PS512"|"ES256"|"ES384"|"ES512"|"EdDSA" as in a token
---@param key string PEM of the public key, or of a certificate
---@param text string any bytes
---@param signature string its bytes
---@return boolean? # is it good? nil where the key cannot
---@return string? # why
function crypto.verify(algorithm, key, text, signature) end

---Environment variables, read-only: `env.NAME` is a string, or nil. A function sees those that its `env` list in functions.lua names (`*` allowed); without a list, all of them in `dev`, and in `serve` those of the .env files. `pairs(env)` walks them; assigning raises.
---@type table<string, string?>
env = {}

---Sends a request and waits for the answer. Only hosts that the function's `fetch` list names; without a list, any public host. Any status is an answer; look at `res.ok`.
---
---Raises: No answer: name not found, refused, timeout, a host outside the list, a body over 16 MB, a head over 256 lines or 64 KiB, a gzip, deflate or br body that is cut off or damaged, a head that is cut off, a Content-Length that is not one number, an option that is none, a token that `as` cannot get, a host that it is not for; a connection that was used before and closed without an answer, unless the method may be repeated (GET, HEAD, OPTIONS, TRACE, PUT, DELETE: those are tried again).
---@param url string http or https
---@param options? luafn.FetchOptions
---@return luafn.FetchResponse
function fetch(url, options) end

---Pages: what is not the page's own is escaped as the place wants it, see [pages](scripting.md#pages).
---@class luafn.html
html = {}

---A text for a page's text, or an attribute in quotes.
---
---Raises: `text` is not a string.
---@param text string
---@return string
function html.escape(text) end

---A page of a template and values. A name that ends in `.html` and has no blank is a file beside the script, anything else the template itself; either is compiled once.
---
---Raises: No such file; a template that is wrong, or includes itself, with its line; a value where none can be made safe; a page over 16 MB.
---@param template string
---@param values? table what names in it stand for
---@return string
function html.render(template, values) end

---JSON (RFC 8259). Integers stay integers, arrays stay arrays also when they are empty, `null` is `json.null`. At most 64 levels deep.
---@class luafn.json
---@field null lightuserdata JSON's null, in both directions. It is true in Lua: compare with `== json.null`.
json = {}

---Marks a table as an array, so that it encodes as `[]` when it is empty. Tables from `json.decode` are marked already.
---
---Raises: `t` is not a table, or has another metatable.
---@param t? table default: a new table
---@return table # `t`
function json.array(t) end

---Reads a JSON text. Numbers without fraction or exponent that fit 64 bits become integers, others floats. Of members with the same name the last one counts. The whole text is checked, but members are made when they are read: three members of a large document cost little, and what nobody touched `json.encode` writes as it came, in the text's order. The text is kept while any part of it is held; `eager` makes all of it at once and keeps nothing.
---
---Raises: The text is not JSON, with the place: `json.decode: expected ',' or '}' at line 1 column 8 (byte 8)`. Numbers beyond a float, half surrogate pairs and invalid UTF-8 are refused too.
---@param text string one value, in UTF-8
---@param options? luafn.DecodeOptions
---@return any
function json.decode(text, options) end

---Writes a value as JSON. A table is an array when its keys are exactly 1..n, an object when they are all strings; an empty one is `{}` unless marked by `json.array`. Floats are written so that they read back the same; whole ones below 2^53 without a fraction (`1e3` is `1000`, and decodes as an integer).
---
---Raises: What JSON cannot say, with the place: functions, userdata, NaN, infinities, mixed tables and arrays with holes, text that is not UTF-8; more than 64 levels (so also a table that contains itself), more than 16 MB.
---@param value any nil, boolean, number, string, table or json.null
---@param options? luafn.JsonOptions
---@return string
function json.encode(value, options) end

---Tokens in Lua, in the manner of serverless-jwt: the same codes and texts, stricter where that is safer. Routes that say `auth` in functions.lua are checked before any Lua runs and need none of this.
---@class luafn.jwt
jwt = {}

---A claim as an array: nil and null give an empty one, a table is returned as it is, a string is split at single spaces (empty parts stay), anything else becomes the only element.
---@param value any
---@return any[]
function jwt.claim_to_array(value) end

---Is the scope one of the whole words of the claims' `scope`, `scp` or `permissions`?
---
---Raises: `scope` is not a string.
---@param claims table verified claims
---@param scope string
---@return boolean
function jwt.has_scope(claims, scope) end

---A function for `map_claims`: first the namespace goes, as by `jwt.remove_namespaces`, then the members in `lists` become lists, as by `jwt.claim_to_array`; those that are not there, empty ones. As only the claims decide, it is worked out once for a token that comes again.
---
---Raises: An unknown option, or one of the wrong type.
---@param options table `namespace?` (text); `lists?` (at most 16 names)
---@return fun(claims: table): table # gives a new table
function jwt.mapping(options) end

---The public half of a PEM key as a JWK, for a key set of one's own; its `kid` is the RFC 7638 thumbprint.
---
---Raises: The algorithm is not known.
---@param pem string a private or public key
---@param algorithm? string default RS256
---@param certificate? boolean with `x5c` and `x5t`: a certificate that the key, private RSA, signs itself
---@return table? # kty, use, alg, kid and the public members; or nil
---@return string? # why not
function jwt.public_jwk(pem, algorithm, certificate) end

---A copy of the claims in which the first occurrence of the namespace in every name is dropped. A registered claim of the token itself is never overwritten.
---
---Raises: `claims` is not a table.
---@param namespace string
---@param claims table
---@return table # a new table; lists and tables that were not read before are its own
function jwt.remove_namespaces(namespace, claims) end

---A handler that runs only for callers with a good token of the issuer of functions.lua; others get 401.
---
---Raises: The handler is not a function; no issuer is configured.
---@param handler luafn.Handler
---@return luafn.Handler
function jwt.require_auth(handler) end

---A handler that runs only for callers with the role; others get 401 or 403. Uses the issuer of functions.lua.
---
---Raises: An argument of the wrong type; no issuer is configured.
---@param role string one of the claim `roles`
---@param handler luafn.Handler
---@return luafn.Handler
function jwt.require_role(role, handler) end

---A handler that runs only for callers with the scope; others get 401 or 403. Uses the issuer of functions.lua.
---
---Raises: An argument of the wrong type; a scope with a blank, which no token has; no issuer is configured.
---@param scope string a whole word
---@param handler luafn.Handler
---@return luafn.Handler
function jwt.require_scope(scope, handler) end

---Tokens that are not let in any more, in all workers and on all hosts that share the store. Any function may call it, so give one that does an `auth`.
---
---Raises: None or several of `sub`, `sid` and `jti`; an unknown or wrong member; `before` is yet to come.
---@param what luafn.Revocation one of `sub`, `sid` and `jti`
---@return boolean? # true when it is kept; nil: it counts in this host until that is restarted
---@return string? # why it could not be kept
function jwt.revoke(what) end

---A signed token with these claims.
---
---Raises: Claims that JSON cannot say; an unknown option or algorithm; both or none of `key` and `secret`.
---@param claims table taken as they are: `iat` and `exp` are the caller's
---@param options table `key` (PEM of a private key) or `secret`; `algorithm` (default RS256, with a secret HS256); `kid`; `typ` (default JWT)
---@return string? # the compact token, or nil
---@return string? # why not: a key that does not fit
function jwt.sign(claims, options) end

---The token in an Authorization header: `Bearer`, in any case, one space, the token.
---@param header? string
---@return string? # the token, or nil
---@return luafn.TokenError? # code `invalid_header`
function jwt.token_from_header(header) end

---Makes a wrapper for handlers, as NetlifyJwtVerifier does: the wrapped handler runs only with a good token, and finds it in `context.identityContext`; otherwise the answer is a 401 in JSON.
---
---Raises: An option is missing, unknown or wrong, with the texts of serverless-jwt.
---@param options luafn.VerifierOptions
---@return fun(handler: luafn.Handler): luafn.Handler # the wrapper
function jwt.verifier(options) end

---Checks one token.
---
---Raises: An option is missing, unknown or wrong.
---@param token string
---@param options luafn.VerifierOptions
---@return table? # the claims, or nil
---@return luafn.TokenError?
function jwt.verify(token, options) end

---Values that outlive a request, shared by all workers and kept through restarts. Each function has a namespace of its own, unless functions.lua gives it another with `kv`. A key is UTF-8, 1 to 600 bytes; a value is a string or what JSON can hold, up to 1 MB, and comes back as what it was. Reading is immediate; what writes waits until it is on the disk. With KV_URL all of it is on a server that many machines share, and reading waits, too.
---@class luafn.kv
kv = {}

---Compares and sets: writes the value only if the present one equals `expected`. Strings equal strings, tables equal tables of the same content.
---
---Raises: A bad key, value or option.
---@param key string
---@param expected luafn.KvValue? nil: the key must not be there
---@param value luafn.KvValue? nil: delete it
---@param options? luafn.KvOptions
---@return boolean? # whether it was as expected; nil when it could not be written
---@return string? # why not
function kv.cas(key, expected, value, options) end

---Deletes a key.
---
---Raises: A bad key.
---@param key string
---@return boolean? # whether it was there; nil when it could not be deleted
---@return string? # why not
function kv.delete(key) end

---Reads a value. Without KV_URL it works where nothing can wait, too.
---
---Raises: A bad key.
---@param key string
---@return luafn.KvValue? # nil: there is none, or it has expired
---@return string? # the reason, if it could not be read
function kv.get(key) end

---Adds to a counter and returns its new value; a counter that is not there begins at 0. Atomic.
---
---Raises: A bad key or option; `by` is not an integer.
---@param key string
---@param by? integer default 1; may be negative
---@param options? luafn.KvOptions `ttl` of a counter that this call makes; one that is there keeps its own
---@return integer? # the new value; nil: it is no integer, or could not be written
---@return string? # why not
function kv.incr(key, by, options) end

---Keys that begin with a prefix, in the order of their bytes.
---
---Raises: A bad prefix or option.
---@param prefix? string default: all
---@param options? luafn.KvListOptions
---@return string[]? # the keys; nil when they could not be read
---@return string? # where to go on, for `after`, when there may be more; or why there is no list
function kv.list(prefix, options) end

---Writes a value.
---
---Raises: A bad key, value or option.
---@param key string
---@param value luafn.KvValue
---@param options? luafn.KvOptions
---@return true? # nil when it could not be written
---@return string? # why not
function kv.set(key, value, options) end

---Lines in the host's log, with time, function, request id and generation. A request may write 64 KB. `print` is `log.info` with its arguments separated by tabs.
---@class luafn.log
log = {}

---For development: dropped unless the host runs with debug lines.
---
---Raises: No message; `fields` is not a table. Fields that cannot be encoded are replaced by the reason.
---@param message any as `tostring` gives it, a table without `__tostring` as JSON; at most 8 KB
---@param fields? table anything that JSON can say; at most 8 KB
function log.debug(message, fields) end

---Something failed and somebody should look.
---
---Raises: No message; `fields` is not a table. Fields that cannot be encoded are replaced by the reason.
---@param message any as `tostring` gives it, a table without `__tostring` as JSON; at most 8 KB
---@param fields? table anything that JSON can say; at most 8 KB
function log.error(message, fields) end

---What happened.
---
---Raises: No message; `fields` is not a table. Fields that cannot be encoded are replaced by the reason.
---@param message any as `tostring` gives it, a table without `__tostring` as JSON; at most 8 KB
---@param fields? table anything that JSON can say; at most 8 KB
function log.info(message, fields) end

---Something is off, and was dealt with.
---
---Raises: No message; `fields` is not a table. Fields that cannot be encoded are replaced by the reason.
---@param message any as `tostring` gives it, a table without `__tostring` as JSON; at most 8 KB
---@param fields? table anything that JSON can say; at most 8 KB
function log.warn(message, fields) end

---Runs the functions side by side and waits for all of them: while one waits (`fetch`, `sleep`), the others go on.
---
---Raises: What one of them raised; the others are cancelled.
---@param ... fun(): any functions without arguments
---@return any ... # the first result of each, in the order of the arguments
function parallel(...) end

---Work for later: a job is stored before it is promised, and runs at least once, whatever ends meanwhile.
---@class luafn.queue
queue = {}

---Stores a job for a function. It gets a POST with the value as JSON, `x-nf-event: queue` and `event.job`, is called when it has a free slot, and has failed when it raises, passes a limit or answers 500 or above: then it is tried again by its `retry`.
---
---Raises: There is no such function; a bad value or option.
---@param name string of the function
---@param value any what JSON can hold, up to 8 MB
---@param options? luafn.QueueOptions
---@return string? # the job's id; nil when it was not stored
---@return string? # why not: `taken` where the key is
function queue.send(name, value, options) end

---The bytes of a file that the function's `files` lists, at most 1 MiB. What has been read stays until the function is loaded again, as a change of the file makes it.
---
---Raises: `files` does not list it, or it is hidden (`.env`).
---@param path string from functions.lua's folder
---@return string? # its bytes, or nil
---@return string? # why not
function read_file(path) end

---Answers, to be returned or raised: `return respond.json(200, list)`, `error(respond.error(404, "not_found", "No such show"))`.
---@class luafn.respond
respond = {}

---The text of a cookie, for `multiValueHeaders["Set-Cookie"]`. Of the value, what a cookie cannot hold is percent-encoded; `event:cookies()` undoes that.
---
---Raises: A name with blanks or separators, an unknown option, an option of another type, what browsers drop (`SameSite=None` or `Partitioned` without `Secure`).
---@param name string
---@param value string any bytes
---@param options? luafn.CookieOptions
---@return string
function respond.cookie(name, value, options) end

---An error as the host itself gives it: `{"error":code,"error_description":text}`.
---
---Raises: An argument of another type, a status out of range.
---@param status integer 200 to 599
---@param code string a word for programs
---@param text string for people
---@return luafn.Response
function respond.error(status, code, text) end

---A page, `text/html; charset=utf-8`.
---
---Raises: `text` is not a string, a status out of range.
---@param text string
---@param status? integer 200 to 599; default 200
---@return luafn.Response
function respond.html(text, status) end

---A value as JSON; what `json.decode` gave and nobody touched is written as it came.
---
---Raises: A status out of range, what JSON cannot hold, names of headers that are no texts.
---@param status integer 200 to 599
---@param value any
---@param headers? table<string, string> more of them; a Content-Type there counts
---@return luafn.Response
function respond.json(status, value, headers) end

---A redirect.
---
---Raises: An empty URL or one with control characters, a status out of range.
---@param url string for `Location`
---@param status? integer 300 to 399; default 302
---@return luafn.Response
function respond.redirect(url, status) end

---Values against JSON Schemas (2020-12), written as tables. For a whole request the function keys `input` and `query` do that before it runs.
---@class luafn.schema
schema = {}

---Is the value as the schema says? All keywords; `format` is an annotation, `pattern` an expression of JavaScript's. References stay within the schema. An empty table is an object and an array. A schema is compiled at its first check: what is changed in its table later is not seen.
---
---Raises: `schema` is no schema, or refers to itself without going into the value.
---@param schema table|boolean
---@param value any what JSON can hold
---@return any # the value, or nil
---@return luafn.SchemaError[]? # what is wrong with it, at most 32
function schema.check(schema, value) end

---Databases: PostgreSQL and SQLite. `sql.null` is NULL in a row or as a parameter; it is `json.null`.
---@class luafn.sql
sql = {}

---The database of an address, for any number of requests; connects when it is used.
---
---Raises: The address is not listed, or cannot be read.
---@param url string `postgres://...` or `sqlite:FILE`; must be the value of a variable that the function's `sql` lists
---@return luafn.Database
function sql.open(url) end

---Waits without blocking the host. Counts against the function's `timeout`, not its `cpu`.
---
---Raises: `seconds` is not a number, or negative.
---@param seconds number fractions allowed
function sleep(seconds) end

---Answers in pieces. A result whose `body` is a function is sent as that function writes: `body = function(write) write("piece") end`; `write` waits while the client is slow, and returns false once nobody reads. This module has what is built on that.
---@class luafn.stream
stream = {}

---A result that sends server-sent events. `fn` gets `send`, which takes a text or an event and waits as `write` does.
---
---Raises: `fn` is not a function. `send` raises for an event without fields, and for an `event` or `id` of more than one line.
---@param fn fun(send: fun(event: string|luafn.ServerSentEvent): boolean) runs after the head has been sent
---@param headers? table<string, string> more headers
---@return luafn.Response # to be returned by the handler
function stream.sse(fn, headers) end

---Times are numbers: seconds since 1970-01-01 UTC, with a fraction, between the years 0 and 9999.
---@class luafn.time
time = {}

---A date as HTTP headers have it (RFC 9110).
---
---Raises: `t` is not such a time.
---@param t? number seconds; default: now
---@return string
function time.http(t) end

---ISO 8601 in UTC with milliseconds, as JavaScript's `toISOString`.
---
---Raises: `t` is not such a time.
---@param t? number seconds; default: now
---@return string
function time.iso(t) end

---Seconds on a clock that is never set, for measuring.
---@return number # seconds since some moment
function time.monotonic() end

---The current time, finer than `os.time()`.
---@return number # seconds
function time.now() end

---Reads RFC 3339 (`2026-01-02T03:04:05.678+01:00`, `Z`), or a date alone, which is its midnight UTC.
---
---Raises: `text` is not a string.
---@param text string
---@return number? # seconds (an integer where there is no fraction), or nil
---@return string? # why not
function time.parse(text) end

---URLs and query strings (RFC 3986).
---@class luafn.url
url = {}

---Percent-decodes. `+` stays `+`.
---
---Raises: `text` is not a string.
---@param text string
---@return string? # the bytes, or nil
---@return string? # why not, with the position in bytes
function url.decode(text) end

---Percent-encodes everything but letters, digits and `-._~`, as for one value or one path segment.
---
---Raises: `text` is not a string.
---@param text string any bytes
---@return string
function url.encode(text) end

---Takes a URL, or a reference like `/path?x`, apart. Parts are not percent-decoded; those that are absent are nil. Scheme and host become lower case. A URL of http or https is read as `fetch` reads it, and gives the host that `fetch` asks: `http://127.1/` has the host `127.0.0.1`, `http://bücher.example/` has `xn--bcher-kva.example`; blanks are percent-encoded, `/a/../b` is `/b`.
---
---Raises: `text` is not a string.
---@param text string
---@return luafn.Url?
---@return string? # why not
function url.parse(text) end

---Reads a query string or a form body: percent-decoded, `+` is a space, a leading `?` is skipped.
---
---Raises: `text` is not a string.
---@param text string
---@return table<string, string> # name to last value
---@return table<string, string[]> # name to all its values
function url.parse_query(text) end

---Writes a query string. Names are sorted; an array repeats its name; a space is `%20`.
---
---Raises: A name that is not a string, a value of another type.
---@param values table<string, string|number|boolean|(string|number|boolean)[]>
---@return string # without `?`
function url.query(values) end
