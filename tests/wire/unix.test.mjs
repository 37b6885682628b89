// Unix sockets to listen at: who may come, whose file it is, and what becomes of it in each of the host's ends.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, eventually, folder, launch, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { activate } from '../lib/systemd.mjs';
import { request, requestText, Wire } from '../lib/wire.mjs';

const SCRIPTS = {
  look: 'return function(event) return json.encode { ip = event.headers["client-ip"], url = event.rawUrl } end',
  big: 'return function(event) return ("x"):rep(tonumber(event.queryStringParameters.n)) end',
  echo: 'return function(event) return event.body end',
  nap: 'return function() sleep(0.3) return "rested" end',
};
const files = (more = '') => deployment(SCRIPTS, { more });
const ask = (file, name, options = {}) => request({ address: file }, { host: 'api.example', path: `/.netlify/functions/${name}`, ...options });
const socketIn = (dir) => path.join(dir, 'luafn.sock');
const isThere = (file) => fs.lstatSync(file, { throwIfNoEntry: false }) !== undefined;

test('beside a port: mode 0660, any size of body, keep-alive, its peer is nobody that an address has', async (t) => {
  const dir = folder(t, files());
  const file = socketIn(dir);
  const h = await start(t, { dir, workers: 2, args: ['--listen', `unix:${file}`, '--log', 'json'] });
  await h.says(new RegExp(`^listening on unix:${file}$`, 'm'));
  assert.equal(fs.lstatSync(file).mode & 0o777, 0o660, 'whatever the umask is');
  assert.deepEqual((await ask(file, 'look', { headers: { 'X-Forwarded-For': '6.6.6.6', 'X-Forwarded-Proto': 'https' } })).json(),
    { ip: 'unix', url: 'http://api.example/.netlify/functions/look' });
  assert.equal((await h.call('look')).json().ip, '127.0.0.1');
  for (const n of [0, 1, 16385, 65537, 262145, 1048577, 3000000]) {
    assert.equal((await ask(file, `big?n=${n}`)).body.length, n);
    const body = 'y'.repeat(n);
    assert.equal((await ask(file, 'echo', { method: 'POST', body, headers: { 'Content-Type': 'text/plain' } })).text, body);
  }
  const wire = await Wire.connect(file);
  for (let i = 0; i < 5; i += 1) {
    wire.send(requestText({ path: '/.netlify/functions/look', host: 'api.example', close: false }));
    assert.equal((await wire.response()).status, 200);
  }
  wire.close();
  await h.stop();
  assert.ok(!isThere(file), 'removed at the end');
  const ips = new Set(h.log().filter((l) => l.path !== undefined).map((l) => l.ip));
  assert.deepEqual(ips, new Set(['unix', '127.0.0.1']));
});

test('"unix" among the proxies: its word about clients counts, and that of ports does not', async (t) => {
  const dir = folder(t, files('  proxies = { from = "unix" }, limits = { connections_per_address = 1 },'));
  const h = await start(t, { dir, args: ['--listen', 'unix:luafn.sock'] });
  const headers = { 'X-Forwarded-For': '6.6.6.6, 1.2.3.4', 'X-Forwarded-Proto': 'https' };
  assert.deepEqual((await ask(socketIn(dir), 'look', { headers })).json(), { ip: '1.2.3.4', url: 'https://api.example/.netlify/functions/look' });
  assert.equal((await h.call('look', { headers })).json().ip, '127.0.0.1');
  const open = await Promise.all([Wire.connect(socketIn(dir)), Wire.connect(socketIn(dir))]);
  for (const wire of open) {
    wire.send(requestText({ path: '/.netlify/functions/look', close: false }));
    assert.equal((await wire.response()).status, 200, 'a proxy has many connections');
  }
  for (const wire of open) wire.close();
});

test('the file of a dead host is replaced; a live one, a file, a folder that is not there are refused', async (t) => {
  const dir = folder(t, files());
  const file = socketIn(dir);
  const dead = launch(dir, { args: ['--listen', `unix:${file}`] });
  await dead.listening;
  dead.kill('SIGKILL');
  await dead.exit;
  assert.ok(isThere(file), 'nobody could remove it');
  const h = await start(t, { dir, args: ['--listen', `unix:${file}`] });
  assert.equal((await ask(file, 'look')).status, 200);
  const rows = [
    [`unix:${file}`, 1, 'another program listens there, or it is no socket'], ['unix:functions.lua', 1, 'another program listens there, or it is no socket'],
    ['unix:none/luafn.sock', 1, 'No such file or directory'], ['unix:', 2, 'names no file of 1 to 107 bytes'], [`unix:${'x'.repeat(108)}`, 2, 'names no file of 1 to 107 bytes'],
  ];
  for (const [listen, code, message] of rows) {
    const out = await run(t, ['serve', '--listen', listen], { dir });
    assert.equal(out.code, code, listen);
    assert.match(out.stderr, new RegExp(message), listen);
    assert.equal(out.stderr.trim().split('\n').length, 1, out.stderr);
  }
  assert.equal((await ask(file, 'look')).status, 200, 'the one that lives still has it');
  assert.match(fs.readFileSync(path.join(dir, 'functions.lua'), 'utf8'), /^return/);
  // Another took the place: it is not ours to remove.
  fs.unlinkSync(file);
  const other = net.createServer().listen(file);
  later(t, () => other.close());
  await once(other, 'listening');
  await h.stop();
  assert.ok(isThere(file));
});

test('what does not start leaves no file behind, and takes none from who serves', async (t) => {
  const dir = folder(t, { ...files(), 'broken/functions.lua': 'return {' });
  const out = await run(t, ['serve', '--listen', `unix:${socketIn(dir)}`, '--config', 'broken/functions.lua'], { dir });
  assert.equal(out.code, 1);
  assert.ok(!isThere(socketIn(dir)));
  const usage = await run(t, ['serve', '--listen', `unix:${socketIn(dir)}`, '--admin', 'nonsense'], { dir });
  assert.equal(usage.code, 2);
  assert.ok(!isThere(socketIn(dir)));
});

test('alone, in dev, with --redirect-http and --admin', async (t) => {
  const dir = folder(t, files());
  const file = socketIn(dir);
  const alone = launch(dir, { listen: `unix:${file}` });
  alone.listening.catch(() => {});
  await alone.says(/listening on unix:/);
  assert.equal((await ask(file, 'look')).status, 200);
  assert.equal((await alone.admin('live')).status, 200);
  await alone.stop();
  const d = await start(t, { dir, command: 'dev', args: ['--listen', `unix:${file}`] });
  assert.equal((await ask(file, 'look', { host: 'localhost' })).json().ip, 'unix');
  assert.equal((await ask(file, 'look', { host: 'evil.example' })).status, 403, 'a name that a page elsewhere could have');
  await d.stop();
  for (const args of [['dev', '--listen', `unix:${file}`], ['serve', '--listen', `unix:${file}`, '--redirect-http', '127.0.0.1:0'], ['serve', '--admin', `unix:${file}`]]) {
    const out = await run(t, args, { dir });
    assert.equal(out.code, 2, args.join(' '));
    assert.ok(!isThere(file), args.join(' '));
  }
});

test('an upgrade keeps the file; at SIGTERM what runs ends, and who comes later is refused', async (t) => {
  const dir = folder(t, files());
  const file = socketIn(dir);
  const h = launch(dir, { workers: 2, args: ['--listen', `unix:${file}`] });
  later(t, () => h.stop());
  await h.listening;
  const nap = ask(file, 'nap');
  const before = fs.lstatSync(file).ino;
  h.kill('SIGUSR2');
  await h.says(/the new program serves/);
  assert.equal((await nap).text, 'rested');
  assert.equal(fs.lstatSync(file).ino, before);
  assert.equal((await ask(file, 'look')).status, 200);
  // A new program that does not load takes nothing away.
  write(dir, { 'functions.lua': 'return {' });
  h.kill('SIGUSR2');
  await h.says(/the new program does not serve/);
  assert.equal(fs.lstatSync(file).ino, before);
  assert.equal((await ask(file, 'look')).status, 200);
  const wire = await Wire.connect(file);
  wire.send(requestText({ path: '/.netlify/functions/nap' }));
  await eventually(() => wire.socket.bytesWritten > 0, 5, 'a request on its way');
  h.kill('SIGTERM');
  assert.equal((await wire.response()).text, 'rested');
  assert.equal((await h.exit).code, 0);
  assert.ok(!isThere(file));
});

test('a unix socket of the service manager is served, and stays', async (t) => {
  const dir = folder(t, files());
  const file = socketIn(dir);
  const h = launch(dir, { listen: null, under: activate('web'), env: { SOCKET_FILE: file } });
  h.listening.catch(() => {});
  await h.says(/listening on unix:/);
  assert.equal((await ask(file, 'look')).json().ip, 'unix');
  await h.stop();
  assert.ok(isThere(file), 'it is not ours');
});

test('a curl of the documentation', async (t) => {
  const dir = folder(t, files());
  await start(t, { dir, args: ['--listen', 'unix:luafn.sock'] });
  const out = spawnSync('curl', ['-s', '--unix-socket', socketIn(dir), 'http://localhost/.netlify/functions/look'], { encoding: 'utf8' });
  assert.equal(JSON.parse(out.stdout).ip, 'unix', `${BIN}: ${out.stderr}`);
});
