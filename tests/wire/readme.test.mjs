// What the README says of the first steps is true. `tools/stopwatch.mjs` does the same from a clone.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { ownFiles } from '../lib/browser.mjs';
import { BIN, folder, ROOT } from '../lib/host.mjs';
import { firstSteps, tenMinutes } from '../lib/readme.mjs';

test('a function of one\'s own, open and then protected, by the commands of the README', async (t) => {
  const dir = folder(t, ownFiles());
  fs.mkdirSync(path.join(dir, 'build'));
  fs.symlinkSync(BIN, path.join(dir, 'build/luafn'));
  const steps = await firstSteps(dir, 'exec build/luafn dev');
  assert.ok(steps.length >= 4, steps.join('\n'));
});

test('the way of a request: every function that is named stands in the file that is named', () => {
  const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const way = readme.split('\n## The way of a request\n')[1].split('\n## ')[0];
  const stops = [...way.matchAll(/\]\((host\/[\w/]+\.c)\)(?: \| | \()((?:`\w+`(?:, )?)+)/g)];
  assert.ok(stops.length >= 19, `${stops.length} stops`);
  for (const [, file, names] of stops) {
    const text = fs.readFileSync(path.join(ROOT, file), 'utf8');
    for (const [, name] of names.matchAll(/`(\w+)`/g)) assert.match(text, new RegExp(`^[a-z][\\w \\*]*\\b${name}\\([^;]*\\)\\n\\{`, 'm'), `${file}: ${name}`);
  }
  for (const [, file] of way.matchAll(/`(\w+\.c)`/g)) assert.ok(['server', 'app'].some((room) => fs.existsSync(path.join(ROOT, 'host', room, file))), file);
});

test('ten minutes: every command of docs/first-steps.md says what the page says', async (t) => {
  await tenMinutes(folder(t), BIN);
});
