// The soak of tests/lib/soak.mjs, 75 s long; `make soak` runs it for 20 minutes.
import assert from 'node:assert/strict';
import test from 'node:test';
import { report, soak } from '../lib/soak.mjs';

test('all abuses in the background: no wrong answer, memory has a bound', async (t) => {
  await t.test('75 s', async (inner) => {
    const s = await soak(inner, { seconds: 75 });
    inner.diagnostic(report(s));
    assert.deepEqual(s.faults.slice(0, 5), []);
    assert.ok(s.honest > 50, 'it has been through all of them');
    // So short a time has been through each abuse once a worker: memory has not settled, but it has a bound.
    assert.ok(s.last < 192 * 1024, `${s.last} KiB`);
  });
});
