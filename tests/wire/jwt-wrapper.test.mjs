// The verifier of the article in Lua, row by row beyond the recorded answers: what its options must
// be, what mapClaims and handleError may do, what the handler finds, and the same with each backend.
import assert from 'node:assert/strict';
import test from 'node:test';
import { config, deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const faults = ({ stdout, stderr }) => `${stdout}\n${stderr}`.split('\n');

test('options: each fault with its text, in the original\'s order', async (t) => {
  const object = 'A valid configuration object must be provided';
  const issuer = (type) => `Expected 'issuer' to be string, got '${type}'`;
  const audience = (type) => `Expected 'audience' to be string, got '${type}'`;
  const uri = (text) => `Expected 'issuer' to be a valid http(s) uri, got '${text}'`;
  const good = 'issuer = "https://x.example/", audience = "a"';
  const rows = {
    '': object, nil: object, 5: object, '"x"': object, true: object, 'json.null': object, 'function() end': object,
    '{}': issuer('undefined'), '{ 1, 2 }': issuer('undefined'), '{ issuer = true }': issuer('boolean'), '{ issuer = {} }': issuer('object'),
    '{ issuer = json.null }': issuer('object'), '{ issuer = print }': issuer('function'), '{ issuer = 5, audience = 5, map_claims = 5 }': issuer('number'),
    '{ issuer = "", audience = "" }': "Expected 'issuer' to be a valid string, got ''",
    '{ issuer = "x", audience = "" }': uri('x'), '{ issuer = "HTTP://x/", audience = "a" }': uri('HTTP://x/'),
    '{ issuer = "https:/x", audience = "a" }': uri('https:/x'), '{ issuer = " https://x/", audience = "a" }': uri(' https://x/'),
    '{ issuer = "https://x/" }': audience('undefined'), '{ issuer = "https://x/", audience = 5 }': audience('number'),
    '{ issuer = "https://x/", audience = json.null }': audience('object'), '{ issuer = "https://x/", audience = true }': audience('boolean'),
    '{ issuer = "https://x/", audience = {} }': audience('object'), '{ issuer = "https://x/", audience = { "a", 5 } }': audience('object'),
    '{ issuer = "https://x/", audience = "", map_claims = 1 }': "Expected 'audience' to be a valid string, got ''",
    [`{ ${good}, map_claims = "x" }`]: "Expected 'mapClaims' to be a function, got 'string'",
    [`{ ${good}, map_claims = {} }`]: "Expected 'mapClaims' to be a function, got 'object'",
    [`{ ${good}, map_claims = false }`]: "Expected 'mapClaims' to be a function, got 'boolean'",
    [`{ ${good}, jwks_uri = "" }`]: 'jwks_uri: must be an http(s) URL',
    [`{ ${good}, algorithms = { "none" } }`]: "algorithms: 'none' is not one of RS256",
    [`{ ${good}, algorithms = { "rs256" } }`]: "algorithms: 'rs256' is not one of RS256",
    [`{ ${good}, algorithms = { "HS256" } }`]: 'algorithms: HS256, HS384 and HS512 go with `secret`',
    [`{ ${good}, secret = "" }`]: 'secret: has 0 bytes; HS256 needs at least 32',
    '{ issuer = "http://x.example/", audience = "a" }': "'http://x.example/' must be https",
    [`{ ${good}, clock_tolerence = 5 }`]: 'jwt.verifier: clock_tolerence: unknown key; did you mean `clock_tolerance`?',
    [`{ ${good}, mapClaims = print }`]: 'jwt.verifier: mapClaims: unknown key; did you mean `map_claims`?',
    [`{ ${good}, handleError = print }`]: 'jwt.verifier: handleError: unknown key; did you mean `handle_error`?',
    [`{ ${good}, 5 }`]: 'jwt.verifier: has a value without a name',
    [`{ ${good} }`]: null, [`{ ${good}, map_claims = json.null, handle_error = json.null }`]: null,
    '{ issuer = "http://127.0.0.1:1/", audience = { "a", "b" } }': null,
  };
  const files = {};
  const functions = {};
  Object.keys(rows).forEach((expression, i) => {
    files[`scripts/c${i}.lua`] = `return jwt.verifier(${expression})(function() end)\n`;
    functions[`c${i}`] = `script = "scripts/c${i}.lua", auth = "public"`;
  });
  files['functions.lua'] = config(functions);
  const lines = faults(await run(t, ['check'], { files }));
  Object.entries(rows).forEach(([expression, text], i) => {
    const line = lines.find((l) => l.includes(`/c${i}.lua:1:`));
    if (text === null) assert.equal(line, undefined, expression);
    else assert.ok(line?.includes(`scripts/c${i}.lua:1: ${text}`), `${expression}\n  ${line}\n  ${text}`);
  });
});

test('policies: a rule without content is a fault, not the absence of a rule', async (t) => {
  const issuer = 'auth = { issuer = "https://x/", audience = "a" }';
  const rows = [
    ['auth = { role = "" }', issuer, /functions\.lua:3: functions\.f\.auth\.role: must not be empty/],
    ['auth = { scope = "" }', issuer, /functions\.lua:3: functions\.f\.auth\.scope: must not be empty/],
    ['auth = { scope = { any = { "a", "" } } }', issuer, /auth\.scope: must not be empty/],
    ['auth = { role = "a", scope = { any = { "a" } } }', issuer, null],
    ['auth = true', 'auth = { { issuer = "https://x/", audience = "a" }, { issuer = "https://x/", audience = "b" } }', /functions\.lua:5: auth\[2\]\.issuer: is that of auth\[1\] already/],
    ['auth = true', 'auth = { { issuer = "https://x/", audience = "a" }, { issuer = "https://x", audience = "b" } }', null],
    ...['{}', '{ a = 1 }', '{ "x", a = 1 }', '{ "x", {} }', '{ [2] = "x" }', 'function() end'].map((v) => [`auth = { claims = { org = ${v} } }`, issuer, /auth\.claims: values must be texts, numbers, booleans, or lists of those/]),
    ['auth = { claims = { org = { "a", 5, true } } }', issuer, null],
  ];
  for (const [field, more, text] of rows) {
    const r = await run(t, ['check'], { files: deployment({ f: 'return function() end' }, { fields: { f: field }, more: `  ${more},` }) });
    assert.equal(r.code, text ? 1 : 0, field + r.stderr + r.stdout);
    if (text) assert.match(faults(r).join('\n'), text);
  }
});

test('jwt.verify and jwt.sign: options, and the mapping of claims', async (t) => {
  const rows = {
    // expression: the text of what it gives, or of the error
    'jwt.verify(good, o())': '{"sub":"s"}',
    'jwt.verify(good, o { map_claims = function(c) return { who = c.sub } end })': '{"who":"s"}',
    'jwt.verify(good, o { map_claims = function(c) sleep(0.001) return { who = c.sub } end, handle_error = print })': '{"who":"s"}',
    'jwt.verify(good, o { map_claims = function() end })': '{"code":"claims_mapping","message":"The mapClaims function returned an empty object"}',
    'jwt.verify(good, o { map_claims = function() error("no") end })': '{"code":"claims_mapping","message":"no"}',
    'jwt.verify("x", o { map_claims = function() error("not called") end })': '{"code":"jwt_invalid","message":"Invalid token provided"}',
    'jwt.verify(good, o { map_claims = 5 })': "Expected 'mapClaims' to be a function, got 'number'",
    'jwt.verify(good, o { audiance = "x" })': 'jwt.verify: audiance: unknown key; did you mean `audience`?',
    'jwt.sign({}, { secret = S, algorithms = "HS256" })': 'jwt.sign: algorithms: unknown key; did you mean `algorithm`?',
    'jwt.sign({}, { secret = S, expires = 5 })': 'jwt.sign: expires: unknown key; known are key, secret, algorithm, kid, typ',
    'jwt.sign({}, { secret = S, "HS256" })': 'jwt.sign: has a value without a name; known keys begin with `key`',
    '#jwt.sign({}, { secret = S, algorithm = "HS256", kid = "k", typ = "JWT" }) > 0': 'true',
  };
  const script = `local S = ("s"):rep(32)
local function o(more)
  local all = { issuer = "https://i/", audience = "a", secret = S, require_exp = false }
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end
return function()
  local good = jwt.sign({ iss = "https://i/", aud = "a", sub = "s" }, { secret = S })
  local calls = { ${Object.keys(rows).map((e) => `function() return ${e} end`).join(',\n')} }
  local out = json.array {}
  for i, call in ipairs(calls) do
    local ok, value, why = pcall(call)
    local got = ok and (value or why) or value
    if type(got) == "table" then got.iss, got.aud = nil, nil got = json.decode(json.encode(got)) end
    out[i] = type(got) == "table" and got or tostring(got):gsub("^scripts/f.lua:%d+: ", "")
  end
  return json.encode(out)
end`;
  const { code, stdout, stderr } = await run(t, ['invoke', 'f'], { files: deployment({ f: script }, { fields: { f: 'auth = "public"' } }) });
  assert.equal(code, 0, stderr);
  const plain = (v) => (v && typeof v === 'object' ? JSON.stringify(Object.fromEntries(Object.entries(v).sort())) : v);
  Object.entries(rows).forEach(([expression, wanted], i) => assert.equal(plain(JSON.parse(stdout)[i]), wanted, expression));
});

// ---- the wrapper ----

const IDENTITY = 'function(e, c) return { statusCode = 200, body = json.encode({ identity = c.identityContext, user = c.clientContext.user }) } end';
const parsed = (res) => JSON.parse(res.text);

// name: [options of the verifier, handler, answer to a good token, to none, to a bad one]; an answer
// is a status and a text of the body.
const missing = 'The Authorization header is missing or empty';
const NONE = [401, JSON.stringify({ error: 'invalid_header', error_description: missing })];
const BAD = [401, JSON.stringify({ error: 'jwt_invalid', error_description: 'invalid signature' })];
const mapping = (text) => [401, JSON.stringify({ error: 'claims_mapping', error_description: text })];
const UNDEFINED = [500, /undefined/];

const WRAPPERS = {
  he_nil: ['handle_error = function() end', IDENTITY, [200], UNDEFINED, UNDEFINED],
  he_text: ['handle_error = function(e) return e.code end', IDENTITY, [200], [200, 'invalid_header'], [200, 'jwt_invalid']],
  he_number: ['handle_error = function() return 5 end', IDENTITY, [200], [500, /statusCode/], [500, /statusCode/]],
  he_raise: ['handle_error = function() error("he") end', IDENTITY, [200], [502, '{"errorType":"Error","errorMessage":"he"}'], [502, /"he"/]],
  he_table: ['handle_error = function() error({ code = "Mine", message = "m" }) end', IDENTITY, [200], [502, '{"errorType":"Mine","errorMessage":"m"}'], [502, /Mine/]],
  he_waits: ['handle_error = function(e) sleep(0.01) return { statusCode = 419, body = e.message } end', IDENTITY, [200], [419, missing], [419, 'invalid signature']],
  he_coroutine: [`handle_error = function(e)
      local step = coroutine.wrap(function() sleep(0.01) coroutine.yield() return 4 end)
      step()
      return { statusCode = 400 + step(), body = e.code } end`, IDENTITY, [200], [404, 'invalid_header'], [404, 'jwt_invalid']],
  he_one_argument: ['handle_error = function(...) return { statusCode = 400 + select("#", ...), body = "x" } end', IDENTITY, [200], [401, 'x'], [401, 'x']],
  handler_raises: ['handle_error = function() return "handled" end', 'function() error("boom", 0) end', [502, '{"errorType":"Error","errorMessage":"boom"}'], [200, 'handled'], [200, 'handled']],
  handler_nothing: ['', 'function() end', UNDEFINED, NONE, BAD],
  handler_waits: ['', 'function(e, c) sleep(0.01) return c.identityContext.claims.sub end', [200, 'auth0|1'], NONE, BAD],
  map_text: ['map_claims = function() return "x" end', 'function(e, c) return c.identityContext.claims end', [200, 'x'], NONE, BAD],
  map_zero: ['map_claims = function() return 0 end', 'function(e, c) return json.encode(c.identityContext.claims) end', [200, '0'], NONE, BAD],
  map_false: ['map_claims = function() return false end', 'function(e, c) return json.encode(c.identityContext.claims) end', [200, 'false'], NONE, BAD],
  map_empty_text: ['map_claims = function() return "" end', 'function(e, c) return "[" .. c.identityContext.claims .. "]" end', [200, '[]'], NONE, BAD],
  map_nothing: ['map_claims = function() end', IDENTITY, mapping('The mapClaims function returned an empty object'), NONE, BAD],
  map_null: ['map_claims = function() return json.null end', IDENTITY, mapping('The mapClaims function returned an empty object'), NONE, BAD],
  map_raises: ['map_claims = function() error("boom", 0) end', IDENTITY, mapping('boom'), NONE, BAD],
  map_raises_with_position: ['map_claims = function() error("boom") end', IDENTITY, mapping('boom'), NONE, BAD],
  map_raises_by_itself: ['map_claims = function(c) return c.a.b end', IDENTITY, mapping("attempt to index a nil value (field 'a')"), NONE, BAD],
  map_raises_table: ['map_claims = function() error({ message = "m" }) end', IDENTITY, mapping('m'), NONE, BAD],
  map_raises_nothing: ['map_claims = function() error() end', IDENTITY, mapping(''), NONE, BAD],
  map_raises_later: ['map_claims = function() sleep(0.01) error("later", 0) end', IDENTITY, mapping('later'), NONE, BAD],
  map_handled: ['map_claims = function() error("boom", 0) end, handle_error = function(e) return { statusCode = 418, body = e.code .. ": " .. e.message } end', IDENTITY,
    [418, 'claims_mapping: boom'], [418, /^invalid_header/], [418, /^jwt_invalid/]],
};

for (const backend of ['openssl', 'libjwt']) {
  test(`${backend}: what map_claims, handle_error and the handler may do`, async (t) => {
    const issuer = (await Issuer.start(t)).tenant();
    const verifier = (more) => `jwt.verifier{ issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)}, ${more} }`;
    const scripts = Object.fromEntries(Object.entries(WRAPPERS).map(([name, [more, handler]]) => [name, `return ${verifier(more)}(${handler})`]));
    const h = await start(t, { files: deployment(scripts) });
    await eventually(async () => (await h.call('handler_waits', { headers: issuer.bearer() })).status === 200, 10, "the issuer's keys");
    const check = (answer, [status, text], what) => {
      assert.equal(answer.status, status, `${what}: ${answer.text}`);
      if (text instanceof RegExp) assert.match(answer.text, text, what);
      else if (text !== undefined) assert.equal(answer.text, text, what);
      if (answer.status === 401 && answer.text.startsWith('{"error"')) {
        const sent = !answer.text.includes('invalid_header');
        assert.equal(answer.header('www-authenticate'), `Bearer realm="luafn"${sent ? ', error="invalid_token"' : ''}`);
      }
    };
    for (const [name, [, , good, none, bad]] of Object.entries(WRAPPERS)) {
      check(await h.call(name, { headers: issuer.bearer() }), good, `${name}, good token`);
      check(await h.call(name), none, `${name}, no token`);
      check(await h.call(name, { headers: issuer.bearer({}, { by: 'k3' }) }), bad, `${name}, bad token`);
    }
  });
}

test('the handler finds the identity, and clientContext.user is the same; nobody else finds any', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const verifier = (more = '') => `jwt.verifier{ issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, ${more} }`;
  const h = await start(t, {
    files: deployment({
      plain: `return ${verifier()}(${IDENTITY})`,
      early: `local guarded = ${verifier()}(${IDENTITY})
        return function(e, c) local before = c.clientContext.user local r = guarded(e, c) r.headers = { ["X-Before"] = tostring(before) } return r end`,
      mapped: `return ${verifier('map_claims = function(c) return { who = c.sub } end')}(${IDENTITY})`,
      after: `local guarded = ${verifier()}(${IDENTITY})
        return function(e, c) guarded(e, c) return tostring(c.identityContext) .. tostring(c.clientContext.user) end`,
      upstream: `return ${verifier(`map_claims = function(c)
        c = jwt.remove_namespaces("http://", c)
        c.roles, c.scopes = jwt.claim_to_array(c.roles), jwt.claim_to_array(c.scopes)
        return c end`)}(${IDENTITY})`,
    }),
  });
  await eventually(async () => (await h.call('plain', { headers: issuer.bearer() })).status === 200, 10, "the issuer's keys");
  const claims = issuer.claims();
  const get = async (name, more = {}) => h.call(name, { headers: issuer.bearer({ ...claims, ...more }) });
  for (const name of ['plain', 'early']) {
    const got = parsed(await get(name));
    assert.deepEqual(got.identity.claims, claims);
    assert.deepEqual(got.user, claims);
    assert.equal(got.identity.token.split('.').length, 3);
  }
  assert.equal((await get('early')).header('x-before'), 'nil');
  assert.deepEqual(parsed(await get('mapped')).user, { who: 'auth0|1' });
  assert.equal((await h.call('after')).text, 'nilnil', 'a refusal leaves nothing behind');
  assert.deepEqual(parsed(await get('upstream', { 'http://roles': 'admin user member' })).identity.claims,
    { ...claims, roles: ['admin', 'user', 'member'], scopes: [] });
});

test('in Lua on the deployment\'s issuer: its namespace is dropped there too', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({
      role: `return jwt.require_role("admin", ${IDENTITY})`,
      scope: `return jwt.require_scope('odd"scope', ${IDENTITY})`,
      long: `return jwt.require_scope(("x"):rep(400), ${IDENTITY})`,
      verify: 'return function(e) return json.encode(jwt.verify(e.body)) end',
    }, { more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, namespace = "https://ns/" },` }),
  });
  await h.keys();
  const call = (name, claims) => h.call(name, { headers: issuer.bearer(claims) });
  const good = await call('role', { 'https://ns/roles': ['admin'], 'https://ns/sub': 'root' });
  assert.equal(good.status, 200, good.text);
  assert.deepEqual(parsed(good).identity.claims.roles, ['admin']);
  assert.equal(parsed(good).identity.claims.sub, 'auth0|1');
  assert.equal((await call('role', { 'https://other/roles': ['admin'] })).status, 403);
  const odd = await call('scope');
  assert.equal(odd.status, 403);
  const challenge = (res) => res.header('www-authenticate').replace(/, resource_metadata="[^"]+"$/, '');
  assert.equal(challenge(odd), 'Bearer realm="luafn", error="insufficient_scope"', 'what it cannot hold is left out');
  const long = await call('long');
  assert.equal(challenge(long), `Bearer realm="luafn", error="insufficient_scope", scope="${'x'.repeat(400)}"`);
  assert.equal(long.json().error_description, `Token does not contain the required '${'x'.repeat(400)}' scope`);
  const verified = await h.call('verify', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: issuer.token({ 'https://ns/tier': 'gold' }) });
  assert.equal(verified.json().tier, 'gold');
});

test('cross-origin headers on what is refused before a function is known', async (t) => {
  const origin = 'https://app.example';
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({ me: 'return function() return "ok" end' }, {
      fields: { me: 'auth = true, methods = { "POST" }' },
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} }, cors = { origins = { ${lua(origin)} } }, limits = { body = "1KB" },`,
    }),
  });
  await h.keys();
  const send = (from, body, headers = {}, method = 'POST') => h.call('me', { method, headers: { Origin: from, 'Content-Type': 'text/plain', ...headers }, body });
  const rows = [['x'.repeat(4096), issuer.bearer(), 413], ['x'.repeat(4096), {}, 401], ['x', {}, 401], ['x', issuer.bearer(), 200], ['x', {}, 405, 'PUT']];
  for (const [body, headers, status, method] of rows) {
    const res = await send(origin, body, headers, method);
    assert.equal(res.status, status);
    assert.equal(res.header('access-control-allow-origin'), origin, `${status}`);
    const foreign = await send('https://evil.example', body, headers, method);
    assert.equal(foreign.status, status);
    assert.equal(foreign.header('access-control-allow-origin'), undefined);
  }
});
