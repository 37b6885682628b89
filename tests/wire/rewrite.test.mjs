// Rewrites to another host: luafn as an intermediary (RFC 9110 7.6), and bodies in pieces.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http2 from 'node:http2';
import test from 'node:test';
import zlib from 'node:zlib';
import { config, eventually, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { rss } from '../lib/process.mjs';
import { answer, rawUpstream } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

async function front(t, onRequest) {
  const up = await rawUpstream(t, onRequest);
  const h = await start(t, {
    files: { 'functions.lua': config({}, `  redirects = { { from = "/px/*", to = "${up.url}/:splat", status = 200 } },\n  limits = { h2c = true },`) },
  });
  return { up, h };
}

// Bytes that differ everywhere, so that a piece that is lost, doubled or moved is seen.
function pattern(length) {
  const out = Buffer.alloc(length);
  for (let i = 0; i < length; i += 1) out[i] = (i * 31 + (i >>> 8) * 17 + (i >>> 16)) & 255;
  return out;
}

// The whole of it by HTTP/2 with prior knowledge: { status, headers, body }.
function overH2(t, h, path) {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`http://${h.address}:${h.port}`);
    later(t, () => session.destroy());
    session.on('error', reject);
    const stream = session.request({ ':path': path });
    const parts = [];
    let headers;
    stream.on('response', (got) => { headers = got; });
    stream.on('data', (d) => parts.push(d));
    stream.on('error', reject);
    stream.on('end', () => resolve({ status: headers[':status'], headers, body: Buffer.concat(parts) }));
    stream.end();
  });
}

test('fields that Connection names end here, both ways', async (t) => {
  const { up, h } = await front(t, (request, conn) => conn.send(answer('ok', {
    fields: ['Connection: X-Secret, x-other', 'X-Secret: up', 'X-Other: up', 'X-Kept: up', 'Keep-Alive: timeout=5', 'Proxy-Connection: x'],
  })));
  const res = await h.request({
    path: '/px/a', headers: { Connection: ['close, X-Hop', 'x-third'], 'X-Hop': 'down', 'X-Third': 'down', 'X-Kept': 'down', TE: 'trailers', 'Keep-Alive': 'timeout=9' },
  });
  assert.equal(res.text, 'ok');
  assert.equal(res.header('x-kept'), 'up');
  for (const name of ['x-secret', 'x-other', 'keep-alive', 'proxy-connection']) assert.equal(res.header(name), undefined, name);
  const [{ headers }] = up.requests;
  assert.equal(headers['x-kept'], 'down');
  for (const name of ['x-hop', 'x-third', 'te', 'keep-alive', 'connection']) assert.equal(headers[name], undefined, name);
});

test('the length is the other side\'s: HEAD, GET, 304, HTTP/1.0', async (t) => {
  const { h } = await front(t, (request, conn) => {
    if (request.target === '/304') conn.send('HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 1488\r\n\r\n');
    else if (request.target === '/chunks') conn.send('HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n');
    else if (request.target === '/until-close') { conn.socket.end('HTTP/1.0 200 OK\r\n\r\nhello'); }
    else if (request.target === '/unknown') conn.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' + (request.method === 'HEAD' ? '' : '0\r\n\r\n'));
    else conn.send(`HTTP/1.1 200 OK\r\nContent-Length: 1488\r\n\r\n${request.method === 'HEAD' ? '' : 'x'.repeat(1488)}`);
  });
  const get = await h.get('/px/a');
  assert.deepEqual([get.header('content-length'), get.header('transfer-encoding'), get.body.length], ['1488', undefined, 1488]);
  const head = await h.request({ method: 'HEAD', path: '/px/a' });
  assert.deepEqual([head.status, head.header('content-length')], [200, '1488']);
  const unknown = await h.request({ method: 'HEAD', path: '/px/unknown' });
  assert.deepEqual([unknown.status, unknown.header('content-length')], [200, undefined]);
  const same = await h.get('/px/304');
  assert.deepEqual([same.status, same.header('content-length'), same.header('etag')], [304, '1488', '"x"']);
  const chunks = await h.get('/px/chunks');
  assert.deepEqual([chunks.text, chunks.header('content-length'), chunks.header('transfer-encoding')], ['hello', undefined, 'chunked']);
  assert.equal((await h.get('/px/until-close')).text, 'hello');
  // To a client of HTTP/1.0 on a connection that stays.
  const wire = await h.connect();
  for (let i = 0; i < 2; i += 1) {
    wire.send('GET /px/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    const old = await wire.response();
    assert.deepEqual([old.header('connection'), old.header('content-length'), old.body.length], ['keep-alive', '1488', 1488]);
  }
  wire.close();
  const two = await overH2(t, h, '/px/a');
  assert.deepEqual([two.headers['content-length'], two.body.length], ['1488', 1488]);
});

test('a coded body passes as it is, and the client says which codings it knows', async (t) => {
  const text = 'a text that is worth it. '.repeat(200);
  const packed = zlib.gzipSync(text);
  const { up, h } = await front(t, (request, conn) => {
    const coded = /gzip/.test(request.headers['accept-encoding'] ?? '');
    const fields = ['Content-Type: text/plain', 'ETag: "tag"', ...(coded ? ['Content-Encoding: gzip'] : [])];
    conn.send(answer('', { length: false, fields: [...fields, `Content-Length: ${coded ? packed.length : text.length}`] }));
    conn.send(coded ? packed.toString('latin1') : text);
  });
  const coded = await h.request({ path: '/px/a', headers: { 'Accept-Encoding': 'gzip' } });
  assert.deepEqual([coded.header('content-encoding'), coded.header('etag')], ['gzip', '"tag"']);
  assert.ok(coded.body.equals(packed));
  const plain = await h.request({ path: '/px/a' });
  assert.deepEqual([plain.header('content-encoding'), plain.text], [undefined, text]);
  assert.deepEqual(up.requests.map((r) => r.headers['accept-encoding']), ['gzip', undefined]);
});

test('an event stream passes event by event', async (t) => {
  let events;
  const { h } = await front(t, (request, conn) => {
    conn.send('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
    events = (text) => conn.send(`${text.length.toString(16)}\r\n${text}\r\n`);
    events('data: 1\n\n');
  });
  for (const headers of [{}, { 'Accept-Encoding': 'gzip' }]) {
    const wire = await h.connect();
    wire.send(requestText({ path: '/px/events', headers }));
    // Its body so far, out of its chunks and its coding.
    const body = () => {
      const at = wire.buf.indexOf('\r\n\r\n');
      const parts = [];
      let rest = wire.buf.subarray(at < 0 ? wire.buf.length : at + 4);
      for (let m; (m = /^([0-9a-f]+)\r\n/.exec(rest.toString('latin1'))) !== null;) {
        const size = parseInt(m[1], 16);
        if (rest.length < m[0].length + size + 2) break;
        parts.push(rest.subarray(m[0].length, m[0].length + size));
        rest = rest.subarray(m[0].length + size + 2);
      }
      const coded = Buffer.concat(parts);
      const gzip = /content-encoding: gzip/i.test(wire.buf.subarray(0, at).toString('latin1'));
      if (at >= 0) assert.equal(gzip, headers['Accept-Encoding'] !== undefined);
      return (gzip ? zlib.gunzipSync(coded, { finishFlush: zlib.constants.Z_SYNC_FLUSH }) : coded).toString('latin1');
    };
    const seen = async (text) => {
      while (!body().includes(text)) await new Promise((resolve) => { wire.socket.once('data', resolve); });
    };
    await seen('data: 1\n\n'); // the second is sent only then
    events('data: 2\n\n');
    await seen('data: 2\n\n');
    wire.socket.resetAndDestroy(); // an end alone might be half a close: then the answer goes on
  }
});

test('bodies over each water mark arrive whole, by every way', async (t) => {
  const sizes = [0, 1, 16384, 16385, 65536, 65537, 262145, 1048577, 5000000];
  const { h } = await front(t, async (request, conn) => {
    const [, how, size] = request.target.split('/');
    const body = pattern(Number(size));
    if (how === 'length') await conn.send(answer('', { length: false, fields: [`Content-Length: ${size}`, 'Content-Type: text/plain'] }));
    else await conn.send(answer('', { length: false, fields: ['Transfer-Encoding: chunked', 'Content-Type: text/plain'] }));
    for (let at = 0; at < body.length; at += 50000) {
      const piece = body.subarray(at, at + 50000).toString('latin1');
      await conn.send(how === 'length' ? piece : `${piece.length.toString(16)}\r\n${piece}\r\n`);
    }
    if (how !== 'length') await conn.send('0\r\n\r\n');
  });
  for (const how of ['length', 'chunks']) {
    for (const size of sizes) {
      const what = `${how}, ${size}`;
      assert.ok((await h.get(`/px/${how}/${size}`)).body.equals(pattern(size)), what);
      assert.ok((await overH2(t, h, `/px/${how}/${size}`)).body.equals(pattern(size)), `${what}, HTTP/2`);
      const packed = await h.request({ path: `/px/${how}/${size}`, headers: { 'Accept-Encoding': 'gzip' } });
      const body = packed.header('content-encoding') === 'gzip' ? zlib.gunzipSync(packed.body) : packed.body;
      assert.ok(body.equals(pattern(size)), `${what}, gzip`);
    }
  }
});

test('the other side waits while the client does not read', async (t) => {
  const CLIENTS = 12, SIZE = 24 * 1024 * 1024; // more than four sockets' buffers
  let taken = 0;
  const { h } = await front(t, async (request, conn) => {
    const piece = pattern(65536).toString('latin1');
    await conn.send(answer('', { length: false, fields: [`Content-Length: ${SIZE}`] }));
    for (let at = 0; at < SIZE && !conn.socket.destroyed; at += 65536) {
      await conn.send(piece);
      taken += 65536;
    }
  });
  const [worker] = h.workers();
  await h.get('/nothing');
  const before = rss(worker).anon;
  const wires = await Promise.all(Array.from({ length: CLIENTS }, () => h.connect()));
  for (const wire of wires) {
    wire.socket.pause();
    wire.send(requestText({ path: '/px/large' }));
  }
  let still = 0, last = -1;
  await eventually(() => {
    still = taken === last && taken > 0 ? still + 1 : 0;
    last = taken;
    return still > 10;
  }, 20, 'a stop of the other side');
  const each = ((rss(worker).anon - before) * 1024) / CLIENTS;
  t.diagnostic(`${(each / 1024).toFixed(0)} KiB a transfer that stands`);
  assert.ok(taken < CLIENTS * SIZE, 'not all of it was taken');
  if (SLOW === 1) assert.ok(each < 256 * 1024, `${each} bytes each`); // sanitizers and valgrind need more
  for (const wire of wires.slice(1)) wire.close();
  const [{ socket, buf }] = wires;
  const hash = crypto.createHash('sha256');
  let head = buf, length = 0;
  socket.removeAllListeners('data');
  socket.on('data', (d) => {
    let body = d;
    if (head !== null) {
      head = Buffer.concat([head, d]);
      const at = head.indexOf('\r\n\r\n');
      if (at < 0) return;
      body = head.subarray(at + 4);
      head = null;
    }
    hash.update(body);
    length += body.length;
  });
  socket.resume();
  await new Promise((resolve) => { socket.on('end', resolve); });
  const right = crypto.createHash('sha256');
  for (let at = 0; at < SIZE; at += 65536) right.update(pattern(65536));
  assert.equal(length, SIZE);
  assert.equal(hash.digest('hex'), right.digest('hex'));
});

test('an answer that breaks off is seen to be cut, and the log says so', async (t) => {
  const { h } = await front(t, async (request, conn) => {
    if (request.target === '/length') await conn.send('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
    else if (request.target === '/chunks') await conn.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n');
    else await conn.send('HTTP/1.1 200 OK\r\nContent-');
    conn.socket.destroy();
  });
  for (const path of ['/length', '/chunks']) {
    const wire = await h.connect();
    wire.send(requestText({ path: `/px${path}`, close: false }));
    const got = (await wire.closed()).toString('latin1');
    assert.match(got, /^HTTP\/1\.1 200 OK\r\n/);
    assert.match(got, /half/);
    assert.doesNotMatch(got, /\r\n0\r\n\r\n$/);
    const line = await eventually(() => h.log().find((l) => l.path === `/px${path}`), 5, 'the line in the log');
    assert.deepEqual([line.status, line.error, line.bytes], [200, 'proxy_failed', 4]);
  }
  assert.equal((await h.get('/px/head?token=SECRET')).status, 502);
  await eventually(() => (h.stderr.match(/"msg":"a rewrite failed","host":"127\.0\.0\.1[^"]*","request_id":"\w+","error":"[^"]+"/g) ?? []).length >= 3, 5, `why each failed: ${h.stderr}`);
  assert.doesNotMatch(h.stderr, /SECRET/);
  await assert.rejects(overH2(t, h, '/px/length'));
});

// An upstream that gives each request's body to `onPiece(bytes, conn)` as it comes, once its head is there;
// `onHead(head, conn)` comes first. Lengths and chunks are left as they are.
async function raw(t, { onHead = () => {}, onPiece = () => {}, read = true }) {
  const up = await rawUpstream(t, () => {}, {
    onConnection: (conn) => {
      conn.socket.removeAllListeners('data');
      let buf = Buffer.alloc(0);
      conn.socket.on('data', (d) => {
        if (conn.head !== undefined) { onPiece(d, conn); return; }
        buf = Buffer.concat([buf, d]);
        const at = buf.indexOf('\r\n\r\n');
        if (at < 0) return;
        conn.head = buf.subarray(0, at).toString('latin1');
        onHead(conn.head, conn);
        if (buf.length > at + 4) onPiece(buf.subarray(at + 4), conn);
        if (!read) conn.socket.pause();
      });
    },
  });
  const h = await start(t, {
    files: { 'functions.lua': config({}, `  redirects = { { from = "/px/*", to = "${up.url}/:splat", status = 200 } },\n  limits = { h2c = true, body = "64MB" },`) },
  });
  return { up, h };
}

const unchunk = (buf) => {
  const parts = [];
  for (let pos = 0; pos < buf.length;) {
    const eol = buf.indexOf('\r\n', pos);
    const size = parseInt(buf.subarray(pos, eol).toString('latin1'), 16);
    if (size === 0) break;
    parts.push(buf.subarray(eol + 2, eol + 2 + size));
    pos = eol + 2 + size + 2;
  }
  return Buffer.concat(parts);
};

test('the body of a request passes as it comes', async (t) => {
  for (const how of ['length', 'chunks']) {
    let got = Buffer.alloc(0), wake = () => {}, conn;
    const { up, h } = await raw(t, {
      onHead: (head, c) => { conn = c; },
      onPiece: (d) => { got = Buffer.concat([got, d]); wake(); },
    });
    const seen = async (bytes) => {
      while ((how === 'length' ? got.length : unchunk(got).length) < bytes) await new Promise((resolve) => { wake = resolve; });
    };
    const first = pattern(100000), second = pattern(300001);
    const piece = (bytes) => (how === 'length' ? bytes : Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]));
    const wire = await h.connect();
    wire.send(`POST /px/up HTTP/1.1\r\nHost: x\r\n${how === 'length' ? `Content-Length: ${first.length + second.length}` : 'Transfer-Encoding: chunked'}\r\n\r\n`);
    wire.send(piece(first));
    await seen(first.length); // and only then is the rest sent
    wire.send(piece(second), how === 'length' ? '' : '0\r\n\r\n');
    await seen(first.length + second.length);
    conn.send(answer('thanks'));
    assert.equal((await wire.response()).text, 'thanks');
    wire.close();
    assert.match(conn.head, how === 'length' ? /\r\ncontent-length: 400001/i : /\r\ntransfer-encoding: chunked/i);
    assert.doesNotMatch(conn.head, how === 'length' ? /transfer-encoding/i : /content-length/i);
    assert.ok((how === 'length' ? got : unchunk(got)).equals(Buffer.concat([first, second])));
    assert.equal(up.connections, 1);
  }
});

test('both ways at once: a host that answers while it reads', async (t) => {
  const SIZE = 12 * 1024 * 1024; // more than all buffers between
  const { h } = await raw(t, {
    onHead: (head, conn) => conn.send(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`),
    onPiece: (d, conn) => conn.socket.write(d),
  });
  const body = pattern(SIZE);
  const wire = await h.connect();
  wire.send(`POST /px/echo HTTP/1.1\r\nHost: x\r\nContent-Length: ${SIZE}\r\n\r\n`, body);
  const parts = [];
  wire.socket.removeAllListeners('data');
  await new Promise((resolve, reject) => {
    let length = 0;
    wire.socket.on('close', () => reject(new Error(`closed after ${length} bytes`)));
    wire.socket.on('data', (d) => {
      parts.push(d);
      length += d.length;
      if (length >= SIZE && Buffer.concat(parts).indexOf('\r\n\r\n') + 4 + SIZE <= length) resolve();
    });
  });
  wire.socket.destroy();
  const all = Buffer.concat(parts);
  assert.ok(all.subarray(all.indexOf('\r\n\r\n') + 4).equals(body));
});

test('the client waits while the other side does not read', async (t) => {
  const CLIENTS = 12, SIZE = 48 * 1024 * 1024;
  const { h } = await raw(t, { read: false });
  const [worker] = h.workers();
  await h.get('/nothing');
  const before = rss(worker).anon;
  let taken = 0;
  const piece = pattern(65536);
  const wires = await Promise.all(Array.from({ length: CLIENTS }, () => h.connect()));
  for (const wire of wires) {
    wire.send(`PUT /px/large HTTP/1.1\r\nHost: x\r\nContent-Length: ${SIZE}\r\n\r\n`);
    const go = (left) => { if (left > 0 && !wire.socket.destroyed) wire.socket.write(piece, () => { taken += piece.length; go(left - piece.length); }); };
    go(SIZE);
  }
  let still = 0, last = -1;
  await eventually(() => {
    still = taken === last && taken > 0 ? still + 1 : 0;
    last = taken;
    return still > 10;
  }, 20, 'a stop of the clients');
  const each = ((rss(worker).anon - before) * 1024) / CLIENTS;
  t.diagnostic(`${(each / 1024).toFixed(0)} KiB an upload that stands`);
  assert.ok(taken < CLIENTS * SIZE, 'not all of it was taken');
  if (SLOW === 1) assert.ok(each < 256 * 1024, `${each} bytes each`);
  for (const wire of wires) wire.socket.resetAndDestroy();
});

test('a body that breaks off, is wrong, or is not wanted', async (t) => {
  let closed = () => {}, more = () => {};
  const { up, h } = await raw(t, {
    onHead: (head, conn) => {
      conn.socket.on('close', () => closed());
      if (head.startsWith('POST /early')) conn.send(answer('too much', { status: '413 Content Too Large', fields: ['Connection: close'] }));
    },
    onPiece: () => more(),
  });
  const begin = async (path, fields, first) => {
    const wire = await h.connect();
    const there = new Promise((resolve) => { more = resolve; });
    wire.send(`POST /px${path} HTTP/1.1\r\nHost: x\r\n${fields}\r\n\r\n`, first);
    await there;
    return wire;
  };
  // A malformed chunk: the client hears so, and the other side gets no end that looks like one.
  let gone = new Promise((resolve) => { closed = resolve; });
  let wire = await begin('/chunks', 'Transfer-Encoding: chunked', '4\r\nhalf\r\n');
  wire.send('xyz\r\n');
  assert.equal((await wire.response()).status, 400);
  await gone;
  wire.close();
  // The client leaves.
  gone = new Promise((resolve) => { closed = resolve; });
  wire = await begin('/leaves', 'Content-Length: 100', 'half');
  wire.socket.resetAndDestroy();
  await gone;
  // Longer than limits.body: known at the head, and found out on the way.
  wire = await h.connect();
  wire.send('POST /px/large HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n');
  assert.equal((await wire.response()).status, 413);
  wire.close();
  // The other side answers before it has all.
  wire = await h.connect();
  wire.send('POST /px/early HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n', 'half');
  const early = await wire.response();
  assert.deepEqual([early.status, early.text], [413, 'too much']);
  wire.close();
  assert.equal(up.connections, 3, 'what was too long was not asked for');
});

test('a request whose body comes in pieces is made again only where it may be, and can be', async (t) => {
  const up = await rawUpstream(t, (request, conn) => {
    if (conn.served > 0 && request.target === '/drop') conn.socket.destroy();
    else conn.send(answer('ok'));
  });
  const h = await start(t, {
    files: { 'functions.lua': config({}, `  redirects = { { from = "/px/*", to = "${up.url}/:splat", status = 200 } },`) },
  });
  for (const [method, size, times] of [['POST', 4, 1], ['PUT', 4, 2], ['PUT', 300000, 1]]) {
    up.requests.length = 0;
    assert.equal((await h.get('/px/warm')).status, 200);
    const wire = await h.connect();
    wire.send(`${method} /px/drop HTTP/1.1\r\nHost: x\r\nContent-Length: ${size}\r\nExpect: 100-continue\r\n\r\n`);
    assert.equal((await wire.response()).status, 100);
    wire.send(pattern(size));
    assert.equal((await wire.response()).status, times === 2 ? 200 : 502, `${method}, ${size}`);
    wire.close();
    const made = up.requests.filter((r) => r.target === '/drop');
    assert.equal(made.length, times, `${method}, ${size}`);
    for (const one of made) assert.ok(one.body.equals(pattern(size)));
  }
});
