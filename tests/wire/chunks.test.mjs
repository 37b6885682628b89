// stream_body: the handler runs at the head and asks for the body piece by piece; the client waits
// while it does not ask.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http2 from 'node:http2';
import https from 'node:https';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { FLAG, data, GET, H2Wire, headers, POST, frame, TYPE, u32 } from '../lib/h2wire.mjs';
import { deployment, eventually, folder, run, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { rss } from '../lib/process.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;
const MIB = 1024 * KIB;

// `gate` names a key of kv that opens it.
const LIB = `local M = {}
function M.wait(name) while not kv.get(name) do sleep(0.01) end end
function M.closing(text) return setmetatable({}, { __close = function() log.info(text) end }) end
return M`;
const HEAD = 'local h = require "lib.h"\n';
const SCRIPTS = {
  hello: 'return function() return "hello" end',
  open: 'return function(event) kv.set(event.queryStringParameters.gate, "open") return "open" end',
  count: `return function(event)
    local count, total, most, hash = 0, 0, 0, {}
    for piece in event:chunks() do
      count, total, most = count + 1, total + #piece, math.max(most, #piece)
      hash[#hash + 1] = crypto.sha256(piece)
    end
    return json.encode { count = count, total = total, most = most, body = type(event.body) }
  end`,
  digest: `return function(event)
    local all = {}
    for piece in event:chunks() do all[#all + 1] = piece end
    return crypto.sha256(table.concat(all))
  end`,
  total: 'return function(event) local n = 0 for piece in event:chunks() do n = n + #piece end return tostring(n) end',
  echo: 'return function(event) return { statusCode = 200, body = function(write) for piece in event:chunks() do write(piece) end end } end',
  caught: `${HEAD}return function(event)
    local closing <close> = h.closing("closed: caught")
    local total = 0
    local ok, fault = pcall(function() for piece in event:chunks() do total = total + #piece end end)
    return json.encode { ok = ok, fault = not ok and tostring(fault) or nil, total = total }
  end`,
  uncaught: 'return function(event) for piece in event:chunks() do end return "not reached" end',
  first: `${HEAD}return function(event)
    local closing <close> = h.closing("closed: first")
    local total = 0
    for piece in event:chunks() do
      total = total + #piece
      if total == #piece then log.info("first piece") h.wait("first") end
    end
    return tostring(total)
  end`,
  later: `${HEAD}return function(event)
    local closing <close> = h.closing("closed: later")
    log.info("began: later")
    h.wait(event.queryStringParameters.gate)
    local total = 0
    for piece in event:chunks() do total = total + #piece end
    return tostring(total)
  end`,
  early: 'return function(event) for piece in event:chunks() do return { statusCode = 409, body = "enough" } end end',
  never: 'return function() return "did not ask" end',
  stuck: 'return function(event) for piece in event:chunks() do sleep(60) end end',
  late: 'return function() sleep(60) end',
  twice: `return function(event)
    local faults = {}
    local function read() local ok, fault = pcall(function() for piece in event:chunks() do end end) if not ok then faults[#faults + 1] = fault end end
    parallel(read, read)
    return json.encode(faults)
  end`,
  after: `return function(event)
    local chunks = event:chunks()
    after_response(function() local ok, fault = pcall(chunks) log.info("after: " .. tostring(fault)) end)
    return "answered"
  end`,
  walked: 'return function(event) local names = {} for name in pairs(event) do names[name] = true end local total = 0 for piece in event:chunks() do total = total + #piece end return json.encode { chunks = names.chunks or false, total = total, text = #json.encode(event) > 0 } end',
  // without stream_body
  whole: 'return function(event) local pieces = {} for piece in event:chunks() do pieces[#pieces + 1] = #piece end return json.encode { pieces = json.array(pieces), body = event.body ~= nil, encoded = event.isBase64Encoded } end',
};
const NOT = ['hello', 'open', 'whole', 'late'];
const FIELDS = Object.fromEntries(Object.keys(SCRIPTS).filter((n) => !NOT.includes(n)).map((n) => [n, 'stream_body = true, body = "2GB"']));
Object.assign(FIELDS, {
  whole: 'body = "1MB"', caught: 'stream_body = true, body = "64KB", timeout = 5', total: 'stream_body = true, body = "2GB", cpu = 20', echo: 'stream_body = true, timeout = 0.5', late: 'timeout = 0.5',
  stuck: 'stream_body = true, timeout = 0.3', open: 'kv = "gates"', first: 'stream_body = true, body = "2GB", timeout = 60, cpu = 20, kv = "gates"', later: 'stream_body = true, body = "2GB", timeout = 60, cpu = 20, kv = "gates"',
});

const host = (t, limits = '') => start(t, {
  files: deployment(SCRIPTS, { fields: FIELDS, files: { 'scripts/lib/h.lua': LIB }, more: `  limits = { h2c = true, ${limits} },` }),
});
const open = (h, gate) => h.call('open', { suffix: `?gate=${gate}` });
const says = (h, text) => eventually(() => h.stderr.includes(text), 15, text);
const post = (name, more = {}) => requestText({ method: 'POST', path: `${FN}/${name}`, headers: { 'Content-Type': 'application/octet-stream', ...more }, close: false });
const sized = (name, length, more) => post(name, { 'Content-Length': length, ...more });
const chunked = (name) => post(name, { 'Transfer-Encoding': 'chunked' });
const chunk = (bytes) => Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), Buffer.from(bytes), Buffer.from('\r\n')]);
const END = '0\r\n\r\n';
const closes = (res) => /close/i.test(res.header('connection') ?? '');
const hello = requestText({ path: `${FN}/hello`, close: false });

test('pieces: all of it, in order, at most 64 KiB at once', async (t) => {
  const h = await host(t);
  for (const size of [1, 100, 64 * KIB, 64 * KIB + 1, 300 * KIB]) {
    const wire = await h.connect();
    wire.send(sized('count', size), Buffer.alloc(size, 'x'));
    const got = (await wire.response()).json();
    assert.equal(got.total, size);
    assert.ok(got.most <= 64 * KIB && got.count >= size / (64 * KIB), JSON.stringify(got));
    assert.equal(got.body, 'nil');
    wire.send(hello);
    assert.equal((await wire.response()).text, 'hello', 'the connection goes on');
    wire.close();
  }
  const bytes = crypto.randomBytes(3 * MIB);
  const digest = crypto.createHash('sha256').update(bytes).digest('hex');
  const wire = await h.connect();
  wire.send(sized('digest', bytes.length), bytes);
  assert.equal((await wire.response()).text, digest, 'by length');
  wire.send(chunked('digest'));
  for (let at = 0; at < bytes.length;) {
    const size = 1 + (at * 7919) % 150000;
    wire.send(chunk(bytes.subarray(at, at + size)));
    at += size;
  }
  wire.send(END, hello);
  assert.equal((await wire.response()).text, digest, 'in chunks');
  assert.equal((await wire.response()).text, 'hello');
  wire.close();
});

test('no pieces of an empty body; one of a body that is read whole', async (t) => {
  const h = await host(t);
  assert.deepEqual((await h.call('count')).json(), { body: 'nil', count: 0, most: 0, total: 0 }, 'GET');
  const wire = await h.connect();
  wire.send(sized('count', 0), chunked('count'), END);
  for (let i = 0; i < 2; i++) assert.equal((await wire.response()).json().count, 0);
  wire.send(sized('whole', 200000), Buffer.alloc(200000));
  assert.deepEqual((await wire.response()).json(), { body: true, encoded: true, pieces: [200000] });
  wire.send(sized('whole', 0), sized('walked', 5), 'abcde');
  assert.deepEqual((await wire.response()).json().pieces, []);
  assert.deepEqual((await wire.response()).json(), { chunks: false, text: true, total: 5 }, 'a method, not a field');
  wire.close();
  const { stdout } = await run(t, ['invoke', 'count', '--payload', 'x'.repeat(70000)], { dir: h.dir });
  assert.deepEqual(JSON.parse(stdout), { body: 'nil', count: 2, most: 65536, total: 70000 }, 'in process, too');
});

test('the client waits while nobody asks', async (t) => {
  const h = await host(t);
  const [pid] = h.workers();
  const wire = await h.connect();
  const piece = Buffer.alloc(MIB, 'x');
  const total = 48 * MIB; // more than the kernel keeps
  wire.send(sized('first', total));
  wire.send(piece);
  await says(h, 'first piece');
  const before = rss(pid).all;
  for (let i = 1; i < 48; i++) wire.send(piece);
  assert.equal((await h.call('hello')).text, 'hello');
  assert.ok(wire.socket.writableLength > 8 * MIB, 'it does not get rid of all');
  if (SLOW === 1) assert.ok(rss(pid).all - before < 8 * KIB, `${rss(pid).all - before} KiB`);
  await open(h, 'first');
  assert.equal((await wire.response({ ms: 60000 * SLOW })).text, String(total));
  wire.send(hello);
  assert.equal((await wire.response()).text, 'hello');
  wire.close();
});

test('100 Continue is sent when the handler asks', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  wire.send(sized('later?gate=expect', 5, { Expect: '100-continue' }));
  await says(h, 'began: later');
  assert.equal(wire.buf.length, 0);
  await open(h, 'expect');
  assert.equal((await wire.response()).status, 100);
  wire.send('abcde');
  assert.equal((await wire.response()).text, '5');
  wire.send(sized('never', 5, { Expect: '100-continue' }));
  const res = await wire.response();
  assert.deepEqual([res.status, closes(res)], [200, true], 'who never asks sends none');
  wire.close();
});

test('timeout counts anew with each piece, and not while one is waited for', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  wire.send(chunked('echo'));
  for (let seen = 1; seen <= 3; seen++) {
    wire.send(chunk('ping\n'));
    await eventually(() => wire.buf.toString('latin1').split('ping\n').length - 1 >= seen, 15, `answer ${seen}`);
    assert.equal((await h.call('late')).status, 504, 'another run reaches the same timeout meanwhile');
  }
  wire.send(END);
  const res = await wire.response();
  assert.deepEqual([res.status, res.text], [200, 'ping\n'.repeat(3)]);
  await wire.closed();
  wire.close();
  const stuck = await h.connect();
  stuck.send(sized('stuck', 10), 'abc');
  assert.equal((await stuck.response()).status, 504, 'its own sleep counts');
  stuck.close();
});

test('a body that does not come in full raises in the handler', async (t) => {
  const h = await host(t);
  const hasty = await host(t, 'body_timeout = 0.3');
  const faults = [
    ['cut off', (w) => w.send(sized('caught', 10), 'abc').half(), /ended within the body/, 3],
    ['silent', (w) => w.send(Buffer.concat([sized('caught', 10), Buffer.from('abc')])), /took too long/, 3],
    ['malformed', (w) => w.send(chunked('caught'), chunk('abc'), 'zz\r\n'), /chunk size is malformed/, 3],
    ['too long, in chunks', (w) => w.send(chunked('caught'), chunk(Buffer.alloc(64 * KIB)), chunk('y'), hello), /too large/, 64 * KIB],
  ];
  for (const [what, send, fault, total] of faults) {
    const wire = await (what === 'silent' ? hasty : h).connect();
    send(wire);
    const res = await wire.response();
    const got = res.json();
    assert.equal(res.status, 200, what);
    assert.deepEqual([got.ok, got.total], [false, total], what);
    assert.match(got.fault, fault, what);
    assert.ok(closes(res), `${what}: nothing behind it can be read`);
    assert.equal((await wire.closed()).length, 0, what);
    wire.close();
  }
  await eventually(() => (h.stderr + hasty.stderr).split('closed: caught').length - 1 === faults.length, 10, '<close> runs each time');
  const wire = await hasty.connect();
  wire.send(sized('uncaught', 10), 'abc');
  assert.equal((await wire.response()).status, 502);
  wire.close();
  const large = await h.connect();
  large.send(sized('caught', 64 * KIB + 1));
  assert.equal((await large.response()).status, 413, 'what is announced is refused at the head');
  large.close();
});

test('a client that breaks off cancels the handler, whether it reads or not', async (t) => {
  const h = await host(t);
  const reading = await h.connect();
  reading.send(sized('first', 3 * MIB), Buffer.alloc(100));
  await says(h, 'first piece');
  await open(h, 'first'); // it waits for more now
  reading.socket.resetAndDestroy();
  await says(h, 'closed: first');
  const busy = await h.connect();
  busy.send(sized('later?gate=nobody', 10), 'abc');
  await says(h, 'began: later');
  busy.socket.resetAndDestroy();
  await says(h, 'closed: later');
  assert.equal((await h.call('hello')).text, 'hello');
});

test('an answer before the end: the rest is read over, or ends the connection', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  for (const name of ['early', 'never']) {
    wire.send(sized(name, 1000), Buffer.alloc(400, hello));
    const res = await wire.response();
    assert.deepEqual([res.status, closes(res)], name === 'early' ? [409, false] : [200, false]);
    wire.send(Buffer.alloc(600, hello), hello);
    assert.equal((await wire.response()).text, 'hello');
    assert.equal(wire.buf.length, 0);
  }
  wire.close();
  for (const name of ['early', 'never']) {
    let reset = true;
    for (let round = 0; round < 5 && reset; round++) { // once more where this process stood still for longer than it is read over
      const large = await h.connect();
      large.send(sized(name, 200 * MIB), Buffer.alloc(2 * MIB));
      assert.ok(closes(await large.response()));
      assert.equal((await large.closed()).length, 0);
      reset = large.error !== null;
      large.close();
    }
    assert.ok(!reset, 'no reset: the answer is not lost');
  }
});

test('one reads at a time, and only before the answer', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  wire.send(sized('twice', 10), 'abc');
  wire.send('defghij');
  const faults = (await wire.response()).json();
  assert.equal(faults.length, 1);
  assert.match(faults[0], /read already/);
  wire.send(sized('after', 3), 'abc');
  assert.equal((await wire.response()).text, 'answered');
  await says(h, 'after: event:chunks: can only be used while the request is handled');
  wire.close();
});

test('HTTP/2: pieces, and windows as they are taken', async (t) => {
  const h = await host(t);
  const session = http2.connect(h.url().slice(0, -1));
  later(t, () => session.destroy());
  const bytes = crypto.randomBytes(5 * MIB);
  const digest = crypto.createHash('sha256').update(bytes).digest('hex');
  const text = await new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': `${FN}/digest`, 'content-type': 'a/b' });
    let got = '';
    stream.setEncoding('utf8').on('data', (d) => { got += d; }).on('end', () => resolve(got)).on('error', reject);
    stream.end(bytes);
  });
  assert.equal(text, digest);

  const h2 = await H2Wire.connect(h);
  const windows = (stream) => h2.frames.filter((f) => f.type === TYPE.WINDOW_UPDATE && f.stream === stream).length;
  const begin = (stream, path) => h2.send(headers(stream, POST(path, [['content-type', 'a/b']]), FLAG.END_HEADERS));
  begin(1, `${FN}/later?gate=h2`);
  await says(h, 'began: later');
  for (let i = 0; i < 4; i++) h2.send(data(1, 'x'.repeat(16000), 0));
  h2.send(headers(3, GET(`${FN}/hello`)));
  assert.deepEqual(await h2.outcome(3), { status: 200 });
  assert.equal(windows(1), 0, 'nobody has asked');
  await open(h, 'h2');
  await h2.until(() => windows(1) > 0);
  h2.send(data(1, 'y'.repeat(10)));
  assert.deepEqual(await h2.outcome(1), { status: 200 });

  begin(5, `${FN}/first`); // its gate is shut: it stops after the first piece
  h2.send(data(5, 'abc', 0));
  await says(h, 'first piece');
  h2.send(frame(TYPE.RST_STREAM, 0, 5, u32(8)));
  await says(h, 'closed: first');
  begin(7, `${FN}/never`);
  assert.equal((await h2.outcome(7)).reset, undefined);
  await eventually(() => h.log().some((line) => line.function === 'never' && line.status === 200), 10, 'its answer');
  h2.close();
});

test('under TLS the same: pieces, and a client that waits', async (t) => {
  const dir = folder(t, deployment(SCRIPTS, { fields: FIELDS, files: { 'scripts/lib/h.lua': LIB } }));
  const c = certificate(dir);
  const h = await start(t, { dir, args: tlsArgs(c) });
  const bytes = crypto.randomBytes(2 * MIB);
  const digest = crypto.createHash('sha256').update(bytes).digest('hex');
  const ask = (path, body, more = {}) => new Promise((resolve, reject) => {
    const req = https.request({ host: h.address, port: h.port, ca: c.ca, method: 'POST', path: `${FN}/${path}`, headers: { 'Content-Type': 'a/b', ...more } }, (res) => {
      let text = '';
      res.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => resolve(text));
    });
    req.on('error', reject);
    req.end(body);
    return req;
  });
  assert.equal(await ask('digest', bytes, { 'Content-Length': bytes.length }), digest);
  const waiting = ask('later?gate=tls', bytes);
  await says(h, 'began: later');
  assert.equal(await ask('open?gate=tls', ''), 'open');
  assert.equal(await waiting, String(bytes.length), 'nothing of what came early is lost');
  let early;
  for (let round = 0; round < 5 && early === undefined; round++) early = await ask('early', bytes).catch(() => undefined); // as above
  assert.match(early, /enough/);
});

test('any length in little memory', { skip: SLOW !== 1 && 'sanitizers and valgrind have a memory of their own' }, async (t) => {
  const h = await host(t);
  const [pid] = h.workers();
  assert.equal((await h.call('total', { method: 'POST', body: 'x' })).text, '1');
  const before = rss(pid).all;
  const wire = await h.connect();
  const total = 128 * MIB;
  const piece = Buffer.alloc(MIB, 'x');
  let most = 0;
  wire.send(sized('total', total));
  for (let sent = 0; sent < total; sent += piece.length) {
    if (!wire.socket.write(piece)) await new Promise((resolve) => { wire.socket.once('drain', resolve); });
    most = Math.max(most, rss(pid).all);
  }
  assert.equal((await wire.response({ ms: 60000 })).text, String(total));
  wire.close();
  t.diagnostic(`${most - before} KiB for 128 MiB`);
  assert.ok(most - before < 16 * KIB, `${most - before} KiB`);
});
