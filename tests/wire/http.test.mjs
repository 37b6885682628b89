// The HTTP edge, on raw bytes.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, sleep, SLOW, start } from '../lib/host.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const ECHO = `return function(event)
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" },
    body = json.encode({ method = event.httpMethod, path = event.path, query = event.rawQuery,
      body = event.body, length = event.body and #event.body or 0, x = event.headers.x }) }
end`;
const FN = '/.netlify/functions/';
const LIMIT = 64 * 1024;

const host = (t, more = '') => start(t, {
  files: deployment({
    echo: ECHO,
    hello: 'return function() return "hello" end',
    slow: 'return function(event) sleep(0.15) return "slow" end',
    status: 'return function(event) return { statusCode = tonumber(event.queryStringParameters.code), body = "" } end',
    read: 'return { methods = { "GET", "DELETE" }, handler = function() return "read" end }',
  }, { fields: { read: 'methods = { "GET", "DELETE" }' }, more: `  limits = { body = "64KB", header = "16KB" },${more}` }),
});

async function one(h, bytes, options) {
  const wire = await h.connect();
  try {
    wire.send(bytes);
    const res = await wire.response(options);
    return { res, wire, rest: await wire.closed().catch(() => null) };
  } finally {
    wire.close();
  }
}

const alive = async (h) => assert.equal((await h.call('hello')).text, 'hello');

test('keep-alive: many requests on one connection', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  for (let i = 0; i < 20; i++) {
    wire.send(requestText({ path: `${FN}echo?n=${i}`, close: false }));
    const res = await wire.response();
    assert.equal(res.status, 200);
    assert.equal(res.json().query, `n=${i}`);
  }
  wire.send(requestText({ path: `${FN}hello` })); // Connection: close
  const last = await wire.response();
  assert.equal(last.text, 'hello');
  assert.match(last.header('connection') ?? '', /close/i);
  assert.equal((await wire.closed()).length, 0);
  wire.close();
});

test('HTTP/1.0: closes by default, stays when asked', async (t) => {
  const h = await host(t);
  const { res, rest } = await one(h, `GET ${FN}hello HTTP/1.0\r\n\r\n`);
  assert.equal(res.status, 200);
  assert.equal(res.text, 'hello');
  assert.equal(rest?.length, 0);
  const wire = await h.connect();
  for (let i = 0; i < 2; i++) {
    wire.send(`GET ${FN}hello HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n`);
    assert.equal((await wire.response()).text, 'hello');
  }
  wire.close();
});

test('pipelining: answers in order, whatever takes longest', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  const paths = ['slow', 'echo?n=1', 'hello', 'slow', 'echo?n=2', 'missing', 'hello'];
  wire.send(Buffer.concat(paths.map((p) => requestText({ path: FN + p, close: false }))));
  const got = [];
  for (const _ of paths) got.push(await wire.response());
  assert.deepEqual(got.map((r) => r.status), [200, 200, 200, 200, 200, 404, 200]);
  assert.deepEqual([0, 2, 3, 6].map((i) => got[i].text), ['slow', 'hello', 'slow', 'hello']);
  assert.deepEqual([1, 4].map((i) => got[i].json().query), ['n=1', 'n=2']);
  wire.close();
});

test('pipelining: a bad request in the middle ends the connection after its 400', async (t) => {
  const h = await host(t);
  const good = requestText({ path: `${FN}hello`, close: false });
  const wire = await h.connect();
  wire.send(Buffer.concat([good, good, Buffer.from('GET / HTTP/1.1\r\nBad Header: x\r\n\r\n'), good, good]));
  for (const status of [200, 200, 400]) assert.equal((await wire.response()).status, status);
  assert.equal((await wire.closed()).length, 0, 'nothing after the 400');
  wire.close();
  await alive(h);
});

test('HEAD: headers of the GET, no body', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  wire.send(requestText({ path: `${FN}hello`, close: false }));
  const get = await wire.response();
  wire.send(requestText({ method: 'HEAD', path: `${FN}hello`, close: false }));
  const head = await wire.response({ head: true });
  assert.equal(head.status, 200);
  assert.equal(head.header('content-length'), get.header('content-length'));
  assert.equal(head.header('content-type'), get.header('content-type'));
  wire.send(requestText({ path: `${FN}hello` }));
  assert.equal((await wire.response()).text, 'hello', 'the connection is still in step');
  wire.close();
});

test('bodies: by length and chunked, up to the limit', async (t) => {
  const h = await host(t);
  const headers = { 'Content-Type': 'text/plain' };
  for (const length of [0, 1, 1000, LIMIT]) {
    const res = await h.call('echo', { method: 'POST', headers, body: 'x'.repeat(length) });
    assert.equal(res.status, 200, `${length} bytes`);
    assert.equal(res.json().length, length);
  }
  const chunks = (sizes) => `${sizes.map((n) => `${n.toString(16)}\r\n${'y'.repeat(n)}\r\n`).join('')}0\r\n\r\n`;
  const head = `POST ${FN}echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`;
  for (const sizes of [[], [1], [5, 70, 3000], [LIMIT]]) {
    const { res } = await one(h, head + chunks(sizes));
    assert.equal(res.status, 200);
    assert.equal(res.json().length, sizes.reduce((a, b) => a + b, 0));
  }
});

test('bodies: over the limit is 413, without reading them', async (t) => {
  const h = await host(t);
  const length = LIMIT + 1;
  const head = `POST ${FN}echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n`;
  const declared = await one(h, head); // no body is sent at all
  assert.equal(declared.res.status, 413);
  assert.match(declared.res.reason, /^(Payload|Content) Too Large$/);
  assert.equal(declared.rest?.length, 0, 'closed');
  const chunked = await one(h, `POST ${FN}echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n${length.toString(16)}\r\n${'z'.repeat(length)}\r\n0\r\n\r\n`);
  assert.equal(chunked.res.status, 413);
  await alive(h);
});

test('Expect: 100-continue', async (t) => {
  const h = await host(t);
  const head = (length) => `POST ${FN}echo HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\nConnection: close\r\n\r\n`;
  const wire = await h.connect();
  wire.send(head(5));
  assert.equal((await wire.response()).status, 100);
  wire.send('abcde');
  const res = await wire.response();
  assert.equal(res.status, 200);
  assert.equal(res.json().body, 'abcde');
  wire.close();
  const { res: refused } = await one(h, head(LIMIT + 1));
  assert.equal(refused.status, 413, 'final at once, no 100');
  const { res: unknown } = await one(h, `POST ${FN}echo HTTP/1.1\r\nHost: x\r\nExpect: foo\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx`);
  assert.equal(unknown.status, 417);
});

test('reason phrases', async (t) => {
  const h = await host(t);
  const phrases = {
    200: 'OK', 201: 'Created', 202: 'Accepted', 204: 'No Content', 301: 'Moved Permanently', 302: 'Found',
    303: 'See Other', 304: 'Not Modified', 307: 'Temporary Redirect', 308: 'Permanent Redirect',
    400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed',
    409: 'Conflict', 410: 'Gone', 415: 'Unsupported Media Type', 418: "I'm a teapot", 422: 'Unprocessable Entity',
    429: 'Too Many Requests', 500: 'Internal Server Error', 501: 'Not Implemented', 502: 'Bad Gateway',
    503: 'Service Unavailable', 504: 'Gateway Timeout',
  };
  for (const [code, reason] of Object.entries(phrases)) {
    const res = await h.call('status', { suffix: `?code=${code}` });
    assert.equal(res.status, Number(code));
    if (code === '418' || code === '422') continue; // RFC 9110 renamed both; either name is right
    assert.equal(res.reason, reason, code);
  }
});

test('Date: on every answer, near now', async (t) => {
  const h = await host(t);
  for (const path of [`${FN}hello`, '/missing', `${FN}missing`]) {
    const asked = Date.now();
    const res = await h.get(path);
    const date = res.header('date');
    assert.match(date ?? '', /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/, path);
    assert.ok(Date.parse(date) > asked - 3000 * SLOW && Date.parse(date) <= Date.now(), `${date}, asked at ${asked}`);
    assert.equal(res.headers.date.length, 1);
  }
});

test('204 and 304 have no body and no length that lies', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  for (const code of [204, 304]) {
    wire.send(requestText({ path: `${FN}status?code=${code}`, close: false }));
    const res = await wire.response();
    assert.equal(res.status, code);
    if (code === 204) assert.equal(res.header('content-length'), undefined);
    assert.equal(res.header('transfer-encoding'), undefined);
  }
  wire.send(requestText({ path: `${FN}hello` }));
  assert.equal((await wire.response()).text, 'hello');
  wire.close();
});

test('404: unknown functions and paths', async (t) => {
  const h = await host(t);
  for (const path of [`${FN}missing`, '/nothing', '/', '//hello', `${FN}`, `${FN}hell`, `${FN}hello2`]) {
    const res = await h.get(path);
    assert.equal(res.status, 404, path);
    assert.equal(res.json().error, 'not_found');
    assert.match(res.header('content-type'), /^application\/json/);
  }
  assert.equal((await h.get(`${FN}hello/any/suffix`)).status, 200, 'a suffix belongs to the function');
});

test('405 with Allow', async (t) => {
  const h = await host(t);
  assert.equal((await h.call('read')).text, 'read');
  for (const method of ['POST', 'PUT', 'PATCH']) {
    const res = await h.call('read', { method, body: '' });
    assert.equal(res.status, 405);
    const allow = (res.header('allow') ?? '').split(/\s*,\s*/);
    for (const m of ['GET', 'DELETE']) assert.ok(allow.includes(m), `Allow: ${allow}`);
    assert.ok(!allow.includes(method));
  }
});

test('431 and 414: too much head', async (t) => {
  const h = await host(t);
  const filled = (n) => ({ a: 'v'.repeat(n) });
  assert.equal((await h.get(`${FN}hello`, filled(8000))).status, 200);
  assert.equal((await h.get(`${FN}hello`, filled(17000))).status, 431);
  const many = (n) => Array.from({ length: n }, (_, i) => [`h${i}`, 'v']);
  assert.equal((await h.request({ path: `${FN}hello`, headers: many(80) })).status, 200);
  assert.equal((await h.request({ path: `${FN}hello`, headers: many(150) })).status, 431);
  assert.equal((await h.get(`${FN}hello?${'q'.repeat(7000)}`)).status, 200);
  assert.equal((await h.get(`${FN}hello?${'q'.repeat(8300)}`)).status, 414);
  await alive(h);
});

// Each refused request beside one that differs only in what is attacked.
const base = (line, ...headers) => `${line}\r\n${['Host: x', ...headers].join('\r\n')}\r\n\r\n`;
const post = (...headers) => base(`POST ${FN}hello HTTP/1.1`, ...headers);
const get = (...headers) => base(`GET ${FN}hello HTTP/1.1`, ...headers);
const smuggled = `GET ${FN}hello HTTP/1.1\r\nHost: x\r\n\r\n`;
const malformed = {
  'Content-Length and Transfer-Encoding': `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${smuggled}`,
  'Transfer-Encoding and Content-Length': `${post('Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${smuggled}`,
  'two different Content-Lengths': `${post('Content-Length: 5', 'Content-Length: 4')}abcde`,
  'a list of Content-Lengths': `${post('Content-Length: 5, 5')}abcde`,
  'Content-Length +5': `${post('Content-Length: +5')}abcde`,
  'Content-Length -5': post('Content-Length: -5'),
  'Content-Length 0x5': `${post('Content-Length: 0x5')}abcde`,
  'Content-Length 5 5': `${post('Content-Length: 5 5')}abcde`,
  'Content-Length of nothing': post('Content-Length:'),
  'Content-Length 2^64': post('Content-Length: 18446744073709551616'),
  'Transfer-Encoding xchunked': `${post('Transfer-Encoding: xchunked')}0\r\n\r\n`,
  'Transfer-Encoding chunked twice': `${post('Transfer-Encoding: chunked, chunked')}0\r\n\r\n`,
  'Transfer-Encoding identity': `${post('Transfer-Encoding: identity')}abcde`,
  'Transfer-Encoding on HTTP/1.0': `POST ${FN}hello HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  'chunk size not hexadecimal': `${post('Transfer-Encoding: chunked')}zz\r\nabc\r\n0\r\n\r\n`,
  'chunk longer than it says': `${post('Transfer-Encoding: chunked')}3\r\nabcdef\r\n0\r\n\r\n`,
  'bare LF after the request line': `GET ${FN}hello HTTP/1.1\nHost: x\r\n\r\n`,
  'bare LF after a header': `GET ${FN}hello HTTP/1.1\r\nHost: x\n\r\n`,
  'bare CR in a value': get('X: a\rb'),
  'space before the colon': get('Authorization : x'),
  'space in a name': get('Fo o: x'),
  'empty name': get(': y'),
  'no colon': get('nothing'),
  'NUL in a value': get('X: a\0b'),
  'control character in a value': get('X: a\x01b'),
  'folded line': get('X: a', ' b'),
  'no Host': `GET ${FN}hello HTTP/1.1\r\n\r\n`,
  'two Hosts': get('Host: y'),
  'empty line in front is fine, junk is not': `\x01\x02${get()}`,
  'version 1.2': base(`GET ${FN}hello HTTP/1.2`),
  'lower-case protocol': base(`GET ${FN}hello http/1.1`),
  'no version': `GET ${FN}hello\r\n\r\n`,
  'HTTP/2 preface': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'lower-case method': base(`get ${FN}hello HTTP/1.1`),
  'unknown method': base(`BREW ${FN}hello HTTP/1.1`),
  'CONNECT': base('CONNECT x:80 HTTP/1.1'),
  'TRACE': base(`TRACE ${FN}hello HTTP/1.1`),
  'space in the target': base(`GET ${FN}hel lo HTTP/1.1`),
};

test('malformed requests: one error answer, closed, nothing smuggled', async (t) => {
  const h = await host(t);
  const twin = [get('Connection: close'), `${post('Content-Length: 5', 'Connection: close')}abcde`,
    `${post('Transfer-Encoding: chunked', 'Connection: close')}3\r\nabc\r\n0\r\n\r\n`, `\r\n${get('Connection: close')}`];
  for (const text of twin) assert.equal((await one(h, text)).res.status, 200);
  for (const [what, text] of Object.entries(malformed)) {
    await t.test(what, async () => {
      const { res, rest } = await one(h, Buffer.from(text, 'latin1'));
      const allowed = /method|CONNECT|TRACE|preface/.test(what) ? [400, 405, 501, 505]
        : /version/.test(what) ? [400, 505] : /xchunked|identity/.test(what) ? [400, 501] : [400];
      assert.ok(allowed.includes(res.status), `status ${res.status}, one of ${allowed}`);
      assert.notEqual(rest, null, 'the connection is closed');
      assert.equal(rest.length, 0, `a second answer: ${rest?.toString('latin1').slice(0, 80)}`);
    });
  }
  await alive(h);
});

test('byte by byte, and cut anywhere: the same answers', async (t) => {
  const h = await host(t);
  const body = 'hello=world&x=1';
  const text = Buffer.from(`POST ${FN}echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nX: v\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const chunked = Buffer.from(`POST ${FN}echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nX: v\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\na\r\n=world&x=1\r\n0\r\n\r\n`);
  for (const bytes of [text, chunked]) {
    const wire = await h.connect();
    wire.send(bytes);
    const whole = (await wire.response()).text;
    for (const byte of bytes) {
      wire.send(Buffer.from([byte]));
      await new Promise(setImmediate);
    }
    assert.equal((await wire.response()).text, whole);
    for (let at = 1; at < bytes.length; at += 7) {
      wire.send(bytes.subarray(0, at));
      await sleep(0.002);
      wire.send(bytes.subarray(at));
      assert.equal((await wire.response()).text, whole, `cut at ${at}`);
    }
    wire.close();
  }
});

test('a client that closes its side still gets the answer', async (t) => {
  const h = await host(t);
  const wire = await h.connect();
  wire.send(requestText({ path: `${FN}slow`, close: false })).half();
  assert.equal((await wire.response()).text, 'slow');
  wire.close();
});

test('clients that go away at any moment harm nobody', async (t) => {
  const h = await host(t);
  const text = requestText({ method: 'POST', path: `${FN}slow`, headers: { 'Content-Type': 'text/plain' }, body: 'abc' });
  for (let at = 0; at <= text.length; at += 9) {
    const wire = await h.connect();
    wire.send(text.subarray(0, at));
    await sleep(0.003);
    wire.socket.resetAndDestroy();
  }
  await alive(h);
});

test('absolute target and OPTIONS reach the function', async (t) => {
  const h = await host(t);
  const { res } = await one(h, `GET http://x${FN}echo?q=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  assert.equal(res.status, 200);
  assert.equal(res.json().path, `${FN}echo`);
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
    const got = await h.call('echo', { method, body: method === 'GET' ? undefined : '' });
    assert.equal(got.status, 200, method);
    assert.equal(got.json().method, method);
  }
});

test('200 connections at once', async (t) => {
  const h = await host(t);
  const wires = await Promise.all(Array.from({ length: 200 }, () => Wire.connect(h.address, h.port)));
  wires.forEach((w, i) => w.send(requestText({ path: `${FN}echo?n=${i}`, close: false })));
  const got = await Promise.all(wires.map((w) => w.response()));
  got.forEach((r, i) => assert.equal(r.json().query, `n=${i}`));
  wires.forEach((w) => w.close());
});
