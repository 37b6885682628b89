// sd_notify, the watchdog, and sockets that a service manager hands over.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { config, deployment, eventually, folder, launch, lua, ROOT, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { noWorkerBegins } from '../lib/process.mjs';
import { activate, ear, handedOver } from '../lib/systemd.mjs';
import { gate } from '../lib/upstream.mjs';
import { request } from '../lib/wire.mjs';

const files = () => deployment({ hello: 'return function() return "hello" end' });

test('READY when it serves, RELOADING and READY around a reload, STOPPING', async (t) => {
  const scripts = (text) => deployment({ hello: text }, { fields: { hello: 'fetch = { "127.0.0.1" }' } });
  const old = scripts('return function() return "hello" end');
  const dir = folder(t, old);
  const hold = await gate(t);
  for (const name of [path.join(dir, 'notify'), `@luafn-test-${process.pid}`]) {
    const e = await ear(t, name);
    const h = await start(t, { dir, workers: 2, env: { NOTIFY_SOCKET: name } });
    await e.when(/^READY=1 STATUS=2 of 2 workers serve$/);
    assert.equal(e.messages.length, 1, 'once, and without a watchdog nothing more');
    // Each script waits at its top level, in both workers: the end of the reload is told when it is loaded, not before.
    write(dir, scripts(`fetch(${lua(hold.url)}) return function() return "new" end`));
    const from = process.hrtime.bigint() / 1000n;
    h.kill('SIGHUP');
    const reloading = await e.when(/^RELOADING=1 MONOTONIC_USEC=\d+/);
    const usec = BigInt(/USEC=(\d+)/.exec(reloading.line)[1]);
    assert.ok(usec >= from && usec <= process.hrtime.bigint() / 1000n, 'the monotonic clock');
    await hold.asked(2);
    assert.equal(await e.all(), 2, 'not ready yet');
    hold.open();
    await e.when(/^READY=1/, 5, 2);
    assert.equal((await h.call('hello')).text, 'new');
    h.kill('SIGTERM');
    assert.equal((await h.exit).code, 0);
    await e.when(/^STOPPING=1/);
    assert.equal(e.messages.length, 4);
    write(dir, old);
  }
});

test('WATCHDOG=1 comes while somebody answers, and stays away when nobody does', async (t) => {
  const dir = folder(t, files());
  const e = await ear(t, path.join(dir, 'notify'));
  const t0 = performance.now();
  const h = await start(t, { dir, env: { NOTIFY_SOCKET: e.name, WATCHDOG_USEC: '400000' } });
  await e.when(/^READY/);
  const signs = () => e.messages.filter((m) => m.line === 'WATCHDOG=1');
  await eventually(() => signs().length >= 6, 5, 'six signs of life');
  const took = signs()[5].at - t0;
  assert.ok(took >= 900, `six signs in ${took} ms, for a watchdog of 400 ms`); // and they are no flood
  const allow = noWorkerBegins(h); // each that is made ends again
  process.kill(h.workers()[0], 'SIGKILL');
  const ends = (n) => eventually(() => (h.stderr.match(/worker ended/g) ?? []).length >= n, 5, `the end of ${n}`);
  await ends(2); // the new one ends, too
  const quiet = await e.all();
  await ends(4); // before each the supervisor waits for longer than from sign to sign
  await e.all();
  assert.deepEqual(e.lines().slice(quiet), []);
  allow();
  await e.when(/^WATCHDOG=1$/, 5, quiet);
  assert.equal((await h.call('hello')).text, 'hello');
});

test('a watchdog that is meant for another process, or a socket that is not there, changes nothing', async (t) => {
  const dir = folder(t, files());
  const e = await ear(t, path.join(dir, 'notify'));
  write(dir, deployment({ hello: 'return function() return "hello" end', nap: 'return function() sleep(0.4) return "rested" end' }));
  const foreign = await start(t, { dir, env: { NOTIFY_SOCKET: e.name, WATCHDOG_USEC: '100000', WATCHDOG_PID: '1' } });
  await e.when(/^READY/);
  assert.equal((await foreign.call('nap')).text, 'rested'); // so long, there would have been eight
  await e.all();
  assert.ok(!e.lines().includes('WATCHDOG=1'));
  for (const name of ['/nowhere/at/all', 'relative', '@', `/${'x'.repeat(200)}`]) {
    const h = await start(t, { dir, env: { NOTIFY_SOCKET: name } });
    assert.equal((await h.call('hello')).text, 'hello', name);
  }
});

test('sockets that are handed over take the place of --listen and --admin, by name', async (t) => {
  for (const names of ['http:admin', 'admin:web', 'http:admin:more']) {
    const h = await start(t, { files: files(), workers: 2, under: activate(names) });
    const ports = handedOver(h);
    for (const [i, name] of names.split(':').entries()) {
      const at = { address: '127.0.0.1', port: ports[i] };
      assert.equal((await request(at, { path: '/.netlify/functions/hello' })).text, 'hello', `${names}: ${name}`);
      assert.equal((await request(at, { path: '/_luafn/live' })).status, name === 'admin' ? 200 : 404, `${names}: ${name}`);
      if (name !== 'admin') await h.says(new RegExp(`listening on http://127.0.0.1:${ports[i]}\n`));
    }
    await h.stop();
  }
});

test('when it stops, sockets that the service manager keeps take connections still, also after an upgrade', async (t) => {
  for (const upgrades of [0, 1]) {
    const dir = folder(t, files());
    const keeper = path.join(dir, 'keeper');
    const h = await start(t, { dir, under: activate('http'), env: { KEEPER: keeper } });
    later(t, () => process.kill(Number(fs.readFileSync(keeper, 'utf8')), 'SIGKILL'));
    [h.port] = handedOver(h);
    if (upgrades > 0) {
      h.kill('SIGUSR2');
      await eventually(() => h.stderr.includes('the new program serves'), 10, 'an upgrade');
    }
    assert.equal((await h.call('hello')).text, 'hello');
    h.kill('SIGTERM');
    assert.deepEqual(await h.exit, { code: 0, signal: null });
    // They wait in the queue, for who is started next. Where it is short, those behind its end never come in.
    for (const wire of await Promise.all(Array.from({ length: 32 }, () => h.connect()))) wire.close();
  }
});

test('sockets for another process are left alone; what is no socket is refused with one line', async (t) => {
  const h = await start(t, { files: files(), under: activate('http'), env: { FOREIGN_PID: '1' } });
  assert.ok(!handedOver(h).includes(h.port), 'it has bound its own');
  assert.equal((await h.call('hello')).text, 'hello');
  const dir = folder(t, files());
  const script = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec 3</dev/null; exec "$@"';
  const bad = launch(dir, { under: ['sh', '-c', script, 'sh'] });
  await assert.rejects(bad.listening, /ended before it listened: code 1/);
  assert.match(bad.stderr, /^a socket that was handed over cannot be used: descriptor 3 is no socket/m);
  const udp = launch(dir, { under: ['bash', '-c', 'export LISTEN_PID=$$ LISTEN_FDS=1; exec 3<>/dev/udp/127.0.0.1/9; exec "$@"', 'bash'] });
  await assert.rejects(udp.listening, /ended before it listened: code 1/);
  assert.match(udp.stderr, /^a socket that was handed over cannot be used: descriptor 3 is no TCP or unix socket that listens$/m);
  const many = launch(dir, { under: activate(Array(17).fill('http').join(':')) });
  await assert.rejects(many.listening, /ended before it listened: code 1/);
  assert.match(many.stderr, /^more than 16 sockets were handed over$/m);
});

test('what functions see of the environment has nothing of all this', async (t) => {
  const names = ['NOTIFY_SOCKET', 'LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'LUAFN_UPGRADE'];
  const h = await start(t, {
    files: {
      'functions.lua': config({ see: 'script = "see.lua"' }),
      'see.lua': `return function() local out = {} for _, n in ipairs { ${names.map((n) => `"${n}"`)} } do out[#out + 1] = tostring(env[n]) end return table.concat(out, " ") end`,
    },
    under: activate('http'), env: { NOTIFY_SOCKET: '/nowhere' },
  });
  [h.port] = handedOver(h);
  assert.equal((await h.call('see')).text, 'nil nil nil nil nil');
});

test('the unit files are what systemd takes, and exposed little', async (t) => {
  const dir = folder(t);
  const make = await import('node:child_process');
  const out = make.spawnSync('make', ['install', `DESTDIR=${dir}`, 'PREFIX=/usr'], { cwd: ROOT, encoding: 'utf8' });
  assert.equal(out.status, 0, out.stderr);
  const units = path.join(dir, 'usr/lib/systemd/system');
  assert.deepEqual(fs.readdirSync(units).sort(), ['luafn.service', 'luafn.socket']);
  const service = fs.readFileSync(path.join(units, 'luafn.service'), 'utf8');
  assert.match(service, /^Type=notify$/m);
  assert.match(service, /^WatchdogSec=/m);
  assert.match(service, /^ExecStart=\/usr\/bin\/luafn serve/m);
  const analyze = make.spawnSync('systemd-analyze', ['--version'], { encoding: 'utf8' });
  if (analyze.error) return t.diagnostic('systemd-analyze is not here: units not verified');
  // The program need not be installed for this: any will do.
  for (const name of ['luafn.service', 'luafn.socket']) {
    fs.writeFileSync(path.join(units, name), fs.readFileSync(path.join(units, name), 'utf8').replaceAll('/usr/bin/luafn', '/bin/true'));
  }
  const verify = make.spawnSync('systemd-analyze', ['verify', '--man=no', path.join(units, 'luafn.service'), path.join(units, 'luafn.socket')], { encoding: 'utf8' });
  assert.equal(verify.status, 0, verify.stderr);
  assert.doesNotMatch(verify.stderr, /luafn/);
  const security = make.spawnSync('systemd-analyze', ['security', '--offline=true', '--threshold=20', path.join(units, 'luafn.service')], { encoding: 'utf8' });
  assert.equal(security.status, 0, security.stdout.split('\n').slice(-3).join('\n') + security.stderr);
});
