// measures time
// A worker whose loop stops is killed and replaced, and the function at fault is suspended in the end; a new generation that fails is
// taken back where the one before did well.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import test from 'node:test';
import { deployment, eventually, folder, sleep, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';

const children = (pid) => fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number);

// Stands in for C code that never returns: the worker is stopped by a signal while the function runs, or, rarely, between two of its
// slices, when it is nobody's fault.
async function hang(h) {
  const [worker] = await eventually(() => { const c = children(h.child.pid); return c.length === 1 && c; }, 5, 'one worker');
  await eventually(() => h.call('hello').then((r) => r.status === 200, () => false), 5, 'it serves');
  const burn = h.call('burn').catch(() => null);
  const before = h.stderr.match(/loop has stopped/g)?.length ?? 0;
  await h.call('hello'); // it came behind the other one, which runs by now; both are answered between slices
  await sleep(0.02);
  process.kill(worker, 'SIGSTOP');
  await eventually(() => (h.stderr.match(/loop has stopped/g)?.length ?? 0) > before, 6, 'the watchdog kills it');
  await eventually(() => { const c = children(h.child.pid); return c.length === 1 && c[0] !== worker; }, 5, 'another takes its place');
  await burn;
}

test('a stopped loop: killed, named, and suspended after three times until the script changes', async (t) => {
  const dir = folder(t, deployment(
    { hello: 'return function() return "hello" end', burn: 'return function() while true do end end' },
    { fields: { burn: 'cpu = 30, timeout = 60' } },
  ));
  const h = await start(t, { dir, args: ['--watch'] });
  const blamed = () => h.stderr.match(/loop has stopped.*"function":"burn"/g)?.length ?? 0;
  for (let i = 0; i < 6 && blamed() < 3; i++) await hang(h);
  await eventually(() => blamed() === 3, 5, 'three times');
  const res = await eventually(() => h.call('burn').then((r) => r.status === 503 && r, () => false), 8, 'it is suspended');
  assert.equal(res.json().error, 'function_suspended');
  assert.ok(res.header('retry-after'));
  assert.equal((await h.call('hello')).status, 200, 'the others serve');
  write(dir, { 'scripts/burn.lua': 'return function() return "cool" end' });
  await eventually(async () => (await h.call('burn')).text === 'cool', 5, 'a changed script serves again');
});

test('a worker that the machine gives no time is not killed for it', async (t) => {
  const h = await start(t, {
    files: deployment({ burn: 'return function() while true do end end' }, { fields: { burn: 'cpu = 30, timeout = 60' } }),
    args: ['--drain', '0.1s'],
  });
  const [worker] = h.workers();
  const cpu = /Cpus_allowed_list:\s*(\d+)/.exec(fs.readFileSync('/proc/self/status', 'latin1'))[1];
  const turns = () => Number(fs.readFileSync(`/proc/${worker}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  execFileSync('taskset', ['-cp', cpu, String(worker)]);
  execFileSync('chrt', ['-i', '-p', '0', String(worker)]); // runs when nobody else wants to
  const others = Array.from({ length: 16 }, () => spawn('taskset', ['-c', cpu, 'yes'], { stdio: 'ignore' }));
  later(t, () => others.forEach((o) => o.kill('SIGKILL')));
  await Promise.all(others.map((o) => once(o, 'spawn')));
  const burn = await h.connect(); // not waited for: the next worker finds it in the socket's queue, and burns on
  burn.send(requestText({ path: '/.netlify/functions/burn' }));
  const before = turns();
  await sleep(4);
  t.diagnostic(`${(turns() - before).toFixed(1)} ms of processor time in 4 s`);
  assert.ok(turns() - before < 1000, 'it was starved, or this test shows nothing');
  assert.doesNotMatch(h.stderr, /loop has stopped/);
  assert.deepEqual(h.workers(), [worker]);
  others.forEach((o) => o.kill('SIGKILL'));
  process.kill(worker, 'SIGSTOP');
  await eventually(() => h.stderr.includes('loop has stopped'), 6, 'one that stands still is killed');
  burn.close();
});

test('a machine that stands still costs no worker', async (t) => {
  const h = await start(t, { files: deployment({ hello: 'return function() return "hello" end' }) });
  let survives = false;
  for (let round = 0; round < 5 && !survives; round++) { // once more where this process stood still as well
    const [worker] = await eventually(() => h.workers().length === 1 && h.workers(), 5, 'one worker');
    process.kill(h.pid, 'SIGSTOP');
    process.kill(worker, 'SIGSTOP');
    await sleep(2.5);
    process.kill(h.pid, 'SIGCONT');
    await sleep(0.1); // by then it has looked at the worker's heart
    try { process.kill(worker, 'SIGCONT'); } catch { continue; }
    await eventually(() => h.call('hello').then((res) => res.status === 200, () => false), 5, 'it serves');
    survives = h.workers().includes(worker);
  }
  assert.ok(survives, h.stderr);
  assert.equal((await h.call('hello')).text, 'hello');
});

test('rollback: a new generation that fails its first requests is taken back', async (t) => {
  const dir = folder(t, deployment({ me: 'return function() return "good" end' }, { fields: { me: 'rollback = 3' } }));
  const h = await start(t, { dir, args: ['--watch'] });
  assert.equal((await h.call('me')).text, 'good');
  write(dir, { 'scripts/me.lua': 'return function() error("bad") end' });
  await eventually(async () => (await h.call('me')).status === 502, 5, 'the new one serves');
  await eventually(async () => (await h.call('me')).text === 'good', 5, 'the old one comes back');
  await h.says(/generation 2 failed its first 3 requests; generation 1 serves again/);
  write(dir, { 'scripts/me.lua': 'return function() return "better" end' });
  await eventually(async () => (await h.call('me')).text === 'better', 5, 'a third one serves');
});

test('no rollback without the option, nor where the one before had no good request', async (t) => {
  const dir = folder(t, deployment({ a: 'return function() return "good" end', b: 'return function() error("x") end' }, { fields: { b: 'rollback = 2' } }));
  const h = await start(t, { dir, args: ['--watch'] });
  assert.equal((await h.call('a')).status, 200);
  assert.equal((await h.call('b')).status, 502);
  write(dir, { 'scripts/a.lua': 'return function() error("bad") end', 'scripts/b.lua': 'return function() error("y") end' });
  await eventually(async () => (await h.call('a')).status === 502, 5, 'the new one serves');
  for (let i = 0; i < 5; i++) {
    assert.equal((await h.call('a')).status, 502);
    assert.equal((await h.call('b')).status, 502);
  }
  assert.doesNotMatch(h.stderr, /serves again/);
});
