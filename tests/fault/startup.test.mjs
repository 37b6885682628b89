// Out of memory at every point of the start: a host that serves rightly, or none and a line that
// says why. Never one that lets a bad token in.
import assert from 'node:assert/strict';
import test from 'node:test';
import { launch, SLOW } from '../lib/host.mjs';
import { Faults, isFrame, KIND, LONG, SANITIZED } from './fault.mjs';
import { prepare, spoil } from './world.mjs';

// How one start ended: the announced host, or its exit.
async function begin(faults, dir) {
  const host = launch(dir, { env: faults.env });
  const timer = setTimeout(() => host.kill('SIGKILL'), 8000 * SLOW);
  const up = await Promise.race([host.listening.then(() => true, () => false), host.exit.then(() => false)]);
  clearTimeout(timer);
  return { host, up };
}

async function judge(w, { host, up }, what) {
  const said = `${what}; stderr:\n${host.stderr.slice(-1500)}`;
  assert.doesNotMatch(host.stderr, /"signal":\d+/, `a worker crashed: ${said}`);
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

for (const forever of [false, true]) {
  test(`memory at start: ${forever ? 'from a point on' : 'one allocation'}`, { skip: SANITIZED && 'a sanitizer has a malloc of its own' }, async (t) => {
    const faults = new Faults(t);
    const w = await prepare(t);
    const tally = {};
    const faulty = [];
    faults.arm({ kinds: KIND.alloc, n: 0xffffffff });
    const whole = await begin(faults, w.dir);
    assert.equal(await judge(w, whole, 'without a fault'), 'serves');
    const total = faults.seen;
    await whole.host.stop();
    const step = LONG ? Number(process.env.FAULT_STEP ?? 1) : Math.ceil(total / 12);
    let points = 0;
    for (let n = 1; n <= total; n += step) {
      faults.arm({ kinds: KIND.alloc, n, forever });
      const one = await begin(faults, w.dir);
      faults.disarm();
      try {
        const got = await judge(w, one, `allocation ${n} of ${total}`);
        tally[got] = (tally[got] ?? 0) + 1;
      } catch (e) {
        faulty.push(e.message);
      }
      if (one.up) await one.host.stop().catch((e) => faulty.push(`allocation ${n}: ${e.message}`));
      else await one.host.exit;
      points += 1;
    }
    t.diagnostic(`${points} of ${total} points: ${JSON.stringify(tally)}`);
    assert.deepEqual(faulty.map((m) => m.slice(0, 1200)), []);
  });
}
