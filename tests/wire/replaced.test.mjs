// A worker that takes another's place serves what that one served, whatever has become of the files meanwhile.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, start, write } from '../lib/host.mjs';
import { noWorkerBegins, replaceWorkers } from '../lib/process.mjs';

// By whichever worker.
async function all(h, ask, expected) {
  for (let i = 0; i < 12; i++) assert.equal(await ask(), expected);
}
// Who stood in may still have taken a connection: then it says so.
const answer = async (h, name) => { for (;;) { const r = await h.call(name); if (r.status !== 503) return r; } };
const text = (h, name) => () => answer(h, name).then((r) => r.text);
const ready = async (h) => (await h.admin('ready')).json();
const generation = async (h, name) => JSON.parse((await h.admin('routes')).text).find((r) => r.function === name).generation;
// Every worker has loaded it.
const settled = (h, name, n) => eventually(async () => { for (let i = 0; i < 12; i++) if (await generation(h, name) !== n) return false; return true; }, 10, `generation ${n} of ${name}`);
// By whichever worker: one that took the place of another may have a reload to do still.
const faulty = (h, pattern) => eventually(async () => pattern.test(JSON.stringify((await ready(h)).faults)), 10, `${pattern} among the faults`);
const reloaded = (h, pattern) => eventually(() => pattern.test(h.stderr), 10, `${pattern} in the log`);
const says = (s) => `return function() return "${s}" end`;

for (const workers of [1, 2]) {
  test(`${workers} worker(s): a script, a module, a file of the site and functions.lua are broken or gone`, async (t) => {
    const files = {
      'functions.lua': `return { functions = "scripts", headers = { { ["for"] = "/*", values = { ["X-From"] = env.FROM } } }, publish = "web" }`,
      '.env': 'FROM=env-1\n', 'netlify.toml': '[[redirects]]\nfrom = "/toml"\nto = "/.netlify/functions/a"\nstatus = 200\n',
      'web/index.html': 'page', 'web/_redirects': '/short /.netlify/functions/a 200\n', 'web/_headers': '/*\n  X-Site: 1\n',
      'scripts/a.lua': 'local part = require "lib.part" return function() return "a1 " .. part.name end',
      'scripts/lib/part.lua': 'return { name = "part1" }', 'scripts/late.lua': 'return function() return "late " .. require("lib.late") end',
      'scripts/lib/late.lua': 'return "late1"', 'scripts/b.lua': says('b1'),
    };
    const h = await start(t, { files, workers, args: workers > 1 ? ['--sandbox'] : [] });
    const good = async () => {
      await all(h, text(h, 'a'), 'a1 part1');
      await all(h, text(h, 'b'), 'b1');
      await answer(h, 'a');
      const res = await h.get('/short');
      assert.deepEqual([res.text, res.header('x-from'), res.header('x-site')], ['a1 part1', 'env-1', '1']);
      assert.equal((await h.get('/toml')).text, 'a1 part1');
    };
    await good();
    // A script with a fault: told, and the version before goes on, in those that come as well.
    write(h.dir, { 'scripts/b.lua': 'syntax error' });
    h.kill('SIGHUP');
    await reloaded(h, /syntax error near/);
    await settled(h, 'b', 2);
    await replaceWorkers(h);
    await good();
    await faulty(h, /b\.lua:1: syntax error near/);
    await eventually(async () => {
      const row = JSON.parse((await h.admin('routes')).text).find((r) => r.function === 'b');
      return row.serving && row.generation === 2 && /syntax error near/.test(row.error);
    }, 10, 'its row');
    // Everything: nothing is there that could be loaded.
    write(h.dir, { 'functions.lua': 'return {', '.env': '=', 'netlify.toml': '[[', 'web/_redirects': '/short /nowhere 302\n', 'web/_headers': '', 'scripts/a.lua': 'error "no"' });
    fs.rmSync(path.join(h.dir, 'scripts/lib'), { recursive: true });
    h.kill('SIGHUP');
    await reloaded(h, /netlify\.toml:1: /);
    await replaceWorkers(h);
    await good();
    await faulty(h, /netlify\.toml:1: /);
    await all(h, () => generation(h, 'a'), 2);
    for (const name of ['functions.lua', '.env', 'netlify.toml', 'scripts', 'web/_redirects']) fs.rmSync(path.join(h.dir, name), { recursive: true });
    await replaceWorkers(h);
    await good();
    await all(h, () => generation(h, 'a'), 2); // the same version has the same number
    // Mended, all of it is taken up again.
    write(h.dir, { ...files, 'scripts/a.lua': says('a2') });
    h.kill('SIGHUP');
    await eventually(() => text(h, 'a')().then((s) => s === 'a2'), 10, 'the new version');
    await eventually(async () => (await ready(h)).faults.length === 0, 10, 'no fault is left');
    assert.ok(await generation(h, 'a') > 2);
    assert.equal((await h.call('late')).text, 'late late1');
  });

  test(`${workers} worker(s): what was changed and not told to anybody is not served by who comes later`, async (t) => {
    const h = await start(t, { files: deployment({ a: says('1') }), workers });
    write(h.dir, { 'scripts/a.lua': says('2') });
    await replaceWorkers(h);
    await all(h, text(h, 'a'), '1');
    h.kill('SIGHUP');
    await eventually(() => text(h, 'a')().then((s) => s === '2'), 10, 'what was changed');
  });

  test(`${workers} worker(s), --watch: a broken script is told again by who comes later, and mended`, async (t) => {
    const h = await start(t, { files: deployment({ a: says('1'), b: says('b') }), workers, args: ['--watch'] });
    write(h.dir, { 'scripts/a.lua': 'syntax error' });
    await reloaded(h, /syntax error near/);
    await replaceWorkers(h);
    await all(h, text(h, 'a'), '1');
    await faulty(h, /syntax error/);
    write(h.dir, { 'scripts/a.lua': says('2') });
    await eventually(() => text(h, 'a')().then((s) => s === '2'), 10, 'the mended one');
    assert.equal((await h.call('b')).text, 'b');
  });

  test(`${workers} worker(s): a certificate that is missing, or is none`, async (t) => {
    const dir = folder(t, deployment({ a: says('a') }));
    const tls = certificate(dir);
    const other = certificate(dir, 'other', { names: 'DNS:other.test' });
    const h = await start(t, { dir, workers, args: tlsArgs(tls, other) });
    const askOther = () => new Promise((resolve, reject) => {
      https.get(`https://localhost:${h.port}/.netlify/functions/a`, { ca: other.ca, servername: 'other.test', agent: false }, (res) => resolve(res.resume().statusCode === 503 ? 200 : res.statusCode)).on('error', reject);
    });
    const ask = () => new Promise((resolve, reject) => {
      https.get(`https://localhost:${h.port}/.netlify/functions/a`, { ca: tls.ca, agent: false }, (res) => { let s = ''; res.on('data', (d) => { s += d; }); res.on('end', () => resolve(s)); }).on('error', reject);
    });
    await all(h, ask, 'a');
    await all(h, askOther, 200);
    fs.rmSync(tls.cert);
    fs.rmSync(other.cert);
    await replaceWorkers(h);
    await all(h, askOther, 200);
    await h.says(/the one before serves: .*other\.pem: No such file/);
    await all(h, ask, 'a');
    await h.says(/the certificate does not load, the one before serves: .*tls\.pem: No such file/);
    fs.writeFileSync(tls.key, 'no key');
    await replaceWorkers(h);
    await all(h, ask, 'a');
    const next = certificate(dir);
    tls.ca = next.ca;
    await eventually(() => ask().then((s) => s === 'a', () => false), 10, 'the new certificate');
  });

  test(`${workers} worker(s): kv's file is cut while it is used: set aside as at a start, and all see the same new one`, async (t) => {
    const h = await start(t, {
      files: deployment({ set: 'return function(event) for i = 1, 8 do kv.set("k" .. i, ("x"):rep(50000)) end return tostring(kv.set("at", event.queryStringParameters.v)) end', get: 'return function() return tostring(kv.get("at")) end', plain: says('plain') }, { fields: { set: 'kv = "s"', get: 'kv = "s"' } }),
      workers, env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:handle_sigbus=0` }, // SIGBUS is what is tried here
    });
    assert.equal((await h.call('set', { suffix: '?v=1' })).status, 200);
    fs.truncateSync(path.join(h.dir, '.luafn/kv.mdb'), 8192);
    const before = h.workers();
    // Who touches it ends; then nothing but new ones.
    await eventually(async () => { await h.call('get').catch(() => {}); return h.workers().every((pid) => !before.includes(pid)) && h.workers().length === workers; }, 20, 'new workers');
    await eventually(async () => (await ready(h).catch(() => ({}))).serving === workers, 10, 'they serve');
    await h.says(/the file of kv is damaged: it was set aside as .*kv\.mdb\.corrupt-/);
    await all(h, text(h, 'get'), 'nil');
    assert.equal((await h.call('set', { suffix: '?v=2' })).status, 200);
    await all(h, text(h, 'get'), '2');
    assert.equal((await h.call('plain')).text, 'plain');
  });
}

test('SIGHUP about the time when a worker dies, and another begins, is not lost', async (t) => {
  const h = await start(t, { files: deployment({ a: says('0') }) });
  for (let n = 1; n <= 12; n++) {
    write(h.dir, { 'scripts/a.lua': `${n % 3 === 0 ? 'sleep(0.1) ' : ''}${says(n)}` });
    const [pid] = h.workers();
    process.kill(pid, 'SIGKILL');
    if (n % 2 === 0) await eventually(() => h.workers().length === 1 && h.workers()[0] !== pid, 10, 'another one begins');
    h.kill('SIGHUP');
    await eventually(() => text(h, 'a')().then((s) => s === String(n), () => false), 20, `version ${n}`);
  }
});

test('another file is moved to the place of kv: one worker after the other goes over to it, and none fails', async (t) => {
  const h = await start(t, { files: deployment({ set: 'return function(event) return tostring(kv.set("at", event.queryStringParameters.v)) end', get: 'return function() return tostring(kv.get("at")) end' }, { fields: { set: 'kv = "s"', get: 'kv = "s"' } }), workers: 2 });
  await h.call('set', { suffix: '?v=1' });
  const before = h.workers();
  const file = path.join(h.dir, '.luafn/kv.mdb');
  fs.copyFileSync(file, `${file}.copy`);
  await h.call('set', { suffix: '?v=2' });
  fs.rmSync(`${file}-lock`);
  fs.renameSync(`${file}.copy`, file);
  await eventually(async () => {
    assert.match((await h.call('get')).text, /^[12]$/);
    return h.workers().length === 2 && h.workers().every((pid) => !before.includes(pid));
  }, 20, 'two others');
  await all(h, text(h, 'get'), '1');
  await eventually(() => h.stderr.match(/this worker makes room/g)?.length === 2, 5, 'both say so');
  assert.doesNotMatch(h.stderr, /set aside|no worker serves/);
});

test('what never loaded is a fault of its own in who comes later; what waits for somebody is tried again', async (t) => {
  const flag = deployment({ other: says('other'), on: 'return function(event) kv.set("on", event.queryStringParameters.v) return "ok" end', wants: 'if kv.get("on") == "no" then error("not now") end return function() return "wants" end' }, { fields: { on: 'kv = "f"', wants: 'kv = "f"' } });
  const h = await start(t, { files: flag });
  assert.equal((await h.call('wants')).text, 'wants');
  await h.call('on', { suffix: '?v=no' });
  write(h.dir, { ...deployment({ other: says('other'), on: 'return function(event) kv.set("on", event.queryStringParameters.v) return "ok" end', broken: 'syntax error' }, { fields: { on: 'kv = "f"' } }) });
  // Without `wants`: its load would keep the configuration out.
  h.kill('SIGHUP');
  await reloaded(h, /syntax error near/);
  await replaceWorkers(h);
  assert.equal((await h.call('other')).text, 'other');
  await eventually(async () => (await h.call('broken')).status === 500, 10, 'the reload, if who told of it was killed before its end');
  write(h.dir, flag);
  await h.call('on', { suffix: '?v=yes' });
  h.kill('SIGHUP');
  await eventually(async () => (await h.call('wants')).text === 'wants', 10, 'it is back');
  await h.call('on', { suffix: '?v=no' });
  await replaceWorkers(h);
  assert.equal((await h.call('wants')).status, 500);
  assert.equal((await h.call('other')).text, 'other');
  await h.call('on', { suffix: '?v=yes' });
  await eventually(async () => (await h.call('wants')).text === 'wants', 10, 'it loads, without a word to anybody');
});

test('while no worker can begin, requests are answered with 503, and they begin ever more seldom', async (t) => {
  const dir = folder(t, deployment({ a: says('a') }));
  const h = await start(t, { dir });
  const allow = noWorkerBegins(h);
  for (const pid of h.workers()) process.kill(pid, 'SIGKILL');
  await reloaded(h, /no worker serves: requests are answered with 503/);
  for (let i = 0; i < 5; i++) {
    const res = await h.call('a');
    assert.equal(res.status, 503);
    assert.equal(res.header('retry-after'), '1');
    assert.equal(res.header('connection'), 'close');
    assert.equal(res.json().error, 'unavailable');
  }
  assert.equal((await h.admin('ready')).status, 503);
  assert.equal((await h.admin('live')).status, 200);
  const ends = () => h.stderr.split('\n').filter((l) => l.includes('worker ended')).map((l) => Date.parse(JSON.parse(l).time));
  await eventually(() => ends().length >= 4, 20, 'attempts');
  const gaps = ends().slice(1, 4).map((at, i) => at - ends()[i]);
  assert.ok(gaps[1] >= 190 && gaps[2] >= 390, `${gaps}`); // 200 ms after the first that did not serve, then double that
  allow();
  await eventually(async () => (await h.call('a')).text === 'a', 20, 'a worker');
  await eventually(async () => h.workers().length === 1, 10, 'who stood in is gone');
  for (let i = 0; i < 5; i++) assert.equal((await h.call('a')).text, 'a');
});
