// Out of memory at every point of one request: a right answer, an error in the usual frame, or a
// closed connection; and the next request is answered as if nothing had been.
import assert from 'node:assert/strict';
import test from 'node:test';
import { eventually } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';
import { attempt, descriptors, KIND, lowestFree, LONG, SANITIZED } from './fault.mjs';
import { judge, types, world } from './world.mjs';

// Every n until a request passes untouched. In the short form only some of them.
async function sweep(w, name, make, forever) {
  const tally = {};
  let points = 0;
  const start = Date.now();
  for (let n = 1; ; n += LONG || n < 4 ? 1 : n - 1) {
    const one = make();
    w.faults.pass(one.pause ?? 0);
    w.faults.arm({ kinds: KIND.alloc, n, forever });
    const out = await attempt(w.faults, w.host, one.request);
    const { struck } = w.faults;
    const what = `${name}, allocation ${n}${forever ? ' and all that follow' : ''}`;
    const kind = judge(w, what, one, out, struck);
    w.faults.pass(one.pause ?? 0);
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
          assert.ok(points > 0, 'no allocation failed: is the library of shim.c there?');
          s.diagnostic(`${forever ? 'from then on' : 'once'}: ${points} points in ${ms} ms: ${JSON.stringify(tally)}`);
        }
      });
    }
    await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
  });
}

// libuv keeps a table of descriptors that doubles now and then, and ends the process when it cannot: a free
// descriptor of 14, 30, 62, 126 ... is the first that a longer one is needed for.
test('memory: there is none for a connection that libuv needs a longer table for', { skip: SANITIZED && 'a sanitizer has a malloc of its own' }, async (t) => {
  const w = await world(t);
  const hello = types(w).hello();
  assert.equal(judge(w, 'warming up', hello, await attempt(w.faults, w.host, hello.request), 0), 'right');
  const idle = [];
  later(t, () => idle.forEach((wire) => wire.close()));
  let points = 0;
  for (const edge of [62, 126, ...(LONG ? [254, 510] : [])]) {
    while (lowestFree(w.worker) < edge) {
      const wire = await w.host.connect();
      idle.push(wire);
      wire.send(requestText({ path: hello.request.path, close: false }));
      assert.equal((await wire.response()).text, 'hello');
    }
    for (let n = 1, struck = 1; struck > 0; n += 1) {
      w.faults.arm({ kinds: KIND.alloc, n });
      const out = await attempt(w.faults, w.host, hello.request);
      struck = w.faults.struck;
      judge(w, `descriptor ${edge}, allocation ${n}`, hello, out, struck);
      points += 1;
    }
  }
  t.diagnostic(`${points} points`);
  assert.deepEqual(w.faults.crashes(), []);
});
