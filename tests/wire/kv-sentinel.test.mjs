// KV_URL by Sentinel: the primary is found, and found again when another takes over.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { certificate } from '../lib/cert.mjs';
import { deployment, eventually, folder, freePort, start } from '../lib/host.mjs';
import { CALL, call } from '../lib/kv.mjs';
import { later } from '../lib/later.mjs';
import { Redis, Sentinel } from '../lib/redis.mjs';

const OK = 'return function() return "ok" end';
const files = () => deployment({ call: CALL, ok: OK });
const host = (t, url, options = {}) => start(t, { files: files(), ...options, env: { KV_URL: url, ...options.env } });
const UNREACHABLE = [null, "the store's server cannot be reached"];
const LOST = [null, "the connection to the store's server was lost: it may have been done"];

// A primary with a replica that has all that it has, and a Sentinel that knows both.
async function pair(t, { args = [], tls, ...sentinel } = {}) {
  const primary = await Redis.start(t, ['--repl-diskless-sync-delay', 0, ...args], undefined, tls);
  const replica = await Redis.start(t, [...args, '--replicaof', '127.0.0.1', primary.port], undefined, tls);
  await eventually(async () => /master_link_status:up/.test(await replica.ask('info', 'replication')), 10, 'the replica is up');
  const watch = await Sentinel.start(t, primary, sentinel);
  await eventually(async () => await watch.replicas() === 1, 15, 'Sentinel knows the replica');
  return { primary, replica, watch };
}

test('a failover under load: who needs no store is served, the others fail by name until another has taken over', async (t) => {
  const { primary, replica, watch } = await pair(t);
  const dead = await freePort();
  const h = await host(t, `redis+sentinel://127.0.0.1:${dead},127.0.0.1:${watch.port}/shop/0`, { workers: 2 });
  const stop = { now: false };
  const answers = [];
  let others = 0;
  const load = [
    ...Array.from({ length: 4 }, async () => { while (!stop.now) answers.push(await call(h, 'incr', 'n')); }),
    (async () => { while (!stop.now) { assert.equal((await h.call('ok')).text, 'ok'); others++; } })(),
  ];
  await eventually(() => answers.length > 50, 10, 'it counts');
  await primary.stop();
  await eventually(async () => await watch.primary() === replica.port, 30, 'another takes over');
  const before = answers.filter(([n]) => n !== null).length;
  await eventually(() => answers.filter(([n]) => n !== null).length > before + 50, 15, 'it counts again');
  stop.now = true;
  await Promise.all(load);
  for (const answer of answers) {
    if (answer[0] === null) assert.ok([UNREACHABLE[1], LOST[1]].includes(answer[1]), answer[1]);
  }
  const numbers = answers.map(([n]) => n).filter((n) => n !== null);
  assert.ok(others > 50);
  assert.ok(numbers.length > 100);
  assert.match(await replica.ask('role'), /^master/);
  await eventually(() => /the store at 'shop' of the Sentinel at 127\.0\.0\.1:\d+, \.\.\. answers again/.test(h.stderr), 5, 'the log says so');
});

test('a primary that has become a replica, or has lost its replicas, is left and Sentinel asked again', async (t) => {
  const [before, after] = await Promise.all([Redis.start(t), Redis.start(t)]);
  const place = (port) => `*2\r\n$9\r\n127.0.0.1\r\n$${String(port).length}\r\n${port}\r\n`;
  const answer = { text: place(before.port) };
  const h = await host(t, `redis+sentinel://127.0.0.1:${await liar(t, answer)}/shop`);
  await eventually(async () => (await call(h, 'set', 'k', 'v'))[0] === true, 10, 'it is found');
  await before.ask('config', 'set', 'min-replicas-to-write', '1');
  assert.deepEqual(await call(h, 'set', 'k', 'none'), UNREACHABLE);
  await before.ask('config', 'set', 'min-replicas-to-write', '0');
  await eventually(async () => (await call(h, 'set', 'k', 'w'))[0] === true, 10, 'it takes writes again');
  await before.ask('replicaof', '127.0.0.1', String(after.port));
  assert.deepEqual(await call(h, 'set', 'k', 'none'), UNREACHABLE);
  answer.text = place(after.port);
  await eventually(async () => (await call(h, 'set', 'k', 'new'))[0] === true, 10, 'the new one takes them');
  assert.equal(await after.ask('get', 'luafn:kv:{call}:k'), 'tnew');
});

test('with users on both, over TLS; and Sentinels that want another password', async (t) => {
  const tls = certificate(folder(t));
  const redis = await Redis.start(t, ['--user', 'shop', 'on', '>geheim', '~luafn*', '&luafn*', '+@all', '-@dangerous'], undefined, tls);
  const config = ['port 0', `tls-port PORT`, `tls-cert-file ${tls.cert}`, `tls-key-file ${tls.key}`, `tls-ca-cert-file ${tls.cert}`,
    'tls-auth-clients no', 'tls-replication yes', 'user default off', 'user shop on >geheim ~* &* +@all'];
  const watch = await Sentinel.start(t, redis, { config });
  const url = (login, ca) => `rediss+sentinel://${login}127.0.0.1:${watch.port}/shop${ca}`;
  const good = await host(t, url('shop:geheim@', `?ca=${tls.cert}`));
  assert.deepEqual(await call(good, 'incr', 'n'), [1]);
  for (const [login, ca, says] of [
    ['shop:falsch@', `?ca=${tls.cert}`, /cannot be reached: Sentinel at 127\.0\.0\.1:\d+: WRONGPASS.*: KV_URL: user:password/],
    ['', `?ca=${tls.cert}`, /cannot be reached: Sentinel at 127\.0\.0\.1:\d+: NOAUTH.*: KV_URL: user:password/],
    ['shop:geheim@', '', /cannot be reached: Sentinel at 127\.0\.0\.1:\d+: TLS: its certificate is signed by nobody/],
  ]) {
    const h = await host(t, url(login, ca));
    assert.deepEqual(await call(h, 'incr', 'n'), UNREACHABLE);
    await eventually(() => says.test(h.stderr), 5, `the log says ${says}: ${h.stderr}`);
    assert.doesNotMatch(h.stderr, /geheim|falsch/);
  }
});

// Answers each piece that it gets with the text as it is then.
async function liar(t, answer) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('data', () => { if (answer.text) socket.write(answer.text); });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); for (const socket of sockets) socket.destroy(); });
  return server.address().port;
}

test('Sentinels that are away, silent, wrong, or speak nonsense', async (t) => {
  const redis = await Redis.start(t);
  const replica = await Redis.start(t, ['--replicaof', '127.0.0.1', redis.port]);
  const place = (port) => `*2\r\n$9\r\n127.0.0.1\r\n$${String(port).length}\r\n${port}\r\n`;
  const says = [
    [null, /cannot be reached: no answer in time/],
    ['*-1\r\n', /it knows no primary of the name that KV_URL has behind the hosts/],
    [':1\r\n', /an answer to something else/],
    ['*2\r\n$0\r\n\r\n$1\r\n1\r\n', /an answer to something else/],
    [`*2\r\n$256\r\n${'x'.repeat(256)}\r\n$1\r\n1\r\n`, /an answer to something else/],
    ['HTTP/1.1 400 Bad Request\r\n\r\n', /Protocol error/],
    ['-IDONTKNOW\r\n', /IDONTKNOW/],
    [place(replica.port), /it is a replica: Sentinel has not found another primary yet/],
    [place('x'), /cannot be reached: /],
  ];
  await Promise.all(says.map(async ([answer, says]) => {
    const wrong = await liar(t, { text: answer });
    // This process plays all of them, and is late where others are busy: then another host asks.
    await eventually(async () => {
      const h = await host(t, `redis+sentinel://127.0.0.1:${wrong}/shop`);
      assert.deepEqual(await call(h, 'get', 'k'), UNREACHABLE, answer);
      await h.says(/cannot be reached/);
      return says.test(h.stderr);
    }, 30, `${answer}: ${says}`);
    if (answer === place(replica.port) || answer === place('x')) return;
    const good = await liar(t, { text: place(redis.port) });
    const both = await host(t, `redis+sentinel://127.0.0.1:${wrong},127.0.0.1:${good}/shop`);
    await eventually(async () => (await call(both, 'set', 'k', 'v'))[0] === true, 10, 'the next one is asked');
  }));
});
