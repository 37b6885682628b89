// An issuer is there for as long as somebody names it: what a reload mends is mended at once, everywhere.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, folder, lua, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const one = 'return function() return "one" end';
const auth = (issuer) => `issuer = ${lua(issuer)}, audience = ${lua(AUDIENCE)}`;
const ready = async (h) => (await h.admin('ready')).json();
const issuers = async (h) => [...(await h.admin('metrics')).text.matchAll(/^luafn_keys_age_seconds\{issuer="([^"]+)"\}/gm)].map((m) => m[1]).sort();

// Where an issuer may be named, each with a wrong one in it first.
const PLACES = {
  'functions.lua': (issuer) => deployment({ a: one }, { fields: { a: 'auth = true' }, more: `auth = { ${auth(issuer)} },` }),
  'a list of them': (issuer, good) => deployment({ a: one }, { fields: { a: 'auth = true' }, more: `auth = { { ${auth(good)} }${issuer === good ? '' : `, { ${auth(issuer)} }`} },` }),
  'a function': (issuer) => deployment({ a: one }, { fields: { a: `auth = { ${auth(issuer)} }` } }),
  'its script': (issuer) => deployment({ a: `return { auth = { ${auth(issuer)} }, handler = function() return "one" end }` }),
};

for (const [where, files] of Object.entries(PLACES)) {
  test(`a wrong issuer in ${where}, mended: ready, and gone from the metrics`, async (t) => {
    const idp = await Issuer.start(t);
    const good = idp.tenant('good'), typo = idp.tenant('typo');
    typo.state.oidc = { status: 404, body: '{}' };
    const dir = folder(t, files(typo.issuer, good.issuer));
    const h = await start(t, { dir, workers: 2 });
    await eventually(() => typo.hits.oidc > 0, 5, 'the wrong one is asked');
    assert.equal((await ready(h)).keys, false);
    assert.ok((await issuers(h)).includes(typo.issuer));
    write(dir, files(good.issuer, good.issuer));
    h.kill('SIGHUP');
    await eventually(async () => (await ready(h)).ready, 5, 'ready');
    await eventually(async () => (await issuers(h)).join() === good.issuer, 5, 'the right one alone');
    assert.equal((await h.call('a', { headers: good.bearer() })).text, 'one');
    assert.equal((await h.call('a', { headers: typo.bearer() })).status, 401);
  });
}

test('a script alone is mended: its issuer goes with its instance', async (t) => {
  const idp = await Issuer.start(t);
  const good = idp.tenant('good'), typo = idp.tenant('typo');
  typo.state.oidc = { status: 404, body: '{}' };
  const files = PLACES['its script'];
  const dir = folder(t, { ...files(typo.issuer), ...{ 'scripts/b.lua': one } });
  const h = await start(t, { dir, args: ['--watch'] });
  await eventually(() => typo.hits.oidc > 0, 5, 'the wrong one is asked');
  write(dir, { 'scripts/a.lua': files(good.issuer)['scripts/a.lua'] });
  await eventually(async () => (await ready(h)).ready, 5, 'ready');
  await eventually(async () => (await issuers(h)).join() === good.issuer, 5, 'the right one alone');
  assert.equal((await h.call('a', { headers: good.bearer() })).text, 'one');
});

test('a verifier that a script makes for each request: one fetch, kept for as long as the script', async (t) => {
  const idp = await Issuer.start(t);
  const mine = idp.tenant('mine');
  const script = `return function(event)
    local claims = jwt.verify(jwt.token_from_header(event.headers.authorization), { ${auth(mine.issuer)} })
    local t = {} for i = 1, 2000 do t[i] = { i } end -- what a collection finds
    return claims and claims.sub or "nobody"
  end`;
  const dir = folder(t, deployment({ a: script }));
  const h = await start(t, { dir, args: ['--watch'] });
  const subject = async () => (await h.call('a', { headers: mine.bearer() })).text;
  await eventually(async () => await subject() === 'auth0|1', 10, 'its keys'); // nobody waits for them for longer than three seconds
  for (let i = 0; i < 200; i++) assert.equal(await subject(), 'auth0|1');
  assert.deepEqual(mine.hits, { oidc: 1, jwks: 1 });
  assert.deepEqual(await issuers(h), [mine.issuer]);
  write(dir, { 'scripts/a.lua': one });
  await eventually(async () => (await h.call('a')).text === 'one', 5, 'the new script');
  await eventually(async () => (await issuers(h)).length === 0, 5, 'it goes with the script');
});

// Of an issuer whose keys are there, for a key that it is asked for.
const WAITERS = {
  'a rule with a role': { ask: (h, headers) => h.get('/secret', headers), status: 404 }, // roles are those of the issuers that are named now
  'a function': { ask: (h, headers) => h.call('a', { headers }), status: 200 }, // it is judged as it was when the request came
};

// Has it been told in time? Then it is judged.
async function takesAway(t, { ask, status }, slow, good) {
  const rules = { 'web/_redirects': '/secret /index.html 200! Role=admin\n', 'web/index.html': 'home' };
  const files = (issuer) => deployment({ a: one }, { fields: { a: 'auth = true' }, more: `publish = "web", auth = { ${auth(issuer)} },`, files: rules });
  const dir = folder(t, files(slow.issuer));
  const h = await start(t, { dir });
  await eventually(async () => (await ready(h)).ready, 5, 'ready');
  assert.equal((await ask(h, slow.bearer({ roles: ['admin'] }))).status, 200);
  let open;
  slow.state.gate = new Promise((resolve) => { open = resolve; });
  slow.state.keys = [keys.k1.jwk, keys.k3.jwk];
  const began = performance.now();
  const answer = ask(h, slow.bearer({ roles: ['admin'] }, { kid: 'k3', by: 'k3' }));
  await eventually(() => slow.hits.jwks === 2, 5, 'it is asked');
  write(dir, files(good.issuer));
  h.kill('SIGHUP');
  await eventually(async () => (await h.call('a', { headers: good.bearer() })).status === 200, 5, 'the new configuration');
  open();
  const got = await answer;
  const inTime = performance.now() - began < 2500;
  if (inTime) assert.equal(got.status, status);
  await eventually(async () => (await issuers(h)).join() === good.issuer, 5, 'the other one leaves with the last who waited');
  return inTime;
}

for (const [what, waiter] of Object.entries(WAITERS)) {
  test(`who waits for an issuer that a reload takes away is answered: ${what}`, async (t) => {
    const idp = await Issuer.start(t);
    // Nobody waits for longer than three seconds: where the machine took those for the reload, once more.
    for (let inTime = false, round = 0; !inTime; round++) {
      assert.ok(round < 10, 'never in time');
      inTime = await takesAway(t, waiter, idp.tenant(`slow${round}`), idp.tenant(`good${round}`));
    }
  });
}

test('an authorization server that knows no OpenID is found by RFC 8414; a failure is none of its absence', async (t) => {
  const idp = await Issuer.start(t);
  const keysOnly = idp.tenant('keys');
  let openid = { status: 404, body: 'no' }, named;
  const asked = [];
  const server = http.createServer((req, res) => {
    asked.push(req.url);
    const answer = req.url === '/t/.well-known/openid-configuration' ? openid : { status: 200, body: JSON.stringify({ issuer: named, jwks_uri: `${keysOnly.base}/.well-known/jwks.json` }) };
    res.writeHead(answer.status).end(answer.body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  later(t, () => { server.close(); server.closeAllConnections(); });
  const url = `http://127.0.0.1:${server.address().port}/t`;
  const PLACES = ['/t/.well-known/openid-configuration', '/.well-known/oauth-authorization-server/t'];
  const begin = async () => {
    asked.length = 0;
    const h = await start(t, { files: deployment({ a: one }, { fields: { a: 'auth = true' }, more: `auth = { ${auth(url)} },` }) });
    await eventually(async () => asked.length > 0 && ((await ready(h)).keys || (await ready(h)).faults.length > 0), 10, 'it has been asked');
    return h;
  };
  const bearer = () => keysOnly.bearer({ iss: url });
  named = url;
  let h = await begin();
  assert.deepEqual(asked, PLACES);
  assert.equal((await h.call('a', { headers: bearer() })).text, 'one');
  await h.stop();

  named = `${url}/other`;
  h = await begin();
  assert.match((await ready(h)).faults.join(), /is of issuer '[^']*\/t\/other', not of/);
  assert.equal((await h.call('a', { headers: bearer() })).status, 503);
  await h.stop();

  named = url;
  openid = { status: 503, body: 'later' };
  h = await begin();
  assert.deepEqual([...new Set(asked)], PLACES.slice(0, 1), 'one that cannot answer now is asked again, not passed over');
  assert.equal((await h.call('a', { headers: bearer() })).status, 503);
});
