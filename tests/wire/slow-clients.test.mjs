// measures time
// Clients that take little, or nothing, of their answers, or do not finish what they send: what a worker
// holds for them, who is served beside them, when they are given up, and what the log says then.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { GET, H2Wire, headers, settings } from '../lib/h2wire.mjs';
import { deployment, eventually, folder, SLOW, sleep, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const MIB = 1024 * 1024;
const SIZE = 6 * MIB;
// limits.memory, the memory of the functions themselves, and what is on its way between the two.
const ROOM = 64 + 32 + 16;
const SCRIPTS = {
  big: `return function() return ("x"):rep(${SIZE}) end`,
  pieces: `return function() return { statusCode = 200, body = function(write) for i = 1, 96 do write(("x"):rep(65536)) end end } end`,
  large_pieces: `return function() return { statusCode = 200, body = function(write) for i = 1, 3 do write(("x"):rep(${2 * MIB})) end end } end`,
  hello: 'return function() return "hello" end',
  size: 'return function(e) return tostring(#e.body) end',
};
const GET_BIG = requestText({ path: `${FN}/big`, close: false });

async function host(t, { limits = '', secure = false } = {}) {
  const dir = folder(t, deployment(SCRIPTS, { fields: Object.fromEntries(Object.keys(SCRIPTS).map((name) => [name, 'timeout = 120'])), more: `limits = { h2c = true, ${limits} },` }));
  const pair = secure ? certificate(dir) : null;
  const h = await start(t, { dir, args: pair ? tlsArgs(pair) : [] });
  h.ca = pair?.ca;
  return h;
}

function memory(h) {
  const [worker] = h.workers();
  const field = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(fs.readFileSync(`/proc/${worker}/status`, 'latin1'))[1]) / 1024;
  return { now: field('VmRSS'), most: field('VmHWM') };
}

// A connection that asks and never reads; settled when the request is handed to the kernel.
function silent(t, h, ...bytes) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: h.address, port: h.port });
    socket.on('error', () => {});
    socket.pause();
    later(t, () => socket.destroy());
    socket.on('connect', () => socket.write(Buffer.concat(bytes.map((b) => Buffer.from(b))), () => resolve(socket)));
    socket.on('close', () => resolve(socket));
  });
}

// `count` answers, read one after the other over a connection of its own.
async function reader(h, count, name = 'big', size = SIZE) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (let i = 0; i < count; i++) {
    const got = await new Promise((resolve, reject) => {
      http.get({ host: h.address, port: h.port, path: `${FN}/${name}`, agent }, (res) => {
        let bytes = 0;
        res.on('data', (d) => { bytes += d.length; }).on('end', () => resolve([res.statusCode, bytes])).on('error', reject);
      }).on('error', reject);
    });
    assert.deepEqual(got, [200, size]);
  }
  agent.destroy();
}

// `count` streams over one connection of HTTP/2, all at once.
function reader2(t, h, count) {
  const session = http2.connect(`http://${h.address}:${h.port}`);
  session.on('error', () => {});
  later(t, () => session.destroy());
  return Promise.all(Array.from({ length: count }, () => new Promise((resolve, reject) => {
    const stream = session.request({ ':path': `${FN}/big` });
    let bytes = 0;
    stream.on('data', (d) => { bytes += d.length; });
    stream.on('error', reject);
    stream.on('end', () => (bytes === SIZE ? resolve() : reject(new Error(`${bytes} bytes`))));
  })));
}

// Who stands still for half a second may be given up. This process does, where the machine gives it no time: then what
// it saw says nothing, and it is tried again.
async function whileWeMove(attempt) {
  for (let i = 1; ; i++) {
    let last = performance.now(), still = 0;
    const move = () => { const now = performance.now(); still = Math.max(still, now - last); last = now; };
    const timer = setInterval(move, 10);
    const fault = await attempt().then(() => null, (e) => e);
    clearInterval(timer);
    move(); // the news may be the first thing that this process learns after it
    if (fault === null) return;
    if (still < 250 || i === 5) throw fault;
  }
}

test('clients that take nothing are held to limits.memory, and who reads is served', (t) => whileWeMove(async () => {
  const h = await host(t);
  await reader(h, 2);
  const before = memory(h).now;
  await Promise.all([
    ...Array.from({ length: 30 }, () => silent(t, h, GET_BIG)),
    ...Array.from({ length: 10 }, () => silent(t, h, requestText({ path: `${FN}/large_pieces`, close: false }))),
    ...Array.from({ length: 4 }, () => reader(h, 5)),
    ...Array.from({ length: 2 }, () => reader(h, 50, 'hello', 5)),
  ]);
  const { most } = memory(h);
  if (SLOW === 1) assert.ok(most - before < ROOM, `grew by ${most - before} MB`);
  assert.ok(await h.metric('client_bytes') <= 64 * MIB);
  await eventually(async () => await h.metric('clients_given_up_total') > 0, 10, 'some that are given up');
  await reader(h, 2);
  const lost = await eventually(() => { const lines = h.log().filter((line) => line.error); return lines.length > 0 && lines; }, 10, 'the log knows');
  for (const line of lost) {
    assert.equal(line.error, 'client_memory');
    assert.ok(line.bytes < SIZE, JSON.stringify(line));
  }
}));

// One connection of HTTP/2 whose window stays shut, with more streams than there is room for.
async function shut(t, h) {
  const wire = await H2Wire.connect(h, { first: settings([4, 0]) });
  later(t, () => wire.close());
  for (let i = 0; i < 100; i++) wire.send(headers(2 * i + 1, GET(`${FN}/${i % 3 === 2 ? 'large_pieces' : 'big'}`)));
}

test('so is one HTTP/2 connection whose window stays shut, beside one that reads', (t) => whileWeMove(async () => {
  const h = await host(t);
  await reader(h, 2);
  const before = memory(h).now;
  await shut(t, h);
  await reader2(t, h, 20);
  const { most } = memory(h);
  if (SLOW === 1) assert.ok(most - before < ROOM, `grew by ${most - before} MB`);
}));

test('a worker that had no time itself gives up nobody who reads', (t) => whileWeMove(async () => {
  const h = await host(t);
  const [worker] = h.workers();
  await shut(t, h);
  const stops = async () => {
    for (let i = 0; i < 4; i++) {
      process.kill(worker, 'SIGSTOP');
      await sleep(0.6); // less than the watchdog waits
      process.kill(worker, 'SIGCONT');
      await sleep(0.2);
    }
  };
  await Promise.all([stops(), reader2(t, h, 20), ...Array.from({ length: 3 }, () => reader(h, 3))]);
  assert.deepEqual(h.workers(), [worker]);
}));

test('requests that do not end are held to it, too', async (t) => {
  const h = await host(t);
  const text = { 'Content-Type': 'text/plain' };
  const whole = () => h.request({ method: 'POST', path: `${FN}/size`, headers: text, body: Buffer.alloc(2 * MIB, 'x'), ms: 30000 * SLOW });
  assert.equal((await whole()).text, String(2 * MIB));
  const before = memory(h).now;
  const head = `POST ${FN}/size HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${SIZE}\r\n\r\n`;
  await Promise.all(Array.from({ length: 16 }, () => silent(t, h, head, Buffer.alloc(SIZE - 1, 'y'))));
  const wire = await H2Wire.connect(h);
  later(t, () => wire.close());
  await eventually(async () => await h.metric('clients_given_up_total') > 3, 20, 'those that were given up');
  assert.equal((await whole()).text, String(2 * MIB));
  const { most } = memory(h);
  if (SLOW === 1) assert.ok(most - before < ROOM, `grew by ${most - before} MB`);
  for (const line of h.log().filter((l) => l.error)) assert.deepEqual([line.status, line.error], [503, 'client_memory']);
});

test('who moves is served with the least limits.memory, too, one after the other', (t) => whileWeMove(async () => {
  const h = await host(t, { limits: 'memory = "1MB"' });
  const sender = async () => {
    const body = Buffer.alloc(2 * MIB, 'x');
    const answer = await h.request({ method: 'POST', path: `${FN}/size`, headers: { 'Content-Type': 'text/plain' }, body, ms: 30000 * SLOW });
    assert.deepEqual([answer.status, answer.text], [200, String(2 * MIB)]);
  };
  await Promise.all([
    ...Array.from({ length: 4 }, () => reader(h, 2)),
    ...Array.from({ length: 2 }, () => reader(h, 2, 'large_pieces')),
    ...Array.from({ length: 4 }, sender),
    ...Array.from({ length: 2 }, () => reader(h, 20, 'hello', 5)),
  ]);
  await h.stop();
  assert.deepEqual(h.log().filter((line) => line.error), []);
}));

// What a client does that leaves after the first bytes of its answer.
const LEAVERS = {
  'HTTP/1.1': (h, path) => new Promise((resolve) => {
    const socket = (h.ca ? tls : net).connect({ host: h.address, port: h.port, ca: h.ca, servername: 'localhost', ALPNProtocols: ['http/1.1'] }, () => socket.write(requestText({ path })));
    socket.once('data', () => { socket.destroy(); resolve(); });
  }),
  'HTTP/2': (h, path) => new Promise((resolve) => {
    const s = http2.connect(`${h.ca ? 'https' : 'http'}://localhost:${h.port}`, { ca: h.ca, lookup: (_, o, done) => (o.all ? done(null, [{ address: h.address, family: 4 }]) : done(null, h.address, 4)) });
    s.on('error', () => {});
    const stream = s.request({ ':path': path });
    stream.on('error', () => {});
    stream.once('data', () => { s.destroy(); resolve(); });
  }),
  'a stream of HTTP/2': (h, path) => new Promise((resolve) => {
    const s = http2.connect(`${h.ca ? 'https' : 'http'}://localhost:${h.port}`, { ca: h.ca, lookup: (_, o, done) => (o.all ? done(null, [{ address: h.address, family: 4 }]) : done(null, h.address, 4)) });
    s.on('error', () => {});
    const stream = s.request({ ':path': path });
    stream.on('error', () => {});
    stream.on('close', () => { s.close(); resolve(); });
    stream.once('data', () => stream.close(http2.constants.NGHTTP2_CANCEL));
  }),
};

for (const secure of [false, true]) {
  test(`an answer that breaks off is in the log, ${secure ? 'by TLS' : 'plain'}`, async (t) => {
    const h = await host(t, { secure });
    for (const [name, leave] of Object.entries(LEAVERS)) {
      for (const path of [`${FN}/big`, `${FN}/pieces`]) {
        const had = h.log().length;
        await leave(h, path);
        await eventually(() => h.log().length > had, 10, `the line of ${path} over ${name}`);
        const line = h.log()[had];
        assert.deepEqual([line.status, line.error], [200, 'client_gone'], `${name} ${path}`);
        assert.ok(line.bytes > 0 && line.bytes < SIZE, `${name} ${path}: ${line.bytes} bytes`);
      }
    }
    await h.stop();
  });
}

test('who takes nothing, or a little from time to time, is given up; who takes enough is not', async (t) => {
  const h = await host(t, { limits: 'write_timeout = 6' });
  const nothing = await silent(t, h, GET_BIG);
  // A window that opens by a byte, again and again.
  const wire = await H2Wire.connect(h, { first: settings([4, 1]) });
  later(t, () => wire.close());
  wire.send(headers(1, GET(`${FN}/big`)), headers(3, GET(`${FN}/pieces`)));
  const open = (stream) => Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, stream, 0, 0, 0, 1]);
  const drip = setInterval(() => wire.send(open(1), open(3)), 20);
  later(t, () => clearInterval(drip));
  const steady = http2.connect(`http://${h.address}:${h.port}`, { settings: { initialWindowSize: 20000 } });
  steady.on('error', () => {});
  later(t, () => steady.destroy());
  const taken = new Promise((resolve, reject) => {
    const stream = steady.request({ ':path': `${FN}/pieces` });
    let bytes = 0;
    stream.on('error', reject);
    stream.on('end', () => resolve(bytes));
    stream.on('data', (d) => {
      bytes += d.length;
      if (bytes > MIB) return;
      stream.pause();
      setTimeout(() => stream.resume(), 10);
    });
  });
  await eventually(() => h.log().filter((line) => line.error === 'write_timeout').length === 3, 15, 'three that are given up');
  assert.equal(await taken, 96 * 65536);
  await eventually(() => h.log().length === 4, 10, 'the line of the one that reads');
  assert.deepEqual(h.log().map((line) => line.error ?? 'whole').sort(), ['whole', 'write_timeout', 'write_timeout', 'write_timeout']);
  nothing.resume();
});
