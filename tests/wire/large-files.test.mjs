// Files of any size: sent in pieces as the client takes them, and not read at all where a look at
// them is enough; what happens when they change, or their reader leaves, while they are sent.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;
const MIB = 1024 * KIB;
const MEASURED = SLOW === 1; // sanitizers and valgrind have a memory of their own
const MARKS = [16 * KIB, 64 * KIB, 128 * KIB, 256 * KIB, MIB];
const SIZE = 2 * MIB + 77;
// Hexadecimal digits of no period, so that a piece too many, too few or twice is seen.
const BYTES = crypto.createHash('shake256', { outputLength: (SIZE >> 1) + 1 }).update('luafn').digest('hex').slice(0, SIZE);
const QUIET = new Date('2020-02-20T20:20:20Z');

// A deployment with a large file of bytes, and files of nothing but zeros that take no room.
async function host(t, { secure = false, sparse = {}, more = '', files = {} } = {}) {
  const dir = folder(t, deployment({ hello: 'return function() return "hello" end' }, { more: `publish = "web", limits = { h2c = true }, ${more}`, files: { 'web/page.bin': BYTES, ...files } }));
  const web = path.join(dir, 'web');
  for (const [name, size] of Object.entries(sparse)) {
    fs.writeFileSync(path.join(web, name), '');
    fs.truncateSync(path.join(web, name), size);
  }
  for (const name of fs.readdirSync(web)) fs.utimesSync(path.join(web, name), QUIET, QUIET);
  const pair = secure ? certificate(dir) : null;
  const h = await start(t, { dir, args: pair ? tlsArgs(pair) : [] });
  h.web = web;
  h.ca = pair?.ca;
  return h;
}

// What a worker has read from files, and the most memory it has had resident, since `since`.
const field = (pid, file, name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(fs.readFileSync(`/proc/${pid}/${file}`, 'latin1'))[1]);
function since(pid) {
  fs.writeFileSync(`/proc/${pid}/clear_refs`, '5'); // VmHWM begins anew
  const read = field(pid, 'io', 'rchar');
  const memory = field(pid, 'status', 'VmRSS');
  return { read: () => field(pid, 'io', 'rchar') - read, memory: () => (field(pid, 'status', 'VmHWM') - memory) * KIB };
}

// What a process has open.
function openFiles(pid) {
  return fs.readdirSync(`/proc/${pid}/fd`).flatMap((fd) => { try { return [fs.readlinkSync(`/proc/${pid}/fd/${fd}`)]; } catch { return []; } });
}

// Reads an answer on a connection of its own and keeps but its beginning: { head, start, length } when it
// ends. `paused`: from when `go` is called.
function drain(h, target, { headers = {}, onPiece = () => {}, paused = false } = {}) {
  const socket = net.connect(h.port, h.address);
  const done = new Promise((resolve, reject) => {
    const start = [];
    let head = Buffer.alloc(0);
    let length = -1;
    const body = (d) => {
      if (length < SIZE) start.push(d);
      length += d.length;
      onPiece(length, socket);
    };
    socket.on('data', (d) => {
      if (length >= 0) return body(d);
      head = Buffer.concat([head, d]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      length = 0;
      const rest = head.subarray(end + 4);
      head = head.subarray(0, end).toString('latin1');
      return body(rest);
    });
    socket.on('error', reject);
    socket.on('close', () => resolve({ head, length, start: Buffer.concat(start).subarray(0, SIZE) }));
  });
  if (paused) socket.pause();
  socket.write(requestText({ path: target, headers }));
  done.go = () => socket.resume();
  done.leave = () => socket.destroy();
  return done;
}

// More than all buffers between a host and a client that does not read.
const LONG = 32 * MIB;
// A file of that length which begins with the bytes.
function makeLong(file) {
  fs.writeFileSync(file, BYTES);
  fs.truncateSync(file, LONG);
}
const isLong = ({ length, start }) => length === LONG && start.equals(Buffer.from(BYTES));

const hello = async (h) => assert.equal((await h.call('hello')).text, 'hello');

test('HEAD and conditions read nothing of a file', async (t) => {
  const h = await host(t, { sparse: { 'film.bin': 60 * MIB } });
  const before = h.workers();
  const used = since(before[0]);
  const heads = Array.from({ length: 16 }, () => h.request({ method: 'HEAD', path: '/film.bin' }));
  await hello(h);
  for (const res of await Promise.all(heads)) assert.deepEqual([res.status, res.header('content-length')], [200, String(60 * MIB)]);
  const wires = await Promise.all(Array.from({ length: 4 }, () => h.connect()));
  for (const wire of wires) wire.send(requestText({ method: 'HEAD', path: '/film.bin', close: false }).toString().repeat(64));
  await hello(h);
  for (const wire of wires) {
    for (let i = 0; i < 64; i++) assert.equal((await wire.response({ head: true })).header('content-length'), String(60 * MIB));
    wire.close();
  }
  const res = await h.request({ method: 'HEAD', path: '/film.bin' });
  const [tag, date] = [res.header('etag'), res.header('last-modified')];
  assert.equal(date, QUIET.toUTCString());
  for (const [headers, status] of [[{ 'If-None-Match': tag }, 304], [{ 'If-Modified-Since': date }, 304], [{ 'If-Match': '"x"' }, 412], [{ 'If-Unmodified-Since': 'Thu, 01 Jan 1970 00:00:01 GMT' }, 412], [{ Range: `bytes=${60 * MIB}-` }, 416]]) {
    assert.equal((await h.get('/film.bin', headers)).status, status, JSON.stringify(headers));
  }
  assert.ok(used.read() < MIB, `${used.read()} bytes were read`);
  if (MEASURED) assert.ok(used.memory() < 8 * MIB, `${used.memory()} bytes of memory`);
  assert.deepEqual(h.workers(), before);
});

test('an application in one page: its rule reads the page once a request', async (t) => {
  const h = await host(t, { sparse: { 'index.html': 5 * MIB }, more: 'redirects = { { from = "/*", to = "/index.html", status = 200 } },' });
  const before = h.workers();
  const used = since(before[0]);
  const all = Array.from({ length: 100 }, (_, i) => drain(h, i % 2 ? `/some/where/${i}` : '/index.html'));
  await hello(h);
  for (const { head, length } of await Promise.all(all)) assert.deepEqual([head.slice(0, 12), length], ['HTTP/1.1 200', 5 * MIB]);
  assert.ok(used.read() < 520 * MIB, `${used.read()} bytes were read`);
  if (MEASURED) assert.ok(used.memory() < 32 * MIB, `${used.memory()} bytes of memory`);
  assert.deepEqual(h.workers(), before);
});

// A gigabyte where that does not take minutes.
const FILM = (MEASURED ? 1024 : 64) * MIB;
test('a gigabyte takes no memory, and others are served meanwhile', async (t) => {
  const h = await host(t, { sparse: { 'film.bin': FILM } });
  const before = h.workers();
  const used = since(before[0]);
  let answered = 0;
  let asked = false;
  const ask = (length) => {
    if (length < MIB || asked) return;
    asked = true;
    hello(h).then(() => { answered++; });
  };
  const films = [drain(h, '/film.bin', { onPiece: ask }), ...[1, 2, 3].map((i) => drain(h, '/film.bin', { headers: { Range: `bytes=${i * FILM / 4}-${i * FILM / 4 + FILM / 16 - 1}` } }))];
  films[0].then(() => { assert.equal(answered, 1, 'hello was answered before the film had ended'); });
  const [whole, ...parts] = await Promise.all(films);
  assert.equal(answered, 1);
  assert.equal(whole.length, FILM);
  for (const part of parts) assert.equal(part.length, FILM / 16);
  if (MEASURED) assert.ok(used.memory() < 32 * MIB, `${used.memory()} bytes of memory`);
  assert.deepEqual(h.workers(), before);
});

test('slow readers: what they have not taken is not read, and they share a descriptor', async (t) => {
  const h = await host(t);
  const file = path.join(h.web, 'long.bin');
  makeLong(file);
  const [pid] = h.workers();
  await hello(h);
  const used = since(pid);
  const readers = Array.from({ length: 40 }, () => drain(h, '/long.bin', { paused: true }));
  const times = () => openFiles(pid).filter((name) => name === file).length;
  await eventually(() => times() > 0 && openFiles(pid).filter((name) => name.startsWith('socket:')).length > 40, 20, 'all are connected');
  for (let i = 0; i < 10; i++) await hello(h);
  assert.equal(times(), 1);
  if (MEASURED) assert.ok(used.memory() < 40 * 256 * KIB, `${used.memory()} bytes of memory`);
  for (const one of readers.splice(3)) one.leave();
  for (const one of readers) one.go();
  for (const one of readers) assert.ok(isLong(await one));
  await eventually(() => times() === 0, 20, 'the file is closed');
});

// Requests on one connection, the kind of which is the host's: [[headers], ...] -> [{ status, body, length }, ...].
function byH1(h, list) {
  return new Promise((resolve, reject) => {
    const socket = h.ca ? tls.connect({ port: h.port, host: h.address, ca: h.ca, servername: 'localhost' }) : net.connect(h.port, h.address);
    let got = '';
    socket.setEncoding('latin1').on('data', (d) => { got += d; }).on('error', reject).on('close', () => {
      const all = [];
      while (got !== '') {
        const end = got.indexOf('\r\n\r\n');
        const head = got.slice(0, end);
        const length = Number(/content-length: (\d+)/i.exec(head)[1]);
        all.push({ status: Number(head.slice(9, 12)), length, body: got.slice(end + 4, end + 4 + length) });
        got = got.slice(end + 4 + length);
      }
      resolve(all);
    });
    socket.write(Buffer.concat(list.map((headers, i) => requestText({ path: '/page.bin', headers, close: i === list.length - 1 }))));
  });
}

async function byH2(t, h, list) {
  const session = http2.connect(`${h.ca ? 'https' : 'http'}://localhost:${h.port}`, { lookup: (_, o, done) => (o.all ? done(null, [{ address: h.address, family: 4 }]) : done(null, h.address, 4)), ca: h.ca });
  later(t, () => session.destroy());
  return Promise.all(list.map((headers) => new Promise((resolve, reject) => {
    const lower = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]));
    const stream = session.request({ ':path': '/page.bin', ...lower }).setEncoding('latin1');
    let head;
    let body = '';
    stream.on('response', (r) => { head = r; }).on('data', (d) => { body += d; }).on('error', reject);
    stream.on('end', () => resolve({ status: head[':status'], length: Number(head['content-length']), body }));
  })));
}

for (const secure of [false, true]) {
  test(`ranges around every mark, ${secure ? 'by TLS' : 'plain'}`, async (t) => {
    const h = await host(t, { secure });
    const ranges = MARKS.flatMap((n) => [[0, n - 1], [0, n], [1, n], [n - 1, 2 * n], [n, n], [SIZE - n, SIZE - 1], [SIZE - n - 1, SIZE - 1]]);
    const list = ranges.map(([a, b]) => ({ Range: `bytes=${a}-${b}` }));
    for (const all of [await byH1(h, list), await byH2(t, h, list)]) {
      assert.equal(all.length, list.length);
      for (const [i, { status, length, body }] of all.entries()) {
        const [a, b] = ranges[i];
        assert.deepEqual([status, length], [206, b - a + 1], list[i].Range);
        assert.ok(body === BYTES.slice(a, b + 1), list[i].Range);
      }
    }
  });
}

test('a download goes on where it broke off, by tag and by date, over HTTP/1.0 too', async (t) => {
  const h = await host(t);
  const first = await h.request({ method: 'HEAD', path: '/page.bin' });
  let cut = 0;
  makeLong(path.join(h.web, 'long.bin'));
  await drain(h, '/long.bin', { onPiece: (length, socket) => { if (length > 300 * KIB) { cut = length; socket.destroy(); } } });
  for (const validator of [first.header('etag'), first.header('last-modified')]) {
    const rest = await h.get('/page.bin', { Range: `bytes=${cut}-`, 'If-Range': validator });
    assert.deepEqual([rest.status, rest.header('content-range')], [206, `bytes ${cut}-${SIZE - 1}/${SIZE}`]);
    assert.ok(rest.text === BYTES.slice(cut));
  }
  const wire = await h.connect();
  wire.send('GET /page.bin HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /page.bin HTTP/1.0\r\n\r\n');
  for (let i = 0; i < 2; i++) assert.ok((await wire.response()).text === BYTES);
  await wire.closed();
  await eventually(() => h.log().some((l) => l.error === 'client_gone'), 10, 'the log says who left');
  const line = h.log().find((l) => l.error === 'client_gone');
  assert.ok(line.status === 200 && line.bytes < LONG && line.bytes >= cut, `${line.bytes} bytes of ${LONG}, ${cut} read`);
});

test('a file that changes while it is sent', async (t) => {
  const h = await host(t);
  const file = path.join(h.web, 'page.bin');
  const reader = async () => {
    makeLong(file);
    const done = drain(h, '/page.bin', { paused: true });
    const [pid] = h.workers();
    await eventually(() => openFiles(pid).includes(file), 20, 'it is open');
    await hello(h); // and it has been looked at
    return { done, go: done.go };
  };
  await t.test('replaced by another: the old one is sent to its end', async () => {
    const one = await reader();
    fs.writeFileSync(`${file}.new`, 'new');
    fs.renameSync(`${file}.new`, file);
    assert.equal((await h.get('/page.bin')).text, 'new');
    one.go();
    assert.ok(isLong(await one.done));
  });
  await t.test('deleted: the same', async () => {
    const one = await reader();
    fs.unlinkSync(file);
    assert.equal((await h.get('/page.bin')).status, 404);
    one.go();
    assert.ok(isLong(await one.done));
  });
  for (const kind of ['HTTP/1.1', 'HTTP/2']) {
    await t.test(`cut short: the answer breaks off, and the log says so, ${kind}`, async (tt) => {
      const lines = h.log().length;
      let length = 0;
      let ended = false;
      if (kind === 'HTTP/1.1') {
        const one = await reader();
        fs.truncateSync(file, 1000);
        one.go();
        ({ length } = await one.done);
      } else {
        makeLong(file);
        const session = http2.connect(h.url());
        later(tt, () => session.destroy());
        await new Promise((resolve) => {
          const stream = session.request({ ':path': '/page.bin' });
          stream.on('data', (d) => {
            if (length === 0) fs.truncateSync(file, 1000);
            length += d.length;
          });
          stream.on('end', () => { ended = stream.rstCode === 0; });
          stream.on('error', () => {}).on('close', resolve);
        });
        assert.equal(ended, false, 'reset');
      }
      const found = () => h.log().slice(lines).find((l) => l.error === 'file_changed');
      await eventually(found, 10, 'the log');
      assert.deepEqual([found().status, found().bytes], [200, length]);
      assert.ok(length < LONG);
      await hello(h);
    });
  }
});
