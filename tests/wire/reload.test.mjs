// measures time
// Changes on disk: taken up within a second, whole, and only when they load.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { config, deployment, eventually, folder, PERF, sleep, SLOW, start, write } from '../lib/host.mjs';
import { atomicWrite, renameDrill } from '../lib/drill.mjs';
import { percentile } from '../lib/process.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { requestText } from '../lib/wire.mjs';

const says = (text) => `return function(event, context) return ${JSON.stringify(text)} .. " " .. context.functionVersion end`;
const dev = (t, dir) => start(t, { command: 'dev', dir, args: ['--log', 'json'] });
const faults = async (h) => (await h.get('/_luafn/ready')).json().faults;

// What a function answers, once it is `wanted`; a change is taken up within a second.
async function becomes(h, name, wanted) {
  let last;
  await eventually(async () => {
    last = (await h.call(name)).text.replace(/ \d+$/, '');
    return last === wanted;
  }, 1, `${name} to say ${wanted}`).catch((e) => { throw new Error(`${e.message}; says ${last}`); });
}

test('a changed script: at once, with its generation everywhere', async (t) => {
  const dir = folder(t, deployment({ a: says('one'), b: says('still') }));
  const h = await dev(t, dir);
  assert.equal((await h.call('a')).text, 'one 1');
  const took = [];
  for (let n = 2; n < 14; n++) {
    await sleep(0.03);
    const t0 = performance.now();
    atomicWrite(path.join(dir, 'scripts/a.lua'), `return function(event, context) log.info("here") return "${n} " .. context.functionVersion end`);
    await becomes(h, 'a', String(n));
    took.push(performance.now() - t0);
  }
  const res = await h.call('a');
  assert.equal(res.header('x-luafn-generation'), 'a@13');
  assert.equal((await h.call('b')).header('x-luafn-generation'), 'b@1', 'the others were left alone');
  const routes = (await h.get('/_luafn/routes')).json();
  assert.equal(JSON.stringify(routes).match(/"generation":13/g)?.length, 1, JSON.stringify(routes));
  assert.match((await h.get('/_luafn/metrics')).text, /^luafn_function_generation\{function="a"\} 13$/m);
  await eventually(() => /"here"[^\n]*"generation":13|"generation":13[^\n]*"here"/.test(h.stdout + h.stderr), 2, 'the generation in the log');
  await t.test('how long', (inner) => {
    inner.diagnostic(`change to answer: median ${percentile(took, 0.5).toFixed(0)} ms, most ${Math.max(...took).toFixed(0)} ms`);
    assert.ok(!PERF || percentile(took, 0.5) < 100 * SLOW * 2);
  });
});

test('a required file: changed, missing at first, nearer than the one before', async (t) => {
  const dir = folder(t, deployment({
    a: 'local m = require "lib.m" return function() return m.text end',
    b: 'local ok, m = pcall(require, "lib.later") return function() return ok and m.text or "without" end',
  }, { files: { 'lib/m.lua': 'return { text = "top" }', 'scripts/lib/x.lua': 'return {}' } }));
  const h = await dev(t, dir);
  assert.equal((await h.call('a')).text, 'top');
  assert.equal((await h.call('b')).text, 'without');
  write(dir, { 'lib/m.lua': 'return { text = "changed" }' });
  await becomes(h, 'a', 'changed');
  write(dir, { 'scripts/lib/m.lua': 'return { text = "near" }' });
  await becomes(h, 'a', 'near');
  fs.rmSync(path.join(dir, 'scripts/lib/m.lua'));
  await becomes(h, 'a', 'changed');
  write(dir, { 'lib/later.lua': 'return { text = "with" }' });
  await becomes(h, 'b', 'with');
});

test('functions.lua and .env', async (t) => {
  const files = deployment({ a: 'return function() return env.WORD end', b: says('b') }, { files: { '.env': 'WORD=first\n' } });
  const dir = folder(t, files);
  const h = await dev(t, dir);
  assert.equal((await h.call('a')).text, 'first');
  write(dir, { '.env': 'WORD=second\n' });
  await becomes(h, 'a', 'second');
  write(dir, { '.env.local': 'WORD=local\n' });
  await becomes(h, 'a', 'local');
  fs.rmSync(path.join(dir, '.env.local'));
  await becomes(h, 'a', 'second');
  write(dir, { 'functions.lua': config({ a: 'script = "scripts/a.lua", path = "/here"', c: 'script = "scripts/b.lua"' }) });
  await eventually(async () => (await h.get('/here')).text === 'second', 1, 'the new path');
  assert.equal((await h.call('b')).status, 404);
  assert.equal((await h.call('c')).text, 'b 1');
  write(dir, { 'functions.lua': 'return { functions = ' });
  await eventually(async () => (await faults(h)).length === 1, 1, 'the fault in ready');
  assert.match((await faults(h))[0], /functions\.lua:\d/);
  assert.equal((await h.get('/here')).text, 'second', 'the configuration before stays');
  write(dir, { 'functions.lua': files['functions.lua'] });
  await becomes(h, 'b', 'b');
  assert.deepEqual(await faults(h), []);
});

const BROKEN = {
  syntax: 'return function( return end',
  raises: 'error("at load")',
  loops: 'while true do end',
  'no handler': 'return 5',
  memory: 'local s = "x" while true do s = s .. s end',
  'a chain of indexes': `local x return function() return x${'.a'.repeat(400000)} end`,
  bytecode: '\x1bLua',
  'bad options': 'return { handler = function() end, timeout = "soon" }',
};

test('what does not load: the last good one serves, the fault is shown, a fix is taken up', async (t) => {
  const dir = folder(t, deployment({ a: says('good'), b: says('neighbour') }));
  const h = await dev(t, dir);
  const script = path.join(dir, 'scripts/a.lua');
  for (const [what, text] of Object.entries(BROKEN)) {
    await t.test(what, async () => {
      atomicWrite(script, text);
      await eventually(async () => (await faults(h)).length === 1, 8, 'the fault in ready'); // a loop uses up a second of processor time first
      assert.match((await faults(h))[0], /scripts\/a\.lua/);
      assert.equal((await h.get('/_luafn/ready')).status, 200, 'it still serves');
      assert.match((await h.call('a')).text, /^good/);
      assert.match((await h.call('b')).text, /^neighbour 1$/);
      await eventually(() => /function does not load/.test(h.stdout + h.stderr), 5, 'the log says so');
      atomicWrite(script, says(`good after ${what}`));
      await becomes(h, 'a', `good after ${what}`);
      assert.deepEqual(await faults(h), []);
      atomicWrite(script, says('good'));
      await becomes(h, 'a', 'good');
    });
  }
});

test('a broken script in a reload of everything: the last good one serves', async (t) => {
  for (const watch of [true, false]) {
    await t.test(watch ? 'functions.lua changes with it' : 'SIGHUP', async (inner) => {
      const files = deployment({ a: says('good'), b: says('neighbour') });
      const dir = folder(inner, files);
      const h = await start(inner, { dir, args: watch ? ['--watch'] : [] });
      write(dir, { 'scripts/a.lua': BROKEN.syntax });
      if (watch) write(dir, { 'functions.lua': `${files['functions.lua']}-- changed\n` });
      else h.kill('SIGHUP');
      await eventually(() => /does not load|scripts\/a\.lua:1/.test(h.stdout + h.stderr), 2, 'the fault in the log');
      await sleep(0.1);
      assert.match((await h.call('a')).text, /^good/);
      assert.match((await h.call('b')).text, /^neighbour/);
      write(dir, { 'scripts/a.lua': says('fixed') });
      if (!watch) h.kill('SIGHUP');
      await becomes(h, 'a', 'fixed');
    });
  }
});

test('files that go and come, folders renamed, links swapped, times that lie', async (t) => {
  const dir = folder(t, deployment({ a: says('one') }));
  const h = await dev(t, dir);
  const script = path.join(dir, 'scripts/a.lua');
  await t.test('deleted and made again', async () => {
    fs.rmSync(script);
    await eventually(async () => (await faults(h)).length === 1, 1, 'the fault in ready');
    assert.equal((await h.call('a')).text, 'one 1', 'the last good one');
    fs.writeFileSync(script, says('again'));
    await becomes(h, 'a', 'again');
  });
  await t.test('the folder renamed, and another one in its place', async () => {
    fs.renameSync(path.join(dir, 'scripts'), path.join(dir, 'scripts-old'));
    await eventually(async () => (await faults(h)).length === 1, 1, 'the fault in ready');
    assert.match((await h.call('a')).text, /^again/);
    write(dir, { 'scripts/a.lua': says('new folder') });
    await becomes(h, 'a', 'new folder');
    for (let n = 0; n < 3; n++) {
      write(dir, { 'scripts/a.lua': says(`edit ${n}`) });
      await becomes(h, 'a', `edit ${n}`);
    }
  });
  await t.test('a link that is swapped, as releases are', async () => {
    write(dir, { 'releases/1/a.lua': says('release 1'), 'releases/2/a.lua': says('release 2') });
    fs.rmSync(path.join(dir, 'scripts'), { recursive: true });
    fs.symlinkSync('releases/1', path.join(dir, 'scripts'));
    await becomes(h, 'a', 'release 1');
    fs.symlinkSync('releases/2', path.join(dir, 'next'));
    fs.renameSync(path.join(dir, 'next'), path.join(dir, 'scripts'));
    await becomes(h, 'a', 'release 2');
    write(dir, { 'releases/2/a.lua': says('release 2b') });
    await becomes(h, 'a', 'release 2b');
  });
  await t.test('the same size and time', async () => {
    const file = path.join(dir, 'releases/2/a.lua');
    const { atime, mtime } = fs.statSync(file);
    fs.writeFileSync(file, says('release 2c'));
    fs.utimesSync(file, atime, mtime);
    await becomes(h, 'a', 'release 2c');
  });
  await t.test('nothing but the time: not loaded again', async () => {
    const before = (await h.call('a')).text;
    fs.utimesSync(path.join(dir, 'releases/2/a.lua'), new Date(), new Date());
    await sleep(0.9);
    assert.equal((await h.call('a')).text, before);
  });
});

test('what runs finishes on the generation that it began with', async (t) => {
  const slow = (n) => `local made = "${n}"
    return function(event, context)
      log.info("begun")
      after_response(function() sleep(0.3) log.info("after", { made = made, version = context.functionVersion }) end)
      sleep(0.4)
      return made .. " " .. context.functionVersion
    end`;
  const dir = folder(t, deployment({ a: slow('old') }, { fields: { a: 'memory = "16MB"' } }));
  const h = await dev(t, dir);
  const running = [h.call('a'), h.call('a')];
  const log = () => h.stdout + h.stderr;
  await eventually(() => (log().match(/"begun"/g) ?? []).length === 2, 2, 'both run');
  atomicWrite(path.join(dir, 'scripts/a.lua'), slow('new'));
  await eventually(async () => /generation\{function="a"\} 2$/m.test((await h.get('/_luafn/metrics')).text), 1, 'generation 2');
  const late = h.call('a');
  assert.deepEqual((await Promise.all(running)).map((r) => [r.text, r.header('x-luafn-generation')]), [['old 1', 'a@1'], ['old 1', 'a@1']]);
  assert.equal((await late).text, 'new 2');
  await eventually(() => (log().match(/"after"/g) ?? []).length === 3, 2, 'the work after the answers');
  assert.equal((log().match(/"made":"old"/g) ?? []).length, 2);
});

// A key that the host lacks is asked for when the request is judged, so the issuer sees that it has come. Where the reload takes so
// long that nobody waits for keys any more, it is tried again.
test('who waits for keys is judged by the policy, and answered by the script, that there were', async (t) => {
  const files = (issuer, version, auth) => deployment({ a: says(version) }, {
    fields: { a: `auth = ${auth}` }, more: `  auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" },`,
  });
  const attempt = async () => {
    const issuer = (await Issuer.start(t)).tenant();
    issuer.state.keys = [keys.k1.jwk];
    const h = await start(t, { files: files(issuer, 'old', 'true') });
    await h.keys();
    const headers = issuer.bearer({}, { kid: 'k3', by: 'k3' });
    const asks = () => h.call('a', { headers });
    let open;
    assert.equal((await h.call('a', { headers: issuer.bearer() })).status, 200);
    const before = issuer.hits.jwks;
    issuer.state.gate = new Promise((resolve) => { open = resolve; });
    issuer.state.keys = [keys.k1.jwk, keys.k3.jwk];
    const waits = asks();
    const leaves = await h.connect();
    leaves.send(requestText({ path: '/.netlify/functions/a', headers }));
    await eventually(() => issuer.hits.jwks > before, 5, 'the issuer is asked');
    write(h.dir, files(issuer, 'new', '{ scope = "write:shows" }'));
    h.kill('SIGHUP');
    await eventually(() => /"generation":2/.test(h.stderr), 5, 'the new generation');
    leaves.socket.resetAndDestroy();
    await sleep(1.1); // what was replaced, and is not waited for, would be freed by now
    open();
    const res = await waits;
    if (res.status === 503) return false;
    assert.deepEqual([res.status, res.text], [200, 'old 1']);
    assert.equal((await asks()).status, 403);
    return true;
  };
  for (let i = 1; !(await attempt()); i += 1) assert.ok(i < 5, 'the keys came too late, again and again');
});

// What a run leaves behind is collected a moment after it; a deployment that is replaced is freed within a second. Here the one is
// always due when the other comes.
test('what there is to collect goes with its generation', async (t) => {
  const files = deployment({ a: 'return function(event, context) local t = {} for i = 1, 5000 do t[i] = { i } end return context.functionVersion end' });
  const h = await start(t, { files });
  let version = 1;
  for (const t0 = Date.now(); Date.now() - t0 < 1500 || version < 10;) {
    assert.equal((await h.call('a')).text, String(version));
    h.kill('SIGHUP');
    version += 1;
    await eventually(async () => (await h.call('a')).text === String(version), 5, `generation ${version}`);
  }
  assert.equal(h.workers().length, 1);
  assert.doesNotMatch(h.stderr, /worker ended/);
});

test('<close> variables run when a client leaves, on a deadline, at the end', async (t) => {
  const hold = `return function(event)
    local name = event.queryStringParameters.as
    local held <close> = setmetatable({}, { __close = function() log.info("closed " .. name) end })
    local function inner()
      local deeper <close> = setmetatable({}, { __close = function() log.info("deeper " .. name) end })
      log.info("held " .. name)
      sleep(60)
    end
    coroutine.wrap(inner)()
  end`;
  const h = await start(t, { files: deployment({ hold, brief: hold }, { fields: { hold: 'timeout = 60', brief: 'timeout = 0.3' } }), args: ['--drain', '0.2s'] });
  const seen = (what) => eventually(() => (h.stdout + h.stderr).includes(what), 3, what);
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/hold?as=gone' }));
  await seen('held gone');
  wire.socket.resetAndDestroy();
  await seen('closed gone');
  assert.equal((await h.call('brief', { suffix: '?as=late' })).status, 504);
  await seen('closed late');
  const last = await h.connect();
  last.send(requestText({ path: '/.netlify/functions/hold?as=shutdown' }));
  await seen('held shutdown');
  h.kill('SIGTERM');
  await h.exit;
  await seen('closed shutdown');
});

for (const workers of [1, 2]) {
  test(`renames under load, ${workers} worker${workers > 1 ? 's' : ''}: no request fails, none goes back`, async (t) => {
    const got = await renameDrill(t, { workers, renames: 60, connections: 8, pause: 0.02 });
    await t.test('figures', (inner) => {
      inner.diagnostic(`${got.renames} renames, ${got.requests} requests, ${got.generations} generations seen`);
      assert.deepEqual(got.faults, []);
      assert.ok(got.requests > got.generations && got.generations > 10);
    });
  });
}
