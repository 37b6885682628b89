// The command line.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import os from 'node:os';
import test from 'node:test';
import { BIN, deployment, folder, freePort, run, start } from '../lib/host.mjs';

const files = () => deployment({
  me: 'return function() return "me" end',
  shows: 'return { methods = { "GET" }, handler = function() return "shows" end }',
}, {
  fields: { me: 'auth = true', shows: 'path = "/api/shows/:id?", auth = { scope = "read:shows" }, timeout = 3' },
  more: '  auth = { issuer = "https://you.auth0.example/", audience = "urn:x" },',
});

test('help: every command, and each one alone', async (t) => {
  for (const args of [['help'], ['--help'], ['-h']]) {
    const { code, stdout } = await run(t, args);
    assert.equal(code, 0, args[0]);
    for (const name of ['serve', 'dev', 'check', 'routes', 'help']) assert.match(stdout, new RegExp(`^\\s+(luafn )?${name}\\b`, 'm'), name);
    assert.doesNotMatch(stdout, /not yet|TODO/i);
  }
  for (const [name, option] of [['serve', '--workers'], ['dev', '--listen'], ['check', '--config'], ['routes', '--json']]) {
    const { code, stdout } = await run(t, ['help', name]);
    assert.equal(code, 0);
    assert.ok(stdout.includes(option), `help ${name} tells of ${option}`);
    const same = await run(t, [name, '--help']);
    assert.equal(same.code, 0);
    assert.equal(same.stdout, stdout);
  }
});

test('--version: the program and every library', async (t) => {
  const { code, stdout } = await run(t, ['--version']);
  assert.equal(code, 0);
  assert.match(stdout, /^luafn \d+\.\d+\.\d+/);
  for (const library of ['Lua', 'libuv', 'llhttp', 'jansson', 'libjwt', 'OpenSSL', 'nghttp2', 'curl', 'libidn2', 'LMDB', 'zlib', 'brotli']) {
    assert.match(stdout, new RegExp(`${library}\\D{0,4}\\d+\\.\\d+`, 'i'), library);
  }
});

test('bad usage: exit 2, one line that says what to type', async (t) => {
  const wrong = [[], ['serv'], ['serve', '--listn', '127.0.0.1:0'], ['serve', '--listen'], ['serve', '--listen', 'nonsense'],
    ['serve', '--listen', '127.0.0.1:99999'], ['serve', '--workers', 'many'], ['serve', '--workers', '0'], ['help', 'nothing'],
    ['check', '--config'], ['routes', '--yaml'], ['serve', '--drain', 'soon'], ['--nothing'], ['check', 'extra']];
  for (const args of wrong) {
    await t.test(args.join(' ') || '(nothing)', async () => {
      const { code, stdout, stderr } = await run(t, args, { files: files() });
      assert.equal(code, 2, stderr);
      assert.equal(stdout, '');
      if (args.length > 0) assert.equal(stderr.trim().split('\n').length, 1, stderr);
      assert.match(stderr, /luafn/);
    });
  }
});

test('dev refuses an address that is not loopback', async (t) => {
  for (const address of ['0.0.0.0:0', '[::]:0', '192.0.2.1:8888']) {
    const { code, stderr } = await run(t, ['dev', '--listen', address], { files: files() });
    assert.notEqual(code, 0, address);
    assert.match(stderr, /loopback/);
  }
});

test('check: quiet and 0 when all is well', async (t) => {
  const { code, stderr } = await run(t, ['check'], { files: files() });
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, /error/i);
});

test('routes: a row a route', async (t) => {
  const { code, stdout } = await run(t, ['routes'], { files: files() });
  assert.equal(code, 0);
  const row = (text) => stdout.split('\n').find((l) => l.includes(text)) ?? '';
  assert.match(row('/.netlify/functions/me'), /scripts\/me\.lua/);
  const shows = row('/api/shows/:id?');
  assert.match(shows, /GET/);
  assert.match(shows, /read:shows/);
});

test('routes --json', async (t) => {
  const { code, stdout } = await run(t, ['routes', '--json'], { files: files() });
  assert.equal(code, 0);
  const parsed = JSON.parse(stdout);
  const routes = Array.isArray(parsed) ? parsed : parsed.routes;
  assert.equal(routes.length, 2);
  const shows = routes.find((r) => r.function === 'shows');
  assert.equal(shows.path, '/api/shows/:id?');
  assert.equal(shows.script, 'scripts/shows.lua');
  assert.ok(JSON.stringify(shows.methods ?? shows.method).includes('GET'));
  assert.match(JSON.stringify(shows.auth), /read:shows/);
  assert.equal(Number(shows.generation), 1);
  assert.equal(Number(shows.limits?.timeout ?? shows.timeout), 3);
});

test('access log: one JSON object a request, without the token', async (t) => {
  const h = await start(t, { files: deployment({ hello: 'return function() log.info("from inside", { n = 1 }) print("printed") return "hello" end' }) });
  await h.call('hello', { headers: { Authorization: 'Bearer secret.secret.secret' } });
  await h.call('missing');
  await h.stop();
  const access = h.log().filter((l) => l.status !== undefined);
  assert.equal(access.length, 2, h.stdout);
  assert.deepEqual(access.map((l) => Number(l.status)), [200, 404]);
  assert.ok(!`${h.stdout}${h.stderr}`.includes('secret.secret'));
  assert.match(`${h.stdout}${h.stderr}`, /from inside/);
  assert.match(`${h.stdout}${h.stderr}`, /printed/);
});

test('--log none: nothing on stdout', async (t) => {
  const h = await start(t, { files: deployment({ hello: 'return function() return "hello" end' }), args: ['--log', 'none'] });
  await h.call('hello');
  await h.stop();
  assert.equal(h.stdout, '');
});

const LOGS = {
  loud: 'return function() log.debug("small talk") log.info("talk") log.error("trouble") return "loud" end',
  raises: 'local function inner() error("two\\nlines") end\nreturn function() inner() end',
};

test('--log text: time and id, no query, a trace below its line, no colour where nobody looks', async (t) => {
  const h = await start(t, { files: deployment(LOGS), args: ['--log', 'text'] });
  const id = (await h.call('loud?token=SECRET')).headers['x-request-id']?.[0] ?? '[0-9A-Z]{26}';
  await h.call('raises?token=SECRET');
  await h.stop();
  assert.match(h.stdout, new RegExp(`^\\d\\d:\\d\\d:\\d\\d\\.\\d{3} GET /\\.netlify/functions/loud 200 [\\d.]+ ms  loud@1  ${id}$`, 'm'));
  assert.match(h.stderr, /^\d\d:\d\d:\d\d\.\d{3} error handler raised function=raises generation=1 request_id=[0-9A-Z]{26}\n(?: {4}.*\n)* {4}stack traceback:\n(?: {4}.*\n)* {4}.*scripts\/raises\.lua:1: in /m);
  assert.doesNotMatch(h.stdout + h.stderr, /SECRET|\x1b/);
});

test('colour where somebody looks, unless NO_COLOR or a dumb terminal says otherwise', async (t) => {
  for (const [env, coloured] of [[{ TERM: 'xterm' }, true], [{ TERM: 'xterm', NO_COLOR: '1' }, false], [{ TERM: 'dumb' }, false]]) {
    const child = spawn('script', ['-qefc', `exec '${BIN}' dev --listen 127.0.0.1:0`, '/dev/null'], {
      cwd: folder(t, deployment({ ...LOGS, broken: 'return 5' })), env: { PATH: process.env.PATH, HOME: os.tmpdir(), LANG: 'C.UTF-8', ...env }, stdio: ['pipe', 'pipe', 'inherit'],
    });
    let said = '';
    const ended = new Promise((resolve) => { child.on('close', resolve); });
    await new Promise((resolve) => {
      child.stdout.on('data', (d) => { said += d; if (/listening on/.test(said)) resolve(); });
      ended.then(resolve);
    });
    child.stdin.write('\x03');
    assert.equal(await ended, 0, said);
    assert.match(said, /^\d\d:\d\d:\d\d\.\d{3} .*function does not load/m, 'lines for people');
    assert.equal(said.includes('\x1b['), coloured, JSON.stringify(env));
  }
});

test('--log-level: what is below it is not told; in dev debug is', async (t) => {
  const told = async (command, args) => {
    const h = await start(t, { files: deployment(LOGS), command, args });
    await h.call('loud');
    await h.stop();
    return ['small talk', 'talk', 'trouble'].filter((m) => `${h.stdout}${h.stderr}`.includes(`"msg":"${m}"`));
  };
  assert.deepEqual(await told('serve', []), ['talk', 'trouble']);
  assert.deepEqual(await told('serve', ['--log-level', 'debug']), ['small talk', 'talk', 'trouble']);
  assert.deepEqual(await told('serve', ['--log-level', 'error']), ['trouble']);
  assert.deepEqual(await told('dev', []), ['small talk', 'talk', 'trouble']);
  assert.deepEqual(await told('dev', ['--log-level', 'warn']), ['trouble']);
  const bad = await run(t, ['serve', '--log-level', 'loud'], { files: files() });
  assert.equal(bad.code, 2);
  assert.match(bad.stderr, /--log-level is debug, info, warn or error, not 'loud'/);
});

test('the admin listener has the port after the one that was asked for', async (t) => {
  const port = await freePort();
  const h = await start(t, { files: files(), listen: `127.0.0.1:${port}` });
  const admin = Number(/admin pages on http:\/\/127\.0\.0\.1:(\d+)/.exec(h.stderr)[1]);
  const other = await start(t, { files: files(), listen: `127.0.0.2:${port}` });
  const second = Number(/admin pages on http:\/\/127\.0\.0\.1:(\d+)/.exec(other.stderr)[1]);
  assert.ok(admin !== second, 'a port that is taken is left alone');
  await h.stop();
  const again = await start(t, { dir: h.dir, listen: `127.0.0.1:${port}` });
  const third = Number(/admin pages on http:\/\/127\.0\.0\.1:(\d+)/.exec(again.stderr)[1]);
  if (admin === port + 1) assert.equal(third, admin);
});

test('--listen [::] is for IPv4 and IPv6, and yields to a listener that has the former', async (t) => {
  if (!Object.values(os.networkInterfaces()).flat().some((i) => i.family === 'IPv6')) return t.skip('no IPv6 here');
  const say = { who: 'return function(e) return e.headers["client-ip"] end' };
  const port = await freePort();
  const h = await start(t, { files: deployment(say), listen: `[::]:${port}` });
  for (const [host, ip] of [['127.0.0.1', '127.0.0.1'], ['[::1]', '::1']]) {
    assert.equal(await (await fetch(`http://${host}:${port}/.netlify/functions/who`)).text(), ip);
  }
  await h.stop();
  const both = await start(t, { dir: h.dir, listen: `0.0.0.0:${port}`, args: ['--listen', `[::]:${port}`] });
  for (const [host, ip] of [['127.0.0.1', '127.0.0.1'], ['[::1]', '::1']]) {
    assert.equal(await (await fetch(`http://${host}:${port}/.netlify/functions/who`)).text(), ip);
  }
  await both.stop();
});
