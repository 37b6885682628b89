// A machine that is full: from a point on every allocation, or every call for a descriptor, fails, for
// whoever comes, until there is room again. Then the host serves as before.
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually, sleep, SLOW, write } from '../lib/host.mjs';
import { requestText } from '../lib/wire.mjs';
import { ask, attempt, descriptors, ERRNO, KIND, LONG, processor, SANITIZED } from './fault.mjs';
import { FN, judge, types, world } from './world.mjs';

const MEMORY = KIND.alloc | KIND.map;
const DESCRIPTORS = KIND.accept | KIND.open | KIND.socket;
const skip = SANITIZED && 'a sanitizer has a malloc of its own';
const HOLD = LONG ? 150 : 75; // ms that each waits for an answer before there is room
const SAMPLE = ['a static file', 'me, token not seen before', 'me, bad signature', 'shows, with a fetch'];
const chosen = (w) => Object.entries(types(w)).filter(([name]) => LONG || SAMPLE.includes(name));

async function warm(w) {
  for (const [, make] of chosen(w)) {
    const one = make();
    assert.equal(judge(w, 'warming up', one, await attempt(w.faults, w.host, one.request), 0), 'right');
  }
}

const within = (ms, promise) => Promise.race([promise, sleep(ms / 1000)]);

// Three one after the other from where it is full on, two of them at once; then there is room, and all come to an end.
async function siege(w, make) {
  const ones = [make(), make(), make()];
  const start = ({ request }) => ask(w.host, request, 8000, () => true);
  const first = start(ones[0]);
  await within(HOLD, first);
  const others = ones.slice(1).map(start);
  await within(HOLD, Promise.all(others));
  w.faults.disarm();
  const outs = await Promise.all([first, ...others]);
  return { outs, ones, struck: w.faults.struck }; // one may have struck in the last moment
}

async function sweep(w, name, make, fault) {
  const tally = {};
  let points = 0;
  for (let n = 1; ; n += LONG || n < 3 ? 1 : n) {
    w.faults.arm({ ...fault, n, forever: true });
    const { outs, ones, struck } = await siege(w, make);
    const what = `${name}, full from ${n} on`;
    for (const [i, out] of outs.entries()) {
      const kind = judge(w, `${what}, request ${i + 1}`, ones[i], out, struck);
      tally[kind] = (tally[kind] ?? 0) + 1;
    }
    const one = make();
    w.faults.pass(one.pause ?? 0);
    assert.equal(judge(w, `${what}, and then room`, one, await attempt(w.faults, w.host, one.request), 0), 'right');
    assert.deepEqual(w.faults.crashes(), [], what);
    if (struck === 0) return { points, tally };
    points += 1;
  }
}

async function sweepAll(t, w, fault) {
  await warm(w);
  const before = descriptors(w.worker);
  for (const [name, make] of chosen(w)) {
    const { points, tally } = await sweep(w, name, make, fault);
    t.diagnostic(`${name}: ${points} points: ${JSON.stringify(tally)}`);
  }
  await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
}

test('no memory from a point on, until there is some', { skip }, async (t) => {
  await sweepAll(t, await world(t), { kinds: MEMORY });
});

const NETWORK = KIND.read | KIND.write | KIND.connect;
for (const [what, kinds, error] of [
  ['descriptor', DESCRIPTORS, 'EMFILE'],
  ['network', NETWORK, 'ENOBUFS'],
  ...(LONG ? [['descriptor', DESCRIPTORS, 'ENFILE'], ['descriptor', DESCRIPTORS, 'ENOBUFS'], ['network', NETWORK, 'ENETUNREACH'], ['network', NETWORK, 'ECONNRESET']] : []),
]) {
  test(`no ${what} from a point on, until there is one: ${error}`, async (t) => {
    await sweepAll(t, await world(t), { kinds, error: ERRNO[error] });
  });
}

test('no connection can be taken: who is connected is served, nobody spins', async (t) => {
  const w = await world(t);
  await warm(w);
  const wire = await w.host.connect();
  const hello = async () => {
    wire.send(requestText({ path: `${FN}hello`, close: false }));
    return (await wire.response()).text;
  };
  assert.equal(await hello(), 'hello');
  for (const error of LONG ? ['ENFILE', 'ENOBUFS', 'EMFILE'] : ['ENFILE']) {
    w.faults.arm({ kinds: KIND.accept | KIND.socket, n: 1, forever: true, error: ERRNO[error] });
    const waiting = Array.from({ length: 5 }, () => ask(w.host, { path: `${FN}hello` }, 8000, () => true));
    await eventually(() => w.faults.struck > 0, 5, 'a connection is refused');
    const t0 = processor(w.worker);
    const begun = performance.now();
    const seconds = () => (performance.now() - begun) / 1000;
    while (seconds() < 1) {
      assert.equal(await hello(), 'hello', error);
      await sleep(0.05);
    }
    const used = processor(w.worker) - t0;
    const said = `${error}: ${used} s of processor in ${seconds().toFixed(1)} s, ${w.faults.struck} calls refused`;
    t.diagnostic(said);
    assert.ok(used < 0.3 * SLOW * seconds() && w.faults.struck < 100 * seconds(), said);
    w.faults.disarm();
    for (const out of await Promise.all(waiting)) assert.equal(out.res?.text, 'hello', JSON.stringify(out));
  }
  wire.close();
  assert.deepEqual(w.host.workers(), [w.worker]);
});

// All processes of the host, not the worker alone.
const everywhere = (w, fault) => { w.faults.pid = 0; w.faults.arm({ n: 1, forever: true, ...fault }); };
const serves = (w, text) => eventually(() => w.host.call('hello').then((r) => r.text === text, () => false), 8, `serves ${text} again`);

for (const [name, fault] of Object.entries({
  'no memory': { kinds: MEMORY },
  'no descriptor': { kinds: DESCRIPTORS, error: ERRNO.EMFILE },
  'no process': { kinds: KIND.fork, error: ERRNO.EAGAIN },
})) {
  test(`a worker is lost while there is ${name}: another comes when there is`, { skip: fault.kinds === MEMORY && skip }, async (t) => {
    const w = await world(t);
    everywhere(w, fault);
    process.kill(w.worker, 'SIGKILL');
    await eventually(() => w.faults.struck > 0, 5, 'something fails');
    await sleep(1);
    const { struck } = w.faults;
    assert.ok(!w.host.ended, `the supervisor has ended: ${w.host.stderr.slice(-2000)}`);
    w.faults.disarm();
    await serves(w, 'hello');
    await eventually(() => w.host.workers().length === 1, 10, 'one worker alone');
    // It may have asked for keys in vain before: 503 until it asks again.
    await eventually(async () => (await w.host.call('me', { headers: w.issuer.bearer() })).status === 200, 30, 'its keys are there');
    assert.equal((await w.host.call('me')).status, 401);
    t.diagnostic(`${struck} calls refused`);
  });
}

test('a reload while there is no memory changes nothing; the next one does', { skip }, async (t) => {
  const w = await world(t);
  const faults = async () => (await w.host.admin('ready')).json().faults;
  const wire = await w.host.connect();
  wire.send(requestText({ path: `${FN}hello`, close: false }));
  assert.equal((await wire.response()).text, 'hello');
  write(w.host.dir, { 'scripts/hello.lua': 'return function() return "new" end' });
  everywhere(w, { kinds: MEMORY });
  w.host.kill('SIGHUP');
  await eventually(() => w.faults.struck > 0, 5, 'something fails');
  // The same loop reads this when it has come to the end of the reload.
  wire.send(requestText({ path: `${FN}hello` }));
  await wire.closed();
  w.faults.disarm();
  assert.deepEqual(await faults(), ['out of memory']);
  await serves(w, 'hello');
  assert.deepEqual(w.host.workers(), [w.worker]);
  w.host.kill('SIGHUP');
  await serves(w, 'new');
  assert.deepEqual(await faults(), []);
  assert.equal((await w.host.call('me')).status, 401);
});
