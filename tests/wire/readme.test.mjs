// What the README says of the first steps is true. `tools/stopwatch.mjs` does the same from a clone.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { ownFiles } from '../lib/browser.mjs';
import { BIN, folder } from '../lib/host.mjs';
import { firstSteps } from '../lib/readme.mjs';

test('a function of one\'s own, open and then protected, by the commands of the README', async (t) => {
  const dir = folder(t, ownFiles());
  fs.mkdirSync(path.join(dir, 'build'));
  fs.symlinkSync(BIN, path.join(dir, 'build/luafn'));
  const steps = await firstSteps(dir, 'exec build/luafn dev');
  assert.ok(steps.length >= 4, steps.join('\n'));
});
