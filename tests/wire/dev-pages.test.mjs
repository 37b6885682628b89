// What `dev` brings itself lies below /_luafn/dev/, where nothing of the user's reaches; all else is his.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, start, write } from '../lib/host.mjs';
import { records } from '../lib/journal.mjs';

const own = (extra = {}) => ({
  ...deployment({ one: 'local n = 0\nreturn function(event)\n  n = n + 1\n  if event.queryStringParameters.bad then error("no good") end\n  return json.encode { n = 1 }\nend' }, extra),
});

test('/ and the old addresses lead there, where the user has no page of his own', async (t) => {
  const h = await start(t, { command: 'dev', files: own() });
  for (const [path, target] of [['/', '/_luafn/dev/'], ['/issuer.html', '/_luafn/dev/issuer.html'], ['/auth0.html', '/_luafn/dev/auth0.html']]) {
    const res = await h.get(path);
    assert.deepEqual([res.status, res.header('location')], [302, target]);
    assert.equal((await h.get(target)).status, 200, target);
  }
  for (const path of ['/style.css', '/app.js', '/index.html', '/dev/users', '/_luafn/dev/nothing']) assert.equal((await h.get(path)).status, 404, path);
  assert.equal((await h.request({ method: 'POST', path: '/' })).status, 404);
});

test('a page of the user, his rules and his CORS leave the pages of dev alone', async (t) => {
  const h = await start(t, { command: 'dev', files: {
    ...own({ more: '  publish = "site", cors = { origins = { "*" } }, headers = { { ["for"] = "/*", values = { ["Content-Security-Policy"] = "default-src *", ["X-Mine"] = "1" } } }, redirects = { { from = "/*", to = "/index.html", status = 200, force = true } },' }),
    'site/index.html': 'mine', 'site/_luafn/dev/index.html': 'mine', 'site/_luafn/dev/dashboard.js': 'mine',
  } });
  const headers = { Origin: 'https://elsewhere.example' };
  assert.equal((await h.get('/')).text, 'mine');
  assert.equal((await h.get('/', headers)).header('access-control-allow-origin'), '*', 'the twin: of his own answers they count');
  for (const path of ['/_luafn/dev/', '/_luafn/dev/dashboard.js', '/_luafn/dev/api/users', '/_luafn/journal', '/_luafn/routes']) {
    const res = await h.get(path, headers);
    assert.equal(res.status, 200, path);
    assert.notEqual(res.text, 'mine', path);
    assert.deepEqual([res.header('access-control-allow-origin'), res.header('x-mine'), res.header('content-security-policy'), res.header('cross-origin-resource-policy')], [undefined, undefined, 'frame-ancestors \'none\'', 'same-origin'], path);
  }
});

test('serve has none of them', async (t) => {
  const h = await start(t, { files: own() });
  for (const path of ['/', '/_luafn/dev/', '/_luafn/dev/dashboard.js', '/_luafn/dev/source/scripts/one.lua']) assert.equal((await h.get(path)).status, 404, path);
  assert.equal((await h.admin('dev/')).status, 404);
});

test('sources of scripts that are loaded, and no other file', async (t) => {
  const h = await start(t, { command: 'dev', files: { ...own(), '.env': 'SECRET=geheim', 'scripts/other.lua': 'geheim' } });
  const res = await h.get('/_luafn/dev/source/scripts/one.lua');
  assert.deepEqual([res.status, res.header('content-type'), res.text.split('\n')[0]], [200, 'text/plain; charset=utf-8', 'local n = 0']);
  for (const path of ['.env', 'scripts/other.lua', 'functions.lua', '../one.lua', '%2fetc%2fpasswd', 'dev/auth.lua', '.luafn/dev.key', '']) {
    const none = await h.get(`/_luafn/dev/source/${path}`);
    assert.equal(none.status, 404, path);
    assert.doesNotMatch(none.text, /geheim/);
  }
});

const ask = (h, name, fields, headers = {}) => h.request({ method: 'POST', path: `/_luafn/dev/api/${name}`, headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(fields) });

test('a replay for the dashboard: the same, another way, a fault', async (t) => {
  const h = await start(t, { command: 'dev', files: own() });
  await h.call('one');
  await h.call('one', { suffix: '?bad=1' });
  const [good, bad] = await records(h.dir, 2);
  const again = async (id) => (await ask(h, 'replay', { id })).json();
  const same = await again(good.id);
  assert.deepEqual([same.same, same.calls, same.status, same.differences], [true, 0, 200, []]);
  assert.equal((await again(bad.id)).same, true);
  assert.match((await again('none')).fault, /no record/);
  for (const id of ['--help', '', 5, 'a\0b']) assert.equal((await ask(h, 'replay', { id })).status, 400);
  write(h.dir, { 'scripts/one.lua': 'return function() return json.encode { n = 2 } end' });
  const other = await again(good.id);
  assert.deepEqual([other.same, other.differences], [false, [{ what: 'body', was: '{"n":1}', is: '{"n":2}' }]]);
  write(h.dir, { 'scripts/one.lua': 'return function() return kv.get("x") or "" end' });
  assert.match((await again(good.id)).another_way, /kv\.get/);
});

const SHOWN = {
  keeper: 'return function(event) kv.set("text", "kept " .. (event.headers["x-what"] or event.body or "")) kv.set("table", { password = "hunter2-and-more", n = 1, list = json.array {} }) kv.set("raw", "\\255\\254") kv.set("long", ("x"):rep(5000)) return { statusCode = 201, headers = { ["X-Made"] = "1" }, body = event.httpMethod .. " " .. (event.body or "") } end',
  locked: 'return function(event, context) return context.identityContext.claims.sub end',
  keeper_test: 'test("keeps", function(t) t.equal(t.invoke("keeper", { method = "POST", body = "b" }).status, 201) end)\ntest("is not so", function(t) t.equal(1, 2) end)',
};
function shown() {
  const files = deployment({ keeper: SHOWN.keeper, locked: SHOWN.locked }, { fields: { keeper: 'kv = "shelf"', locked: 'auth = { scope = "read:shows" }' }, more: '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n  redact = { "password" },' });
  return { ...files, 'scripts/keeper_test.lua': SHOWN.keeper_test, '.env': 'API_KEY=a value of the environment\n' };
}

test('send, kv, tests and audit for the dashboard', async (t) => {
  const h = await start(t, { command: 'dev', files: shown() });
  const sent = (await ask(h, 'send', { method: 'POST', path: '/.netlify/functions/keeper?a=1', headers: { 'X-What': 'this', 'Content-Type': 'text/plain' }, body: 'Grüße' })).json();
  assert.deepEqual([sent.status, sent.body, sent.record.status, sent.record.target, sent.record.request.body], [201, 'POST Grüße', 201, '/.netlify/functions/keeper?a=1', 'Grüße']);
  const bare = await ask(h, 'send', { method: 'GET', path: '/.netlify/functions/locked', headers: {} });
  assert.equal(bare.json().status, 401);
  const { access_token: token } = (await ask(h, 'token', { sub: 'auth0|vera', scope: 'read:shows' })).json();
  const good = await ask(h, 'send', { method: 'GET', path: '/.netlify/functions/locked', headers: { Authorization: `Bearer ${token}` } });
  assert.deepEqual([good.json().status, good.json().body], [200, 'auth0|vera']);
  assert.ok(!good.text.includes(token), 'no token comes back');
  for (const [fields, status] of [[{ method: 'GET', path: '/_luafn/dev/api/state', headers: {} }, 400], [{ method: 'GET', path: '//_luafn/x', headers: {} }, 400], [{ method: 'GET', path: 'http://elsewhere.example/', headers: {} }, 400], [{ method: 'TRACE', path: '/', headers: {} }, 400], [{ method: 'GET', path: '/', headers: { 'a b': 'c' } }, 400], [{ method: 'GET', path: '/', headers: { a: 'c\r\nd: e' } }, 400], [{}, 400]]) {
    assert.equal((await ask(h, 'send', fields)).status, status, JSON.stringify(fields));
  }

  const kv = async (query) => h.get(`/_luafn/dev/api/kv${query}`);
  assert.deepEqual((await kv('')).json().spaces, [{ name: 'shelf', functions: ['keeper'] }, { name: 'locked', functions: ['locked'] }]);
  const { rows } = (await kv('?space=shelf')).json();
  assert.deepEqual(rows.map(({ key, kind, bytes }) => [key, kind, bytes]), [['long', 'text', 5000], ['raw', 'bytes', 2], ['table', 'json', 47], ['text', 'text', 9]]);
  assert.deepEqual([rows[0].cut, rows[0].value.length, rows[3].value], [true, 4096, 'kept this']);
  assert.deepEqual(JSON.parse(rows[2].value), { list: [], n: 1, password: '[redacted]' });
  assert.deepEqual((await kv('?space=shelf&after=raw')).json().rows.map(({ key }) => key), ['table', 'text']);
  for (const none of ['?space=none', '?space=luafn-dev-issuer', '?space=']) assert.equal((await kv(none)).status, 404, none);

  const tests = (await ask(h, 'tests', {})).json();
  assert.deepEqual([tests.ok, tests.tests.map(({ ok }) => ok)], [false, [true, false]]);
  assert.match(tests.tests[1].said, /keeper_test\.lua:2/);
  assert.deepEqual(tests.covered.map(({ script }) => script), ['scripts/keeper.lua', 'scripts/locked.lua', 'all']);
  assert.deepEqual((await ask(h, 'tests', { filter: 'keeps' })).json().tests.map(({ ok }) => ok), [true]);

  const audit = (await ask(h, 'audit', { sub: 'auth0|vera', scope: 'read:shows' })).json();
  assert.ok(audit.ok && audit.rows.length > 20, JSON.stringify(audit.notes));
  assert.deepEqual([...new Set(audit.rows.map(({ route, result }) => `${result} ${route}`))], ['ok GET /.netlify/functions/locked']);
  assert.ok(audit.rows.some(({ attack, expected }) => attack === 'the good token, Bearer' && expected === '200, 403'), 'each row has its columns');
  assert.ok(audit.rows.every(({ attack, expected, actual }) => attack && /^(401|200, 403)$/.test(expected) && /^\d{3}|^no answer/.test(actual)), JSON.stringify(audit.rows));
});

test('what changes something is asked for by the dashboard alone', async (t) => {
  const h = await start(t, { command: 'dev', files: own() });
  const fields = { send: { method: 'GET', path: '/.netlify/functions/one', headers: {} }, replay: { id: 'none' }, tests: {}, audit: {}, token: { sub: 'auth0|vera', scope: '' } };
  for (const [name, body] of Object.entries(fields)) {
    for (const headers of [{ Origin: 'https://elsewhere.example' }, { Origin: 'null' }, { Origin: 'http://localhost:1' }, { 'Sec-Fetch-Site': 'cross-site' }, { 'Sec-Fetch-Site': 'same-site' }, { Host: 'elsewhere.example' }]) {
      assert.equal((await ask(h, name, body, headers)).status, 403, `${name} ${JSON.stringify(headers)}`);
    }
    if (name !== 'token') assert.equal((await ask(h, name, body, { 'Content-Type': 'text/plain' })).status, 400, `${name}: what a form can send`);
    assert.notEqual((await h.get(`/_luafn/dev/api/${name}`)).status, 200);
    const preflight = await h.request({ method: 'OPTIONS', path: `/_luafn/dev/api/${name}`, headers: { Origin: 'https://elsewhere.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type' } });
    assert.equal(preflight.header('access-control-allow-origin'), undefined);
  }
  const mine = await ask(h, 'send', fields.send, { Origin: `http://127.0.0.1:${h.port}`, 'Sec-Fetch-Site': 'same-origin' });
  assert.equal(mine.json().status, 200, 'the twin: a page of its own may');
  assert.equal((await h.get('/_luafn/journal', { Host: 'elsewhere.example' })).status, 403, 'nor is anything read under another name');
});

test('a token for one\'s own requests, from the page alone', async (t) => {
  const h = await start(t, { command: 'dev', files: own() });
  const make = (fields, headers = {}) => h.request({ method: 'POST', path: '/_luafn/dev/api/token', headers: { 'Content-Type': 'application/json', ...headers }, body: JSON.stringify(fields) });
  const { access_token: token } = (await make({ sub: 'auth0|vera', scope: 'openid read:shows none' })).json();
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  assert.deepEqual([claims.sub, claims.scope], ['auth0|vera', 'openid read:shows']);
  assert.equal((await make({ sub: 'auth0|nobody', scope: 'openid' })).status, 400);
  assert.equal((await make({ sub: 'auth0|vera', scope: 'openid' }, { Origin: 'https://elsewhere.example' })).status, 403);
});
