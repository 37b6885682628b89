// Peers that go away at every byte: clients within their request and within the answer, and the
// server that a script fetches from.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { eventually } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { parseResponse, requestText } from '../lib/wire.mjs';
import { descriptors, LONG } from './fault.mjs';
import { FN, world } from './world.mjs';

const STEP = LONG ? 1 : 9;

async function flat(w, before) {
  assert.deepEqual(w.host.workers(), [w.worker], w.host.stderr.slice(-2000));
  assert.equal((await w.host.call('hello')).text, 'hello');
  await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
}

// Sends `bytes`, leaves in the given way, gives what came back.
const leave = (w, bytes, how) => new Promise((resolve, reject) => {
  const got = [];
  const socket = net.connect({ host: w.host.address, port: w.host.port, noDelay: true });
  const timer = setTimeout(() => { socket.destroy(); reject(new Error(`hangs after ${bytes.length} bytes and ${how}`)); }, 60000);
  socket.on('data', (d) => got.push(d));
  socket.on('error', () => {});
  socket.on('close', () => { clearTimeout(timer); resolve(Buffer.concat(got)); });
  socket.on('connect', () => {
    if (how === 'FIN') socket.end(bytes);
    else if (bytes.length === 0) socket.resetAndDestroy();
    else socket.write(bytes, () => socket.resetAndDestroy());
  });
});

const requests = (w) => ({
  GET: requestText({ path: `${FN}me`, headers: w.issuer.bearer(), close: false }),
  POST: requestText({ method: 'POST', path: `${FN}echo`, headers: { 'Content-Type': 'application/json' }, body: '["twenty bytes of it"]', close: false }),
  chunked: Buffer.from(`POST ${FN}echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n[1,\r\n3\r\n22]\r\n0\r\nX-Trailer: y\r\n\r\n`),
});

test('a client leaves at every byte of its request', async (t) => {
  const w = await world(t);
  await w.host.call('hello');
  const before = descriptors(w.worker);
  let points = 0;
  for (const [name, bytes] of Object.entries(requests(w))) {
    for (const how of ['FIN', 'RST']) {
      for (let n = bytes.length; n >= 0; n -= n > bytes.length - 8 ? 1 : STEP) {
        const got = await leave(w, bytes.subarray(0, n), how);
        points += 1;
        if (how === 'RST') continue;
        const answer = parseResponse(got);
        if (n === bytes.length) assert.equal(answer?.response.status, 200, `${name}: a half-closed client still gets its answer`);
        else if (answer) assert.ok(answer.response.status >= 400, `${name}, ${n} bytes: ${answer.response.status}`);
        assert.equal((answer?.rest ?? got).length, 0, `${name}, ${n} bytes: ${got}`);
      }
    }
  }
  t.diagnostic(`${points} points`);
  await flat(w, before);
});

test('a client leaves at every byte of the answer', async (t) => {
  const w = await world(t);
  await w.host.call('hello');
  const before = descriptors(w.worker);
  w.faults.set({ trickle: 2 }); // the host sends byte after byte, so that there is one to leave at
  let points = 0;
  for (const bytes of Object.values(requests(w))) {
    const length = (await leave(w, bytes, 'FIN')).length;
    assert.ok(length > 100);
    for (const how of ['end', 'resetAndDestroy']) {
      for (let n = 1; n <= length; n += STEP) {
        await new Promise((resolve) => {
          let seen = 0;
          const socket = net.connect({ host: w.host.address, port: w.host.port });
          socket.on('error', () => {});
          socket.on('close', resolve);
          socket.on('data', (d) => { if (seen < n && (seen += d.length) >= n) { socket[how](); if (how === 'end') socket.destroy(); } });
          socket.write(bytes);
        });
        points += 1;
      }
    }
  }
  w.faults.set({ trickle: 0 });
  t.diagnostic(`${points} points`);
  await flat(w, before);
});

test('the server of a fetch leaves at every byte of its answer', async (t) => {
  const body = JSON.stringify([{ id: 1, url: 'u', name: 'n' }]);
  const whole = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const plan = { n: whole.length, how: 'FIN' };
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(whole.subarray(0, plan.n), () => {
      if (plan.how === 'FIN') socket.end();
      else socket.resetAndDestroy();
    }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => server.close());
  const w = await world(t, { tv: `http://127.0.0.1:${server.address().port}/` });
  const headers = w.issuer.bearer();
  assert.equal((await w.host.call('shows', { headers })).status, 200);
  const before = descriptors(w.worker);
  let points = 0;
  for (const how of ['FIN', 'RST']) {
    for (let n = 0; n <= whole.length; n += n > whole.length - 8 ? 1 : STEP) {
      Object.assign(plan, { n, how });
      const res = await w.host.call('shows', { headers });
      points += 1;
      if (n === whole.length && how === 'FIN') assert.equal(res.status, 200);
      else assert.ok([500, 502].includes(res.status) || (n === whole.length && res.status === 200), `${n} bytes: ${res.status} ${res.text}`);
    }
  }
  t.diagnostic(`${points} points`);
  await flat(w, before);
});
