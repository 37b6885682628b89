// What is said about each thing that can be wrong in functions.lua: where, what, and what to write
// instead. Beside each family of faults stands what is right.
import assert from 'node:assert/strict';
import test from 'node:test';
import { folder, run, write } from '../lib/host.mjs';

const F = (fields) => `functions = { a = { script = "scripts/a.lua", auth = "public", ${fields} } }`;
const TOP = (text) => `${F('')}, ${text}`;
const AUTH = (text) => TOP(`auth = { issuer = "https://i.example/", audience = "a", ${text} }`);
const OWN = (text) => `functions = { a = { script = "scripts/a.lua", auth = ${text} } }, auth = { issuer = "https://i.example/", audience = "a" }`;

const good = [
  '', F('timeout = 0.5, cpu = 2.5, memory = "64 MB", concurrency = 1, queue = 0'), F('memory = 33554432'), F('body = "1GB"'), F('body = 0'), F('stream_body = true, body = "100GB"'), F('stream_body = false'), F('methods = "GET"'),
  F('path = "/q/:id?", methods = { "GET", "HEAD" }'), F('path = { "/x/*", "/y" }, excludedPath = "/x/no/*", preferStatic = true'),
  'functions = "scripts"', 'functions = { a = "scripts/a.lua" }', 'functions = {}', TOP('prefix = "/f"'), TOP('publish = "scripts"'),
  F('schedule = "0 0 * * MON-FRI"'), F('schedule = "@hourly"'), F('schedule = "*/10 * * * * *"'), F('background = true'),
  F('fetch = "api.example"'), F('fetch = { "*.example", "127.0.0.1:8080", "[::1]:80" }'), F('env = { "A", "B*" }'),
  F('rate_limit = { limit = 1, window = 0.5 }'), TOP('cors = { origins = "*" }'), TOP('cors = { origins = { "http://localhost:3000" }, credentials = true, max_age = 60 }'),
  TOP('limits = { body = "6MB", header = "16KB", connections = 10, connections_per_address = 3, idle_timeout = 0.5 }'), TOP('compression = false'), TOP('journal = { sample = 0.01 }, replay_before_reload = 50'), TOP('replay_before_reload = 0'),
  TOP('redirects = { { from = "/a", to = "/b", conditions = { Language = { "de", "fr" }, Country = "AT" }, query = { id = ":id" } } }'),
  TOP('headers = { { ["for"] = "/*", values = { A = "b", C = { "d", "e" } } } }'),
  AUTH('algorithms = { "RS256", "EdDSA" }, clock_tolerance = 5'), AUTH('role_path = "realm_access.roles", audience_claim = "client_id"'), F('path = "/a/{id"'),
  OWN('{ role = "a", role_path = "roles", claims = { ["a.b"] = 1, ["https://app.example/..x"] = 2, scope = "x", sub = "y" } }'),
  TOP('auth = { issuer = "https://i.example/?p=1", audience = "a", jwks_uri = "https://i.example/keys" }'),
].map((text) => (text === '' ? F('') : text));

// [text of the table, what is said after "functions.lua:2: "]
const faults = [
  [F('tiemout = 1'), 'functions.a.tiemout: unknown key; did you mean `timeout`?'],
  [F('zzzzzzzzzz = 1'), /^functions\.a\.zzzzzzzzzz: unknown key; known are script, path, methods/],
  [F('5'), 'functions.a: has a value without a name; known keys begin with `script`'],
  [F('timeout = "10"'), "functions.a.timeout: must be a number of seconds, not the text '10'"],
  [F('timeout = true'), 'functions.a.timeout: must be a number of seconds, not a boolean'],
  ...['0', '-1', '1e9', '0/0', '1/0'].map((n) => [F(`timeout = ${n}`), 'functions.a.timeout: must be between 0.01 and 900 seconds']),
  [F('cpu = 0'), 'functions.a.cpu: must be between 0.005 and 60 seconds'],
  [F('memory = "32XB"'), `functions.a.memory: must be a size such as "32MB", not the text '32XB'`],
  [F('memory = 1.5'), 'functions.a.memory: must be a size: bytes, or a text such as "32MB", not 1.5'],
  [F('memory = 1'), 'functions.a.memory: must be between 262144 and 4294967296 bytes'],
  [F('body = "2GB"'), /^functions\.a\.body: must be at most 1073741824 bytes .* stream_body = true/],
  [F('body = "much"'), `functions.a.body: must be a size such as "32MB", not the text 'much'`],
  [F('stream_body = 1'), 'functions.a.stream_body: must be true or false, not 1'],
  [F('stream_body = true, background = true'), 'functions.a.stream_body: is not for a function that no client waits for'],
  [F('stream_body = true, schedule = "@daily"'), 'functions.a.stream_body: is not for a function that no client waits for'],
  [F('concurrency = 1.5'), 'functions.a.concurrency: must be a whole number, not 1.5'],
  [F('concurrency = 0'), 'functions.a.concurrency: must be between 1 and 100000'],
  [F('methods = { "get" }'), "functions.a.methods: 'get' is not one of GET HEAD POST PUT PATCH DELETE OPTIONS"],
  [F('methods = {}'), 'functions.a.methods: must name at least one method'],
  [F('methods = { "GET", only = "POST" }'), 'functions.a.methods: must be a list without names and gaps: { "a", "b" }'],
  [F('methods = { 5 }'), 'functions.a.methods: must be a list of texts only, not 5'],
  [F('methods = 5'), 'functions.a.methods: must be a text or a list of texts, not 5'],
  [F('path = "api"'), "functions.a.path: 'api' must begin with '/'"],
  [F('path = "/a", excludedPath = "a"'), "functions.a.excludedPath: 'a' must begin with '/'"],
  [F('preferStatic = "yes"'), "functions.a.preferStatic: must be true or false, not the text 'yes'"],
  [F('path = "/a/:"'), "functions.a.path: path '/a/:': a parameter's name is letters, digits and '_'"],
  [F('path = "/a/:x?/b"'), "functions.a.path: path '/a/:x?/b': only the last segment can be optional"],
  [F('path = "/a/*/b"'), "functions.a.path: path '/a/*/b': '*' must be the last segment"],
  [F('path = "/:x/:x"'), "functions.a.path: path '/:x/:x': two parameters of the same name"],
  [F('path = "/a//b"'), "functions.a.path: path '/a//b': two slashes in a row never match: leave one out"],
  [F('path = "/a/../b"'), "functions.a.path: path '/a/../b': '.' and '..' never match"],
  [F('path = "/a b"'), "functions.a.path: path '/a b': write spaces and characters beyond ASCII percent-encoded"],
  [F('path = "/a*"'), "functions.a.path: path '/a*': '*' must be the whole last segment; '?', '#' and '\\' have no place"],
  [F(`path = "${Array.from({ length: 17 }, (_, i) => `/:p${i}`).join('')}"`), /: more than 16 parameters$/],
  [F(`path = "${'/a'.repeat(33)}"`), /: more than 32 segments$/],
  [F('path = { "/q", "/q" }'), "functions.a.path: path '/q' is taken by '/q' of the same function"],
  ['functions = { a = { script = "scripts/a.lua", path = "/q/:x" }, b = { script = "scripts/a.lua", path = "/q/:y" } }', "functions.b.path: path '/q/:y' is taken by '/q/:x' of function a"],
  ['functions = { ["a b"] = "scripts/a.lua" }', "functions.a b: a function's name is made of letters, digits, '-' and '_'"],
  ['functions = { a = { script = "none.lua" } }', "functions.a.script: 'none.lua': no such file"],
  ['functions = { a = {} }', 'functions.a: `script` is missing: { script = "scripts/a.lua" }'],
  ['functions = { a = 5 }', 'functions.a: must be a table such as { script = "scripts/a.lua" }'],
  ['functions = { "scripts/a.lua" }', 'functions: every function needs a name: name = { script = ... }'],
  ['functions = "nofolder"', "functions: 'nofolder' is not a folder here"],
  ['functions = "odd"', "functions: 'a.b': a function's name is made of letters, digits, '-' and '_'"],
  ['functions = 5', 'functions: must be a table of functions or the name of a folder'],
  [TOP('prefix = "x"'), "prefix: must begin with '/' and not end with one"],
  [TOP('prefix = 5'), 'prefix: must be a text, not 5'],
  [TOP('redirect = {}'), 'redirect: unknown key; did you mean `redirects`?'],
  [TOP('publish = "none"'), "publish: 'none' is not a folder here"],
  [TOP('publish = "scripts/a.lua"'), "publish: 'scripts/a.lua' is not a folder here"],
  [F('schedule = "* * *"'), /^functions\.a\.schedule: '\* \* \*' has 3 fields; write five, minute hour day month weekday, as in "\*\/5 \* \* \* \*", or six with seconds first$/],
  [F('schedule = "61 * * * *"'), "functions.a.schedule: '61' is no minute: write 0 to 59"],
  [F('schedule = "0 0 1 FOO *"'), /^functions\.a\.schedule: 'FOO' is no month: write 1 to 12, or a name such as /],
  [F('schedule = "@reboot"'), "functions.a.schedule: '@reboot' is not one of @hourly, @daily, @weekly, @monthly, @yearly"],
  [F('schedule = "0 0 31 2 *"'), "functions.a.schedule: '0 0 31 2 *' names a day that never comes"],
  [F('schedule = "*/0 * * * *"'), "functions.a.schedule: the step of the minute '*/0' is not 1 to 59"],
  [F('schedule = "5/2 * * * *"'), /^functions\.a\.schedule: the minute '5\/2' has a step without a range: write 5-59\/2 or \*\/2$/],
  [F('schedule = "5-1 * * * *"'), "functions.a.schedule: the minute '5-1' runs backwards: write the smaller one first"],
  [F('schedule = "@daily", path = "/x"'), 'functions.a.schedule: a scheduled function is not called over HTTP: leave out its `path`'],
  [F('schedule = "@daily", methods = "GET"'), 'functions.a.schedule: a scheduled function is not called over HTTP: leave out its `methods`'],
  [F('background = "yes"'), "functions.a.background: must be true or false, not the text 'yes'"],
  ...['http://x.example', 'x y', 'me@x.example', ''].map((host) => [F(`fetch = { "${host}" }`), `functions.a.fetch: '${host}' is no host: write "api.example", "*.example" or "127.0.0.1:8080"`]),
  [F('kv = ""'), 'functions.a.kv: is the name of a namespace: 1 to 128 bytes'],
  [F('rate_limit = 5'), 'functions.a.rate_limit: must be a table such as { limit = 100, window = 60, by = "ip" }'],
  [F('rate_limit = { window = 60 }'), 'functions.a.rate_limit: `limit` is missing: { limit = 100, window = 60, by = "ip" }'],
  [F('rate_limit = { limit = 60 }'), 'functions.a.rate_limit: `window` is missing: { limit = 100, window = 60, by = "ip" }'],
  [F('rate_limit = { limit = 1, window = 1, by = "email" }'), `functions.a.rate_limit.by: 'email' is not one of "ip", "sub", "azp"`],
  [TOP('redirects = "x"'), 'redirects: must be a table, not a string'],
  [TOP('redirects = { from = "/x", to = "/y" }'), 'redirects: must be a list without names and gaps: { { ... }, { ... } }'],
  [TOP('redirects = { "x" }'), 'redirects[1]: must be a table, not a string'],
  [TOP('redirects = { { from = "x", to = "/y" } }'), "redirects[1]: 'from' must begin with '/' or be http(s)://HOST/PATH, got 'x'"],
  [TOP('redirects = { { to = "/y" } }'), "redirects[1]: 'from' is missing"],
  [TOP('redirects = { { from = "/x" } }'), "redirects[1]: 'to' is missing"],
  [TOP('redirects = { { from = "/x", to = "//evil" } }'), "redirects[1]: 'to' must be a path or begin with http(s)://, got '//evil'"],
  [TOP('redirects = { { from = "/.netlify/x", to = "/y" } }'), "redirects[1]: 'from' must not begin with '/.netlify', got '/.netlify/x'"],
  [TOP('redirects = { { from = "/x", to = "/y", status = 410 } }'), "redirects[1]: 'status' must be 200, 301, 302, 303, 307, 308 or 404, got 410"],
  [TOP('redirects = { { from = "/x", to = "/y", status = "301" } }'), "redirects[1].status: must be a whole number, not the text '301'"],
  [TOP('redirects = { { from = "/x", to = "/y", forse = true } }'), 'redirects[1].forse: unknown key; did you mean `force`?'],
  [TOP('redirects = { { from = "/x", to = "/y", conditions = { Planet = "x" } } }'), "redirects[1]: a condition is Language, Country, Cookie or Role, got 'Planet'"],
  [TOP('redirects = { { from = "/x", to = "/y", conditions = { Role = { 5 } } } }'), 'redirects[1].conditions: must be a table of name = "text", or a list of texts'],
  [TOP('redirects = { { from = "/x", to = "/y", query = { id = 5 } } }'), 'redirects[1].query: must be a table of name = "text", or a list of texts'],
  [TOP('redirects = { { from = "/x", to = "/y", headers = { ["A b"] = "c" } } }'), "redirects[1]: 'A b' is not a header that can be sent"],
  [TOP('headers = { ["for"] = "/*", values = {} }'), 'headers: must be a list without names and gaps: { { ... }, { ... } }'],
  [TOP('headers = { { ["for"] = "x", values = { A = "b" } } }'), "headers[1]: 'for' must begin with '/', got 'x'"],
  [TOP('headers = { { values = { A = "b" } } }'), "headers[1]: 'for' is missing"],
  [TOP('headers = { { ["for"] = "/x", values = { A = "b\\r\\nC: d" } } }'), "headers[1]: 'A' is not a header that can be sent"],
  [TOP('headers = { { ["for"] = "/x", value = {} } }'), 'headers[1].value: unknown key; did you mean `values`?'],
  [TOP('cors = { origin = {} }'), 'cors.origin: unknown key; did you mean `origins`?'],
  ...['https://x/', 'app.example', 'https://*.example', 'ftp://x', ''].map((o) => [TOP(`cors = { origins = { "${o}" } }`), `cors.origins: '${o}' is no origin: write "https://app.example", without a path, or "*"`]),
  [TOP('cors = { origins = { "*" }, credentials = true }'), 'cors.credentials: cannot be used with the origin "*"; name the origins'],
  [TOP('journal = { sample = 2 }'), 'journal.sample: must be a number from 0 to 1: 0.01 is one request in 100'],
  [TOP('journal = { keep = "1MB" }'), 'journal.keep: must be between 16777216 and 1099511627776 bytes'],
  [TOP('replay_before_reload = 50'), 'replay_before_reload: needs requests that went well in the journal: write journal = { errors = true, sample = 0.01 }'],
  [TOP('replay_before_reload = 50, journal = { errors = true }'), 'replay_before_reload: needs requests that went well in the journal: write journal = { errors = true, sample = 0.01 }'],
  [TOP('replay_before_reload = 501, journal = { sample = 1 }'), 'replay_before_reload: must be between 0 and 500'],
  [TOP('replay_before_reload = true, journal = { sample = 1 }'), /^replay_before_reload: must be a whole number/],
  [TOP('journal = { error = true }'), 'journal.error: unknown key; did you mean `errors`?'],
  [TOP('limits = { body = "6GB" }'), 'limits.body: must be between 0 and 1073741824 bytes'],
  [TOP('limits = { boddy = 1 }'), 'limits.boddy: unknown key; did you mean `body`?'],
  [TOP('limits = { connections_per_address = 0 }'), 'limits.connections_per_address: must be between 1 and 1000000'],
  [TOP('limits = 5'), 'limits: must be a table, not a number'],
  [TOP('compression = 1'), 'compression: must be true or false, not 1'],
  [TOP('auth = { issuer = "x" }'), "auth.issuer: Expected 'issuer' to be a valid http(s) uri, got 'x'"],
  [TOP('auth = { issuer = "" }'), "auth.issuer: Expected 'issuer' to be a valid string, got ''"],
  [TOP('auth = { issuer = "https://x/", audience = "" }'), "auth.audience: Expected 'audience' to be a valid string, got ''"],
  [TOP('auth = { issuer = "https://x/", audience = env.NOPE }'), "auth.audience: Expected 'audience' to be string, got 'undefined'; not set: NOPE (put it into .env beside functions.lua: NAME=value; `luafn check --dev` knows those of `dev`)"],
  [TOP('auth = { { issuer = "https://x/", audience = "a" }, namespace = "n" }'), 'auth: must be a list without names and gaps: { { issuer = ... }, { issuer = ... } }'],
  [TOP('auth = { { issuer = "https://x/", audience = "a" }, { issuer = "https://x/", audience = "b" } }'), 'auth[2].issuer: is that of auth[1] already; give all its audiences there, as a list'],
  [AUTH('algorithms = { "none" }'), /^auth\.algorithms: 'none' is not one of RS256 RS384/],
  [AUTH('algorithms = { "XX" }'), /^auth\.algorithms: 'XX' is not one of RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA HS256 HS384 HS512$/],
  [AUTH('dpop = 5'), 'auth.dpop: must be true, false, "optional", or a table'],
  [AUTH('dpop = { origin = "api.example" }'), 'auth.dpop.origin: must be as "https://api.example"'],
  [AUTH('algorithms = {}'), 'auth.algorithms: must name at least one algorithm'],
  [AUTH('algorithms = { "HS256" }'), 'auth.algorithms: HS256, HS384 and HS512 go with `secret`, the others with keys'],
  [AUTH('secret = "short"'), 'auth.secret: has 5 bytes; HS256 needs at least 32 (RFC 7518 section 3.2: no shorter than the hash)'],
  [AUTH('secret = "this secret has thirty-seven of them.", algorithms = { "HS256", "HS384" }'), /^auth\.secret: has 37 bytes; HS384 needs at least 48 /],
  [AUTH('jwks_uri = "x"'), 'auth.jwks_uri: must be an http(s) URL'],
  [AUTH('backend = "gnutls"'), 'auth.backend: must be "openssl" or "libjwt"'],
  [AUTH('profile = "x"'), 'auth.profile: must be "any" or "at+jwt"'],
  [AUTH('introspection = { url = "https://i.example/in", client_id = "c" }'), 'auth.introspection.client_secret: is missing: the endpoint must know who asks'],
  [AUTH('introspection = 5'), 'auth.introspection: must be a table: { url =, client_id =, client_secret = }'],
  [OWN('"publik"'), 'functions.a.auth: must be true, "public", or a table such as { scope = "read:shows" }'],
  [OWN('{ scop = "x" }'), 'functions.a.auth.scop: unknown key; did you mean `scope`?'],
  [OWN('{ scope = {} }'), /^functions\.a\.auth\.scope: must name at least one scope/],
  [OWN('{ scope = { any = { "a" }, all = { "b" } } }'), /^functions\.a\.auth\.scope\.all: cannot be given together with `any`/],
  ...['"read:shows write:shows"', '{ "read:shows write:shows" }', '{ any = { "a", "read:shows write:shows" } }'].map((scope) => [OWN(`{ scope = ${scope} }`),
    /^functions\.a\.auth\.scope.*: 'read:shows write:shows': one scope has no blank; write \{ "read:shows", "\.\.\." \} for all of them, \{ any = \{ \.\.\. \} \} for one$/]),
  ...['sub.id', 'aud.x', 'exp.at', 'scope.read'].map((path) => [OWN(`{ claims = { ["${path}"] = "x" } }`), `functions.a.auth.claims: no token has '${path}': there is nothing below \`${path.split('.')[0]}\``]),
  ...['a..b', '.a', 'a.', '.'].map((path) => [OWN(`{ claims = { ["${path}"] = "x" } }`), `functions.a.auth.claims: no token has '${path}': write names with one dot between, as "realm_access.roles"`]),
  [OWN('{ role = "a", role_path = "realm_access..roles" }'), /^functions\.a\.auth\.role_path: no token has 'realm_access\.\.roles'/],
  [OWN('{ role = "a", role_path = "" }'), 'functions.a.auth.role_path: must not be empty'],
  [OWN('{ role = "a", rolepath = "r" }'), 'functions.a.auth.rolepath: unknown key; did you mean `role_path`?'],
  [AUTH('role_path = "roles."'), /^auth\.role_path: no token has 'roles\.'/],
  [AUTH('audience_claim = "sub.x"'), "auth.audience_claim: no token has 'sub.x': there is nothing below `sub`"],
  [AUTH('audience_clam = "client_id"'), 'auth.audience_clam: unknown key; did you mean `audience_claim`?'],
  [TOP('auth = { issuer = "https://i.example/.well-known/openid-configuration", audience = "a" }'),
    "auth.issuer: is the place of a document of 'https://i.example'; write the issuer itself, as it stands in the tokens' `iss`"],
  ...['?p=1', '#x', '?a#b'].map((tail) => [TOP(`auth = { issuer = "https://i.example/${tail}", audience = "a" }`),
    `auth.issuer: has '${tail}', and no issuer has a query or a fragment: write what stands in the tokens' \`iss\`, and where the keys are as \`jwks_uri\``]),
  ...[['/a/{id}', "'{id}' stands for itself; a parameter is written ':id'"], ['/a/<id>/b', "'<id>' stands for itself; a parameter is written ':id'"],
    ['/[id]', "'[id]' stands for itself; a parameter is written ':id'"], ['/a/{proxy+}', "'{proxy+}' stands for itself; any rest is written '*'"]]
    .map(([path, said]) => [F(`path = "${path}"`), `functions.a.path: '${path}': ${said}`]),
  [OWN('{ scope = 5 }'), 'functions.a.auth.scope: must be a text or a list of texts, not 5'],
  [OWN('{ role = "" }'), 'functions.a.auth.role: must not be empty'],
  [OWN('{ claims = 5 }'), 'functions.a.auth.claims: must be a table of claim = value'],
  [OWN('{ claims = { a = function() end } }'), /^functions\.a\.auth\.claims.*: values must be texts, numbers, booleans, or lists of those/],
  ['functions = { a = { script = "scripts/a.lua", auth = true } }', /^functions\.a\.auth: asks for a token, but functions\.lua has no issuer; write auth = \{ issuer = "https:\/\/\.\.\.", audience = "\.\.\." \}$/],
];

const scripts = { 'scripts/a.lua': 'return function() return "a" end\n', 'odd/a.b.lua': 'return function() end\n' };
const table = (text) => `return {\n  ${text},\n}\n`;

test('what is right is taken', async (t) => {
  const dir = folder(t, scripts);
  for (const text of good) {
    await t.test(text, async () => {
      write(dir, { 'functions.lua': table(text) });
      const { code, stderr } = await run(t, ['check'], { dir });
      assert.equal(code, 0, stderr);
    });
  }
});

test('each fault: its line, its key, what to write', async (t) => {
  const dir = folder(t, scripts);
  for (const [text, said] of faults) {
    await t.test(text, async () => {
      write(dir, { 'functions.lua': table(text) });
      const { code, stdout, stderr } = await run(t, ['check'], { dir });
      assert.equal(code, 1);
      assert.equal(stdout, '');
      const [line] = stderr.split('\n');
      assert.ok(line.startsWith('functions.lua:2: '), stderr);
      if (said instanceof RegExp) assert.match(line.slice(17), said);
      else assert.equal(line.slice(17), said);
    });
  }
});

// The whole file: [text, what is said]
const files = [
  ['return 5', 'functions.lua:1: must return a table: return { functions = "scripts" }'],
  ['', 'functions.lua:1: must return a table: return { functions = "scripts" }'],
  ['x =', 'functions.lua:1: unexpected symbol near <eof>'],
  ['error("no")', 'functions.lua:1: no'],
  ['error({})', 'functions.lua raised a value'],
  ['while true do end', 'functions.lua: uses more than 1 s of processor time'],
  ['return {}', 'functions.lua:1: `functions` is missing: functions = "scripts", or a table of functions'],
  ['return { 5, functions = {} }', 'functions.lua:1: has a value without a name; known keys begin with `prefix`'],
];

test('a file that cannot be read as one', async (t) => {
  const dir = folder(t, scripts);
  for (const [text, said] of files) {
    await t.test(text, async () => {
      write(dir, { 'functions.lua': text });
      const { code, stderr } = await run(t, ['check'], { dir });
      assert.equal(code, 1);
      assert.equal(stderr.trim(), said);
    });
  }
});

test('check names what a function waits for in vain', async (t) => {
  const dir = folder(t, { ...scripts, '.env': 'IN_FILE=1\nGROUP_A=1\n', 'functions.lua': `return { functions = { a = { script = "scripts/a.lua", auth = "public", env = { "IN_FILE", "IN_PROCESS", "GROUP_*", "NOWHERE", "NO_*" } } } }` });
  const { code, stderr } = await run(t, ['check'], { dir, env: { IN_PROCESS: '' } });
  assert.equal(code, 0, stderr);
  assert.deepEqual(stderr.trim().split('\n'), ['NOWHERE', 'NO_*'].map((name) => `warning: function a lists '${name}' in \`env\`, which is set neither in the environment nor in a .env file`));
  write(dir, { 'functions.lua': 'return { functions = { a = { script = "scripts/a.lua" } }, auth = { issuer = "https://i.example/", audience = "a" } }', 'scripts/a.lua': 'return jwt.require_scope("a b", function() end)' });
  const blank = await run(t, ['check'], { dir });
  assert.equal(blank.code, 1);
  assert.match(blank.stderr, /scripts\/a\.lua:1: bad argument #1 to 'require_scope' \(one scope has no blank\)/);
});
