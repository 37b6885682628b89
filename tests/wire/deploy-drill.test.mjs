// The drill of tests/lib/deploy-drill.mjs, short; `tools/drills.mjs deploy` runs it long.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployDrill } from '../lib/deploy-drill.mjs';

test('32 clients through killed and stopped workers, reloads, broken files, another certificate, an upgrade and SIGTERM: none fails but in the killed', async (t) => {
  const got = await deployDrill(t, { clients: 32 });
  t.diagnostic(`${got.sent} requests, ${got.good} good, ${got.inKilled} in killed workers, ${got.refused} refused after the end`);
  assert.deepEqual(got.faults, []);
  assert.ok(got.refused >= 1);
});
