// What requests cost in memory, at their worst moment, against what they weigh on the wire: no kind
// of request may cost a hundred times its size. And what is too large is refused while it comes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import test from 'node:test';
import { FLAG, data, H2Wire, headers, hpack, POST } from '../lib/h2wire.mjs';
import { BIN, deployment, eventually, SLOW, start } from '../lib/host.mjs';
import { rss } from '../lib/process.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const MEASURED = SLOW === 1; // sanitizers and valgrind have a memory of their own
const POOLED = MEASURED && !/\/build\/(?:asan|cov|debug|tsan)\//.test(BIN); // in those each block is malloc's
const MIB = 1024 * 1024;
const SCRIPTS = {
  nap: 'local calls = 0 return function() calls = calls + 1 if calls > 1 then sleep(0.6) end return "rested" end', // the first is for nothing but to come
  decode: 'return function(event) local ok, v = pcall(json.decode, event.body) sleep(0.5) return ok and type(v) or "no" end',
  size: 'return function(event) return tostring(#(event.body or "")) end',
};
const LIMITS = 'limits = { h2c = true, body = "2MB" },';

const host = (t) => start(t, { files: deployment(SCRIPTS, { more: LIMITS, fields: { nap: 'concurrency = 1000, timeout = 60', decode: 'concurrency = 1000, memory = "256MB", cpu = 20, timeout = 60' } }) });

// The most memory that the worker has had resident while `work` ran, above what it had before.
async function peak(h, work) {
  const [pid] = h.workers();
  const field = (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) * 1024;
  fs.writeFileSync(`/proc/${pid}/clear_refs`, '5'); // VmHWM begins anew
  const before = field('VmRSS');
  const result = await work();
  return { result, bytes: field('VmHWM') - before };
}

const connections = (h, count) => Promise.all(Array.from({ length: count }, () => h.connect()));

// Sends the same request on all connections at once, and takes the answers.
async function many(wires, bytes) {
  for (const wire of wires) wire.send(bytes);
  const statuses = await Promise.all(wires.map((wire) => wire.response({ ms: 60000 * SLOW }).then((r) => r.status)));
  for (const wire of wires) wire.close();
  return statuses;
}

const json = (body) => requestText({ method: 'POST', path: `${FN}/decode`, headers: { 'Content-Type': 'application/json' }, body });
const chunked = (body) => Buffer.concat([Buffer.from(`POST ${FN}/nap HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n`), Buffer.from(body)]);
const kinds = {
  'small, and waiting': [200, requestText({ path: `${FN}/nap` })],
  'a hundred fields of one letter': [100, Buffer.from(`GET ${FN}/nap HTTP/1.1\r\nHost: x\r\n${'a:\r\n'.repeat(98)}\r\n`)],
  'as many bytes of fields as are allowed': [50, Buffer.from(`GET ${FN}/nap HTTP/1.1\r\nHost: x\r\n${`a: ${'b'.repeat(300)}\r\n`.repeat(98)}\r\n`)],
  'a long query': [100, Buffer.from(`GET ${FN}/nap?${'a&'.repeat(3900)} HTTP/1.1\r\nHost: x\r\n\r\n`)],
  'empty elements of Connection': [100, Buffer.from(`GET ${FN}/nap HTTP/1.1\r\nHost: x\r\nConnection: ${','.repeat(20000)}\r\n\r\n`)],
  'a body in chunks of one byte': [50, chunked(`${'1\r\na\r\n'.repeat(3000)}0\r\n\r\n`)],
  'a large body': [5, requestText({ method: 'POST', path: `${FN}/nap`, headers: { 'Content-Type': 'text/plain' }, body: 'x'.repeat(2 * MIB) })],
  'JSON: empty arrays': [5, json(`[${'[],'.repeat(30000)}[]]`)],
  'JSON: empty objects': [5, json(`[${'{},'.repeat(30000)}{}]`)],
  'JSON: numbers': [5, json(`[${'1,'.repeat(50000)}1]`)],
  'JSON: objects of one field': [5, json(`[${'{"a":1},'.repeat(12000)}1]`)],
  'JSON: different names': [5, json(`{${Array.from({ length: 12000 }, (_, i) => `"${i.toString(36)}":1`).join(',')}}`)],
  'JSON: deeper than allowed': [5, json('['.repeat(100000))],
};

// They sleep more than they work: some at a time.
test('no request costs a hundred times its size', { concurrency: 3 }, (t) => Promise.all(Object.entries(kinds).map(([what, [count, bytes]]) => (
  t.test(what, async (tt) => {
    const h = await host(tt); // what an earlier one left behind would hide what this one takes
    const wires = await connections(h, count + 1);
    await many(wires.splice(0, 1), requestText({ path: `${FN}/nap` })); // what the first one makes, stays
    const got = await peak(h, () => many(wires, bytes));
    const factor = got.bytes / (count * bytes.length);
    tt.diagnostic(`${bytes.length} bytes, ${count} at once: ${Math.round(got.bytes / 1024)} KiB, ${factor.toFixed(1)} times their size`);
    assert.ok(got.result.every((status) => status === 200 || status === 400), `${got.result}`);
    if (MEASURED) assert.ok(factor < 100, `${factor}`);
  })))));

test('bodies without end are refused at the limit', async (t) => {
  const h = await host(t);
  const text = { 'Content-Type': 'text/plain' };
  const got = await peak(h, async () => {
    const announced = await h.connect();
    announced.send(`POST ${FN}/size HTTP/1.1\r\nHost: x\r\nContent-Length: ${1024 * MIB}\r\n\r\n`);
    assert.equal((await announced.response()).status, 413, 'a GiB announced');
    announced.close();
    const wire = await h.connect();
    wire.send(`POST ${FN}/size HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`);
    const piece = Buffer.concat([Buffer.from('10000\r\n'), Buffer.alloc(65536, 'x'), Buffer.from('\r\n')]);
    wire.send(...Array(33).fill(piece));
    assert.equal((await wire.response()).status, 413, 'in chunks');
    const gone = new Promise((resolve) => { wire.socket.once('close', resolve); });
    for (let i = 0; i < 16384 && !wire.ended; i++) { // as fast as it is taken
      if (!wire.socket.write(piece)) await Promise.race([gone, new Promise((resolve) => { wire.socket.once('drain', resolve); })]);
    }
    assert.ok(wire.ended, 'a GiB in chunks is not read to its end');
    wire.close();
    const h2 = await H2Wire.connect(h);
    h2.send(headers(1, POST(`${FN}/size`), FLAG.END_HEADERS), ...Array.from({ length: 16 }, () => data(1, Buffer.alloc(16384), 0)));
    h2.close();
  });
  t.diagnostic(`${Math.round(got.bytes / 1024)} KiB at the worst`);
  if (MEASURED) assert.ok(got.bytes < 16 * MIB, `${got.bytes}`);
  const most = await h.request({ method: 'POST', path: `${FN}/size`, headers: text, body: 'x'.repeat(2 * MIB) });
  assert.equal(most.text, String(2 * MIB), 'and what is just allowed passes');
});

test('an HTTP/2 connection of requests with all fields that are allowed', async (t) => {
  const h = await host(t);
  const fields = Array.from({ length: 90 }, (_, i) => [`x-${i}`, 'y'.repeat(150)]);
  const count = 50;
  const block = hpack([[':method', 'GET'], [':scheme', 'http'], [':authority', 'x'], [':path', `${FN}/nap`], ...fields]);
  assert.ok(block.length < 16384);
  const got = await peak(h, async () => {
    const wire = await H2Wire.connect(h);
    wire.send(...Array.from({ length: count }, (_, i) => headers(2 * i + 1, block)));
    assert.equal((await wire.outcome(2 * count - 1)).status, 200);
    wire.close();
  });
  const factor = got.bytes / (count * block.length);
  t.diagnostic(`${block.length} bytes each, ${factor.toFixed(1)} times their size`);
  if (MEASURED) assert.ok(factor < 100, `${factor}`);
});

test('what slow readers held is given back', async (t) => {
  const files = { ...deployment(SCRIPTS, { more: `${LIMITS} publish = "web",` }), 'web/large.bin': 'x'.repeat(MIB), 'web/other.bin': 'y'.repeat(MIB / 2) };
  const h = await start(t, { files });
  const [pid] = h.workers();
  const before = rss(pid).anon;
  const wires = await connections(h, 200);
  const small = requestText({ path: '/large.bin', close: false });
  wires.forEach((wire, i) => { wire.socket.pause(); wire.send(small); if (i % 3 === 0) wire.send(requestText({ path: '/other.bin' })); });
  const metric = async (name) => Number(new RegExp(`^${name} (\\d+)`, 'm').exec((await h.admin('metrics')).text)[1]);
  await eventually(async () => await metric('luafn_connections') >= 200, 20, 'the connections');
  assert.equal((await h.call('size', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'abc' })).text, '3', 'others are served');
  wires.forEach((wire) => wire.close());
  await eventually(async () => await metric('luafn_connections') < 5, 20, 'their end');
  if (MEASURED) await eventually(() => rss(pid).anon < before + 4 * 1024, 10, `the memory: ${before} KiB before`);
  assert.equal((await h.get('/large.bin')).body.length, MIB);
});

// Twice: what the loading of the functions left is given back a moment later, and all that goes with it.
test('what a rush of connections held is given back', async (t) => {
  const h = await host(t);
  const [pid] = h.workers();
  for (const round of ['first', 'second']) {
    const before = rss(pid).anon;
    const wires = [];
    while (wires.length < 1200) wires.push(...await connections(h, 200));
    await eventually(async () => await h.metric('connections') >= 1200, 20, `the ${round} connections`);
    const during = rss(pid).anon;
    wires.forEach((wire) => wire.close());
    await eventually(async () => await h.metric('connections') < 5, 20, 'their end');
    if (!POOLED) continue;
    assert.ok(during > before + 400, `${round}: ${before} KiB, ${during} with them`);
    await eventually(() => rss(pid).anon < (before + during) / 2, 10, `the memory of the ${round}: ${before} KiB before, ${during} with them`);
  }
});
