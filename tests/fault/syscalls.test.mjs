// Calls of the kernel that fail, come back half done, or meet a full disk.
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually } from '../lib/host.mjs';
import { request, requestText } from '../lib/wire.mjs';
import { attempt, descriptors, ERRNO, Faults, KIND, LONG } from './fault.mjs';
import { FN, judge, types, world } from './world.mjs';

// After these nothing may be seen from outside; after the others a connection may be lost.
const HARMLESS = ['EINTR', 'EAGAIN', 'ECONNABORTED'];
const ERRORS = {
  read: ['EINTR', 'EAGAIN', 'ECONNRESET', 'ENOBUFS', 'ETIMEDOUT'],
  write: ['EAGAIN', 'ECONNRESET', 'EINTR', 'EPIPE', 'ENOBUFS'],
  accept: ['ECONNABORTED', 'EMFILE', 'EINTR', 'EAGAIN', 'ENFILE', 'ENOBUFS', 'EPROTO'],
  open: ['EMFILE', 'ENFILE', 'EACCES', 'EINTR'],
  connect: ['ECONNREFUSED', 'ENETUNREACH', 'EADDRNOTAVAIL'],
};
const SAMPLE = ['hello', 'a static file', 'me, token not seen before', 'me, bad signature', 'shows, with a fetch', 'a long echo'];

const big = 'x'.repeat((LONG ? 100 : 10) * 1024);
const json = { 'Content-Type': 'application/json' };
const echo = (body) => requestText({ method: 'POST', path: `${FN}echo`, headers: json, body: JSON.stringify(body), close: false });
const all = (w) => ({
  ...types(w),
  'a long echo': () => ({
    request: { method: 'POST', path: `${FN}echo`, headers: json, body: JSON.stringify([big]) },
    right: (r) => r.status === 200 && r.json()[0] === big,
  }),
});

async function sweep(w, name, make, kind, error) {
  const tally = {};
  for (let n = 1; ; n += 1) {
    const one = make();
    w.faults.pass(one.pause ?? 0);
    w.faults.arm({ kinds: KIND[kind], n, error: ERRNO[error] });
    const out = await attempt(w.faults, w.host, one.request, { patience: 8000 });
    const { struck } = w.faults;
    const what = `${name}, ${kind} ${n} with ${error}`;
    const got = judge(w, what, one, out, struck);
    if (HARMLESS.includes(error) && kind !== 'open') assert.equal(got, 'right', what);
    w.faults.pass(one.pause ?? 0);
    const again = await attempt(w.faults, w.host, one.request);
    assert.equal(judge(w, `${what}, and then again`, one, again, 0), 'right');
    if (struck === 0) return { points: n - 1, tally };
    tally[got] = (tally[got] ?? 0) + 1;
    assert.ok(n < 500);
  }
}

test('calls of the kernel fail once', async (t) => {
  const w = await world(t);
  const requests = Object.entries(all(w)).filter(([name]) => LONG || SAMPLE.includes(name));
  for (const [, make] of requests) {
    const one = make();
    assert.equal(judge(w, 'warming up', one, await attempt(w.faults, w.host, one.request), 0), 'right');
  }
  const before = descriptors(w.worker);
  for (const [kind, errors] of Object.entries(ERRORS)) {
    await t.test(kind, async (s) => {
      for (const error of LONG ? errors : errors.slice(0, 3)) {
        const sum = {};
        let points = 0;
        for (const [name, make] of requests) {
          const one = await sweep(w, name, make, kind, error);
          points += one.points;
          for (const [k, v] of Object.entries(one.tally)) sum[k] = (sum[k] ?? 0) + v;
        }
        s.diagnostic(`${kind} ${error}: ${points} points: ${JSON.stringify(sum)}`);
      }
    });
  }
  await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
});

test('one byte at a time, in and out', async (t) => {
  const w = await world(t);
  for (const trickle of LONG ? [1, 2, 3] : [3]) {
    w.faults.set({ pid: 0, trickle });
    for (const [name, make] of Object.entries(all(w))) {
      const one = make();
      const out = await attempt(w.faults, w.host, one.request, { patience: 20000 });
      assert.equal(judge(w, `${name}, trickle ${trickle}`, one, out, 0), 'right');
    }
    const wire = await w.host.connect();
    const bodies = [['a'], ['b'.repeat(3000)], [], { c: 1 }, [big]];
    wire.send(Buffer.concat(bodies.map(echo)));
    for (const body of bodies) assert.deepEqual((await wire.response()).json(), body);
    const text = JSON.stringify(['y'.repeat(2000)]);
    wire.send(`POST ${FN}echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${[...text.matchAll(/.{1,7}/gs)].map(([c]) => `${c.length.toString(16)}\r\n${c}\r\n`).join('')}0\r\n\r\n`);
    assert.equal((await wire.response()).text, text);
    wire.send('GET / HTTP/1.1\r\nBad Header: x\r\n\r\n');
    assert.equal((await wire.response()).status, 400);
    assert.equal((await wire.closed()).length, 0);
    wire.close();
  }
});

test('a host that starts while files are read a byte at a time', async (t) => {
  const faults = new Faults(t);
  faults.set({ trickle: 3 });
  const w = await world(t, { faults });
  for (const [name, make] of Object.entries(types(w))) {
    const one = make();
    assert.equal(judge(w, name, one, await attempt(w.faults, w.host, one.request), 0), 'right');
  }
});

test('a full disk under the log: the host serves on and counts what it lost', async (t) => {
  const w = await world(t);
  const admin = /admin pages on http:\/\/([^\s:]+):(\d+)/.exec(w.host.stderr);
  const dropped = async () => {
    const res = await request({ address: admin[1], port: Number(admin[2]) }, { path: '/_luafn/metrics' });
    return Number(/^luafn_log_dropped_total (\d+)/m.exec(res.text)[1]);
  };
  const hello = async () => assert.equal((await w.host.call('hello')).text, 'hello');
  await hello();
  const before = await dropped();
  w.faults.set({ logFull: 1 });
  for (let i = 0; i < 20; i++) await hello();
  const stdout = await eventually(async () => { const n = await dropped(); return n >= before + 20 && n; }, 5, '20 lost lines');
  w.faults.set({ logFull: 3 });
  for (let i = 0; i < 10; i++) assert.equal((await w.host.call('raise')).status, 502);
  await hello(); // their lines are all written by then
  assert.ok(await dropped() >= stdout + 20, 'access lines and errors');
  w.faults.set({ logFull: 0 });
  const lines = w.host.log().length;
  await hello();
  await eventually(() => w.host.log().length > lines, 5, 'the log goes on');
  assert.equal(w.host.log().at(-1).status, 200);
});

test('libuv gives up when epoll_ctl fails: another worker takes over', async (t) => {
  const w = await world(t);
  w.faults.arm({ kinds: KIND.epoll, n: 1, error: ERRNO.ENOMEM });
  await attempt(w.faults, w.host, { path: `${FN}hello` });
  await eventually(() => w.host.call('hello').then((r) => r.text === 'hello', () => false), 2, 'a new worker');
  await eventually(() => w.host.workers().length === 1, 10, 'one worker alone');
});
