// What deploy/ says about engines, done without them: a ConfigMap's links, the image's root, proxies in front.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, eventually, folder, freePort, launch, PERF, ROOT, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { request } from '../lib/wire.mjs';

const HELLO = (word) => `return function() return "${word}" end`;

// A volume of a ConfigMap as the kubelet makes it: a folder a version, `..data`, a link to the newest, which each
// name of the volume leads through. A new version takes the place of the old by one rename; the old one is removed.
function configMap(dir) {
  let version = 0;
  let before;
  return (files) => {
    const name = `..2026_01_01_00_00_0${++version}.123456`;
    write(path.join(dir, name), files);
    fs.symlinkSync(name, path.join(dir, '..data_tmp'));
    fs.renameSync(path.join(dir, '..data_tmp'), path.join(dir, '..data'));
    for (const top of new Set(Object.keys(files).map((file) => file.split('/')[0]))) {
      if (!fs.existsSync(path.join(dir, top))) fs.symlinkSync(`..data/${top}`, path.join(dir, top));
    }
    if (before) fs.rmSync(path.join(dir, before), { recursive: true });
    before = name;
  };
}

for (const [what, script] of [['flat', 'hello.lua'], ['with a folder', 'scripts/hello.lua']]) {
  test(`a ConfigMap that changes is reloaded: ${what}`, async (t) => {
    const dir = folder(t);
    const publish = configMap(path.join(dir, 'functions'));
    const config = (more = '') => `return { functions = { hello = { script = "${script}" }${more} } }`;
    publish({ 'functions.lua': config(), [script]: HELLO('one') });
    fs.symlinkSync('functions', path.join(dir, 'app')); // as in the image
    const h = await start(t, { dir, args: ['--watch', '--config', path.join(dir, 'app/functions.lua')] });
    assert.equal((await h.call('hello')).text, 'one');
    const answers = async (word) => {
      const texts = await Promise.all(Array.from({ length: 8 }, () => h.call('hello').then((r) => r.text)));
      return texts.every((text) => text === word);
    };
    publish({ 'functions.lua': config(), [script]: HELLO('two') });
    await eventually(() => answers('two'), 10, 'the new script');
    publish({ 'functions.lua': config(), [script]: 'return function( return' });
    await h.says(/hello\.lua:1: /);
    assert.ok(await answers('two'), 'a broken one leaves what serves');
    publish({ 'functions.lua': config(`, other = { script = "${script}" }`), [script]: HELLO('three') });
    await eventually(async () => await answers('three') && (await h.call('other')).text === 'three', 10, 'script and configuration');
    assert.ok(fs.existsSync(path.join(dir, '.luafn/app')), 'the state lies beside the link');
  });
}

test('luafn live', async (t) => {
  const h = await start(t, { files: deployment({ hello: HELLO('x') }) });
  const [, url] = /admin pages on (http:\/\/127\.0\.0\.1:\d+)/.exec(h.stderr);
  assert.deepEqual([(await run(t, ['live', url])).code, (await run(t, ['live', `${url}/`])).code], [0, 0]);
  const port = String(Number(url.split(':')[2]) - 1);
  assert.equal((await run(t, ['live'], { env: { PORT: port } })).code, 0, 'the port after $PORT');
  const none = await run(t, ['live', `http://127.0.0.1:${await freePort()}`]);
  assert.equal(none.code, 1);
  assert.match(none.stderr, /^http:\/\/127\.0\.0\.1:\d+: .*onnect/);
  assert.equal((await run(t, ['live', h.url('')])).code, 1, 'a host, but not its admin pages');
  assert.equal((await run(t, ['live', 'localhost'])).code, 2);
});

const ROOTLESS = process.getuid() !== 0 && 'wants root: a PID namespace and chroot';
const UNSHARE = spawnSync('unshare', ['--pid', '--fork', '--mount', 'true']).status === 0;

test('the root of the image: as process 1, not root, read-only', { skip: ROOTLESS || (!UNSHARE && 'no namespaces here') || (/asan/.test(BIN) && 'a sanitizer wants /proc') }, async (t) => {
  const dir = folder(t);
  const root = path.join(dir, 'image');
  const made = spawnSync(path.join(ROOT, 'tools/image.sh'), [BIN, root], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(made.status, 0, made.stderr);
  write(root, { 'srv/functions/functions.lua': 'return { functions = { hello = { script = "hello.lua", path = "/" }, a = { script = "a.lua" } } }', 'srv/functions/a.lua': 'return function() kv.set("a", 1) sleep(0.2) return "in the image" end' });
  const size = Number(/^\d+/.exec(spawnSync('du', ['-sk', root], { encoding: 'utf8' }).stdout)[0]);
  assert.ok(process.env.LUAFN_WRAP || !/release|build\/luafn/.test(BIN) || size < 60 * 1024, `${size} KiB`);
  fs.chmodSync(dir, 0o755);
  const port = await freePort();
  const inside = `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && mount -t tmpfs -o uid=65532,mode=700 state "$1/srv/.luafn" && mkdir -p "$1/proc" 2>/dev/null;
    shift; exec chroot --userspec=65532:65532 "$@"`;
  const under = ['unshare', '--pid', '--fork', '--kill-child', '--mount', 'sh', '-c', inside, 'sh', root, root, '/usr/bin/luafn'];
  const begun = performance.now();
  const h = launch(dir, { under: under.slice(0, -1), bin: '/usr/bin/luafn', listen: `127.0.0.1:${port}`, args: ['--config', '/srv/app/functions.lua'], workers: 2 });
  let supervisor;
  later(t, () => { if (!h.ended && supervisor) process.kill(supervisor, 'SIGKILL'); }); // all of its namespace ends with it
  await h.listening;
  const first = await h.get('/');
  const ms = performance.now() - begun;
  const children = () => fs.readFileSync(`/proc/${h.pid}/task/${h.pid}/children`, 'utf8').trim().split(' ').map(Number);
  [supervisor] = children();
  const status = fs.readFileSync(`/proc/${supervisor}/status`, 'utf8');
  assert.match(status, /^NSpid:\s+\d+\s+1$/m, 'it is process 1');
  assert.match(status, /^Uid:\s+65532\s/m);
  assert.match(first.text, /^luafn runs\./, 'what the image brings');
  t.diagnostic(`${size} KiB, the first answer after ${ms.toFixed(1)} ms`);
  assert.ok(!PERF || ms < 50, `the first answer came after ${ms} ms`);
  assert.equal((await h.call('a')).text, 'in the image');
  const live = spawnSync('chroot', [root, '/usr/bin/luafn', 'live', /admin pages on (\S+?)\/_luafn/.exec(h.stderr)[1]], { encoding: 'utf8' });
  assert.equal(live.status, 0, live.stderr);
  const last = h.call('a');
  await eventually(async () => /requests_in_flight\{function="a"\} 1/.test((await h.admin('metrics')).text) || await Promise.race([last.then(() => true), false]), 5, 'it runs');
  process.kill(supervisor, 'SIGTERM');
  assert.equal((await last).text, 'in the image', 'what runs ends well');
  assert.equal((await h.exit).code, 0);
});

const find = (name) => ['/usr/sbin', '/usr/bin'].map((dir) => `${dir}/${name}`).find((file) => fs.existsSync(file));

// Two hosts, and a proxy whose configuration of deploy/ leads to them.
async function behind(t, name, command) {
  const dir = folder(t, deployment({ who: 'return function(event) return env.ME .. " " .. event.headers["client-ip"] .. " " .. event.rawUrl:match("^%a+") end' },
    { fields: { who: 'env = { "ME" }' }, more: 'proxies = { from = { "127.0.0.1" } },' }));
  const ports = await Promise.all(Array.from({ length: 5 }, freePort));
  const hosts = [0, 1].map((i) => launch(dir, {
    listen: `127.0.0.1:${ports[2 * i]}`, args: ['--admin', `127.0.0.1:${ports[2 * i + 1]}`, '--drain', '20s'], env: { ME: String(i) },
  }));
  for (const h of hosts) later(t, () => h.ended ?? h.stop());
  await Promise.all(hosts.map((h) => h.listening));
  let text = fs.readFileSync(path.join(ROOT, 'deploy', name), 'utf8');
  for (const [from, to] of [['8888', ports[0]], ['8889', ports[1]], ['8890', ports[2]], ['8891', ports[3]], ['8080', ports[4]]]) {
    assert.ok(text.includes(from) || name === 'nginx.conf', from);
    text = text.replaceAll(new RegExp(`\\b${from}\\b`, 'g'), `@${to}@`);
  }
  fs.writeFileSync(path.join(dir, name), text.replaceAll('@', '').replace('bind :', 'bind 127.0.0.1:').replace('listen ', 'listen 127.0.0.1:'));
  const child = spawn(command[0], command.slice(1).map((word) => word.replace('DIR', dir)), { stdio: 'ignore' });
  later(t, async () => { child.kill('SIGTERM'); if (child.exitCode === null && child.signalCode === null) await once(child, 'exit'); });
  const ask = () => request({ address: '127.0.0.1', port: ports[4] }, { path: '/.netlify/functions/who' });
  const asked = async () => { const res = await ask().catch(() => null); return res?.status === 200 ? res.text : null; };
  await eventually(asked, 10, `${name} listens`);
  return { hosts, ask, asked };
}

async function rolls(t, { hosts, ask, asked }) {
  const seen = new Set();
  await eventually(async () => seen.add(await asked()).size >= 2, 10, 'both are asked');
  assert.deepEqual([...seen].filter(Boolean).sort(), ['0 127.0.0.1 http', '1 127.0.0.1 http']);
  const failed = [];
  let going = true;
  const load = Array.from({ length: 4 }, async () => {
    while (going) {
      const res = await ask();
      if (res.status !== 200) failed.push(res.status);
    }
  });
  hosts[0].kill('SIGTERM');
  assert.equal((await hosts[0].exit).code, 0);
  await eventually(async () => await asked() === '1 127.0.0.1 http', 10, 'the other one');
  going = false;
  await Promise.all(load);
  assert.deepEqual(failed, [], 'none fails while one ends');
}

const HAPROXY = find('haproxy');
test('HAProxy in front, as deploy/haproxy.cfg has it', { skip: HAPROXY === undefined && 'haproxy is not installed' }, async (t) => {
  await rolls(t, await behind(t, 'haproxy.cfg', [HAPROXY, '-db', '-f', 'DIR/haproxy.cfg']));
});

const NGINX = find('nginx');
test('nginx in front, as deploy/nginx.conf has it', { skip: NGINX === undefined && 'nginx is not installed' }, async (t) => {
  await rolls(t, await behind(t, 'nginx.conf', [NGINX, '-p', 'DIR', '-c', 'DIR/nginx.conf', '-g', 'daemon off; pid nginx.pid; error_log stderr;']));
});
