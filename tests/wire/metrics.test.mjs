// /_luafn/metrics, ready and live of the whole host, whichever worker answers.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, lua, ROOT, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { parseMetrics } from '../lib/prometheus.mjs';
import { replaceWorkers } from '../lib/process.mjs';
import { gate } from '../lib/upstream.mjs';

const SCRIPTS = {
  hello: 'return function() return "hello" end',
  fails: 'return function() error("no") end',
  slow: 'return function() sleep(0.06) return "slow" end',
};

async function scrape(h) {
  const res = await h.admin('metrics');
  assert.equal(res.status, 200);
  assert.match(res.header('content-type'), /^text\/plain; version=0\.0\.4/);
  const got = parseMetrics(res.text);
  assert.deepEqual(got.faults, []);
  return { ...got, value: (name) => got.series.get(`luafn_${name}`) };
}

test('the checker of the format finds what is wrong with it', () => {
  const good = '# HELP a_total x\n# TYPE a_total counter\na_total{b="c\\"d"} 1\n# HELP h x\n# TYPE h histogram\nh_bucket{le="1"} 1\nh_bucket{le="+Inf"} 2\nh_sum 1.5\nh_count 2\n';
  assert.deepEqual(parseMetrics(good).faults, []);
  for (const [from, to] of [['a_total{', 'b_total{'], ['"c\\"d"', '"c"d"'], ['} 1\n#', '} one\n#'], ['_total x', '_total'], ['h_count 2', 'h_count 3'],
    ['le="1"} 1', 'le="1"} 3'], ['h_sum 1.5\n', ''], ['a_total counter', 'a_total thing'], ['h_count 2\n', 'h_count 2\nh_count 2\n'], ['h_count 2\n', 'h_count 2']]) {
    assert.ok(good.includes(from), from);
    assert.notDeepEqual(parseMetrics(good.replace(from, to)).faults, [], `${from} -> ${to}`);
  }
});

test('figures are the sum of all workers, and outlive one that is killed', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS), workers: 3 });
  for (let i = 0; i < 60; i++) assert.equal((await h.call('hello')).status, 200);
  for (let i = 0; i < 9; i++) assert.equal((await h.call('fails')).status, 502);
  for (let i = 0; i < 6; i++) assert.equal((await h.call('slow')).status, 200);
  const check = (m) => {
    assert.equal(m.value('function_requests_total{function="hello"}'), 60);
    assert.equal(m.value('function_errors_total{function="fails"}'), 9);
    assert.equal(m.value('function_duration_seconds_count{function="slow"}'), 6);
    assert.equal(m.value('function_duration_seconds_bucket{function="slow",le="0.05"}'), 0);
    assert.ok(m.value('function_duration_seconds_sum{function="slow"}') > 0.3);
    assert.equal(m.value('responses_total{class="5xx"}'), 9);
    assert.ok(m.value('function_memory_bytes{function="hello"}') > 10000);
    assert.equal(m.value('function_generation{function="hello"}'), 1);
  };
  // An answer is counted when the kernel has it: the client may have it before, and another worker may be asked first.
  const counted = { 'function_requests_total{function="hello"}': 60, 'function_errors_total{function="fails"}': 9, 'function_duration_seconds_count{function="slow"}': 6, 'responses_total{class="5xx"}': 9 };
  const first = await eventually(async () => { const m = await scrape(h); return Object.entries(counted).every(([name, n]) => m.value(name) === n) && m; }, 5, 'all are counted');
  check(first);
  assert.equal(first.value('worker_restarts_total'), 0);
  assert.equal(first.value('workers'), 3);
  await replaceWorkers(h);
  for (let i = 0; i < 5; i++) check(await scrape(h));
  const last = await scrape(h);
  assert.equal(last.value('worker_restarts_total'), 3);
  assert.ok(last.value('connections_accepted_total') > first.value('connections_accepted_total'));
  await eventually(async () => (await scrape(h)).value('connections') <= 3, 5, 'no connection of a dead worker is counted');
});

test('token outcomes by code, cache hits, key-set age', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({ me: 'return function() return "me" end' }, { fields: { me: 'auth = { scope = "read:shows" }' }, more: `auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" },` }),
  });
  await h.keys();
  const ask = (token) => h.call('me', { headers: token === undefined ? {} : { Authorization: `Bearer ${token}` } });
  const good = issuer.token({ scope: 'read:shows' });
  assert.equal((await ask(good)).status, 200);
  assert.equal((await ask(good)).status, 200);
  assert.equal((await ask()).status, 401);
  assert.equal((await ask('a.b.c')).status, 401);
  assert.equal((await ask(issuer.token({ scope: 'read:shows', exp: 1000 }))).status, 401);
  assert.equal((await ask(issuer.token({ scope: 'other' }))).status, 403);
  const m = await scrape(h);
  const counts = Object.fromEntries(['ok', 'invalid_header', 'jwt_invalid', 'jwt_expired', 'access_denied', 'other'].map((c) => [c, m.value(`token_checks_total{code="${c}"}`)]));
  assert.deepEqual(counts, { ok: 2, invalid_header: 1, jwt_invalid: 1, jwt_expired: 1, access_denied: 1, other: 0 });
  assert.ok(m.value('token_cache_hits_total') >= 1);
  const age = m.value(`keys_age_seconds{issuer="${issuer.issuer}"}`);
  assert.ok(age >= 0 && age < 60, `${age}`);
});

test('a function counts on over reloads, and one that is gone keeps its figures', async (t) => {
  const dir = folder(t, deployment(SCRIPTS));
  const h = await start(t, { dir });
  await h.call('hello');
  await h.call('slow');
  write(dir, deployment({ hello: 'return function() return "new" end' }));
  h.kill('SIGHUP');
  await eventually(() => h.call('hello').then((r) => r.text === 'new'), 5, 'the new one');
  const last = await eventually(async () => {
    const m = await scrape(h);
    return m.value('function_requests_total{function="hello"}') >= 2 && m.value('function_generation{function="hello"}') === 2 && m.value('config_reloads_total') === 1 && m;
  }, 5, 'generation 2');
  assert.equal(last.value('function_requests_total{function="slow"}'), 1);
});

test('ready and live tell of the whole host', async (t) => {
  const end = await gate(t);
  const h = await start(t, {
    files: deployment({ ...SCRIPTS, long: `return function() fetch(${lua(end.url)}, { timeout = 60 }) return "x" end` }, { fields: { long: 'timeout = 60, fetch = { "127.0.0.1" }' } }),
    workers: 2, args: ['--drain', '60s'],
  });
  const ready = await h.admin('ready');
  assert.equal(ready.status, 200);
  assert.deepEqual(ready.json(), { ready: true, functions: true, keys: true, draining: false, workers: 2, serving: 2, faults: [] });
  assert.equal((await h.admin('live')).status, 200);
  const [one] = h.workers();
  process.kill(one, 'SIGSTOP'); // a worker that hangs is neither live nor dead: the other one answers
  await eventually(() => h.stderr.includes('loop has stopped'), 6, 'it is killed');
  await eventually(() => h.admin('ready').then((r) => r.json().serving === 2, () => false), 5, 'two again');
  const long = Array.from({ length: 4 }, () => h.call('long'));
  await end.asked(4);
  const flying = async () => (await scrape(h)).value('function_requests_in_flight{function="long"}');
  await eventually(async () => await flying() === 4, 5, 'those in flight, of both workers');
  h.kill('SIGTERM');
  await eventually(() => h.admin('ready').then((r) => r.status === 503 && r.json().draining, () => false), 5, 'not ready while it drains');
  end.open();
  for (const res of await Promise.all(long)) assert.equal(res.text, 'x');
});

test('the dashboard has every metric, and none that is not there', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS, { more: 'auth = { issuer = "http://127.0.0.1:1/", audience = "x" },' }) });
  await h.call('hello');
  const { families } = await scrape(h);
  const dashboard = JSON.parse(fs.readFileSync(path.join(ROOT, 'deploy/grafana-dashboard.json'), 'utf8'));
  const expressions = dashboard.panels.flatMap((p) => (p.targets ?? []).map((x) => x.expr));
  assert.ok(expressions.length >= 10);
  const known = [...families.keys()];
  const shown = expressions.join(' ').match(/luafn_\w+/g).map((name) => (known.includes(name) ? name : name.replace(/_(bucket|sum|count)$/, '')));
  assert.deepEqual([...new Set(shown)].sort(), known.sort());
  const page = fs.readFileSync(path.join(ROOT, 'docs/operating.md'), 'utf8');
  for (const name of known) assert.match(page, new RegExp(`\`${name.replace('luafn_', '')}\\b|\`${name.replace(/^luafn_function(_.*_)total$/, '$1')}\``), `docs/operating.md: ${name}`);
  const places = new Set();
  for (const { title, gridPos: { x, y, w, h: high } } of dashboard.panels) {
    for (let i = 0; i < w * high; i++) {
      const place = `${x + (i % w)},${y + Math.floor(i / w)}`;
      assert.ok(!places.has(place), `${title} lies over another panel`);
      places.add(place);
    }
  }
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  for (const panel of dashboard.panels) assert.ok(panel.title && panel.gridPos && (panel.type === 'row' || panel.targets.length > 0), panel.title);
});
