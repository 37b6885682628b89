// Opaque tokens (RFC 7662): the provider is asked, once for many, and its word is taken no further
// than it goes.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const ME = 'return function(e, c) return json.encode(c.identityContext or { nobody = true }) end';
const SECRET = 's3cret:with/odd chars';
const BASIC = `Basic ${Buffer.from('host%20id:s3cret%3Awith%2Fodd%20chars').toString('base64')}`;
const now = () => Math.floor(Date.now() / 1000);

// An endpoint whose answers a test sets: tokens { text: answer }, replies { text: reply }, or `reply` for all.
async function endpoint(t) {
  const it = { tokens: {}, replies: {}, asked: [], faults: [] };
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const piece of req) body += piece;
    const form = new URLSearchParams(body);
    if (req.method !== 'POST' || req.headers.authorization !== BASIC || form.get('token_type_hint') !== 'access_token'
      || req.headers['content-type'] !== 'application/x-www-form-urlencoded') it.faults.push([req.method, req.headers, body]);
    it.asked.push(form.get('token'));
    if (it.gate) await it.gate;
    const reply = it.reply ?? it.replies[form.get('token')];
    const { status = 200, text } = reply ?? { text: JSON.stringify(it.tokens[form.get('token')] ?? { active: false }) };
    if (status === 0) { res.destroy(); return; }
    res.writeHead(status, { 'Content-Type': 'application/json', ...(reply?.headers ?? {}) });
    res.end(text);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  it.url = `http://127.0.0.1:${server.address().port}/introspect`;
  return it;
}

async function world(t) {
  const issuer = (await Issuer.start(t)).tenant();
  const at = await endpoint(t);
  const h = await start(t, {
    files: deployment({ me: ME, shows: ME, open: ME, inlua: `return jwt.require_scope("read:shows", ${ME.slice(7)})`, verify: 'return function(e) local c, f = jwt.verify(e.body) return json.encode(c or f) end' }, {
      fields: { me: 'auth = true', shows: 'auth = { scope = "read:shows" }', open: 'auth = "public"' },
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, introspection = { url = ${lua(at.url)}, client_id = "host id", client_secret = ${lua(SECRET)}, cache = 60 } },`,
    }),
  });
  await h.keys();
  const ask = (token, name = 'me', options = {}) => h.call(name, { headers: { Authorization: `Bearer ${token}` }, ...options });
  return { h, at, issuer, ask };
}

test('an active token passes, with what the provider says as claims; others are refused', async (t) => {
  const { h, at, issuer, ask } = await world(t);
  at.tokens = {
    'opaque-1': { active: true, sub: 'u1', scope: 'read:shows', client_id: 'c', iss: issuer.issuer, aud: ['x', AUDIENCE], exp: now() + 600 },
    'two.parts': { active: true, sub: 'u2' },
    'a/b+c=': { active: true, sub: 'u3' },
  };
  const good = await ask('opaque-1');
  assert.equal(good.status, 200, good.text);
  assert.deepEqual(good.json().claims, at.tokens['opaque-1']);
  assert.equal(good.json().token, 'opaque-1');
  assert.equal((await ask('opaque-1', 'shows')).status, 200);
  for (const token of ['two.parts', 'a/b+c=']) {
    assert.equal((await ask(token)).status, 200, token);
    const denied = await ask(token, 'shows');
    assert.equal(denied.status, 403);
    assert.match(denied.header('www-authenticate'), /error="insufficient_scope", scope="read:shows"/);
  }
  assert.deepEqual(at.asked, ['opaque-1', 'two.parts', 'a/b+c=']);
  const none = await ask('unknown');
  assert.equal(none.status, 401);
  assert.deepEqual(none.json(), { error: 'jwt_invalid', error_description: 'The token is not active' });
  assert.match(none.header('www-authenticate'), /^Bearer realm="luafn", error="invalid_token", resource_metadata="[^"]+"$/);
  assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200, 'a JWT is checked here');
  assert.equal((await ask('a.b.c')).json().error_description, 'Invalid token provided');
  assert.equal((await h.call('me')).json().error, 'invalid_header');
  assert.deepEqual(at.asked.slice(3), ['unknown'], 'and nobody is asked for it');
  assert.deepEqual(at.faults, []);
});

test('what an answer says is held against the token', async (t) => {
  const { at, issuer, ask } = await world(t);
  const rows = {
    iss1: [{ iss: 'https://other/' }, 401], iss2: [{ iss: 5 }, 401], iss3: [{ iss: issuer.base }, 401], iss4: [{ iss: issuer.issuer }, 200],
    aud1: [{ aud: 'other' }, 401], aud2: [{ aud: [] }, 401], aud3: [{ aud: null }, 401], aud4: [{ aud: AUDIENCE }, 200],
    exp1: [{ exp: now() - 1 }, 401], exp2: [{ exp: 'soon' }, 401], exp3: [{ exp: 1e300 }, 401], exp4: [{ exp: now() + 3600 }, 200],
    nbf1: [{ nbf: now() + 600 }, 401], nbf2: [{ nbf: true }, 401], nbf3: [{ nbf: now() - 5 }, 200], none: [{}, 200],
  };
  for (const [token, [more, status]] of Object.entries(rows)) {
    at.tokens[token] = { active: true, sub: token, ...more };
    const res = await ask(token);
    assert.equal(res.status, status, `${token} ${res.text}`);
    if (status === 200) assert.equal(res.json().claims.sub, token);
    else assert.ok(!res.text.includes(at.url));
  }
});

// What an endpoint may answer about one token, and what its bearer hears: before the endpoint has once
// answered plainly (then a 4xx may as well mean our credentials), and after.
const ACTIVE = JSON.stringify({ active: true, sub: 'u' });
const ODD = {
  s400: [{ status: 400, text: '{"error":"invalid_token"}' }, 503, 401], s401: [{ status: 401, text: ACTIVE }, 503, 401], s403: [{ status: 403, text: '<html>' }, 503, 401],
  s404: [{ status: 404, text: '' }, 503, 401], s429: [{ status: 429, text: ACTIVE, headers: { 'Retry-After': '9' } }, 503, 503], s201: [{ status: 201, text: ACTIVE }, 503, 503],
  s204: [{ status: 204 }, 503, 503], redirect: [{ status: 302, text: ACTIVE, headers: { Location: '/elsewhere' } }, 503, 503], html: [{ text: '<html>' }, 503, 503],
  list: [{ text: `[${ACTIVE}]` }, 503, 503], text: [{ text: '{"active":"true"}' }, 503, 503], one: [{ text: '{"active":1}' }, 503, 503], nothing: [{ text: '{}' }, 503, 503],
  twice: [{ text: '{"active":false,"active":true}' }, 503, 503], half: [{ text: '{"active":true,"x":"\\ud800"}' }, 503, 503], beyond: [{ text: '{"active":true,"x":1e400}' }, 503, 503],
  broken: [{ text: ACTIVE.slice(0, -1) }, 503, 503], empty: [{ text: '' }, 503, 503], long: [{ text: JSON.stringify({ active: true, pad: 'x'.repeat(70000) }) }, 503, 503],
  deep: [{ text: `{"active":true,"x":${'['.repeat(50)}${']'.repeat(50)}}` }, 503, 503],
};

test('an answer that is none concerns its token alone; never a 200', async (t) => {
  const { h, at, ask } = await world(t);
  const odd = async (token, reply, status) => {
    at.replies[token] = reply;
    const res = await ask(token);
    assert.equal(res.status, status, `${token}: ${res.text}`);
    assert.equal(res.json().error, status === 401 ? 'jwt_invalid' : 'keys_unavailable');
    assert.equal(Number(res.header('retry-after')) > 0, status === 503);
    assert.doesNotMatch(res.text, /127\.0\.0\.1|introspect/);
  };
  for (const [token, [reply, before]] of Object.entries(ODD)) await odd(`first-${token}`, reply, before);
  at.tokens.good = { active: true, sub: 'u', big: 1 };
  at.replies.good = { text: '{"active":true,"sub":"u","big":99999999999999999999}' };
  assert.equal((await ask('good')).status, 200);
  for (const [token, [reply, , after]] of Object.entries(ODD)) {
    await odd(`then-${token}`, reply, after);
    at.tokens[`good-${token}`] = { active: true, sub: 'u' };
    assert.equal((await ask(`good-${token}`)).status, 200, `beside ${token}`);
  }
  at.replies = { 'first-s204': { text: ACTIVE } };
  assert.equal(await eventually(async () => (await ask('first-s204')).status === 200, 5, 'asked for again'), true);
  const lines = h.stderr.split('\n').filter((line) => line.includes('without a plain answer'));
  assert.equal(lines.length, 1, 'one line, however many send such tokens');
});

test('an endpoint that fails: known tokens pass, and all do when it is back', async (t) => {
  for (const reply of [{ status: 500, text: ACTIVE }, { status: 0 }]) {
    const { at, ask } = await world(t);
    at.tokens.known = { active: true, sub: 'u' };
    assert.equal((await ask('known')).status, 200);
    for (let i = 0; i < 6; i++) { // one caller's token makes it fail, again and again
      at.replies[`bad-${i}`] = reply;
      assert.equal((await ask(`bad-${i}`)).status, 503);
      at.tokens[`good-${i}`] = { active: true, sub: 'u' };
      assert.equal((await ask(`good-${i}`)).status, 200);
    }
    at.reply = reply;
    for (let i = 0; i < 6; i++) assert.equal((await ask(`down-${i}`)).status, 503);
    assert.equal((await ask('known')).status, 200);
    at.reply = undefined;
    at.tokens.back = { active: true, sub: 'u' };
    await eventually(async () => (await ask('back')).status === 200, 5, 'back');
  }
});

test('many who bring a token at once, and what has run out', async (t) => {
  const { at, ask } = await world(t);
  at.tokens.t = { active: true, sub: 'u' };
  assert.deepEqual([...new Set((await Promise.all(Array.from({ length: 20 }, () => ask('t')))).map((r) => r.status))], [200]);
  assert.equal(at.asked.length, 1);
  at.tokens.short = { active: true, sub: 'u', exp: now() - 1 };
  assert.equal((await ask('short')).json().error, 'jwt_expired');
});

test('in Lua, and where a token is not needed', async (t) => {
  const { at, ask } = await world(t);
  at.tokens.t = { active: true, sub: 'u', scope: 'read:shows' };
  assert.deepEqual((await ask('t', 'open')).json(), { nobody: true }, 'an open function asks nobody');
  assert.equal((await ask('t', 'inlua')).json().claims.sub, 'u');
  assert.equal((await ask('t', 'open')).json().claims.sub, 'u');
  assert.equal((await ask('x', 'inlua')).status, 401);
  const verify = async (body) => (await ask('t', 'verify', { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } })).json();
  assert.equal((await verify('t')).sub, 'u');
  assert.equal((await verify('y')).message, 'The token is not active');
  at.reply = { status: 500, text: '' };
  assert.equal((await ask('z', 'inlua')).status, 503);
});

test('a flood of tokens that nobody knows: questions are bounded, known tokens pass', async (t) => {
  const { at, ask } = await world(t);
  at.tokens.good = { active: true, sub: 'u' };
  await eventually(async () => (await ask('good')).status === 200, 5, 'it is known');
  let strays = 0;
  // Nobody waits for longer than three seconds: where the machine took those, once more.
  for (let inTime = false, round = 0; !inTime; round++) {
    assert.ok(round < 10, 'never in time');
    await eventually(async () => (await ask(`stray-${strays++}`)).status === 401, 5, 'it is asked');
    at.asked.length = 0;
    let open;
    let answered = 0;
    const began = performance.now();
    at.gate = new Promise((resolve) => { open = resolve; });
    const flood = Array.from({ length: 200 }, (_, i) => ask(`bad-${round}-${i}`).finally(() => { answered += 1; }));
    await eventually(() => answered + at.asked.length >= 200, 5, 'each asked about, or answered');
    const most = at.asked.length;
    assert.equal((await ask('good')).status, 200, 'from memory');
    open();
    inTime = performance.now() - began < 2500;
    const statuses = (await Promise.all(flood)).map((r) => r.status);
    assert.ok(statuses.every((s) => s === 401 || s === 503));
    if (!inTime) continue;
    assert.ok(most > 0 && most <= 64, `${most} at once`);
    assert.equal(statuses.filter((s) => s === 401).length, most);
  }
});

test('options that are none', async (t) => {
  const good = 'url = "https://x.example/i", client_id = "a", client_secret = "b"';
  const rows = { 5: 'must be a table', '{}': 'url: must be', '{ url = "ftp://x" }': 'url: must be', '{ url = "https://x.example/i" }': 'client_id: is missing',
    '{ url = "https://x.example/i", client_id = "a" }': 'client_secret: is missing', [`{ ${good}, cache = 0 }`]: 'cache: must be between', [`{ ${good}, ttl = 5 }`]: 'unknown key',
    '{ url = "http://x.example/i", client_id = "a", client_secret = "b" }': 'must be https', [`{ ${good} }`]: null };
  for (const [value, text] of Object.entries(rows)) {
    const r = await run(t, ['check'], { files: deployment({ me: ME }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = "https://x.example/", audience = "a", introspection = ${value} },` }) });
    assert.equal(r.code, text ? 1 : 0, value + r.stderr + r.stdout);
    if (text) assert.ok((r.stderr + r.stdout).includes(text), `${value}\n${r.stderr}${r.stdout}`);
  }
});
