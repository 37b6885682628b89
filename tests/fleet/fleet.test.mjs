// Four machines behind HAProxy, with a store by Sentinel: what must be exact is, and what fails is passed over.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, sleep, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { CALL, call } from '../lib/kv.mjs';
import { Redis, Sentinel } from '../lib/redis.mjs';
import { gate } from '../lib/upstream.mjs';
import { FAKETIME, fleet, front, hub, share, SKIP } from './net.mjs';

const OK = 'return function() return "ok" end';
const BIND = ['--bind', '10.99.0.1', '127.0.0.1', '--protected-mode', 'no'];
const URL = (redis) => `redis://10.99.0.1:${redis.port}`;
const options = { skip: SKIP };
if (!SKIP) hub();

// Calls again and again from `clients` sides until `stop` is set; what comes is told to `each`.
function load(front, name, clients, each) {
  const state = { stop: false };
  state.ended = Promise.all(Array.from({ length: clients }, async () => {
    while (!state.stop) each(await front.call(name).catch((error) => ({ status: 0, text: String(error) })));
  }));
  state.end = async () => { state.stop = true; await state.ended; };
  return state;
}

test('a limit of 1,000 a minute under 4,000 requests over four hosts, one with a clock that is a minute late: exactly 1,000', options, async (t) => {
  const redis = await Redis.start(t, BIND);
  const files = deployment({ ok: OK }, { fields: { ok: 'rate_limit = { limit = 1000, window = 60 }' } });
  const machines = await fleet(t, files, { env: { KV_URL: URL(redis) }, late: FAKETIME ? { 2: 60 } : {} });
  const all = await front(t, machines);
  const clock = async (i) => Date.parse((await machines[i].host.call('none')).header('date'));
  if (FAKETIME) assert.ok(Math.abs(await clock(0) - await clock(2) - 60000) < 10000, 'its clock is late');
  const statuses = {};
  let left = 4000;
  const began = performance.now();
  await Promise.all(Array.from({ length: 32 }, async () => {
    while (left-- > 0) {
      const { status } = await all.call('ok');
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
  }));
  assert.deepEqual(statuses, { 200: 1000, 429: 3000 });
  t.diagnostic(`4,000 requests in ${((performance.now() - began) / 1000).toFixed(1)} s${FAKETIME ? '' : '; no clock was set off: libfaketime is not installed'}`);
});

test('a rolling deploy of four hosts under load: no request fails', options, async (t) => {
  const files = (text) => deployment({ ok: `return function() return "${text}" end` });
  const machines = await fleet(t, files('one'));
  const all = await front(t, machines);
  const seen = {}, failed = [];
  const running = load(all, 'ok', 8, (res) => {
    if (res.status === 200) seen[res.text] = (seen[res.text] ?? 0) + 1;
    else failed.push(`${res.status} ${res.text}`);
  });
  for (const machine of machines) {
    await machine.host.stop();
    write(machine.dir, files('two'));
    await machine.serve();
    await eventually(() => machine.ready(), 20, 'it is ready');
    await sleep(0.3); // HAProxy looks ten times a second
  }
  seen.two = 0;
  await eventually(() => seen.two > 200, 20, 'the new one answers');
  const ones = seen.one;
  await eventually(() => seen.two > 600, 20, 'and alone');
  assert.equal(seen.one, ones);
  await running.end();
  assert.deepEqual(failed, []);
  t.diagnostic(`${seen.one} answers of the old version, and then of the new one; 0 failed`);
});

test('a failover of the store: who needs none is served, others fail by name, and for at most 2 s longer than it takes', options, async (t) => {
  const primary = await Redis.start(t, [...BIND, '--repl-diskless-sync-delay', 0]);
  const replica = await Redis.start(t, [...BIND, '--replicaof', '10.99.0.1', primary.port]);
  await eventually(async () => /master_link_status:up/.test(await replica.ask('info', 'replication')), 10, 'the replica is up');
  const watch = await Sentinel.start(t, primary, { address: '10.99.0.1' });
  await eventually(async () => await watch.replicas() === 1, 20, 'Sentinel knows it');
  const machines = await fleet(t, deployment({ ok: OK, call: CALL }), { env: { KV_URL: `redis+sentinel://10.99.0.1:${watch.port}/shop` } });
  const all = await front(t, machines);
  const at = { call: (name, more) => all.call(name, more) };
  const failed = [], words = new Set();
  let counted = 0, last = 0, others = 0;
  const running = load(all, 'ok', 4, (res) => { others++; if (res.status !== 200) failed.push(`${res.status} ${res.text}`); });
  const state = { stop: false };
  const counting = Promise.all(Array.from({ length: 4 }, async () => {
    while (!state.stop) {
      const [n, why] = await call(at, 'incr', 'n');
      if (n === null) { words.add(why); last = performance.now(); } else counted++;
    }
  }));
  await eventually(() => counted > 100, 10, 'it counts');
  const killed = performance.now();
  await primary.stop();
  await eventually(async () => /^master/.test(await replica.ask('role')), 30, 'another takes over');
  const over = performance.now();
  const before = counted;
  await eventually(() => counted > before + 200, 20, 'it counts again');
  await sleep(1);
  state.stop = true;
  await counting;
  await running.end();
  assert.deepEqual(failed, []);
  assert.ok(others > 100);
  for (const why of words) assert.match(why, /^the (store's server cannot be reached|connection to the store's server was lost: it may have been done)$/);
  const late = (last - over) / 1000;
  assert.ok(late < 2, `the last failure came ${late} s after another took over`);
  t.diagnostic(`failover ${((over - killed) / 1000).toFixed(1)} s; the last call of kv that failed came ${late.toFixed(1)} s after it; ${others} others, 0 failed`);
});

test('a host that is cut off is passed over and comes back; a store that restarts empty is taken up', options, async (t) => {
  const redis = await Redis.start(t, BIND);
  const machines = await fleet(t, deployment({ ok: OK, call: CALL }), { env: { KV_URL: URL(redis) } });
  const all = await front(t, machines);
  const at = { call: (name, more) => all.call(name, more) };
  machines[1].cut();
  const four = () => Promise.all([1, 2, 3, 4].map(() => all.call('ok').then((res) => res.status === 200, () => false)));
  await eventually(async () => (await four()).every(Boolean), 20, 'HAProxy has found out');
  for (let i = 0; i < 100; i++) assert.equal((await all.call('ok')).status, 200);
  machines[1].mend();
  await eventually(() => machines[1].ready(), 20, 'it is back');
  await eventually(async () => (await call(machines[1].host, 'incr', 'n'))[0] !== null, 20, 'with its store');
  await redis.stop();
  const none = await call(at, 'incr', 'n');
  assert.equal(none[0], null);
  for (let i = 0; i < 20; i++) assert.equal((await all.call('ok')).status, 200);
  await redis.begin();
  for (const machine of machines) await eventually(async () => (await call(machine.host, 'incr', 'again'))[0] !== null, 10, 'each takes it up');
  assert.equal((await call(at, 'get', 'n'))[0], null, 'it is empty');
});

test('a host with a job is killed: another runs it within 15 s', options, async (t) => {
  const redis = await Redis.start(t, BIND);
  const g = await gate(t);
  const port = Number(new globalThis.URL(g.url).port);
  await share(t, port);
  const files = deployment({
    send: 'return function() return queue.send("work", 1) end',
    work: `return function(event) log.info("begun") fetch("http://10.99.0.1:${port}") end`,
  }, { fields: { work: 'fetch = { "10.99.0.1" }, timeout = 60' } });
  const machines = await fleet(t, files, { count: 2, env: { KV_URL: URL(redis) } });
  assert.equal((await machines[0].host.call('send')).text.length, 26);
  await g.asked();
  const has = (machine) => machine.host.stderr.includes('"begun"');
  const one = await eventually(() => machines.find(has), 10, 'one runs it');
  const other = machines.find((machine) => machine !== one);
  one.host.kill('SIGKILL');
  const killed = performance.now();
  await one.host.exit;
  await eventually(() => has(other), 20, 'the other runs it');
  const seconds = (performance.now() - killed) / 1000;
  assert.ok(seconds > 5 && seconds < 15, `after ${seconds} s`);
  await eventually(() => { g.open(); return other.host.stderr.includes('"job ended"'); }, 10, 'it ends');
  await one.serve(files, { env: { KV_URL: URL(redis) } });
  t.diagnostic(`after ${seconds.toFixed(1)} s`);
});

test('an issuer that is down: hosts that have its keys go on, a token revoked at one is refused at all', options, async (t) => {
  const redis = await Redis.start(t, BIND);
  const server = await Issuer.start(t);
  const issuer = server.tenant();
  const port = Number(new globalThis.URL(issuer.issuer).port);
  const way = await share(t, port);
  const revoke = 'return function() return tostring(jwt.revoke { sub = "u1" }) end';
  const files = deployment({ me: OK, revoke }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, revocation = {} },` });
  const machines = await fleet(t, files, { env: { KV_URL: URL(redis) }, relay: port });
  const all = await front(t, machines);
  const ask = (sub) => all.call('me', { headers: { Authorization: `Bearer ${issuer.token({ sub })}` } });
  for (let i = 0; i < 8; i++) assert.equal((await ask('u1')).status, 200);
  assert.equal(issuer.hits.jwks, 1, 'one host has fetched its keys for all');
  way.close();
  for (let i = 0; i < 40; i++) assert.equal((await ask(`u${i}`)).status, 200);
  const revoked = issuer.token({ sub: 'u1' });
  assert.equal((await machines[0].host.call('revoke')).status, 200);
  for (const { host } of machines) {
    await eventually(async () => (await host.call('me', { headers: { Authorization: `Bearer ${revoked}` } })).status === 401, 10, 'all know');
  }
});
