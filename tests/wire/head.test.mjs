// A request is judged when its head is there: who may not is told before he has sent a body, what he
// sends all the same is read over or ends the connection, and who may waits for his turn unread.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { FLAG, data, GET, H2Wire, headers, POST } from '../lib/h2wire.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { deployment, eventually, lua, SLOW, sleep, start } from '../lib/host.mjs';
import { rss } from '../lib/process.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;
const SKIPPED = 64 * KIB;
const LIMIT = 1024 * KIB;
const ORIGIN = 'https://app.example';
const LARGE = 6 * 1024 * KIB;

const SCRIPTS = {
  hello: 'return function() return "hello" end',
  echo: 'return function(event) return { statusCode = 200, headers = { ["Content-Type"] = "text/plain" }, body = event.body or "none" } end',
  size: 'return function(event) return tostring(#(event.body or "")) end',
  mine: 'return function(event) return tostring(#(event.body or "")) end',
  rare: 'return function(event) return "rare" end',
  one: 'return function(event) return tostring(#(event.body or "")) end',
  single: 'return function(event) return tostring(#(event.body or "")) end',
  small: 'return function(event) return tostring(#(event.body or "")) end',
  big: 'return { body = "2MB", handler = function(event) return tostring(#(event.body or "")) end }',
  ['work-background']: 'return function(event) log.info("worked", { bytes = #event.body }) end',
};
const FIELDS = {
  mine: 'auth = true, methods = { "POST" }',
  rare: 'rate_limit = { limit = 1, window = 3600 }',
  one: 'concurrency = 1, queue = 1',
  single: 'concurrency = 1, queue = 0',
  small: 'body = "1KB"',
};

async function host(t, limits = '') {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment(SCRIPTS, {
      fields: FIELDS,
      files: { 'web/index.html': '<p>home</p>' },
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },
  publish = "web", cors = { origins = { "${ORIGIN}" } },
  redirects = { { from = "/old/*", to = "/:splat", status = 301 } },
  limits = { h2c = true, body = "1MB", ${limits} },`,
    }),
  });
  await h.keys();
  return { h, issuer };
}

const head = (path, more = {}, method = 'POST') => requestText({ method, path, headers: { 'Content-Type': 'text/plain', ...more }, close: false });
const sized = (name, length, more = {}) => head(`${FN}/${name}`, { 'Content-Length': length, ...more });
const chunked = (name, more = {}) => head(`${FN}/${name}`, { 'Transfer-Encoding': 'chunked', ...more });
const chunk = (text) => `${text.length.toString(16)}\r\n${text}\r\n`;
const hello = requestText({ path: `${FN}/hello`, close: false });
const closes = (res) => /close/i.test(res.header('connection') ?? '');

// Waits until so many requests have come to the function, for a slot or into its queue.
const reached = (h, name, count) => eventually(async () => {
  const { text } = await h.admin('metrics');
  return Number(new RegExp(`^luafn_function_requests_total\\{function="${name}"\\} (\\d+)`, 'm').exec(text)?.[1]) === count;
}, 10, `request ${count} of ${name}`);

async function answers(wire, ...parts) {
  wire.send(...parts);
  return wire.response();
}

test('no refusal waits for a body', async (t) => {
  const { h, issuer } = await host(t);
  const rows = [
    ['a token', sized('mine', LARGE), 401],
    ['a good token', sized('mine', LARGE, { Authorization: 'Bearer nonsense' }), 401],
    ['a method', head(`${FN}/mine`, { 'Content-Length': LARGE }, 'PUT'), 405],
    ['a function', head('/nowhere', { 'Content-Length': LARGE }), 404],
    ['a file in another place', head('/old/place', { 'Content-Length': LARGE }), 301],
    ['a shorter body', sized('mine', LARGE, issuer.bearer()), 413],
    ['a shorter body, for this function', sized('small', SKIPPED + 1), 413],
  ];
  for (const [what, bytes, status] of rows) {
    const wire = await h.connect();
    const res = await answers(wire, bytes);
    assert.equal(res.status, status, `for want of ${what}`);
    assert.ok(closes(res), `${what}: more than is read over`);
    assert.equal((await wire.closed()).length, 0, what);
    assert.equal(wire.error, null, what); // it has sent a head alone
    wire.close();
  }
  const wire = await h.connect();
  const preflight = await answers(wire, head(`${FN}/mine`, { 'Content-Length': LARGE, Origin: ORIGIN, 'Access-Control-Request-Method': 'POST' }, 'OPTIONS'));
  assert.equal(preflight.status, 204, 'a preflight has no body either');
  wire.close();
  assert.equal((await h.call('mine', { method: 'POST', headers: { 'Content-Type': 'text/plain', ...issuer.bearer() }, body: 'x'.repeat(LIMIT) })).text, String(LIMIT), 'who may is served');
});

test('the order: method, policy, rate, slot, body', async (t) => {
  const { h, issuer } = await host(t);
  const status = async (bytes) => {
    const wire = await h.connect();
    const res = await answers(wire, bytes);
    wire.close();
    return res.status;
  };
  assert.equal(await status(head(`${FN}/mine`, { 'Content-Length': LARGE }, 'PUT')), 405, 'method before token');
  assert.equal(await status(sized('mine', LARGE)), 401, 'token before body');
  assert.equal(await status(sized('rare', LARGE)), 413, 'the first of the hour is too large');
  assert.equal(await status(sized('rare', LARGE)), 429, 'and was counted: rate before body');
  const holder = await h.connect();
  holder.send(sized('single', 5), 'abc');
  await reached(h, 'single', 1); // it has the slot while its body comes
  assert.equal(await status(sized('single', LARGE)), 503, 'slot before body');
  assert.equal((await answers(holder, 'de')).text, '5');
  holder.close();
  assert.equal(await status(sized('mine', LARGE, issuer.bearer())), 413, 'body last');
});

test('a short body that nobody wants is read over, and is no request', async (t) => {
  const { h } = await host(t);
  const evil = requestText({ path: `${FN}/hello`, close: false });
  const bodies = [
    ['whole', sized('mine', evil.length), [evil]],
    ['in two', sized('mine', evil.length), [evil.subarray(0, 9), evil.subarray(9)]],
    ['as much as is read over', sized('mine', SKIPPED), [Buffer.alloc(SKIPPED, evil)]],
    ['in chunks', chunked('mine'), [chunk(evil.toString()), chunk('x'.repeat(SKIPPED - evil.length)), '0\r\n\r\n']],
    ['of a page that is not there', head('/nowhere', { 'Content-Length': evil.length }), [evil]],
  ];
  for (const late of [true, false]) {
    const wire = await h.connect();
    for (const [what, first, rest] of bodies) {
      const refused = await (late ? answers(wire, first) : answers(wire, Buffer.concat([first, ...rest.map((r) => Buffer.from(r))])));
      assert.ok([401, 404].includes(refused.status), what);
      assert.ok(!closes(refused), `${what}: the connection goes on`);
      const next = await answers(wire, ...(late ? rest : []), requestText({ path: `${FN}/echo?${late}`, close: false }));
      assert.deepEqual([next.status, next.text], [200, 'none'], `${what}: the next answer is the next request's`);
    }
    wire.send(evil);
    assert.equal((await wire.response()).text, 'hello');
    assert.equal(wire.buf.length, 0, 'nothing more was answered');
    wire.close();
  }
});

// A client that stands still for longer than it is read over may find the connection broken, but with its answer.
async function withoutReset(ask) {
  for (let round = 0; round < 5; round++) if (await ask()) return;
  assert.fail('a reset each time');
}

test('a longer body ends the connection, and its answer is not lost', async (t) => {
  const { h } = await host(t);
  await withoutReset(() => longerBodies(h));
});

async function longerBodies(h) {
  const wires = [];
  for (const first of [sized('mine', SKIPPED + 1), sized('mine', LARGE)]) {
    const wire = await h.connect();
    wire.send(first, Buffer.alloc(512 * KIB, 'GET / HTTP/1.1\r\n'));
    const res = await wire.response();
    assert.equal(res.status, 401);
    assert.ok(closes(res));
    wires.push(wire);
  }
  const late = await h.connect(); // chunks: how much it will be is seen when the answer is out
  assert.equal((await answers(late, chunked('mine'))).status, 401);
  late.send(chunk('x'.repeat(1000)), `${(SKIPPED).toString(16)}\r\n`, 'x'.repeat(SKIPPED), hello);
  wires.push(late);
  const malformed = await h.connect();
  assert.equal((await answers(malformed, chunked('mine'))).status, 401);
  malformed.send('zz\r\n', hello);
  wires.push(malformed);
  for (const wire of wires) {
    assert.equal((await wire.closed()).length, 0, 'nothing of it was answered');
    wire.close();
  }
  return wires.every((wire) => wire.error === null);
}

test('Expect: 100 only when the body is wanted', async (t) => {
  const { h, issuer } = await host(t);
  const expect = { Expect: '100-continue' };
  for (const [first, status] of [[sized('mine', 5, expect), 401], [sized('mine', LARGE, { ...expect, ...issuer.bearer() }), 413], [head('/nowhere', { ...expect, 'Content-Length': 5 }), 404]]) {
    const wire = await h.connect();
    const res = await answers(wire, first);
    assert.equal(res.status, status, 'no 100');
    assert.ok(closes(res), 'nobody knows whether the body comes');
    await wire.closed();
    wire.close();
  }
  const wire = await h.connect();
  assert.equal((await answers(wire, sized('mine', 5, { ...expect, ...issuer.bearer() }))).status, 100);
  assert.equal((await answers(wire, 'abcde')).text, '5');
  assert.equal((await answers(wire, hello)).text, 'hello');
  wire.close();
});

test('the slot is taken at the head; who waits for one is not read from', async (t) => {
  const { h } = await host(t);
  const first = await h.connect();
  first.send(sized('one', 10), 'abc');
  const second = await h.connect();
  const third = await h.connect();
  await reached(h, 'one', 1);
  second.send(sized('one', 4, { Expect: '100-continue' }));
  await reached(h, 'one', 2);
  assert.equal((await answers(third, sized('one', 1))).status, 503, 'the third is told at once');
  assert.equal(second.buf.length, 0, 'no 100 while it waits');
  assert.equal((await answers(first, 'defghij')).text, '10');
  assert.equal((await second.response()).status, 100, 'now it is its turn');
  assert.equal((await answers(second, 'wxyz')).text, '4');
  for (const wire of [first, second, third]) wire.close();

  // Who sends all of it and no more is served when it is his turn.
  const holder = await h.connect();
  holder.send(sized('one', 3), 'a');
  await reached(h, 'one', 4);
  const half = await h.connect();
  half.send(sized('one', 4), 'wxyz').half();
  await reached(h, 'one', 5);
  assert.equal((await answers(holder, 'bc')).text, '3');
  assert.equal((await half.response()).text, '4');
  for (const wire of [holder, half]) wire.close();

  // A client that leaves in the middle gives its slot back.
  const leaver = await h.connect();
  leaver.send(sized('one', 10), 'abc');
  await reached(h, 'one', 6);
  const waiting = await h.connect();
  waiting.send(sized('one', 3), 'xyz');
  await reached(h, 'one', 7);
  leaver.close();
  assert.equal((await waiting.response()).text, '3');
  waiting.close();
});

test('who waits for keys is not read from, and then served or refused', async (t) => {
  const { h, issuer } = await host(t);
  assert.equal((await h.call('mine', { method: 'POST', headers: { 'Content-Type': 'text/plain', ...issuer.bearer() }, body: 'abc' })).text, '3', 'its keys are there');
  issuer.state.keys = [keys.k1.jwk, keys.k2.jwk, keys.k3.jwk];
  issuer.state.delay = 0.2;
  const by = (kid, key) => ({ Authorization: `Bearer ${issuer.token({}, { kid, by: key })}` });
  const wire = await h.connect();
  const early = await h.connect();
  wire.send(sized('mine', 5, { ...by('k3', 'k3'), Expect: '100-continue' }));
  early.send(sized('mine', LIMIT, by('k3', 'k3')), Buffer.alloc(LIMIT, 'x'), hello);
  assert.equal((await wire.response()).status, 100);
  assert.equal((await answers(wire, 'abcde')).text, '5');
  assert.equal((await early.response()).text, String(LIMIT));
  assert.equal((await early.response()).text, 'hello');
  const refused = await answers(wire, sized('mine', 5, { ...by('kx', 'k3'), Expect: '100-continue' }));
  assert.equal(refused.status, 401, 'no 100 for a key that does not exist');
  for (const w of [wire, early]) w.close();
});

test('a body may be as long as its function says', async (t) => {
  const { h } = await host(t);
  const send = (name, length) => h.call(name, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'x'.repeat(length) });
  for (const [name, limit] of [['small', KIB], ['size', LIMIT], ['big', 2 * LIMIT]]) {
    assert.equal((await send(name, limit)).text, String(limit));
    assert.equal((await send(name, limit + 1)).status, 413, name);
    const wire = await h.connect();
    assert.equal((await answers(wire, chunked(name), `${(limit + 1).toString(16)}\r\n`)).status, 413, `${name}: a chunk that announces too much`);
    wire.close();
  }
});

test('background: the 202 comes when the body has', async (t) => {
  const { h } = await host(t);
  const wire = await h.connect();
  wire.send(sized('work-background', 2000), 'x'.repeat(1000));
  assert.equal((await h.call('hello')).text, 'hello');
  assert.equal(wire.buf.length, 0, 'none yet');
  assert.equal((await answers(wire, 'x'.repeat(1000))).status, 202);
  await eventually(() => /"worked".*2000/.test(h.stderr + h.stdout), 10, 'the run');
  assert.equal((await answers(wire, sized('work-background', LIMIT + 1))).status, 413);
  wire.close();
});

test('a body that comes too slowly ends, however it is cut', async (t) => {
  const { h } = await host(t, 'body_timeout = 0.3');
  const silent = await h.connect();
  const refused = await answers(silent, sized('size', 10), 'abc');
  assert.deepEqual([refused.status, refused.json().error], [408, 'request_timeout']);
  assert.ok(closes(refused));
  silent.close();
  const trickle = await h.connect();
  trickle.send(sized('size', 100000));
  const timer = setInterval(() => trickle.send('x'), 20);
  try {
    assert.equal((await trickle.response()).status, 408);
  } finally {
    clearInterval(timer);
    trickle.close();
  }
  const over = await h.connect(); // refused, and its short body never comes
  assert.equal((await answers(over, sized('mine', 10), 'abc')).status, 401);
  await over.closed();
  over.close();
  assert.equal((await h.call('hello')).text, 'hello');
});

test('what came while the machine gave the process no time is not late', async (t) => {
  const h = await start(t, {
    files: deployment({ hello: SCRIPTS.hello, size: SCRIPTS.size, burn: 'return function() while true do end end' }, { fields: { burn: 'cpu = 30, timeout = 60' }, more: 'limits = { body_timeout = 1 },' }),
  });
  const statuses = [];
  const signal = (pid, name) => { try { process.kill(pid, name); } catch { /* it was replaced */ } };
  let late = 0; // though nothing else stood still
  for (let round = 0; round < 20 && late < 3 && statuses.at(-1) !== 200; round++) {
    const [pid] = await eventually(() => h.workers().length === 1 && h.workers(), 10, 'the worker');
    await eventually(() => h.call('hello').then((res) => res.status === 200, () => false), 10, 'it serves');
    const burn = h.call('burn').catch(() => {}); // so that it is not stopped while it waits
    await h.call('hello');
    const wire = await h.connect();
    const began = performance.now();
    wire.send(sized('size', 10), 'abc');
    await h.call('hello');
    signal(pid, 'SIGSTOP');
    wire.send('defghij');
    await sleep(1.4);
    signal(pid, 'SIGCONT');
    const inTime = performance.now() - began < 1900;
    statuses.push((await wire.response().catch(() => ({}))).status);
    if (inTime && statuses.at(-1) === 408) late += 1;
    wire.close();
    signal(pid, 'SIGKILL');
    await burn;
    await eventually(() => !h.workers().includes(pid), 10, 'its end');
  }
  assert.equal(statuses.at(-1), 200, `${statuses}`);
});

test('HTTP/2: refused at the head, the connection goes on', async (t) => {
  const { h, issuer } = await host(t);
  const auth = [['authorization', issuer.bearer().Authorization]];
  const h2 = await H2Wire.connect(h);
  const open = (stream, path, more = []) => h2.send(headers(stream, POST(path, [['content-type', 'text/plain'], ...more]), FLAG.END_HEADERS));
  open(1, `${FN}/mine`, [['content-length', String(LARGE)]]);
  assert.deepEqual(await h2.outcome(1), { status: 401 });
  open(3, `${FN}/mine`, [['expect', '100-continue']]);
  assert.equal((await h2.outcome(3)).reset, undefined);
  assert.equal(h2.frames.filter((f) => f.stream === 3 && f.type === 1).length, 1, 'no 100');
  open(5, '/nowhere');
  assert.deepEqual(await h2.outcome(5), { status: 404 });
  open(7, `${FN}/mine`, [['content-length', String(LARGE)], ...auth]);
  assert.deepEqual(await h2.outcome(7), { status: 413 });
  // What is on its way for those that were refused counts for nobody.
  for (const stream of [1, 3, 5, 7]) h2.send(data(stream, 'x'.repeat(16000), 0));
  open(9, `${FN}/mine`, auth);
  h2.send(data(9, 'abc', 0), data(9, 'de'));
  assert.deepEqual(await h2.outcome(9), { status: 200 });
  const body = await h2.until((f) => f.stream === 9 && f.type === 0 && f.payload.length > 0);
  assert.equal(body.payload.toString(), '5');
  h2.send(headers(11, GET(`${FN}/hello`)));
  assert.deepEqual(await h2.outcome(11), { status: 200 });
  const lines = () => h.log().filter((line) => line.path !== '/_luafn/ready');
  await eventually(() => lines().length === 6, 10, 'six lines of the log');
  assert.deepEqual(lines().map((line) => line.status), [401, 401, 404, 413, 200, 200]);
  h2.close();
});

test('a client that sends while it is refused has its answer: curl and node, as they come', async (t) => {
  const { h } = await host(t);
  const file = path.join(h.dir, 'large');
  fs.writeFileSync(file, Buffer.alloc(LARGE, 'x'));
  for (const how of ['--http2-prior-knowledge', '--http1.1']) {
    for (const expect of ['Expect:', 'Expect: 100-continue']) {
      const { stdout } = await promisify(execFile)('curl', ['-s', how, '-H', expect, '-X', 'POST', '--data-binary', `@${file}`, '-w', ' %{http_code}', h.url(`${FN}/mine`)]);
      assert.match(stdout, /^\{"error":"invalid_header".*\} 401$/, `${how} ${expect}`);
    }
  }
  const session = http2.connect(h.url(''));
  const stream = session.request({ ':method': 'POST', ':path': `${FN}/mine`, 'content-type': 'text/plain' });
  stream.on('error', () => {}); // the rest of the body is not taken
  const status = new Promise((resolve) => { stream.on('response', (fields) => resolve(fields[':status'])); });
  stream.end(Buffer.alloc(LARGE, 'x'));
  assert.equal(await status, 401);
  session.destroy();
});

test('HTTP/2: what is not wanted is not sent beyond the window', async (t) => {
  const { h } = await host(t);
  const holder = await h.connect();
  holder.send(sized('one', 3), 'a');
  await reached(h, 'one', 1);
  const h2 = await H2Wire.connect(h);
  h2.send(headers(1, POST(`${FN}/one`, [['content-type', 'text/plain']]), FLAG.END_HEADERS));
  for (let i = 0; i < 4; i++) h2.send(data(1, 'x'.repeat(16000), 0));
  h2.send(headers(3, GET(`${FN}/hello`)));
  assert.deepEqual(await h2.outcome(3), { status: 200 });
  const grown = () => h2.frames.filter((f) => f.type === 8 && f.stream === 1);
  assert.equal(grown().length, 0, 'it waits for its slot: no window is given');
  assert.equal((await answers(holder, 'bc')).text, '3');
  assert.ok(await h2.until((f) => f.type === 8 && f.stream === 1), 'it has the slot: go on');
  h2.send(data(1, 'y'.repeat(10)));
  assert.deepEqual(await h2.outcome(1), { status: 200 });
  const body = await h2.until((f) => f.stream === 1 && f.type === 0 && f.payload.length > 0);
  assert.equal(body.payload.toString(), '64010');
  h2.close();
  holder.close();
});

test('what strangers send takes no memory', { skip: SLOW !== 1 && 'sanitizers and valgrind have a memory of their own' }, async (t) => {
  const { h } = await host(t);
  const [pid] = h.workers();
  const before = rss(pid).all;
  const piece = Buffer.alloc(LARGE, 'x');
  let most = 0;
  const stranger = async () => {
    const wire = await Wire.connect(h.address, h.port);
    wire.send(sized('mine', LARGE), piece);
    const res = await wire.response({ ms: 60000 });
    most = Math.max(most, rss(pid).all);
    wire.close();
    return res.status;
  };
  const statuses = await Promise.all(Array.from({ length: 100 }, stranger));
  assert.deepEqual([...new Set(statuses)], [401]);
  t.diagnostic(`${most - before} KiB for 100 at once`);
  assert.ok(most - before < 16 * KIB, `${most - before} KiB`);
});
