// Out of memory at every point of one request: a right answer, an error in the usual frame, or a
// closed connection; and the next request is answered as if nothing had been.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, lua, ROOT, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { attempt, descriptors, Faults, isFrame, KIND, LONG } from './fault.mjs';
import fs from 'node:fs';
import path from 'node:path';

const FN = '/.netlify/functions/';
const lib = fs.readFileSync(path.join(ROOT, 'scripts/lib/auth.lua'), 'utf8');
const shows = fs.readFileSync(path.join(ROOT, 'scripts/shows.lua'), 'utf8');
const CLAIMS = `return function(event, context)
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" },
    body = json.encode({ sub = context.identityContext.claims.sub }) }
end`;
const SHOWS = [{ id: 1, url: 'http://tv/1', name: 'one' }, { id: 2, url: 'http://tv/2', name: 'two' }];

async function upstream(t) {
  const server = http.createServer((req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(SHOWS));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}/shows`;
}

async function world(t, backend) {
  const faults = new Faults(t);
  const issuer = (await Issuer.start(t)).tenant();
  const url = await upstream(t);
  const files = deployment({
    hello: 'return function() return "hello" end',
    echo: 'return function(event) return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = json.encode(json.decode(event.body)) } end',
    raise: 'return function() error("on purpose") end',
    me: CLAIMS,
    shows,
  }, {
    fields: { hello: 'auth = "public"', echo: 'auth = "public"', raise: 'auth = "public"', me: 'auth = true', shows: 'auth = "public", fetch = { "127.0.0.1" }, env = { "JWT_*", "TV_API_URL" }' },
    more: `  publish = "web", auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)} },\n`,
    files: {
      'scripts/lib/auth.lua': lib,
      'web/page.txt': 'a page',
      '.env': `JWT_ISSUER=${issuer.issuer}\nJWT_AUDIENCE=${AUDIENCE}\nTV_API_URL=${url}\n`,
    },
  });
  const host = await start(t, { files, env: faults.env });
  [faults.pid] = host.workers();
  return { faults, issuer, host, worker: faults.pid };
}

let serial = 0;
const fresh = () => ({ jti: `${serial += 1}` });
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const spoil = (token) => `${token.slice(0, -9)}${token.at(-9) === 'A' ? 'B' : 'A'}${token.slice(-8)}`;

// Each makes a request (a new one each time, where caches would hide work), says what the right
// answer is, and whether 200 would be a breach.
const types = (w) => {
  const { issuer } = w;
  const kept = { good: issuer.token(), bad: spoil(issuer.token()) };
  const post = JSON.stringify({ list: [1, 2.5, 'x', true, { a: [] }], text: 'é'.repeat(100) });
  const is = (status, check = () => true) => (res) => res.status === status && check(res);
  const me = is(200, (r) => r.json().sub === 'auth0|1');
  const refused = (code) => is(401, (r) => r.json().error === code);
  const guarded = (token, right, bad = false) => () => ({ request: { path: `${FN}me`, headers: bearer(token()) }, right, bad });
  return {
    hello: () => ({ request: { path: `${FN}hello` }, right: is(200, (r) => r.text === 'hello') }),
    'echo of JSON': () => ({
      request: { method: 'POST', path: `${FN}echo`, headers: { 'Content-Type': 'application/json' }, body: post },
      right: is(200, (r) => { assert.deepEqual(r.json(), JSON.parse(post)); return true; }),
    }),
    'a function that raises': () => ({ request: { path: `${FN}raise` }, right: is(502, (r) => typeof r.json().errorType === 'string') }),
    'a static file': () => ({ request: { path: '/page.txt' }, right: is(200, (r) => r.text === 'a page') }),
    'no such function': () => ({ request: { path: `${FN}nothing` }, right: is(404) }),
    'me, token in the cache': guarded(() => kept.good, me),
    'me, token not seen before': guarded(() => issuer.token(fresh()), me),
    'me, bad signature': guarded(() => spoil(issuer.token(fresh())), refused('jwt_invalid'), true),
    'me, bad signature seen before': guarded(() => kept.bad, refused('jwt_invalid'), true),
    'me, expired': guarded(() => issuer.token({ exp: 1595000000, ...fresh() }), refused('jwt_expired'), true),
    'me, wrong audience': guarded(() => issuer.token({ aud: 'https://other', ...fresh() }), refused('jwt_invalid'), true),
    'me, unknown kid': guarded(() => issuer.token(fresh(), { kid: 'kx', by: 'k3' }), (r) => r.status === 401 || r.status === 503, true),
    'me, no token': () => ({ request: { path: `${FN}me` }, right: is(401), bad: true }),
    'shows, with a fetch': () => ({
      request: { path: `${FN}shows`, headers: bearer(issuer.token(fresh())) },
      right: is(200, (r) => { assert.deepEqual(r.json(), SHOWS); return true; }),
    }),
    'shows, bad signature': () => ({
      request: { path: `${FN}shows`, headers: bearer(spoil(issuer.token(fresh()))) }, right: is(401), bad: true,
    }),
  };
};

function judge(w, what, { right, bad }, out, struck) {
  assert.ok(!out.hung, `${what}: hangs: ${out.why}`);
  assert.deepEqual(w.host.workers(), [w.worker], `${what}: the worker is gone; stderr:\n${w.host.stderr.slice(-3000)}`);
  if (out.closed) return 'closed';
  const { res } = out;
  assert.ok(!(bad && res.status < 400), `${what}: a bad token got ${res.status}`);
  let good = false;
  try { good = right(res); } catch { /* not the right body */ }
  if (good) return 'right';
  assert.ok(struck > 0, `${what}: wrong without a fault: ${res.status} ${res.text}`);
  assert.ok(isFrame(res), `${what}: not the frame of an error: ${res.status} ${JSON.stringify(res.headers)} ${res.text}`);
  return `${res.status}`;
}

// Every n until a request passes untouched. In the short form only some of them.
async function sweep(w, name, make, forever) {
  const tally = {};
  let points = 0;
  const start = Date.now();
  for (let n = 1; ; n += LONG || n < 12 ? 1 : 1 + Math.floor(n / 8)) {
    const one = make();
    w.faults.arm({ kinds: KIND.alloc, n, forever });
    const out = await attempt(w.faults, w.host, one.request);
    const { struck } = w.faults;
    const what = `${name}, allocation ${n}${forever ? ' and all that follow' : ''}`;
    const kind = judge(w, what, one, out, struck);
    const again = await attempt(w.faults, w.host, one.request);
    assert.equal(judge(w, `${what}, and then again`, one, again, 0), 'right');
    if (struck === 0) break;
    points += 1;
    tally[kind] = (tally[kind] ?? 0) + 1;
    if (out.late) tally.late = (tally.late ?? 0) + 1;
    assert.ok(n < 20000);
  }
  return { points, tally, ms: Date.now() - start };
}

for (const backend of ['openssl', ...(LONG ? ['libjwt'] : [])]) {
  test(`memory: each allocation of a request fails (${backend})`, async (t) => {
    const w = await world(t, backend);
    const all = Object.entries(types(w)).filter(([name]) => backend === 'openssl' || name.startsWith('me'));
    for (const [, make] of all) {
      const one = make();
      const out = await attempt(w.faults, w.host, one.request);
      assert.equal(judge(w, 'warming up', one, out, 0), 'right');
    }
    const before = descriptors(w.worker);
    for (const [name, make] of all) {
      await t.test(name, async (s) => {
        for (const forever of [false, true]) {
          const { points, tally, ms } = await sweep(w, name, make, forever);
          s.diagnostic(`${forever ? 'from then on' : 'once'}: ${points} points in ${ms} ms: ${JSON.stringify(tally)}`);
        }
      });
    }
    await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
  });
}
