// HTTP/2: by prior knowledge and by ALPN, the same answers as over HTTP/1, and what peers must not do.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const C = http2.constants;
const SMALL = 'limits = { h2c = true, body = "1MB", header = "8KB" }';
const HASTY = 'limits = { h2c = true, body_timeout = 0.4, write_timeout = 1 }';
const SCRIPTS = {
  hello: 'return function() return "hello" end',
  show: 'return function(e) return json.encode { method = e.httpMethod, url = e.rawUrl, headers = e.headers, body = e.body and base64.decode(e.body) or json.null, q = e.queryStringParameters } end',
  echo: 'return function(e) return { statusCode = 200, headers = { ["X-Len"] = #e.body }, body = e.body } end',
  nap: 'return function(e) log.info("napping") sleep(0.2) return e.queryStringParameters.n end',
  meet: 'return function(e) kv.incr("in") while kv.get("in") < 60 do sleep(0.02) end return e.queryStringParameters.n end',
  odd: 'return function() return { statusCode = 201, headers = { ["X-Mixed-Case"] = "1", Connection = "close", ["Keep-Alive"] = "x", ["Transfer-Encoding"] = "chunked" }, multiValueHeaders = { ["Set-Cookie"] = { "a=1", "b=2" } }, body = "odd" } end',
  pieces: 'return function() return { statusCode = 200, body = function(write) log.info("writing") for i = 1, 5 do write(i .. ";") sleep(0.02) end end } end',
  many: 'return function(e) local h = {} for i = 1, tonumber(e.queryStringParameters.n) do h["x-h" .. i] = ("v"):rep(90) end return { statusCode = 200, headers = h, body = "many" } end',
  reset: 'return function() return { statusCode = 205, body = "content" } end',
  reset_pieces: 'return function() return { statusCode = 205, body = function(write) write("content") end } end',
  boom: 'return function() return { statusCode = 200, body = function(write) write("first") error("boom") end } end',
  flood: 'return function() return { statusCode = 200, body = function(write) local p = ("x"):rep(65536) for i = 1, 1600 do write(p) end end } end',
  endless: `return function() return { statusCode = 200, body = function(write)
    local guard <close> = setmetatable({}, { __close = function() log.info("closed") end })
    while true do write("tick") sleep(0.02) end end } end`,
};

async function host(t, { more = 'limits = { h2c = true }', args = [], files = {} } = {}) {
  return start(t, { files: deployment(SCRIPTS, { more, files, fields: { flood: 'cpu = 20', meet: 'concurrency = 64, timeout = 60' } }), args });
}

function session(t, h, options = {}) {
  const s = http2.connect(`${options.ca ? 'https' : 'http'}://localhost:${h.port}`, { lookup: (_, o, cb) => (o.all ? cb(null, [{ address: h.address, family: 4 }]) : cb(null, h.address, 4)), ...options });
  s.on('error', () => {});
  s.farewell = new Promise((resolve) => s.once('goaway', resolve));
  later(t, () => s.destroy());
  return s;
}

// One request: { status, headers, text, code } - `code` is what the stream was reset with.
function ask(s, headers, body) {
  return new Promise((resolve, reject) => {
    const stream = s.request(headers, { endStream: body === undefined });
    const got = { stream, text: '', pieces: [] };
    stream.setEncoding('latin1');
    stream.on('response', (r) => { got.status = r[':status']; got.headers = r; });
    stream.on('data', (d) => { got.text += d; got.pieces.push(d); });
    stream.on('error', (e) => { got.error = e; });
    stream.on('close', () => { got.code = stream.rstCode; if (got.status || got.code) resolve(got); else reject(got.error ?? new Error('no answer')); });
    if (typeof body === 'function') body(stream); else if (body !== undefined) stream.end(body);
  });
}

const get = (s, name, more = {}) => ask(s, { ':path': `${FN}/${name}`, ...more });

test('requests by prior knowledge: fields, bodies, many at once', async (t) => {
  const h = await host(t);
  const s = session(t, h);
  const hello = await get(s, 'hello');
  assert.deepEqual([hello.status, hello.text, hello.headers['content-length']], [200, 'hello', '5']);
  assert.ok(hello.headers.date);
  const show = JSON.parse((await ask(s, { ':path': `${FN}/show?a=1`, ':method': 'POST', 'x-one': 'two', cookie: ['a=1', 'b=2'] }, 'body')).text);
  assert.equal(show.method, 'POST');
  assert.equal(show.url, `http://localhost:${h.port}${FN}/show?a=1`);
  assert.deepEqual([show.headers['x-one'], show.headers.cookie, show.headers.host], ['two', 'a=1; b=2', `localhost:${h.port}`]);
  assert.equal(show.q.a, '1');
  const head = await get(s, 'hello', { ':method': 'HEAD' });
  assert.deepEqual([head.status, head.text, head.headers['content-length']], [200, '', '5']);
  assert.equal((await ask(s, { ':path': '/none' })).status, 404);
  const odd = await get(s, 'odd');
  assert.equal(odd.status, 201);
  assert.equal(odd.headers['x-mixed-case'], '1');
  assert.deepEqual(odd.headers['set-cookie'], ['a=1', 'b=2']);
  for (const name of ['connection', 'keep-alive', 'transfer-encoding']) assert.equal(odd.headers[name], undefined);
  const all = await Promise.all(Array.from({ length: 60 }, (_, n) => get(s, `meet?n=${n}`))); // each waits for all the others
  assert.deepEqual(all.map((r) => r.text), Array.from({ length: 60 }, (_, n) => String(n)));
  await h.stop();
});

test('what differs in HTTP/1.1 and HTTP/2 is not for handlers and clients to see', async (t) => {
  const h = await host(t);
  const s = session(t, h, { maxHeaderListPairs: 1000 });
  const own = (names) => names.filter((n) => n.startsWith('x-h')).length;
  for (const n of [100, 200, 490]) {
    const one = await h.call('many', { suffix: `?n=${n}` });
    const two = await get(s, `many?n=${n}`);
    assert.deepEqual([one.status, one.text, own(Object.keys(one.headers))], [200, 'many', n]);
    assert.deepEqual([two.status, two.text, own(Object.keys(two.headers))], [200, 'many', n]);
  }
  for (const name of ['reset', 'reset_pieces']) {
    const one = await h.call(name, { close: false });
    const two = await get(s, name);
    assert.deepEqual([one.status, one.text, one.header('content-length'), one.header('transfer-encoding')], [205, '', '0', undefined]);
    assert.deepEqual([two.status, two.text, two.headers['content-length']], [205, '', '0']);
  }
  const text = { 'content-type': 'application/octet-stream', cookie: 'a=1; b=2' };
  const seen = async (answer) => { const { headers } = JSON.parse((await answer).text); delete headers.connection; delete headers['x-nf-request-id']; return headers; };
  const one = await seen(h.call('show', { method: 'POST', headers: { ...text, 'Content-Length': 4, Host: `localhost:${h.port}` }, body: 'body' }));
  const two = await seen(ask(s, { ...text, ':path': `${FN}/show`, ':method': 'POST', 'content-length': 4 }, 'body'));
  const unsized = await seen(ask(s, { ...text, ':path': `${FN}/show`, ':method': 'POST' }, 'body'));
  assert.deepEqual(two, one);
  delete one['content-length'];
  assert.deepEqual(unsized, one);
  // Crumbs of cookies are one field, however many; other fields are as many as there are.
  const crumbs = Array.from({ length: 150 }, (_, i) => `c${i}=${i}`);
  const cookies = await ask(s, { ':path': `${FN}/show`, cookie: crumbs });
  assert.equal(JSON.parse(cookies.text).headers.cookie, crumbs.join('; '));
  assert.equal((await ask(s, { ':path': `${FN}/show`, cookie: Array(400).fill(`x=${'y'.repeat(100)}`) })).status, 431);
  await h.stop();
  for (const line of h.log()) assert.equal(line.error, line.status === 431 ? 'headers_too_large' : undefined, JSON.stringify(line));
});

test('bodies: with and without a length, large, too large, expectations', async (t) => {
  const h = await host(t, { more: SMALL });
  const s = session(t, h);
  const text = { ':path': `${FN}/echo`, ':method': 'POST', 'content-type': 'text/plain' };
  const body = 'x'.repeat(900 * 1024);
  for (const more of [{}, { 'content-length': body.length }]) {
    const r = await ask(s, { ...text, ...more }, body);
    assert.deepEqual([r.status, r.text.length, r.headers['x-len']], [200, body.length, String(body.length)]);
  }
  for (const more of [{}, { 'content-length': 2000000 }]) {
    const r = await ask(s, { ...text, ...more }, (stream) => stream.end('y'.repeat(2000000)));
    assert.equal(r.status, 413);
  }
  let went = false;
  const waited = await ask(s, { ...text, expect: '100-continue' }, (stream) => stream.on('continue', () => { went = true; stream.end('go'); }));
  assert.deepEqual([waited.text, went], ['go', true]);
  const hasty = session(t, await host(t, { more: HASTY }));
  const slow = await ask(hasty, text, (stream) => stream.write('some'));
  assert.deepEqual([slow.status, JSON.parse(slow.text).error], [408, 'request_timeout']);
  assert.equal((await get(hasty, 'hello')).text, 'hello', 'the connection goes on');
});

test('what is refused over HTTP/1 is refused here', async (t) => {
  const h = await host(t, { more: SMALL });
  const s = session(t, h);
  const cases = [
    [{ ':path': `${FN}/hello` }, 200],
    [{ ':path': `${FN}/hello`, 'x-big': 'x'.repeat(9000) }, 431],
    [{ ':path': `${FN}/hello`, ...Object.fromEntries(Array.from({ length: 120 }, (_, i) => [`x-${i}`, '1'])) }, 431],
    [{ ':path': `/${'x'.repeat(8200)}` }, [414, 431]],
    [{ ':path': `${FN}/hello`, ':authority': 'one.example', host: 'one.example' }, 200],
    [{ ':path': `${FN}/hello`, ':authority': 'one.example', host: 'other.example' }, 400],
    [{ ':path': `${FN}/hello`, ':authority': 'user@localhost' }, 400],
    [{ ':path': '/a#b' }, 400],
    [{ ':path': `${FN}/hello`, ':method': 'BREW' }, 501],
    [{ ':path': `${FN}/hello`, expect: 'miracles' }, 417],
  ];
  for (const [headers, status] of cases) {
    const r = await ask(s, headers);
    assert.ok([status].flat().includes(r.status), `${JSON.stringify(headers).slice(0, 90)}: ${r.status} ${r.code}`);
    if (r.status !== 200) assert.ok(JSON.parse(r.text).error);
  }
  const bad = await ask(s, { ':path': '/a b' }).catch((e) => e);
  assert.notEqual(bad.status, 200);
  assert.equal((await get(s, 'hello')).text, 'hello');
});

test('streams: pieces, an error in the middle, a client that leaves', async (t) => {
  const h = await host(t);
  const s = session(t, h);
  const pieces = await get(s, 'pieces');
  assert.equal(pieces.text, '1;2;3;4;5;');
  assert.ok(pieces.pieces.length > 2);
  const boom = await get(s, 'boom');
  assert.deepEqual([boom.text, boom.code], ['first', C.NGHTTP2_INTERNAL_ERROR]);
  const left = s.request({ ':path': `${FN}/endless` });
  left.on('error', () => {});
  await new Promise((r) => left.once('data', r));
  left.close(C.NGHTTP2_CANCEL);
  await eventually(() => /"msg":"closed"/.test(h.stderr), 5, 'the close');
  assert.equal((await get(s, 'hello')).text, 'hello');
  const gone = session(t, h).request({ ':path': `${FN}/endless` });
  gone.on('error', () => {});
  await new Promise((r) => gone.once('data', r));
  gone.session.destroy();
  await eventually(() => h.stderr.match(/"msg":"closed"/g).length === 2, 5, 'the second close');
});

test('a slow reader holds its stream back, not the others', async (t) => {
  const h = await host(t);
  const s = session(t, h);
  const [worker] = h.workers();
  const rss = () => Number(/VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${worker}/status`, 'latin1'))[1]) / 1024;
  const slow = s.request({ ':path': `${FN}/flood` });
  slow.pause();
  await new Promise((r) => slow.once('response', r));
  for (let i = 0; i < 20; i++) assert.equal((await get(s, 'hello')).text, 'hello');
  const before = rss();
  let bytes = 0;
  let most = before;
  for await (const d of slow) { bytes += d.length; most = Math.max(most, rss()); }
  assert.equal(bytes, 1600 * 65536);
  if (SLOW === 1) assert.ok(most < before + 24, `grew from ${before} to ${most} MB`);
});

test('a window that never opens is given up', async (t) => {
  const h = await host(t, { more: HASTY });
  const s = session(t, h, { settings: { initialWindowSize: 0 } });
  await assert.rejects(new Promise((_, reject) => {
    const stream = s.request({ ':path': `${FN}/hello` });
    stream.on('error', reject);
    stream.on('close', () => reject(new Error('closed')));
  }));
  await eventually(() => s.destroyed || s.closed, 5, 'the end of the connection');
});

test('resets in a row end the connection, and only that', async (t) => {
  const h = await host(t);
  for (const code of [C.NGHTTP2_CANCEL, C.NGHTTP2_NO_ERROR]) {
    const s = session(t, h);
    await get(s, 'hello');
    let closed = false;
    s.on('close', () => { closed = true; });
    for (let i = 0; i < 400 && !closed && !s.destroyed && !s.closed; i++) {
      const stream = s.request({ ':path': `${FN}/nap?n=1` });
      stream.on('error', () => {});
      stream.close(code);
      if (i % 20 === 0) await new Promise((r) => setImmediate(r));
    }
    assert.equal(await s.farewell, C.NGHTTP2_ENHANCE_YOUR_CALM);
  }
  assert.equal((await get(session(t, h), 'hello')).text, 'hello');
});

test('the preface in pieces; what only begins like it', async (t) => {
  const h = await host(t);
  const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
  const wire = await h.connect();
  for (const byte of Buffer.concat([Buffer.from(PREFACE), settings])) {
    wire.send(Buffer.of(byte));
    await new Promise((r) => setImmediate(r));
  }
  await eventually(() => wire.buf.length >= 9 && wire.buf[3] === 4, 5, 'SETTINGS');
  wire.close();
  for (const text of [requestText({ path: `${FN}/show`, method: 'POST', body: 'hi' }), requestText({ path: `${FN}/show`, method: 'PUT', body: 'hi' })]) {
    const one = await h.connect();
    for (const byte of text) { one.send(Buffer.of(byte)); await new Promise((r) => setImmediate(r)); }
    assert.equal((await one.response()).status, 200);
    one.close();
  }
  for (const text of ['PRI * HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nXX', 'PRI / HTTP/2.0\r\n\r\n']) {
    const one = await h.connect();
    one.send(text);
    assert.match((await one.closed()).toString(), /^HTTP\/1\.1 (400|501|505) /, text);
  }
  for (const junk of [Buffer.alloc(100), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'), Buffer.from([255, 255, 255, 0, 0, 0, 0, 0, 1])]) {
    const one = await h.connect();
    one.send(PREFACE, junk);
    assert.doesNotMatch((await one.closed()).toString('latin1'), /HTTP\/1/);
  }
  assert.equal((await get(session(t, h), 'hello')).text, 'hello');
});

test('by ALPN over TLS, beside HTTP/1.1', async (t) => {
  const dir = folder(t, deployment(SCRIPTS));
  const pair = certificate(dir);
  const h = await start(t, { dir, args: tlsArgs(pair) });
  const s = session(t, h, { ca: pair.ca });
  const show = JSON.parse((await get(s, 'show')).text);
  assert.equal(s.alpnProtocol, 'h2');
  assert.equal(show.url, `https://localhost:${h.port}${FN}/show`);
  const all = await Promise.all(Array.from({ length: 50 }, (_, n) => get(s, `nap?n=${n}`)));
  assert.ok(all.every((r, n) => r.text === String(n)));
  assert.equal((await get(s, 'pieces')).text, '1;2;3;4;5;');
});

test('SIGTERM: GOAWAY, what runs is answered', async (t) => {
  const h = await host(t);
  const s = session(t, h);
  const pending = get(s, 'nap?n=7');
  const streaming = get(s, 'pieces');
  await eventually(() => h.stderr.includes('"napping"') && h.stderr.includes('"writing"'), 5, 'both run');
  h.kill('SIGTERM');
  assert.equal((await pending).text, '7');
  assert.equal((await streaming).text, '1;2;3;4;5;');
  assert.equal(await s.farewell, C.NGHTTP2_NO_ERROR);
  assert.equal((await h.exit).code, 0);
});
