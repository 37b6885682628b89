// Compression of answers: who gets it, what is compressed, streams, and what stays as it is.
import assert from 'node:assert/strict';
import http from 'node:http';
import http2 from 'node:http2';
import test from 'node:test';
import zlib from 'node:zlib';
import { deployment, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const FN = '/.netlify/functions';
const TEXT = Array.from({ length: 500 }, (_, i) => `line ${i} of a text\n`).join('');
const answer = (headers) => `local list = {} for i = 0, 499 do list[i + 1] = "line " .. i .. " of a text\\n" end
return function() return { statusCode = 200, headers = { ${headers} }, body = table.concat(list) } end`;
const SCRIPTS = {
  json: answer(''),
  tag: answer(`ETag = '"abc"', Vary = "Origin"`),
  small: 'return function() return "small" end',
  image: answer('["Content-Type"] = "image/png"'),
  done: answer('["Content-Encoding"] = "gzip"'),
  fixed: answer('["Cache-Control"] = "max-age=1, No-Transform"'),
  noise: 'return function() return { statusCode = 200, headers = { ["Content-Type"] = "text/x" }, body = crypto.random(4096) } end',
  large: 'return function() return ("x"):rep(600000) end',
  boom: 'return function() return { statusCode = 200, body = function(write) write("first") error("x") end } end',
  events: 'return function() return stream.sse(function(send) for i = 1, 4 do send("event " .. i) sleep(0.15) end end) end',
};
const DECODE = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync };

function get(h, name, accept, method = 'GET') {
  return new Promise((resolve, reject) => {
    const headers = accept === undefined ? {} : { 'Accept-Encoding': accept };
    http.request({ host: h.address, port: h.port, path: name.startsWith('/') ? name : `${FN}/${name}`, method, headers, agent: false }, (res) => {
      const pieces = [];
      res.on('data', (d) => pieces.push(d));
      const end = (error) => {
        const body = Buffer.concat(pieces);
        const encoding = res.headers['content-encoding'];
        resolve({ res, body, pieces, encoding, vary: res.headers.vary ?? '', error, text: () => (DECODE[encoding]?.(body) ?? body).toString() });
      };
      res.on('end', () => end()).on('error', end);
    }).on('error', reject).end();
  });
}

test('what Accept-Encoding asks for', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS) });
  const cases = [
    [undefined, undefined], ['', undefined], ['identity', undefined], ['deflate, zstd', undefined],
    ['gzip', 'gzip'], ['GZip', 'gzip'], ['x-gzip', 'gzip'], ['br', 'br'], ['gzip, deflate, br', 'br'], ['*', 'br'],
    ['gzip;q=1, br;q=0.5', 'gzip'], ['gzip;q=0.5, br;q=0.501', 'br'], ['br;q=0, gzip;q=0', undefined], ['br;q=0, *', 'gzip'],
    ['*;q=0', undefined], ['identity, gzip;q=0.5', undefined], ['gzip ; q=0.8 , identity;q=0.1', 'gzip'], ['gzip;q=x', undefined],
  ];
  for (const [accept, expected] of cases) {
    const r = await get(h, 'json', accept);
    assert.equal(r.encoding, expected, `${accept}`);
    assert.ok(r.text() === TEXT);
    assert.equal(Number(r.res.headers['content-length']), r.body.length);
    assert.match(r.vary, /Accept-Encoding/i);
    if (expected) assert.ok(r.body.length < TEXT.length / 4);
  }
  const head = await get(h, 'json', 'gzip', 'HEAD');
  assert.equal(head.res.headers['content-length'], String((await get(h, 'json', 'gzip')).body.length));
});

test('what is left as it is', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS) });
  for (const name of ['small', 'image', 'fixed', 'large', 'noise']) assert.equal((await get(h, name, 'gzip, br')).encoding, undefined, name);
  assert.equal((await get(h, 'done', 'gzip, br')).body.length, TEXT.length);
  assert.doesNotMatch((await get(h, 'image', 'gzip')).vary, /Accept-Encoding/i);
  const tag = await get(h, 'tag', 'gzip');
  assert.equal(tag.res.headers.etag, 'W/"abc"');
  assert.match(tag.vary, /Origin.*Accept-Encoding/);
  assert.equal((await get(h, 'tag')).res.headers.etag, '"abc"');
  const off = await start(t, { files: deployment(SCRIPTS, { more: 'compression = false' }) });
  const r = await get(off, 'json', 'gzip, br');
  assert.deepEqual([r.encoding, r.vary], [undefined, '']);
});

test('static files', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS, { more: 'publish = "web"', files: { 'web/a.css': 'body { color: red }\n'.repeat(500) } }) });
  for (const [accept, expected] of [['gzip', 'gzip'], ['br', 'br'], ['', undefined]]) {
    const r = await get(h, '/a.css', accept);
    assert.deepEqual([r.res.statusCode, r.encoding, r.text().length], [200, expected, 10000]);
  }
});

test('streams: each piece can be read when it comes', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS, { more: 'limits = { h2c = true }' }) });
  const all = 'data: event 1\n\ndata: event 2\n\ndata: event 3\n\ndata: event 4\n\n';
  for (const [accept, make, expected] of [['gzip, br', zlib.createGunzip, 'gzip'], ['br', zlib.createBrotliDecompress, 'br']]) {
    const t0 = performance.now();
    const times = [];
    const r = await new Promise((resolve, reject) => {
      http.get({ host: h.address, port: h.port, path: `${FN}/events`, headers: { 'Accept-Encoding': accept }, agent: false }, (res) => {
        let text = '';
        res.pipe(make()).on('data', (d) => { text += d; times.push(performance.now() - t0); }).on('end', () => resolve({ res, text })).on('error', reject);
      }).on('error', reject);
    });
    assert.equal(r.res.headers['content-encoding'], expected);
    assert.equal(r.text, all);
    assert.ok(times.length >= 4 && times[0] < times.at(-1) - 300, `${times}`);
  }
  assert.equal((await get(h, 'events')).text(), all);
  const boom = await get(h, 'boom', 'gzip');
  assert.ok(boom.error, 'broken off');
  const s = http2.connect(`http://${h.address}:${h.port}`);
  later(t, () => s.destroy());
  const body = await new Promise((resolve, reject) => {
    const parts = [];
    s.request({ ':path': `${FN}/events`, 'accept-encoding': 'gzip' }).on('data', (d) => parts.push(d)).on('end', () => resolve(Buffer.concat(parts))).on('error', reject);
  });
  assert.equal(zlib.gunzipSync(body).toString(), all);
});
