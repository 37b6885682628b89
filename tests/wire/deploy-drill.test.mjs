// The drill of tests/lib/deploy-drill.mjs, short; `tools/drills.mjs deploy` runs it long.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployDrill } from '../lib/deploy-drill.mjs';
import { SLOW } from '../lib/host.mjs';

test('200 requests a second through a killed worker, a reload, an upgrade and the end: none fails but those in the killed worker', async (t) => {
  const got = await deployDrill(t, { rate: 200 / SLOW, seconds: 1.5 });
  t.diagnostic(`${got.sent} requests, ${got.good} good, ${got.inKilled} in the killed worker, ${got.retried} sent again, ${got.refused} refused after the end`);
  assert.deepEqual(got.faults, []);
  assert.ok(got.good > 500 / SLOW);
  assert.equal(got.good + got.inKilled + got.refused, got.sent);
});
