// KV_URL over TLS: what is trusted, and what is said of everything else.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import { certificate } from '../lib/cert.mjs';
import { deployment, eventually, folder, start, write } from '../lib/host.mjs';
import { CALL, call } from '../lib/kv.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';

const host = (t, url, options = {}) => start(t, { files: deployment({ call: CALL }), ...options, env: { KV_URL: url, ...options.env } });
const UNREACHABLE = [null, "the store's server cannot be reached"];
// The log tells of an outage once, and on a busy machine it may be of an answer that was late: then another host asks.
const isTold = (t, url, says) => eventually(async () => {
  const h = await host(t, url);
  assert.deepEqual(await call(h, 'get', 'k'), UNREACHABLE, url);
  await h.says(/cannot be reached/);
  assert.doesNotMatch(h.stderr, /geheim/);
  return says.test(h.stderr);
}, 30, `${url}: ${says}`);
const SIZES = [1, 16 * 1024 - 1, 16 * 1024 + 1, 64 * 1024 + 1, 256 * 1024, 1024 * 1024 - 8];

test('what is trusted: the system, or who ca names; values of all sizes pass', async (t) => {
  const dir = folder(t);
  const tls = certificate(dir);
  const redis = await Redis.start(t, ['--user', 'shop', 'on', '>ge heim', '~luafn*', '&luafn*', '+@all'], undefined, tls);
  const at = `shop:ge%20heim@127.0.0.1:${redis.port}/1`;
  const files = { ...deployment({ call: CALL }), 'own ca.pem': tls.ca };
  const [named, system, relative] = await Promise.all([
    host(t, `rediss://shop:ge%20heim@localhost:${redis.port}/1?ca=${tls.cert}`, { args: ['--sandbox'] }),
    host(t, `rediss://${at}`, { env: { SSL_CERT_FILE: tls.cert } }),
    host(t, `rediss://${at}?ca=own%20ca.pem`, { files }),
  ]);
  for (const [i, size] of SIZES.entries()) {
    assert.deepEqual(await call(named, 'set', `k${i}`, 'x'.repeat(size)), [true], String(size));
    for (const h of [system, relative]) assert.equal((await call(h, 'get', `k${i}`))[0].length, size);
  }
  assert.deepEqual(await call(named, 'list'), [SIZES.map((_, i) => `k${i}`)]);
  const many = await Promise.all(Array.from({ length: 50 }, () => call(system, 'incr', 'n')));
  assert.deepEqual(many.map(([n]) => n).sort((a, b) => a - b), Array.from({ length: 50 }, (_, i) => i + 1));
  await redis.stop();
  assert.deepEqual(await call(named, 'incr', 'n'), UNREACHABLE);
  await redis.begin();
  await eventually(async () => (await call(named, 'incr', 'n'))[0] === 1, 5, 'it is back');
});

test('a server that wants a certificate of ours', async (t) => {
  const dir = folder(t);
  const tls = certificate(dir);
  const redis = await Redis.start(t, ['--tls-auth-clients', 'yes'], undefined, tls);
  const good = await host(t, `${redis.url}?ca=${tls.cert}&cert=${tls.cert}&key=${tls.key}`);
  assert.deepEqual(await call(good, 'incr', 'n'), [1]);
  await isTold(t, `${redis.url}?ca=${tls.cert}`, /cannot be reached: TLS: .*: KV_URL: cert=FILE&key=FILE/);
});

test('what is not trusted gets no word, least of all the password', async (t) => {
  const dir = folder(t);
  const [good, other, expired, elsewhere] = [
    certificate(dir, 'good'), certificate(dir, 'other'), certificate(dir, 'expired', { days: -1 }),
    certificate(dir, 'elsewhere', { names: 'DNS:kv.example' })];
  const cases = [
    [good, other.cert, '127.0.0.1', /TLS: its certificate is signed by nobody who is trusted: KV_URL: ca=FILE/],
    [expired, expired.cert, '127.0.0.1', /TLS: its certificate: certificate has expired/],
    [elsewhere, elsewhere.cert, 'localhost', /TLS: its certificate is not for 'localhost', by which KV_URL/],
    [elsewhere, elsewhere.cert, '127.0.0.1', /TLS: its certificate is not for '127\.0\.0\.1'/],
  ];
  await Promise.all(cases.map(async ([tls, ca, name, says]) => {
    const redis = await Redis.start(t, ['--requirepass', 'geheim'], undefined, tls);
    await isTold(t, `rediss://:geheim@${name}:${redis.port}?ca=${ca}`, says);
    assert.match(await redis.ask('-a', 'geheim', '--no-auth-warning', 'info', 'stats'), /total_commands_processed:1\r/, 'the AUTH of who asks');
  }));
});

test('a server without TLS, one of TLS alone, one that says nothing, and nonsense', async (t) => {
  const tls = certificate(folder(t));
  const plain = await Redis.start(t);
  const secure = await Redis.start(t, [], undefined, tls);
  const sockets = new Set();
  const peer = async (answer) => {
    const server = net.createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
      if (answer) socket.on('data', () => socket.write(answer));
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    later(t, () => { server.close(); for (const socket of sockets) socket.destroy(); });
    return server.address().port;
  };
  const cases = [
    [`rediss://127.0.0.1:${plain.port}`, /no answer in time: KV_URL: redis:\/\/ where it does not speak TLS|TLS: it does not speak TLS|it closed the connection/],
    [`redis://127.0.0.1:${secure.port}`, /it closed the connection at once: KV_URL: rediss:\/\/|Protocol error/],
    [`rediss://127.0.0.1:${await peer()}`, /no answer in time/],
    [`rediss://127.0.0.1:${await peer('-ERR no\r\n')}`, /TLS: it does not speak TLS/],
    [`rediss://127.0.0.1:${await peer(Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0]))}`, /TLS: /],
    [`rediss://127.0.0.1:${await peer(Buffer.from([21, 3, 3, 0, 2, 2, 40]))}`, /TLS: .*handshake failure/],
  ];
  await Promise.all(cases.map(([url, says]) => isTold(t, url, says)));
});

test('a renewed certificate authority is taken up without a restart', async (t) => {
  const dir = folder(t);
  const [before, after] = [certificate(dir, 'before'), certificate(dir, 'after')];
  const ca = path.join(dir, 'ca.pem');
  write(dir, { 'ca.pem': before.ca });
  const redis = await Redis.start(t, [], undefined, before);
  const h = await host(t, `${redis.url}?ca=${ca}`);
  assert.deepEqual(await call(h, 'incr', 'n'), [1]);
  fs.writeFileSync(ca, 'in the middle of being written');
  await redis.ask('client', 'kill', 'type', 'normal');
  await eventually(async () => (await call(h, 'incr', 'n'))[0] === 2, 5, 'the authorities before go on');
  await redis.stop();
  fs.writeFileSync(ca, after.ca);
  Object.assign(redis, await Redis.start(t, [], redis.port, after));
  await eventually(async () => (await call(h, 'incr', 'n'))[0] === 1, 10, 'the new one counts');
});
