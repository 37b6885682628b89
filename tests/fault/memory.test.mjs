// Out of memory at every point of one request: a right answer, an error in the usual frame, or a
// closed connection; and the next request is answered as if nothing had been.
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually } from '../lib/host.mjs';
import { attempt, descriptors, KIND, LONG, SANITIZED } from './fault.mjs';
import { judge, types, world } from './world.mjs';

// libcurl 7.88 forgets a table of its own when it runs out of memory while it opens a connection,
// and ends the process when it looks there next (SIGFPE, SIGSEGV): the supervisor mends that, and
// nothing else may take a worker along. At most so many points of a sweep:
const LIBCURL_CRASHES = 4;

async function replaced(w, name, tally) {
  const [now] = w.host.workers();
  if (now === w.worker || !name.includes('fetch')) return false;
  await eventually(() => w.host.call('hello').then((r) => r.text === 'hello', () => false), 3, 'a new worker');
  assert.match(w.host.stderr, /"signal":(8|11)\b/);
  tally.libcurl = (tally.libcurl ?? 0) + 1;
  assert.ok(tally.libcurl <= LIBCURL_CRASHES, `${name}: ${tally.libcurl} crashes`);
  [w.worker] = w.host.workers();
  w.faults.pid = w.worker;
  w.replaced = true;
  return true;
}

// Every n until a request passes untouched. In the short form only some of them.
async function sweep(w, name, make, forever) {
  const tally = {};
  let points = 0;
  const start = Date.now();
  for (let n = 1; ; n += LONG || n < 4 ? 1 : 1 + Math.floor(n / 2)) {
    const one = make();
    w.faults.arm({ kinds: KIND.alloc, n, forever });
    const out = await attempt(w.faults, w.host, one.request);
    const { struck } = w.faults;
    if (await replaced(w, name, tally)) { points += 1; continue; }
    const what = `${name}, allocation ${n}${forever ? ' and all that follow' : ''}`;
    const kind = judge(w, what, one, out, struck);
    const again = await attempt(w.faults, w.host, one.request);
    assert.equal(judge(w, `${what}, and then again`, one, again, 0), 'right');
    if (struck === 0) break;
    points += 1;
    tally[kind] = (tally[kind] ?? 0) + 1;
    if (out.late) tally.late = (tally.late ?? 0) + 1;
    assert.ok(n < 20000);
  }
  return { points, tally, ms: Date.now() - start };
}

for (const backend of ['openssl', ...(LONG ? ['libjwt'] : [])]) {
  test(`memory: each allocation of a request fails (${backend})`, { skip: SANITIZED && 'a sanitizer has a malloc of its own' }, async (t) => {
    const w = await world(t, { backend });
    const all = Object.entries(types(w)).filter(([name]) => backend === 'openssl' || name.startsWith('me'));
    for (const [, make] of all) {
      const one = make();
      const out = await attempt(w.faults, w.host, one.request);
      assert.equal(judge(w, 'warming up', one, out, 0), 'right');
    }
    const before = descriptors(w.worker);
    for (const [name, make] of all) {
      await t.test(name, async (s) => {
        for (const forever of [false, true]) {
          const { points, tally, ms } = await sweep(w, name, make, forever);
          s.diagnostic(`${forever ? 'from then on' : 'once'}: ${points} points in ${ms} ms: ${JSON.stringify(tally)}`);
        }
      });
    }
    if (!w.replaced) await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
  });
}
