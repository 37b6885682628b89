// SIGUSR2: another program takes over, and nobody notices.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, eventually, folder, lua, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { ear } from '../lib/systemd.mjs';
import { gate, upstream } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

const FIELDS = { limited: 'rate_limit = { limit = 3, window = 3600 }' };
const files = () => deployment({
  hello: 'return function() return "hello" end', nap: 'return function() log.info("begun") sleep(1) return "rested" end', limited: 'return function() return "ok" end',
}, { fields: FIELDS });
const alive = (pid) => { try { process.kill(pid, 0); return true; } catch { return false; } };
const parentOf = (pid) => Number(/^PPid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);
const newOne = (h, n = 1) => eventually(() => [...h.stderr.matchAll(/the new program is process (\d+)/g)][n - 1], 5, 'a new program').then((m) => Number(m[1]));
const serves = (h, n = 1) => eventually(() => (h.stderr.match(/the new program serves/g) ?? []).length >= n, 10, 'it serves');

test('what runs is finished by the old one, what comes is answered by the new one, counts go on', async (t) => {
  const h = await start(t, { files: files(), workers: 2 });
  const before = h.workers();
  for (let i = 0; i < 5; i++) await h.call('hello');
  for (let i = 0; i < 3; i++) assert.equal((await h.call('limited')).status, 200);
  const busy = await h.connect();
  busy.send(requestText({ path: '/.netlify/functions/nap', close: false }));
  await eventually(() => h.stderr.includes('"begun"'), 5, 'it runs');
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  await serves(h);
  assert.equal((await busy.response()).text, 'rested');
  await eventually(() => before.every((w) => !alive(w)), 5, 'the old workers are gone');
  assert.equal(h.ended, undefined, 'who started the old one still has it');
  assert.equal((await h.call('hello')).text, 'hello');
  assert.equal((await h.call('limited')).status, 429, 'the rate limit goes on');
  // The one that answers the admin pages may be asked before the other has counted.
  const metrics = await eventually(async () => { const { text } = await h.admin('metrics'); return /^luafn_function_requests_total\{function="hello"\} 6$/m.test(text) && text; }, 5, 'six are counted');
  assert.match(metrics, /^luafn_upgrades_total 1$/m);
  assert.match(metrics, /^luafn_workers_serving 2$/m);
  // A second one, and signals that the first process passes on.
  h.kill('SIGUSR2');
  const second = await newOne(h, 2);
  await serves(h, 2);
  await eventually(() => h.call('hello').then((r) => r.text === 'hello', () => false), 5, 'it answers');
  assert.equal(parentOf(second), pid);
  write(h.dir, { 'scripts/hello.lua': 'return function() return "new" end' });
  h.kill('SIGHUP');
  await eventually(async () => (await h.call('hello')).text === 'new', 5, 'SIGHUP reaches the newest');
  h.kill('SIGTERM');
  assert.deepEqual(await h.exit, { code: 0, signal: null });
  assert.ok(!alive(pid) && !alive(second));
  await assert.rejects(h.connect(), { code: 'ECONNREFUSED' });
});

test('kill -9 of the first process takes all that came after it along', async (t) => {
  const h = await start(t, { files: files() });
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  await serves(h);
  await eventually(() => h.workers().length === 1 && h.workers()[0] === pid, 5, 'the old worker is gone');
  h.kill('SIGKILL');
  await h.exit;
  h.stop = async () => {};
  await eventually(() => !alive(pid), 5, 'the new one is gone');
  await eventually(() => h.connect().then((w) => { w.close(); return false; }, (e) => e.code === 'ECONNREFUSED'), 5, 'the port is free');
});

test('told to end when the new one serves already, and the old one does not know yet: both end', async (t) => {
  const h = await start(t, { files: files() });
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  h.kill('SIGSTOP');
  await eventually(() => h.stderr.match(/listening on/g).length === 2, 10, 'the new one serves');
  h.kill('SIGTERM');
  h.kill('SIGCONT');
  assert.deepEqual(await h.exit, { code: 0, signal: null });
  assert.ok(!alive(pid));
});

// Each worker of the new one asks before it serves; one of them is answered, so the new one has not told anybody that it serves.
test('told to end when only some of the new one\'s workers serve: what they run is finished, and both end', async (t) => {
  const loading = [];
  const load = await upstream(t, (req, res) => loading.push(res));
  const hold = await gate(t);
  const fields = { fields: { one: 'fetch = { "127.0.0.1" }, timeout = 60' } };
  const h = await start(t, { files: deployment({ one: 'return function() return "old" end' }, fields), workers: 2, args: ['--drain', '60s'] });
  const before = h.workers();
  write(h.dir, deployment({ one: `fetch(${lua(load)}, { timeout = 60 }) return function() fetch(${lua(hold.url)}, { timeout = 60 }) return "new" end` }, fields));
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  await eventually(() => loading.length === 2, 10, 'both load');
  loading[0].end();
  const held = hold.asked().then(() => true);
  let answer;
  do answer = h.call('one'); while (!await Promise.race([held, answer.then((r) => r.text === 'new')]));
  h.kill('SIGTERM');
  await eventually(() => before.every((w) => !alive(w)), 10, 'the old workers are gone');
  hold.open();
  assert.equal((await answer).text, 'new');
  assert.deepEqual(await h.exit, { code: 0, signal: null });
  assert.ok(!alive(pid));
  assert.doesNotMatch(h.stderr, /does not serve|ended badly/);
});

test('a new program that does not serve leaves the old one in service', async (t) => {
  const dir = folder(t, files());
  const program = path.join(dir, 'luafn');
  const install = (text) => { // as an installation does it: the running file stays what it is
    if (text === undefined) fs.copyFileSync(BIN, `${program}.new`);
    else fs.writeFileSync(`${program}.new`, text);
    fs.chmodSync(`${program}.new`, 0o755);
    fs.renameSync(`${program}.new`, program);
  };
  install();
  const h = await start(t, { dir, workers: 2, bin: program });
  const before = h.workers();
  const refused = (n) => eventually(() => (h.stderr.match(/the one before goes on/g) ?? []).length === n, 10, 'it is given up');
  install('#!/bin/sh\nexit 1\n');
  h.kill('SIGUSR2');
  await refused(1);
  fs.rmSync(program);
  h.kill('SIGUSR2');
  await refused(2);
  await h.says(/luafn cannot be run: No such file or directory/);
  install();
  write(dir, { 'scripts/hello.lua': 'syntax error' });
  h.kill('SIGUSR2');
  await refused(3);
  assert.deepEqual(h.workers(), before);
  for (let i = 0; i < 10; i++) assert.equal((await h.call('hello')).text, 'hello');
  write(dir, files());
  h.kill('SIGUSR2');
  await serves(h);
  await eventually(() => before.every((w) => !alive(w)), 5, 'the old workers are gone');
  assert.equal((await h.call('hello')).text, 'hello');
});

test('under a service manager it is told who is in charge, and the old one leaves', async (t) => {
  const dir = folder(t, files());
  const e = await ear(t, path.join(dir, 'notify'));
  const h = await start(t, { dir, env: { NOTIFY_SOCKET: e.name, WATCHDOG_USEC: '600000' } });
  later(t, () => { try { process.kill(pid, 'SIGKILL'); } catch { /* as it should be */ } });
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  await e.when(new RegExp(`^MAINPID=${pid}$`));
  await eventually(() => h.child.exitCode !== null, 5, 'the old one is gone'); // its pipes are the new one's, too
  assert.equal(h.child.exitCode, 0);
  assert.ok(!e.lines().some((l) => l.startsWith('STOPPING')), 'the service goes on');
  const from = e.messages.length;
  await e.when(/^WATCHDOG=1$/, 5, from);
  assert.equal((await h.call('hello')).text, 'hello');
  process.kill(pid, 'SIGTERM');
  await e.when(/^STOPPING=1/);
  await eventually(() => !alive(pid), 5, 'its end');
});

test('a new program that dies while the old one still answers: signals are the old one\'s again', async (t) => {
  const h = await start(t, { files: deployment({ hello: 'return function() return "hello" end', long: 'return function() sleep(50) return "late" end' }, { fields: { long: 'timeout = 60' } }), args: ['--drain', '60s'] });
  const busy = await h.connect();
  busy.send(requestText({ path: '/.netlify/functions/long', close: false }));
  await eventually(async () => /^luafn_function_requests_total\{function="long"\} 1$/m.test((await h.admin('metrics')).text), 5, 'it runs');
  h.kill('SIGUSR2');
  const pid = await newOne(h);
  await serves(h);
  process.kill(pid, 'SIGKILL');
  await eventually(() => !alive(pid), 5, 'the new one is gone');
  h.kill('SIGINT'); // to drain is what it does already
  h.kill('SIGTERM');
  await h.exit;
  assert.equal((await busy.closed()).length, 0, 'what ran was ended');
  h.stop = async () => {};
});

test('one upgrade at a time, and none of what is no serve', async (t) => {
  const load = await gate(t);
  const dir = folder(t, deployment({ nap: 'return function() return "rested" end' }, { fields: { nap: 'fetch = { "127.0.0.1" }' } }));
  const h = await start(t, { dir });
  write(dir, { 'scripts/nap.lua': `fetch(${lua(load.url)}) return function() return "late" end` });
  h.kill('SIGUSR2');
  await newOne(h);
  await load.asked();
  h.kill('SIGUSR2');
  await eventually(() => h.stderr.includes('another is under way'), 5, 'the second is refused');
  load.open();
  await serves(h);
  await eventually(async () => (await h.call('nap')).text === 'late', 5, 'the new one');
  const dev = await start(t, { files: files(), command: 'dev' });
  dev.kill('SIGUSR2');
  await eventually(() => dev.stderr.includes('only serve can be upgraded'), 5, 'dev is not');
  assert.equal((await dev.call('hello')).text, 'hello');
});
