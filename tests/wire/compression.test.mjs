// Compression of answers: who gets it, what is compressed, streams, and what stays as it is.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import path from 'node:path';
import test from 'node:test';
import zlib from 'node:zlib';
import { deployment, eventually, folder, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { upstream } from '../lib/upstream.mjs';

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
  events: 'return function() return stream.sse(function(send) for i = 1, 4 do send("event " .. i) sleep(0.02) end end) end',
};
const DECODE = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync };

function get(h, name, accept, method = 'GET', more = {}) {
  return new Promise((resolve, reject) => {
    const headers = accept === undefined ? more : { 'Accept-Encoding': accept, ...more };
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
  // After each event the function waits to hear that it has been read.
  let read = 0;
  const waiting = [];
  const goOn = () => { while (waiting.length && waiting[0].n <= read) waiting.shift().res.end(); };
  const up = await upstream(t, (req, res) => { waiting.push({ n: Number(req.url.slice(1)), res }); goOn(); });
  const steps = `return function() return stream.sse(function(send)
    for i = 1, 4 do send("event " .. i) fetch(${lua(up)} .. "/" .. i, { timeout = 60 }) end
  end) end`;
  const h = await start(t, { files: deployment({ ...SCRIPTS, steps }, { fields: { steps: 'fetch = { "127.0.0.1" }, timeout = 60' }, more: 'limits = { h2c = true }' }) });
  const all = 'data: event 1\n\ndata: event 2\n\ndata: event 3\n\ndata: event 4\n\n';
  for (const [accept, make, expected] of [['gzip, br', zlib.createGunzip, 'gzip'], ['br', zlib.createBrotliDecompress, 'br']]) {
    read = 0;
    const r = await new Promise((resolve, reject) => {
      http.get({ host: h.address, port: h.port, path: `${FN}/steps`, headers: { 'Accept-Encoding': accept }, agent: false }, (res) => {
        let text = '';
        res.pipe(make()).on('data', (d) => { text += d; read = text.split('event ').length - 1; goOn(); }).on('end', () => resolve({ res, text })).on('error', reject);
      }).on('error', reject);
    });
    assert.equal(r.res.headers['content-encoding'], expected);
    assert.equal(r.text, all);
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

const QUIET = new Date('2020-02-20T20:20:20Z');
const quiet = (...names) => { for (const name of names) fs.utimesSync(name, QUIET, QUIET); };
const hex = (size) => crypto.randomBytes(size / 2).toString('hex');

async function site(t, files, more = '') {
  const dir = folder(t, deployment(SCRIPTS, { more: `publish = "web", ${more}`, files: Object.fromEntries(Object.entries(files).map(([k, v]) => [`web/${k}`, v])) }));
  const web = path.join(dir, 'web');
  quiet(...fs.readdirSync(web).map((name) => path.join(web, name)));
  const h = await start(t, { dir, args: ['--workers', '1'] });
  h.web = web;
  return h;
}

// Milliseconds of processor time: of the loop, and of the threads beside it.
function times(pid) {
  const out = { loop: 0, threads: 0 };
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    out[Number(task) === pid ? 'loop' : 'threads'] += Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
  }
  return out;
}
async function spent(h, work) {
  const [pid] = h.workers();
  const before = times(pid);
  await work();
  const after = times(pid);
  return { loop: after.loop - before.loop, threads: after.threads - before.threads };
}

test('large bodies are compressed beside the loop, a file once', async (t) => {
  const names = Array.from({ length: 8 }, (_, i) => `${i}.txt`);
  const files = Object.fromEntries(names.map((name) => [name, hex(400000)]));
  const h = await site(t, { ...files, 'many.txt': hex(400000) });
  const all = async () => {
    for (const name of names) {
      const r = await get(h, `/${name}`, 'br');
      assert.equal(r.encoding, 'br');
      assert.ok(r.text() === files[name]);
      assert.equal(Number(r.res.headers['content-length']), r.body.length);
    }
  };
  assert.equal((await get(h, '/0.txt', 'br', 'HEAD')).res.headers['content-length'], undefined, 'not known yet');
  const first = await spent(h, all);
  assert.ok(first.threads > 2 * first.loop, JSON.stringify(first));
  const again = await spent(h, all);
  assert.ok(again.threads < first.threads / 10, JSON.stringify([first, again]));
  const together = await spent(h, async () => {
    const list = await Promise.all(Array.from({ length: 20 }, () => get(h, '/many.txt', 'br')));
    for (const r of list) assert.ok(r.encoding === 'br' && r.body.equals(list[0].body));
  });
  assert.ok(together.threads < first.threads / 2, JSON.stringify([first, together]));
  const head = await get(h, '/0.txt', 'br', 'HEAD');
  assert.deepEqual([head.encoding, head.res.headers['content-length']], ['br', String((await get(h, '/0.txt', 'br')).body.length)]);
  const other = path.join(h.web, '0.txt');
  fs.writeFileSync(other, files['1.txt']);
  quiet(other);
  assert.ok((await get(h, '/0.txt', 'br')).text() === files['1.txt'], 'another file of the same name, size and date');
});

test('who leaves while a body is compressed, and what does not become shorter', async (t) => {
  const noise = crypto.randomBytes(300000);
  const h = await site(t, { 'left.txt': hex(500000), 'noise.txt': noise });
  const wires = await Promise.all(Array.from({ length: 10 }, () => h.connect()));
  for (const wire of wires) wire.send('GET /left.txt HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n');
  for (const wire of wires) wire.close();
  for (let i = 0; i < 2; i++) {
    const r = await get(h, '/noise.txt', 'gzip, br');
    assert.deepEqual([r.encoding, r.body.equals(noise), r.vary], [undefined, true, 'Accept-Encoding']);
  }
  assert.equal((await get(h, '/left.txt', 'gzip')).text().length, 500000);
  const s = http2.connect(`http://${h.address}:${h.port}`);
  s.on('error', () => {});
  s.destroy();
  await eventually(() => h.log().filter((l) => l.path === '/left.txt').length === 11, 10, 'each is logged');
});

test('a 304 says what the answer would; a part by date is of the same bytes', async (t) => {
  const h = await site(t, { 'a.css': TEXT, 'b.bin': TEXT });
  const plain = (await get(h, '/a.css')).res.headers;
  const packed = (await get(h, '/a.css', 'gzip')).res.headers;
  assert.equal(packed.etag, `W/${plain.etag}`);
  for (const [accept, headers] of [[undefined, plain], ['gzip', packed]]) {
    const { res, body } = await get(h, '/a.css', accept, 'GET', { 'If-None-Match': headers.etag });
    assert.deepEqual([res.statusCode, body.length], [304, 0]);
    for (const name of ['etag', 'vary', 'cache-control']) assert.equal(res.headers[name], headers[name], name);
    assert.ok(res.headers.date);
  }
  assert.equal((await get(h, '/b.bin')).res.headers.vary, undefined);
  const part = { Range: 'bytes=100-', 'If-Range': QUIET.toUTCString() };
  for (const [name, accept, status] of [['/a.css', undefined, 206], ['/a.css', 'identity', 206], ['/a.css', 'gzip', 200], ['/b.bin', 'gzip', 206]]) {
    const r = await get(h, name, accept, 'GET', part);
    assert.equal(r.res.statusCode, status, `${name} ${accept}`);
    assert.equal(r.text(), status === 206 ? TEXT.slice(100) : TEXT);
  }
});

test('.br and .gz beside a file', async (t) => {
  const big = hex(2 << 20);
  const packed = { '.br': 'not really br', '.gz': 'not really gzip' };
  const beside = (name, text, endings = ['.br', '.gz']) => ({ [name]: text, ...Object.fromEntries(endings.map((e) => [name + e, `${packed[e]} of ${name}`])) });
  const h = await site(t, { ...beside('app.js', TEXT), ...beside('page.html', 'page'), ...beside('404.html', 'lost', ['.gz']), ...beside('only.css', TEXT, ['.gz']), ...beside('photo.png', 'png'), ...beside('old.css', TEXT),
    'big.txt': 'x', 'big.txt.br': big, 'link.css': TEXT, 'folder.css': TEXT }, 'compression = false,');
  fs.utimesSync(path.join(h.web, 'old.css'), new Date(+QUIET + 1000), new Date(+QUIET + 1000));
  fs.writeFileSync(path.join(h.dir, 'secret'), 'secret');
  fs.symlinkSync('../secret', path.join(h.web, 'link.css.br'));
  fs.mkdirSync(path.join(h.web, 'folder.css.br'));
  const rows = [
    ['/app.js', undefined, undefined, TEXT], ['/app.js', 'identity', undefined, TEXT], ['/app.js', 'gzip', 'gzip', 'not really gzip of app.js'], ['/app.js', 'gzip, br', 'br', 'not really br of app.js'],
    ['/app.js', 'br;q=0.5, gzip', 'gzip', 'not really gzip of app.js'], ['/page', 'br', 'br', 'not really br of page.html'], ['/nowhere', 'gzip', 'gzip', 'not really gzip of 404.html'],
    ['/only.css', 'br, gzip', 'gzip', 'not really gzip of only.css'], ['/only.css', 'br', undefined, TEXT], ['/photo.png', 'br', undefined, 'png'], ['/old.css', 'br, gzip', undefined, TEXT],
    ['/link.css', 'br', undefined, TEXT], ['/folder.css', 'br', undefined, TEXT], ['/big.txt', 'br', 'br', big],
    ['/app.js.br', 'br', undefined, 'not really br of app.js'], ['/app.js.gz', 'gzip', undefined, 'not really gzip of app.js'],
  ];
  for (const [name, accept, encoding, text] of rows) {
    const r = await get(h, name, accept);
    assert.deepEqual([r.encoding, r.body.equals(Buffer.from(text))], [encoding, true], `${name} ${accept}`);
    assert.equal(Number(r.res.headers['content-length']), text.length);
    assert.equal(r.vary, /\.(png|br|gz)$/.test(name) ? '' : 'Accept-Encoding', name);
  }
  const head = async (name, accept) => (await get(h, name, accept, 'HEAD')).res.headers;
  const [none, gzip, br] = [await head('/app.js'), await head('/app.js', 'gzip'), await head('/app.js', 'br')];
  assert.deepEqual([none, gzip, br].map((r) => r['content-type']), Array(3).fill('text/javascript; charset=utf-8'));
  assert.equal(new Set([none.etag, gzip.etag, br.etag]).size, 3);
  assert.equal((await head('/app.js.br'))['content-type'], 'application/octet-stream');
  assert.equal((await head('/app.js.gz'))['content-type'], 'application/gzip');
  for (const [accept, tag, status] of [['br', br.etag, 304], ['br', none.etag, 200], ['gzip', br.etag, 200], ['gzip', gzip.etag, 304]]) {
    assert.equal((await get(h, '/app.js', accept, 'GET', { 'If-None-Match': tag })).res.statusCode, status);
  }
  const part = await get(h, '/app.js', 'br', 'GET', { Range: 'bytes=4-9', 'If-Range': br.etag });
  assert.deepEqual([part.res.statusCode, part.encoding, part.body.toString()], [206, 'br', 'really']);
});
