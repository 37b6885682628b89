// rate_limit: exact over workers, by address and by claim, and what the caller is told.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const OK = 'return function() return "ok" end';
const statuses = (answers) => ({
  passed: answers.filter((a) => a.status === 200).length,
  refused: answers.filter((a) => a.status === 429).length,
});

async function many(count, at_once, one) {
  const answers = [];
  let left = count;
  await Promise.all(Array.from({ length: at_once }, async () => {
    while (left-- > 0) answers.push(await one());
  }));
  return answers;
}

test('100 an hour, 400 come, two workers: exactly 100 pass', async (t) => {
  const files = deployment({ ok: OK }, { fields: { ok: 'rate_limit = { limit = 100, window = 3600, by = "ip" }' } });
  const h = await start(t, { files, workers: 2 });
  const answers = await many(400, 16, () => h.call('ok'));
  assert.deepEqual(statuses(answers), { passed: 100, refused: 300 });
  const left = answers.filter((a) => a.status === 200).map((a) => Number(a.header('ratelimit-remaining')));
  assert.deepEqual(left.sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
});

test('a worker that dies takes no counts along', async (t) => {
  const files = deployment({ ok: OK }, { fields: { ok: 'rate_limit = { limit = 50, window = 3600 }' } });
  const h = await start(t, { files, workers: 2 });
  assert.deepEqual(statuses(await many(30, 4, () => h.call('ok'))), { passed: 30, refused: 0 });
  const [victim] = h.workers();
  process.kill(victim, 'SIGKILL');
  await eventually(() => h.workers().length === 2 && !h.workers().includes(victim), 5, 'another worker');
  const answers = await many(60, 4, () => h.call('ok').catch(() => ({})));
  assert.ok(statuses(answers).passed <= 20 && statuses(answers).refused >= 30);
});

test('what a caller is told', async (t) => {
  const files = deployment({ ok: OK, free: OK }, {
    fields: { ok: 'rate_limit = { limit = 2, window = 60 }' },
    more: '  cors = { origins = { "https://app.example" } },\n',
  });
  const h = await start(t, { files });
  const begun = Date.now();
  const since = () => Math.ceil((Date.now() - begun) / 1000) + 1;
  for (const remaining of ['1', '0']) {
    const good = await h.call('ok');
    assert.equal(good.status, 200);
    assert.equal(good.header('ratelimit-limit'), '2');
    assert.equal(good.header('ratelimit-remaining'), remaining);
    assert.ok(Number(good.header('ratelimit-reset')) >= 60 - since() && Number(good.header('ratelimit-reset')) <= 60);
    assert.equal(good.header('retry-after'), undefined);
  }
  const bad = await h.call('ok', { headers: { Origin: 'https://app.example' } });
  assert.equal(bad.status, 429);
  assert.equal(bad.json().error, 'rate_limited');
  assert.match(bad.header('content-type'), /^application\/json/);
  assert.equal(bad.header('access-control-allow-origin'), 'https://app.example');
  assert.equal(bad.header('ratelimit-remaining'), '0');
  assert.equal(bad.header('retry-after'), bad.header('ratelimit-reset'));
  assert.ok(Number(bad.header('retry-after')) > 0 && Number(bad.header('retry-after')) <= 60);
  const free = await h.call('free');
  assert.equal(free.status, 200);
  assert.equal(free.header('ratelimit-limit'), undefined);
  await eventually(() => h.log().some((line) => line.status === 429), 2, 'the access line');
});

test('functions have counts of their own; a window ends', async (t) => {
  const fields = { a: 'rate_limit = { limit = 1, window = 3600 }', b: 'rate_limit = { limit = 1, window = 1 }' };
  const h = await start(t, { files: deployment({ a: OK, b: OK }, { fields }) });
  assert.equal((await h.call('a')).status, 200);
  assert.equal((await h.call('b')).status, 200);
  await eventually(async () => (await h.call('b')).status === 429, 3, 'two in one window');
  await eventually(async () => (await h.call('b')).status === 200, 3, 'a new window');
  assert.equal((await h.call('a')).status, 429);
});

test('by sub and by azp; a refused token and a preflight do not count', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const fields = {
    sub: 'auth = true, rate_limit = { limit = 2, window = 3600, by = "sub" }',
    azp: 'auth = true, rate_limit = { limit = 2, window = 3600, by = "azp" }',
    open: 'auth = "public", rate_limit = { limit = 2, window = 3600, by = "sub" }',
  };
  const h = await start(t, {
    files: deployment({ sub: OK, azp: OK, open: OK }, {
      fields,
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} }, cors = { origins = { "https://app.example" } },\n`,
    }),
  });
  await h.keys();
  const as = async (name, claims) => (await h.call(name, { headers: claims ? issuer.bearer(claims) : {} })).status;
  const rows = [
    ['sub', {}, 200], ['sub', {}, 200], ['sub', {}, 429], ['sub', { azp: 'another' }, 429], ['sub', { sub: 'auth0|2' }, 200],
    ['azp', {}, 200], ['azp', { sub: 'auth0|2' }, 200], ['azp', { sub: 'auth0|3' }, 429],
    ['azp', { azp: 'another' }, 200],
    ['open', {}, 200], ['open', {}, 200], ['open', {}, 429], // open, but the token is good
    ['open', null, 200], ['open', null, 200], ['open', null, 429], // by the address
    ['open', { sub: 'auth0|2' }, 200],
    ['sub', { sub: undefined }, 200], ['azp', { azp: undefined }, 200], // by the address
  ];
  for (const [name, claims, status] of rows) {
    assert.equal(await as(name, claims), status, `${name} ${JSON.stringify(claims)}`);
  }
  for (let i = 0; i < 5; i++) {
    assert.equal(await as('sub', { sub: 'auth0|9', exp: 1595000000 }), 401);
    const preflight = await h.call('sub', {
      method: 'OPTIONS', headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' },
    });
    assert.equal(preflight.status, 204);
  }
  assert.equal(await as('sub', { sub: 'auth0|9' }), 200);
});

test('a script may give its own; functions.lua wins', async (t) => {
  const script = 'return { handler = function() return "ok" end, rate_limit = { limit = 1, window = 3600 } }';
  const files = deployment({ a: script, b: script }, { fields: { b: 'rate_limit = { limit = 2, window = 3600 }' } });
  const h = await start(t, { files });
  const seen = [];
  for (const name of ['a', 'a', 'b', 'b', 'b']) seen.push((await h.call(name)).status);
  assert.deepEqual(seen, [200, 429, 200, 200, 429]);
});

test('refused requests are counted for the operator', async (t) => {
  const files = deployment({ ok: OK }, { fields: { ok: 'rate_limit = { limit = 1, window = 3600 }' } });
  const h = await start(t, { files, command: 'dev' });
  for (let i = 0; i < 4; i++) await h.call('ok');
  assert.match((await h.get('/_luafn/metrics')).text, /^luafn_rate_limited_total 3$/m);
});

test('faults in functions.lua are named', async (t) => {
  const rows = [
    ['rate_limit = 100', /functions\.lua:\d+: functions\.ok\.rate_limit: must be a table such as/],
    ['rate_limit = { limit = 100 }', /`window` is missing/],
    ['rate_limit = { window = 60 }', /`limit` is missing/],
    ['rate_limit = { limit = 0, window = 60 }', /functions\.ok\.rate_limit\.limit: /],
    ['rate_limit = { limit = 1, window = 0 }', /functions\.ok\.rate_limit\.window: /],
    ['rate_limit = { limit = 1, window = 60, by = "email" }', /by: 'email' is not one of "ip", "sub", "azp"/],
    ['rate_limit = { limit = 1, windw = 60 }', /windw.*window/s],
    ['kv = ""', /functions\.ok\.kv: is the name of a namespace/],
  ];
  for (const [fields, expected] of rows) {
    const { code, stderr } = await run(t, ['check'], { files: deployment({ ok: OK }, { fields: { ok: fields } }) });
    assert.equal(code, 1, fields);
    assert.match(stderr, expected, fields);
  }
});
