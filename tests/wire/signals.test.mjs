// Signals at awkward times, and restarts (more of them in supervisor.test.mjs and upgrade.test.mjs).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, freePort, launch, lua, sleep, start, write } from '../lib/host.mjs';
import { noWorkerBegins } from '../lib/process.mjs';
import { gate } from '../lib/upstream.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const one = (text) => `return function() return "${text}" end`;

test('SIGHUP while a reload is under way is not lost', async (t) => {
  const dir = folder(t, deployment({ a: one('1') }));
  const h = await start(t, { dir });
  // A top level that waits: the load takes that long. `b` is not there when it begins.
  write(dir, deployment({ a: `log.info("begun") sleep(0.7) ${one('2')}` }));
  h.kill('SIGHUP');
  await eventually(() => h.stderr.includes('"begun"'), 5, 'the load');
  write(dir, deployment({ a: `sleep(0.1) ${one('3')}`, b: one('b') }));
  h.kill('SIGHUP');
  await eventually(async () => (await h.call('b')).text === 'b', 5, 'what the second one brings');
  assert.equal((await h.call('a')).text, '3');
});

test('a hundred SIGHUPs in a row: the last state is served, nothing fails', async (t) => {
  const dir = folder(t, deployment({ a: one('0') }));
  const h = await start(t, { dir, workers: 2 });
  for (let n = 1; n <= 100; n++) {
    write(dir, { 'scripts/a.lua': one(n) });
    h.kill('SIGHUP');
    if (n % 10 === 0) assert.match((await h.call('a')).text, /^\d+$/);
  }
  await eventually(async () => {
    const all = await Promise.all(Array.from({ length: 8 }, () => h.call('a')));
    return all.every((r) => r.text === '100');
  }, 10, 'the last one, by every worker');
});

test('SIGHUP at the start is survived', async (t) => {
  const h = launch(folder(t, deployment({ a: `sleep(0.2) ${one('a')}` })), { workers: 2 });
  t.after(() => h.stop());
  await eventually(() => h.stderr.includes('admin pages') && h.workers().length === 2, 5, 'workers');
  for (let i = 0; i < 5; i++) h.kill('SIGHUP');
  await h.listening;
  assert.equal((await h.call('a')).text, 'a');
  assert.doesNotMatch(h.stderr, /worker ended/);
});

test('SIGPIPE is ignored: by signal, on a closed socket, on a closed log', async (t) => {
  const h = await start(t, { files: deployment({ a: one('a'), big: 'return function() return ("x"):rep(4000000) end' }), workers: 1 });
  const [worker] = h.workers();
  h.kill('SIGPIPE');
  process.kill(worker, 'SIGPIPE');
  for (let i = 0; i < 5; i++) {
    const wire = await h.connect();
    wire.send(requestText({ path: '/.netlify/functions/big' }));
    wire.socket.resetAndDestroy();
  }
  h.child.stdout.destroy();
  for (let i = 0; i < 20; i++) assert.equal((await h.call('a')).text, 'a');
  await eventually(async () => Number(/^luafn_log_dropped_total (\d+)$/m.exec((await h.admin('metrics')).text)[1]) >= 20, 5, 'lost lines are counted');
  assert.deepEqual(h.workers(), [worker]);
});

// Many requests, of which some make lines that no pipe takes at once.
async function askMuch(h) {
  const wire = await h.connect();
  const sent = 600;
  for (let i = 0; i < sent; i++) {
    wire.send(requestText({ path: `/a/number-${i}/${'x'.repeat(i % 3 === 0 ? 6000 : 1500)}`, close: false }));
    assert.equal((await wire.response()).text, 'a');
  }
  wire.close();
  return sent;
}

const LOGGED = deployment({ a: one('a') }, { fields: { a: 'path = "/a/*"' } });
// The numbered lines. One of which only the beginning went out is lost, and counted; the next begins on a line of its own.
const whole = (text) => text.split('\n').slice(0, -1).filter((l) => {
  if (l !== '') assert.ok(l.startsWith('{"time"'), l);
  try { return JSON.parse(l).path.includes('number-'); } catch { return false; }
});
const lost = async (h) => Number(/^luafn_log_dropped_total (\d+)$/m.exec((await h.admin('metrics')).text)[1]);

test('nobody reads the log, a socket: requests are answered, lines are lost and counted', async (t) => {
  const h = await start(t, { files: LOGGED });
  const [worker] = h.workers();
  h.child.stdout.pause();
  const sent = await askMuch(h);
  const dropped = await lost(h);
  assert.ok(dropped > 0 && dropped < sent);
  assert.deepEqual(h.workers(), [worker]);
  h.child.stdout.resume();
  await eventually(async () => { await h.get('/a/last'); return h.stdout.includes('last'); }, 5, 'the log goes on');
  assert.equal(whole(h.stdout).length, sent - dropped);
});

test('nobody reads the log, a pipe: the same', async (t) => {
  const dir = folder(t, LOGGED);
  const pipe = path.join(dir, 'log');
  execFileSync('mkfifo', [pipe]);
  const reader = fs.openSync(pipe, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const h = await start(t, { dir, env: { LOG: pipe }, under: ['sh', '-c', 'exec "$0" "$@" >"$LOG"'] });
  const [worker] = h.workers();
  const sent = await askMuch(h);
  const dropped = await lost(h);
  assert.ok(dropped > 0 && dropped < sent);
  assert.deepEqual(h.workers(), [worker]);
  let text = '';
  const read = () => {
    const part = Buffer.alloc(65536);
    for (;;) {
      let n;
      try { n = fs.readSync(reader, part); } catch (e) { if (e.code === 'EAGAIN') return; throw e; }
      text += part.subarray(0, n).toString('latin1');
    }
  };
  await eventually(async () => { read(); await h.get('/a/last'); return text.includes('last'); }, 5, 'the log goes on');
  assert.equal(whole(text).length, sent - dropped);
});

// Connects, asks, again and again, until told to stop; what it gets is counted. Who connects and is silent for a second may be let
// go while the host drains: where this process stood still in between, that says nothing.
async function client(h, got) {
  while (!got.over) {
    const begun = performance.now();
    const wire = await Wire.connect(h.address, h.port).catch((e) => e);
    if (wire instanceof Error) {
      if (wire.code === 'ECONNREFUSED') got.refused += 1; else got.faults.push(wire.message);
      await sleep(0.01);
      continue;
    }
    wire.send(requestText({ path: '/.netlify/functions/a' }));
    const silent = performance.now() - begun;
    const res = await wire.response().catch((e) => e);
    if (res.text === 'a') got.answered += 1; else if (silent < 500) got.faults.push(res.message ?? res.status);
    wire.close();
  }
}

test('SIGTERM under load: who was let in is answered, who comes later is refused, exit 0', async (t) => {
  const dir = folder(t, deployment({ a: 'return function() sleep(0.002) return "a" end' }));
  for (let round = 0; round < 5; round++) { // what connects in the last moment of a socket is a matter of chance
    const h = await start(t, { dir, workers: 2, listen: `127.0.0.1:${await freePort()}` }); // which nobody else gets when it has ended
    const got = { answered: 0, refused: 0, faults: [], over: false };
    const clients = Array.from({ length: 32 }, () => client(h, got));
    await eventually(() => got.answered > 100, 10, 'load');
    h.kill('SIGTERM');
    assert.deepEqual(await h.exit, { code: 0, signal: null });
    await eventually(() => got.refused > 16, 5, 'refusals');
    got.over = true;
    await Promise.all(clients);
    assert.deepEqual(got.faults, []);
  }
});

// One that begins while the queues are looked through the last time is begun again by this side's kernel, a second later.
test('while it drains nobody waits for nothing: new connections are refused', async (t) => {
  const end = await gate(t);
  const h = await start(t, { files: deployment({ long: `return function() fetch(${lua(end.url)}, { timeout = 60 }) return "x" end` }, { fields: { long: 'timeout = 60, fetch = { "127.0.0.1" }' } }), workers: 2, args: ['--drain', '60s'] });
  const long = h.call('long');
  await end.asked();
  h.kill('SIGTERM');
  await eventually(() => new Promise((resolve) => {
    const s = net.connect(h.port, h.address, () => { s.destroy(); resolve(false); });
    s.on('error', (e) => resolve(e.code === 'ECONNREFUSED'));
  }), 3, 'a refusal');
  assert.equal(h.ended, undefined, 'it drains');
  end.open();
  assert.equal((await long).text, 'x');
});

// It has closed what it had open.
function isGone(pid) {
  try { return /^State:\tZ/m.test(fs.readFileSync(`/proc/${pid}/status`, 'latin1')); } catch { return true; }
}

test('kill -9 and a new start: it listens again, on the same port, with kv as it was', async (t) => {
  const dir = folder(t, deployment({ n: 'return function() return tostring(kv.incr("n")) end' }));
  const port = await freePort();
  let h = launch(dir, { workers: 2, listen: `127.0.0.1:${port}` });
  await h.listening;
  for (let i = 1; i <= 5; i++) {
    assert.equal((await h.call('n')).text, String(i));
    const open = await h.connect(); // a connection that is open keeps no port
    const workers = h.workers();
    h.kill('SIGKILL');
    await h.exit;
    await eventually(() => workers.every(isGone), 10, 'the end of its workers, who have the port');
    h = launch(dir, { workers: 2, listen: `127.0.0.1:${port}` });
    await h.listening;
    open.close();
  }
  assert.equal((await h.call('n')).text, '6');
  await h.stop();
});

test('what outlasts --drain is ended, and the log says so', async (t) => {
  const files = deployment({ one: one('one'), nap: 'return function() kv.set("began", "yes") sleep(20) return "late" end', began: 'return function() return tostring(kv.get("began")) end' },
    { fields: { nap: 'timeout = 60, kv = "nap"', began: 'kv = "nap"' } });
  const h = launch(folder(t, files), { args: ['--drain', '0.2'] });
  await h.listening;
  const late = h.call('nap').then((res) => res.status, () => 'closed');
  await eventually(async () => (await h.call('began')).text === 'yes', 5, 'it sleeps');
  await h.stop();
  // By the worker, or by who kills one that has stood still for all of its time.
  assert.match(h.stderr, /"msg":"drain time is over; (ending what still runs|killing what does not end by itself)"/);
  assert.notEqual(await late, 200);
});

test('what does not end by itself, either, is killed, and the log says so', async (t) => {
  const h = await start(t, { files: deployment({ one: one('one') }), args: ['--drain', '0.01'] });
  noWorkerBegins(h);
  process.kill(h.workers()[0], 'SIGKILL');
  await h.says(/no worker serves: requests are answered with 503/); // by a process that no watchdog looks after
  for (const pid of h.workers()) {
    try { process.kill(pid, 'SIGSTOP'); } catch { /* a worker that could not begin */ }
  }
  h.kill('SIGTERM');
  assert.deepEqual(await h.exit, { code: 0, signal: null });
  await h.says(/"msg":"drain time is over; killing what does not end by itself"/);
});
