// Out of memory at every point of the start: a host that serves rightly, or none and a line that
// says why. Never one that lets a bad token in.
import assert from 'node:assert/strict';
import test from 'node:test';
import { launch, SLOW } from '../lib/host.mjs';
import { blame, Faults, isFrame, KIND, LONG, SANITIZED } from './fault.mjs';
import { prepare, spoil } from './world.mjs';

// libuv ends the process where it cannot register what it must watch; the supervisor then starts
// another worker. Nothing else may crash one.
const GIVES_UP = /^libuv: abort in (uv_loop_init|uv_signal_init|uv_listen|uv_poll_start)$/;

// How one start ended: the announced host, or its exit.
async function begin(faults, dir) {
  const host = launch(dir, { env: faults.env });
  const timer = setTimeout(() => host.kill('SIGKILL'), 60000 * SLOW);
  const up = await Promise.race([host.listening.then(() => true, () => false), host.exit.then(() => false)]);
  clearTimeout(timer);
  return { host, up };
}

async function judge(w, { host, up }, what, crashes = [], forever = false) {
  const said = `${what}; ${crashes.map((c) => `signal ${c.signal}: ${c.frames.slice(0, 14).join(' < ')}`).join('; ')} stderr:\n${host.stderr.slice(-1500)}`;
  const guilty = crashes.map(blame).filter((who) => !GIVES_UP.test(who));
  assert.deepEqual(guilty, [], `a worker crashed: ${said}`);
  // Where all fails, the supervisor may have no memory for the line that tells of it.
  const told = host.stderr.match(/"signal":\d+/g)?.length ?? 0;
  assert.ok(told === crashes.length || (forever && told < crashes.length), `a worker ended without a trace: ${said}`);
  if (!up) {
    const { code, signal } = await host.exit;
    assert.equal(signal, null, `${signal}: ${said}`);
    assert.notEqual(code, 0, said);
    assert.match(host.stderr, /\S/, `nothing said, code ${code}: ${said}`);
    return 'refused';
  }
  assert.equal((await host.call('hello')).text, 'hello', said);
  const bad = await host.call('me', { headers: { Authorization: `Bearer ${spoil(w.issuer.token())}` } });
  assert.ok(bad.status === 401 || bad.status === 503, `${bad.status}: ${said}`);
  assert.ok(isFrame(bad), said);
  assert.equal((await host.call('me')).status, 401, said);
  const good = await host.call('me', { headers: w.issuer.bearer() });
  assert.ok(good.status === 200 || good.status === 503, `${good.status} ${good.text}: ${said}`);
  return good.status === 200 ? 'serves' : 'serves, keys to come';
}

// Which allocations fail: all, where FAULT_FROM, FAULT_TO and FAULT_STEP say nothing else, or a sample.
function* points(total) {
  const { FAULT_FROM: from = 1, FAULT_TO: to = total, FAULT_STEP: step = 1 } = process.env;
  for (let n = Number(from); n <= Math.min(total, Number(to)); n += LONG ? Number(step) : Math.ceil(total / 12)) yield n;
}

// One start after the other until no point is left; several go on side by side.
async function lane(w, faults, left, total, forever, { tally, faulty }) {
  for (const n of left) {
    faults.arm({ kinds: KIND.alloc, n, forever });
    const one = await begin(faults, w.dir);
    faults.disarm();
    try {
      const got = await judge(w, one, `allocation ${n} of ${total}`, faults.crashes(), forever);
      tally[got] = (tally[got] ?? 0) + 1;
    } catch (e) {
      faulty.push(e.message.slice(0, 2200));
    }
    if (one.up) await one.host.stop().catch((e) => faulty.push(`allocation ${n}: ${e.message}`));
    else await one.host.exit;
  }
}

for (const forever of [false, true]) {
  test(`memory at start: ${forever ? 'from a point on' : 'one allocation'}`, { skip: SANITIZED && 'a sanitizer has a malloc of its own' }, async (t) => {
    const w = await prepare(t);
    const faults = Array.from({ length: LONG ? 3 : 2 }, () => new Faults(t));
    const found = { tally: {}, faulty: [] };
    faults[0].arm({ kinds: KIND.alloc, n: 0xffffffff });
    const whole = await begin(faults[0], w.dir);
    await whole.host.keys();
    assert.equal(await judge(w, whole, 'without a fault'), 'serves');
    const total = faults[0].seen;
    await whole.host.stop();
    const left = points(total);
    await Promise.all(faults.map((one) => lane(w, one, left, total, forever, found)));
    t.diagnostic(`of ${total} points: ${JSON.stringify(found.tally)}`);
    assert.deepEqual(found.faulty, []);
  });
}
