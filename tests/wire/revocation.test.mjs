// Tokens that were revoked before their end: by command and by script, in all workers, for tokens that are
// cached, over a restart and kill -9, on hosts that share a server, and when there is no such server.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, lua, PERF, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { replaceWorkers } from '../lib/process.mjs';
import { Redis } from '../lib/redis.mjs';
import { requestText } from '../lib/wire.mjs';

const REVOKED = { error: 'jwt_invalid', error_description: 'The provided token was revoked' };
const SCRIPTS = {
  me: 'return function() return "ok" end',
  inlua: 'return jwt.require_scope("read:shows", function() return "ok" end)',
  revoke: `return function(event)
    local ok, one, two = pcall(jwt.revoke, json.decode(event.body))
    return json.encode { ok = ok, one = one, two = two }
  end`,
};

function files(issuer, more = '') {
  return deployment(SCRIPTS, {
    fields: { me: 'auth = true' },
    more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}${more} },`,
  });
}

async function world(t, { more = ', revocation = {}', ...options } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, { files: files(issuer, more), ...options });
  await h.keys();
  return { issuer, h };
}

// The statuses of so many requests, each by a connection of its own, so that all workers come to it.
async function ask(h, headers, count = 12) {
  const seen = await Promise.all(Array.from({ length: count }, () => h.call('me', { headers })));
  return [...new Set(seen.map((res) => res.status))].sort();
}

const revoke = (t, h, args, options = {}) => run(t, ['revoke', ...args], { dir: h.dir, ...options });

// What was revoked by another process is heard of at once, but it is the kernel that tells.
const refused = (h, headers) => eventually(async () => String(await ask(h, headers)) === '401', 5, 'all workers refuse it');

const JSON_TYPE = { 'Content-Type': 'application/json' };
const byScript = async (h, what) => (await h.call('revoke', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify(what) })).json();

test('by command: subject, session and token, of two workers, cached or not; others stay', async (t) => {
  const { issuer, h } = await world(t, { workers: 2 });
  const a = issuer.bearer({ sub: 'a', jti: 'a1', sid: 's1' });
  const b = issuer.bearer({ sub: 'b', jti: 'b1', sid: 's1' });
  const c = issuer.bearer({ sub: 'c', jti: 'c1', sid: 's2' });
  const c2 = issuer.bearer({ sub: 'c', jti: 'c2', sid: 's3' });
  for (const headers of [a, b, c, c2]) assert.deepEqual(await ask(h, headers), [200]);

  const done = await revoke(t, h, ['--jti', 'c1']);
  assert.equal(done.code, 0, done.stderr);
  assert.equal(done.stdout, "revoked: tokens whose jti is 'c1'\n");
  await refused(h, c);
  for (const headers of [a, b, c2]) assert.deepEqual(await ask(h, headers), [200]);

  assert.equal((await revoke(t, h, ['--sid', 's1'])).code, 0);
  await refused(h, a);
  await refused(h, b);
  assert.deepEqual(await ask(h, c2), [200]);

  assert.match((await revoke(t, h, ['--sub', 'c'])).stdout, /^revoked: tokens whose sub is 'c', of who signed in up to \d{4}-/);
  await refused(h, c2);
  const res = await h.call('me', { headers: c2 });
  assert.deepEqual(res.json(), REVOKED);
  assert.match(res.headers['www-authenticate'][0], /^Bearer .*error="invalid_token"/);
  const inLua = await h.call('inlua', { headers: c2 });
  assert.deepEqual([inLua.status, inLua.json()], [401, REVOKED]);
  const now = Math.floor(Date.now() / 1000);
  assert.deepEqual(await ask(h, issuer.bearer({ sub: 'c', iat: now + 60 })), [200], 'who signs in later is let in');
  assert.equal(await h.metric('revocations'), 3);
  assert.ok(await h.metric('revoked_tokens_total') > 3);

  const shown = await run(t, ['explain', '-'], { dir: h.dir, input: c2.Authorization });
  assert.equal(shown.code, 1);
  assert.match(shown.stdout, /FAIL {2}revoked +not, by jti, sid or sub +it was revoked/);
  const good = await run(t, ['explain', '-'], { dir: h.dir, input: issuer.token({ sub: 'd' }) });
  assert.match(good.stdout, /PASS {2}revoked +not, by jti, sid or sub +not revoked, of 3 that are/);
});

test('up to a time, by sign-in before issue, and of one issuer', async (t) => {
  const { issuer, h } = await world(t, { more: '' }); // nothing has to be set for it
  const now = Math.floor(Date.now() / 1000);
  const old = issuer.bearer({ sub: 'u', iat: now - 31 * 24 * 3600, jti: 'x' });
  const renewed = issuer.bearer({ sub: 'u', iat: now - 5, auth_time: now - 1000 });
  const fresh = issuer.bearer({ sub: 'u', iat: now - 5, auth_time: now - 10 });
  const time = (seconds) => new Date(seconds * 1000).toISOString().replace('.000', '');
  for (const headers of [renewed, fresh]) assert.deepEqual(await ask(h, headers), [200]);
  assert.equal((await revoke(t, h, ['--sub', 'u', '--before', time(now - 100)])).code, 0);
  await refused(h, renewed);
  assert.deepEqual(await ask(h, fresh), [200]);
  assert.equal((await revoke(t, h, ['--sub', 'u', '--issuer', 'https://other.example/'])).code, 0);
  assert.equal((await revoke(t, h, ['--jti', 'end'])).code, 0);
  await refused(h, issuer.bearer({ jti: 'end' })); // in order: what came before it is known as well
  assert.deepEqual(await ask(h, fresh), [200]);
  // Once anything was revoked, a token ends before its revocation would.
  assert.equal((await h.call('me', { headers: old })).json().error_description, 'The provided token is older than revocations are kept');
});

// From before it is asked for to the last of 16 connections, which all workers have some of, that is refused.
test('how long it takes until all workers refuse a token', async (t) => {
  const { issuer, h } = await world(t, { args: ['--workers', '2'] });
  const wires = await Promise.all(Array.from({ length: 16 }, () => h.connect()));
  const status = async (wire, headers) => {
    wire.send(requestText({ path: '/.netlify/functions/me', headers, close: false }));
    return (await wire.response({ ms: 60000 })).status;
  };
  const ways = {
    command: (id) => revoke(t, h, ['--jti', id]),
    script: (id) => byScript(h, { jti: id }),
  };
  for (const [way, carryOut] of Object.entries(ways)) {
    const times = [];
    for (let i = 0; i < (PERF ? 200 : 3); i++) {
      const headers = issuer.bearer({ jti: `${way}-${i}` });
      assert.deepEqual([...new Set(await Promise.all(wires.map((wire) => status(wire, headers))))], [200]);
      const begin = performance.now();
      await Promise.all([carryOut(`${way}-${i}`), ...wires.map(async (wire) => {
        while (await status(wire, headers) !== 401);
      })]);
      times.push(performance.now() - begin);
    }
    times.sort((a, b) => a - b);
    const p99 = times[Math.ceil(times.length * 0.99) - 1];
    t.diagnostic(`by ${way}: median ${times[times.length >> 1].toFixed(1)} ms, p99 ${p99.toFixed(1)} ms of ${times.length}`);
    assert.ok(!PERF || p99 < 100, `by ${way}: p99 ${p99} ms`);
  }
  for (const wire of wires) wire.close();
});

test('audit has tokens revoked, and sees that they were good before and are refused from then on', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const alone = () => deployment({ me: SCRIPTS.me }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },` });
  const h = await start(t, { files: alone(), args: ['--workers', '2'] });
  const audit = async (...args) => {
    const out = await run(t, ['audit', h.url(''), ...args], { dir: h.dir, seconds: 60 });
    return { ...out, rows: out.stdout.split('\n').filter((row) => /revoked/.test(row)).map((row) => row.replace(/ {2,}/g, '  ')) };
  };
  const AT = 'GET /.netlify/functions/me';
  for (const [kind, claims] of [['jti', { jti: 'a-1', sid: 's-1' }], ['sid', { sid: 's-2' }], ['sub', { sub: 'auth0|audited' }]]) {
    const token = issuer.token({ jti: undefined, ...claims });
    const { code, rows, stdout } = await audit('--token', token, '--revoke');
    assert.equal(code, 0, stdout.split('\n').filter((l) => !l.startsWith('ok')).join('\n'));
    assert.deepEqual(rows, [`ok  a token, before its ${kind} is revoked  ${AT}  200, 403  200`, `ok  a token whose ${kind} was revoked  ${AT}  401  401  The provided token was revoked`]);
    await refused(h, { Authorization: `Bearer ${token}` });
  }
  const good = issuer.token();
  assert.deepEqual((await audit('--token', good)).rows, ['skipped: revoked tokens; give --revoke to have some revoked']);
  assert.deepEqual(await ask(h, { Authorization: `Bearer ${good}` }), [200], 'who does not ask for it keeps his token');
  const { code, rows } = await audit('--revoke');
  assert.deepEqual([code, rows], [0, ['skipped: revoked tokens; give --token TOKEN, with a jti, sid or sub, bound to nothing']]);

  // A host that does not listen to it: the refusal does not come.
  const deaf = await start(t, { files: alone() });
  const out = await run(t, ['audit', deaf.url(''), '--config', path.join(h.dir, 'functions.lua'), '--token', issuer.token({ jti: 'deaf' }), '--revoke'], { dir: h.dir, seconds: 60 });
  assert.equal(out.code, 1);
  assert.match(out.stdout, /^LET THROUGH +a token whose jti was revoked .* 200$/m);

  // Tokens of dev are made for it, of each kind one.
  const dir = folder(t, deployment({ me: SCRIPTS.me }, { fields: { me: 'auth = true' }, more: '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },' }));
  const dev = await start(t, { command: 'dev', dir, args: ['--log', 'none'] });
  const made = await run(t, ['audit', dev.url(''), '--revoke'], { dir, seconds: 60 });
  assert.equal(made.code, 0, made.stdout);
  for (const kind of ['jti', 'sid', 'sub']) assert.match(made.stdout, new RegExp(`^ok +a token, before its ${kind} is revoked .* 200$[^]*^ok +a token whose ${kind} was revoked .* 401 `, 'm'));
});

test('bad usage says what to type', async (t) => {
  const { h } = await world(t);
  for (const [args, pattern] of [
    [[], /one of --sub, --sid and --jti is needed; usage/],
    [['--sub', 'a', '--jti', 'b'], /one of --sub, --sid and --jti is needed/],
    [['--sub', ''], /--sub is empty/],
    [['--sub', 'a', '--before', 'yesterday'], /--before is a time such as 2026-01-02T03:04:05Z, not 'yesterday'/],
    [['--sub', 'a', '--before', '2999-01-01T00:00:00Z'], /--before 2999-01-01T00:00:00Z is yet to come/],
  ]) {
    const done = await revoke(t, h, args);
    assert.equal(done.code, 2, String(args));
    assert.match(done.stderr, pattern);
  }
  assert.equal(await h.metric('revocations_total'), 0);
});

test('by script: known everywhere when the call returns; wrong use raises', async (t) => {
  const { issuer, h } = await world(t, { workers: 2 });
  for (const [what, over] of [[{ sub: 'x' }, { sub: 'x' }], [{ sid: 's' }, { sid: 's' }], [{ jti: 'j' }, { jti: 'j' }]]) {
    const headers = issuer.bearer(over);
    assert.deepEqual(await ask(h, headers), [200]);
    assert.deepEqual(await byScript(h, what), { ok: true, one: true });
    assert.deepEqual(await ask(h, headers), [401]);
  }
  const now = Math.floor(Date.now() / 1000);
  const headers = issuer.bearer({ sub: 'y', iat: now - 50 });
  assert.deepEqual(await byScript(h, { sub: 'y', before: now - 100 }), { ok: true, one: true });
  assert.deepEqual(await byScript(h, { sub: 'y', issuer: 'https://other.example/' }), { ok: true, one: true });
  assert.deepEqual(await ask(h, headers), [200]);
  assert.deepEqual(await byScript(h, { sub: 'y', before: now - 50, issuer: issuer.issuer }), { ok: true, one: true });
  assert.deepEqual(await ask(h, headers), [401]);
  for (const [what, pattern] of [
    [{}, /sub, sid or jti is missing/], [{ sub: 'a', jti: 'b' }, /one of sub, sid and jti at a time/],
    [{ sub: 1 }, /sub is a text, not a number/], [{ sub: '' }, /sub is empty/],
    [{ sub: 'a', before: now + 100 }, /before is a time that has passed/], [{ sub: 'a', before: 'x' }, /before is a time/],
    [{ sbu: 'a' }, /sbu: unknown key; did you mean `sub`/],
  ]) {
    const { ok, one } = await byScript(h, what);
    assert.equal(ok, false);
    assert.match(one, pattern);
  }
});

test('opaque tokens, by what their provider says of them', async (t) => {
  const answers = { one: { sub: 'a', sid: 's1' }, two: { sub: 'a', sid: 's2', iat: 1 }, three: { sub: 'b', jti: 'j' } };
  const provider = http.createServer((req, res) => {
    let body = '';
    req.on('data', (d) => { body += d; }).on('end', () => {
      const answer = answers[new URLSearchParams(body).get('token')];
      res.setHeader('Content-Type', 'application/json').end(JSON.stringify({ active: !!answer, ...answer }));
    });
  });
  await new Promise((resolve) => provider.listen(0, '127.0.0.1', resolve));
  later(t, () => { provider.close(); provider.closeAllConnections(); });
  const url = `http://127.0.0.1:${provider.address().port}/introspect`;
  const { h } = await world(t, { more: `, revocation = {}, introspection = { url = "${url}", client_id = "a", client_secret = "b" }` });
  const statuses = async () => {
    const all = await Promise.all(Object.keys(answers).map((token) => h.call('me', { headers: { Authorization: `Bearer ${token}` } })));
    return all.map((res) => res.status);
  };
  assert.deepEqual(await statuses(), [200, 200, 200]);
  await byScript(h, { sid: 's1' });
  assert.deepEqual(await statuses(), [401, 200, 200], 'how old it is, the provider knows');
  await byScript(h, { jti: 'j' });
  assert.deepEqual(await statuses(), [401, 200, 401]);
  await byScript(h, { sub: 'a' });
  assert.deepEqual(await statuses(), [401, 401, 401]);
});

test('survives kill -9 of workers and of the whole host; what is revoked while none runs counts, too', async (t) => {
  const { issuer, h } = await world(t, { workers: 2 });
  const a = issuer.bearer({ sub: 'a' }), b = issuer.bearer({ sub: 'b' }), c = issuer.bearer({ sub: 'c' });
  assert.deepEqual(await byScript(h, { sub: 'a' }), { ok: true, one: true });
  await replaceWorkers(h);
  assert.deepEqual(await ask(h, b), [200]);
  assert.deepEqual(await ask(h, a), [401]);

  const again = await start(t, { dir: h.dir, workers: 2, args: ['--sandbox'] }); // beside it, on the same file
  assert.deepEqual(await ask(again, a), [401]);
  assert.deepEqual(await byScript(again, { sub: 'b' }), { ok: true, one: true });
  await refused(h, b);
  for (const pid of again.workers()) process.kill(pid, 'SIGSTOP'); // so that none of them tidies up
  const workers = again.workers();
  again.kill('SIGKILL');
  for (const pid of workers) process.kill(pid, 'SIGKILL');
  await again.exit;
  again.stop = () => {};
  assert.equal((await revoke(t, h, ['--sub', 'c'])).code, 0);
  const third = await start(t, { dir: h.dir, workers: 2 });
  for (const headers of [a, b, c]) assert.deepEqual(await ask(third, headers), [401]);
  assert.deepEqual(await ask(third, issuer.bearer({ sub: 'd' })), [200]);
});

test('with KV_URL all hosts know; one that starts later does, too', async (t) => {
  const redis = await Redis.start(t);
  const issuer = (await Issuer.start(t)).tenant();
  const env = { KV_URL: redis.url };
  const [one, two] = await Promise.all([0, 1].map(() => start(t, { files: files(issuer, ', revocation = {}'), workers: 2, env })));
  const a = issuer.bearer({ sub: 'a' }), b = issuer.bearer({ sub: 'b' });
  for (const h of [one, two]) assert.deepEqual(await ask(h, a), [200]);
  assert.deepEqual(await byScript(one, { sub: 'a' }), { ok: true, one: true });
  assert.deepEqual(await ask(one, a), [401]);
  await refused(two, a);
  assert.equal((await revoke(t, one, ['--sub', 'b'], { env })).code, 0);
  await refused(one, b);
  await refused(two, b);
  const three = await start(t, { files: files(issuer, ''), env });
  for (const headers of [a, b]) assert.deepEqual(await ask(three, headers), [401]);
  assert.ok(!fs.existsSync(path.join(one.dir, '.luafn/kv.mdb')));
  const shown = await run(t, ['explain', '-'], { dir: one.dir, env, input: a.Authorization });
  assert.match(shown.stdout, /FAIL {2}revoked/);

  // What was known stays known without the server; what is new is told as not kept, and counts here.
  await redis.stop();
  const c = issuer.bearer({ sub: 'c' });
  assert.deepEqual(await ask(two, c), [200]);
  const { ok, two: why } = await byScript(two, { sub: 'c' });
  assert.equal(ok, true);
  assert.match(why, /the store's server/);
  assert.deepEqual(await ask(two, c), [401]);
  assert.deepEqual(await ask(two, a), [401]);
  const done = await revoke(t, one, ['--sub', 'd'], { env });
  assert.equal(done.code, 1);
  assert.match(done.stderr, /nothing was revoked: the/);

  // Who starts now cannot know: with auth.revocation nobody is let in, without it is as before.
  const four = await start(t, { files: files(issuer, ', revocation = {}'), env });
  const d = issuer.bearer({ sub: 'd' });
  const res = await four.call('me', { headers: d });
  assert.deepEqual([res.status, res.json().error], [503, 'revocations_unavailable']);
  assert.match((await four.admin('metrics')).text, /token_checks_total\{code="revocations_unavailable"\} [1-9]/);
  assert.deepEqual(res.headers['retry-after'], ['5']);
  const inLua = await four.call('inlua', { headers: d });
  assert.deepEqual([inLua.status, inLua.json().error], [503, 'revocations_unavailable']);
  const five = await start(t, { files: files(issuer, ''), env });
  assert.deepEqual(await ask(five, d), [200]);
  await redis.begin();
  await eventually(async () => (await four.call('me', { headers: d })).status === 200, 10, 'it knows again');
});

test('the paths of auth.revocation are checked', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  for (const [more, pattern] of [
    ['{ backchannel_logout = "logout" }', /functions\.lua:\d+: auth\.revocation\.backchannel_logout: must be a path as "\/hooks\/logout"/],
    ['{ events = "/_luafn/x" }', /auth\.revocation\.events: must be a path/],
    ['{ events = "/e/:id" }', /auth\.revocation\.events: must be a path/],
    ['{ events = "/e", backchannel_logout = "/e" }', /events: is the path of logout tokens already/],
    ['{ event = "/e" }', /event: unknown key; did you mean `events`/],
    ['true', /auth\.revocation: must be a table/],
  ]) {
    const done = await run(t, ['check'], { files: files(issuer, `, revocation = ${more}`) });
    assert.equal(done.code, 1, more);
    assert.match(done.stderr, pattern);
  }
  const taken = deployment({ me: 'return function() end' }, {
    fields: { me: 'path = "/hooks/logout"' },
    more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = "a", revocation = { backchannel_logout = "/hooks/logout" } },`,
  });
  const done = await run(t, ['check'], { files: taken });
  assert.match(done.stderr, /functions\.lua:\d+: functions\.me\.path: '\/hooks\/logout' is that of auth\.revocation/);
});
