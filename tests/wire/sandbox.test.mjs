// serve --sandbox and --user: what is taken away, and that everything still works.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { BIN, deployment, eventually, folder, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const SCRIPTS = {
  hello: 'return function() return "hello" end',
  count: 'return function() return tostring(kv.incr("n")) end',
  get: 'return function(event) return fetch(event.queryStringParameters.url):text() end',
  spin: 'return function() while true do end end',
};
const FIELDS = { get: 'fetch = { "localhost" }', spin: 'cpu = 0.1' };
const files = () => ({ ...deployment(SCRIPTS, { fields: FIELDS, more: '  publish = "web",' }), 'web/index.html': 'page' });
const status = (pid) => fs.readFileSync(`/proc/${pid}/status`, 'latin1');

async function origin(t) {
  const server = http.createServer((req, res) => res.end('from elsewhere'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://localhost:${server.address().port}/`;
}

test('--sandbox: functions, kv, fetch by name, files, limits, reload, replaced workers all work', async (t) => {
  const dir = folder(t, files());
  const url = await origin(t);
  const h = await start(t, { dir, args: ['--sandbox', '--watch'] });
  const check = async () => {
    assert.equal((await h.call('hello')).text, 'hello');
    assert.match((await h.call('count')).text, /^\d+$/);
    assert.equal((await h.call('get', { suffix: `?url=${encodeURIComponent(url)}` })).text, 'from elsewhere');
    assert.equal((await h.get('/')).text, 'page');
    assert.equal((await h.call('spin')).json().errorType, 'CpuLimitExceeded');
  };
  await check();
  const [worker] = h.workers();
  assert.match(status(worker), /^Seccomp:\s+2$/m);
  assert.match(status(worker), /^NoNewPrivs:\s+1$/m);
  assert.match(status(h.pid), /^Seccomp:\s+0$/m, 'the supervisor must be able to start workers');
  write(dir, { 'scripts/hello.lua': 'local n = require "lib.n" return function() return n end', 'scripts/lib/n.lua': 'return "hello"' });
  await eventually(() => h.admin('metrics').then((r) => /generation\{function="hello"\} 2$/m.test(r.text)), 5, 'the change');
  await check();
  process.kill(worker, 'SIGKILL');
  await eventually(() => h.call('hello').then((r) => r.status === 200, () => false), 5, 'another worker');
  await check();
});

test('--sandbox: publish is a link to a folder elsewhere, that is swapped for another release', async (t) => {
  const elsewhere = folder(t, { '1/index.html': 'page', '2/index.html': 'next' });
  const { 'web/index.html': _, ...rest } = files();
  const dir = folder(t, rest);
  const link = path.join(dir, 'web');
  fs.symlinkSync(path.join(elsewhere, '1'), link);
  const h = await start(t, { dir, args: ['--sandbox', '--watch'] });
  assert.equal((await h.get('/')).text, 'page');
  fs.symlinkSync(path.join(elsewhere, '2'), `${link}.new`);
  fs.renameSync(`${link}.new`, link);
  await eventually(async () => (await h.get('/')).text === 'next', 5, 'the next release');
});

test('--sandbox with TLS: each certificate is taken up anew, wherever it lies', async (t) => {
  const dir = folder(t, files());
  const [elsewhere, other] = [folder(t), folder(t)];
  const names = { names: 'DNS:other.test' };
  const h = await start(t, { dir, args: ['--sandbox', ...tlsArgs(certificate(elsewhere), certificate(other, 'tls', names))] });
  const print = (name) => execFileSync('sh', ['-c', `openssl s_client -connect 127.0.0.1:${h.port} -servername ${name} </dev/null 2>/dev/null | openssl x509 -noout -fingerprint`], { encoding: 'utf8' });
  const before = { localhost: print('localhost'), 'other.test': print('other.test') };
  assert.notEqual(before.localhost, before['other.test']);
  certificate(elsewhere);
  certificate(other, 'tls', names);
  for (const [name, old] of Object.entries(before)) await eventually(() => print(name) !== old, 5, `the new certificate of ${name}`);
});

test('--sandbox: a link in the deployment leads to no file outside of it', async (t) => {
  const outside = folder(t, { 'secret.lua': 'return "taken"' });
  for (const args of [[], ['--sandbox']]) {
    const dir = folder(t, deployment({ see: 'local secret = require "lib.secret" return function() return secret end', hello: SCRIPTS.hello }));
    fs.mkdirSync(path.join(dir, 'scripts/lib'), { recursive: true });
    fs.symlinkSync(path.join(outside, 'secret.lua'), path.join(dir, 'scripts/lib/secret.lua'));
    if (args.length === 0) {
      const h = await start(t, { dir, args });
      assert.equal((await h.call('see')).text, 'taken', 'without it there is no such wall');
    } else {
      const { code } = await run(t, ['serve', '--listen', '127.0.0.1:0', '--workers', '1', ...args], { dir });
      assert.equal(code, 1);
    }
  }
});

const root = process.getuid() === 0;
test('--user: sockets first, then nobody; .luafn is theirs', { skip: !root && 'only root can become another' }, async (t) => {
  const dir = folder(t, files());
  const program = path.join(dir, 'luafn');
  fs.copyFileSync(BIN, program);
  execFileSync('chown', ['-R', 'nobody', dir]);
  const h = await start(t, { dir, bin: program, args: ['--user', 'nobody', '--sandbox'] });
  const uid = Number(execFileSync('id', ['-u', 'nobody'], { encoding: 'utf8' }));
  for (const pid of [h.pid, ...h.workers()]) assert.match(status(pid), new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'));
  assert.match(status(h.pid), /^CapEff:\s+0+$/m);
  assert.equal((await h.call('count')).text, '1');
  assert.equal(fs.statSync(path.join(dir, '.luafn/kv.mdb')).uid, uid);
  h.kill('SIGUSR2');
  await eventually(() => h.stderr.includes('the new program serves'), 10, 'an upgrade as nobody');
  assert.equal((await h.call('count')).text, '2');
});

test('--user: nobody of that name, or root, is refused with one line', async (t) => {
  for (const name of ['no-such-user', 'root']) {
    const { code, stderr } = await run(t, ['serve', '--listen', '127.0.0.1:0', '--user', name], { files: files() });
    assert.equal(code, 1);
    assert.match(stderr, new RegExp(`'?${name}'?`));
    assert.doesNotMatch(stderr, /listening/);
  }
});
