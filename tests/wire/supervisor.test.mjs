// The parent and its workers: signals, replacement, ports.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { deployment, eventually, folder, lua, run, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { noWorkerBegins } from '../lib/process.mjs';
import { gate } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

const SCRIPTS = {
  hello: 'return function() return "hello" end',
  long: 'return function() log.info("begun") sleep(50) return "late" end',
};
const files = () => deployment(SCRIPTS, { fields: { long: 'timeout = 60' } });
const begun = (h) => eventually(() => h.stderr.includes('"begun"'), 5, 'it runs');
const refuses = (h) => eventually(() => h.connect().then((w) => { w.close(); return false; }, (e) => e.code === 'ECONNREFUSED'), 5, 'it drains');

test('SIGTERM: what runs is finished, nothing new is taken, exit 0', async (t) => {
  const [one, two] = [await gate(t), await gate(t)];
  const held = (end) => `return function() fetch(${lua(end.url)}, { timeout = 60 }) return "rested" end`;
  const own = 'fetch = { "127.0.0.1" }, timeout = 60';
  const h = await start(t, { files: deployment({ one: held(one), two: held(two) }, { fields: { one: own, two: own } }), args: ['--drain', '60s'] });
  const idle = await h.connect();
  const busy = async (name, end) => {
    const wire = await h.connect();
    wire.send(requestText({ path: `/.netlify/functions/${name}`, close: false }));
    await end.asked();
    return wire;
  };
  const rests = async (wire, end) => {
    end.open();
    const res = await wire.response();
    assert.equal(res.status, 200);
    assert.equal(res.text, 'rested');
    assert.match(res.header('connection') ?? '', /close/i);
    assert.equal((await wire.closed()).length, 0);
  };
  const [first, second] = [await busy('one', one), await busy('two', two)];
  h.kill('SIGTERM');
  // From the moment in which it says that it ends, and not only when it takes nobody any more.
  await eventually(() => h.admin('ready').then((r) => r.json().draining, () => false), 5, 'it says that it drains');
  await rests(first, one);
  await refuses(h);
  await rests(second, two);
  assert.equal((await idle.closed()).length, 0);
  const { code, signal } = await h.exit;
  assert.deepEqual({ code, signal }, { code: 0, signal: null });
  await assert.rejects(h.connect(), { code: 'ECONNREFUSED' });
});

test('SIGTERM with nothing to do does not wait for --drain; SIGINT as well', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT']) {
    const h = await start(t, { files: files(), args: ['--drain', '300s'] });
    await h.call('hello');
    h.kill(signal);
    await eventually(() => h.ended, 10, `its end by ${signal}`);
    assert.equal(h.ended.code, 0, signal);
  }
});

test('a second SIGTERM ends at once', async (t) => {
  const h = await start(t, { files: files(), args: ['--drain', '300s'] });
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/long', close: false }));
  await begun(h);
  h.kill('SIGTERM');
  await refuses(h);
  assert.equal(h.ended, undefined, 'it drains');
  h.kill('SIGTERM');
  await h.exit;
  assert.doesNotMatch((await wire.closed()).toString(), /late/, 'what ran was not waited for');
  h.stop = async () => {}; // how it ends then is its own affair
});

test('a worker that crashes while it stops is told, and makes the exit status 1', async (t) => {
  const dir = folder(t, deployment({ long: 'return function() log.info("begun") sleep(20) return "x" end' }, { fields: { long: 'timeout = 30' } }));
  const h = await start(t, { dir });
  h.stop = async () => {}; // its status is what this is about
  const long = h.call('long').catch(() => 'closed');
  await eventually(() => (h.stdout + h.stderr).includes('"begun"'), 5, 'it runs');
  const [worker] = h.workers();
  h.kill('SIGTERM');
  await eventually(() => h.connect().then((w) => { w.close(); return false; }, () => true), 5, 'it stops');
  process.kill(worker, 'SIGABRT');
  assert.deepEqual(await h.exit, { code: 1, signal: null });
  await h.says(/"msg":"worker ended badly while it stopped"[^\n]*"signal":6/);
  assert.equal(await long, 'closed');
});

test('--drain bounds the wait', async (t) => {
  const h = await start(t, { files: files(), args: ['--drain', '0.5s'] });
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/long', close: false }));
  await begun(h);
  const t0 = performance.now();
  h.kill('SIGTERM');
  const { code } = await h.exit;
  assert.equal(code, 0);
  assert.ok(performance.now() - t0 >= 400, 'so long it waits');
  assert.doesNotMatch((await wire.closed()).toString(), /late/, 'and no longer');
});

test('a killed worker is replaced, and the other serves meanwhile', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const before = await eventually(() => { const w = h.workers(); return w.length === 2 && w; }, 5, 'two workers');
  const allow = noWorkerBegins(h);
  process.kill(before[0], 'SIGKILL');
  await eventually(() => h.stderr.includes('worker ended'), 5, 'its end');
  for (let served = 0; served < 20;) {
    const res = await h.call('hello').catch((e) => e);
    // The kernel may have handed the dead one a connection; that client sees a reset, no more.
    if (res instanceof Error) assert.match(res.message, /ECONNRESET|closed before|hang up/);
    else served += 1;
  }
  allow();
  await eventually(async () => (await h.admin('ready')).json().serving === 2, 5, 'a new worker');
  assert.ok(!h.workers().includes(before[0]));
  assert.ok(h.workers().includes(before[1]), 'the other one was left alone');
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

test('workers begin with one reading of functions.lua', async (t) => {
  const path = 'path = "/read-at-" .. math.floor(os.clock() * 1000000)';
  const h = await start(t, { files: deployment(SCRIPTS, { fields: { hello: path } }), workers: 4 });
  const all = await Promise.all(Array.from({ length: 100 }, () => h.admin('routes')));
  const seen = new Set(all.map((r) => /read-at-\d+/.exec(r.text)[0]));
  assert.equal(seen.size, 1);
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
