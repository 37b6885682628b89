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

test('a replay for the dashboard: the same, another way, a fault; pages elsewhere cannot ask for it', async (t) => {
  const h = await start(t, { command: 'dev', files: own() });
  await h.call('one');
  await h.call('one', { suffix: '?bad=1' });
  const [good, bad] = await records(h.dir, 2);
  const again = async (id, headers = { 'X-Luafn-Dev': '1' }) => h.request({ method: 'POST', path: `/_luafn/dev/replay/${id}`, headers });
  const same = (await again(good.id)).json();
  assert.deepEqual([same.same, same.calls, same.status, same.differences], [true, 0, 200, []]);
  assert.equal((await again(bad.id)).json().same, true);
  for (const headers of [{}, { Origin: 'https://elsewhere.example' }]) assert.equal((await again(good.id, headers)).status, 403);
  assert.equal((await h.get(`/_luafn/dev/replay/${good.id}`, { 'X-Luafn-Dev': '1' })).status, 403);
  assert.match((await again('none')).json().fault, /no record/);
  assert.equal((await again('--help')).status, 503);
  write(h.dir, { 'scripts/one.lua': 'return function() return json.encode { n = 2 } end' });
  const other = (await again(good.id)).json();
  assert.deepEqual([other.same, other.differences], [false, [{ what: 'body', was: '{"n":1}', is: '{"n":2}' }]]);
  write(h.dir, { 'scripts/one.lua': 'return function() return kv.get("x") or "" end' });
  assert.match((await again(good.id)).json().another_way, /kv\.get/);
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
