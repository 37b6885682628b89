// The parent and its workers: signals, replacement, ports.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { deployment, eventually, folder, run, sleep, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';

const SCRIPTS = {
  hello: 'return function() return "hello" end',
  nap: 'return function() sleep(0.5) return "rested" end',
};
const files = () => deployment(SCRIPTS);

test('SIGTERM: what runs is finished, nothing new is taken, exit 0', async (t) => {
  const h = await start(t, { files: files() });
  const idle = await h.connect();
  const busy = await h.connect();
  busy.send(requestText({ path: '/.netlify/functions/nap', close: false }));
  await sleep(0.1);
  const t0 = Date.now();
  h.kill('SIGTERM');
  const res = await busy.response();
  assert.equal(res.status, 200);
  assert.equal(res.text, 'rested');
  assert.match(res.header('connection') ?? '', /close/i);
  assert.equal((await idle.closed()).length, 0);
  const { code, signal } = await h.exit;
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
  assert.ok(Date.now() - t0 < 3000 * SLOW);
  await assert.rejects(h.connect(), { code: 'ECONNREFUSED' });
});

test('SIGTERM with nothing to do is quick; SIGINT as well', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const h = await start(t, { files: files() });
    await h.call('hello');
    const t0 = Date.now();
    h.kill(signal);
    const end = await h.exit;
    assert.equal(end.code, 0, signal);
    assert.ok(Date.now() - t0 < 2000 * SLOW, signal);
  }
});

test('a second SIGTERM ends at once', async (t) => {
  const dir = folder(t, deployment({ long: 'return function() sleep(20) return "x" end' }, { fields: { long: 'timeout = 30' } }));
  const h = await start(t, { dir });
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/long', close: false }));
  await sleep(0.1);
  const t0 = Date.now();
  h.kill('SIGTERM');
  await sleep(0.2);
  assert.equal(h.ended, undefined, 'it drains');
  h.kill('SIGTERM');
  await h.exit;
  assert.ok(Date.now() - t0 < 2000 * SLOW);
  h.stop = async () => {}; // how it ends then is its own affair
});

test('--drain bounds the wait', async (t) => {
  const dir = folder(t, deployment({ long: 'return function() sleep(20) return "x" end' }, { fields: { long: 'timeout = 30' } }));
  const h = await start(t, { dir, args: ['--drain', '0.5s'] });
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/long', close: false }));
  await sleep(0.1);
  const t0 = Date.now();
  h.kill('SIGTERM');
  const { code } = await h.exit;
  const took = (Date.now() - t0) / 1000;
  assert.equal(code, 0);
  assert.ok(took > 0.4 && took < 2.5 * SLOW, `${took} s`);
});

test('a killed worker is replaced within 2 s while the other serves', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const before = await eventually(() => { const w = h.workers(); return w.length === 2 && w; }, 5, 'two workers');
  process.kill(before[0], 'SIGKILL');
  const t0 = Date.now();
  let served = 0;
  await eventually(async () => {
    const res = await h.call('hello').catch((e) => e);
    // The kernel may have handed the dead one a connection; that client sees a reset, no more.
    if (res instanceof Error) assert.match(res.message, /ECONNRESET|closed before|hang up/);
    else served += 1;
    const now = h.workers();
    return now.length === 2 && !now.includes(before[0]);
  }, 2, 'a new worker');
  assert.ok(Date.now() - t0 < 2000 * SLOW);
  assert.ok(served > 0, 'served meanwhile');
  assert.ok(h.workers().includes(before[1]), 'the other one was left alone');
  await sleep(0.3);
  for (let i = 0; i < 20; i++) assert.equal((await h.call('hello')).text, 'hello');
});

test('every worker killed at once: the host comes back', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const before = await eventually(() => { const w = h.workers(); return w.length === 2 && w; }, 5, 'two workers');
  for (const pid of before) process.kill(pid, 'SIGKILL');
  await eventually(() => h.call('hello').then((r) => r.text === 'hello', () => false), 4, 'an answer');
  await eventually(() => h.workers().length === 2, 4, 'two workers again');
});

test('workers share the work', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const all = await Promise.all(Array.from({ length: 100 }, () => h.call('hello')));
  assert.ok(all.every((r) => r.text === 'hello'));
});

test('a supervisor that is killed takes its workers along', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const workers = await eventually(() => { const w = h.workers(); return w.length === 2 && w; }, 5, 'two workers');
  h.kill('SIGKILL');
  await h.exit;
  h.stop = async () => {};
  await eventually(() => workers.every((pid) => { try { process.kill(pid, 0); return false; } catch { return true; } }), 5, 'no worker left');
});

test('port in use: one line, not 0', async (t) => {
  const server = net.createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => server.close());
  const { port } = server.address();
  const { code, stderr } = await run(t, ['serve', '--workers', '1', '--listen', `127.0.0.1:${port}`], { files: files() });
  assert.notEqual(code, 0);
  assert.match(stderr, new RegExp(`${port}.*in use`));
});

test('port 0 picks one and says which; PORT means all addresses', async (t) => {
  const h = await start(t, { files: files() });
  assert.ok(h.port > 0);
  assert.equal(h.stderr.match(/listening on http:/g).length, 1, 'one line');
  assert.equal((await h.call('hello')).text, 'hello');
});

test('several addresses', async (t) => {
  const h = await start(t, { files: files(), args: ['--listen', '127.0.0.1:0'] });
  const found = () => h.stderr.split('\n').filter((l) => l.includes('listening on')).join(' ').match(/http:\/\/127\.0\.0\.1:\d+/g);
  await eventually(() => found().length >= 2, 2, 'both addresses');
  const ports = [...new Set(found())].map((u) => Number(u.split(':')[2]));
  assert.equal(ports.length, 2);
  for (const port of ports) {
    h.port = port;
    assert.equal((await h.call('hello')).text, 'hello');
  }
});
