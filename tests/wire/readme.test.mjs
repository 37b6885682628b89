// What the README says of the code is true of the code. What it shows is run by pages.test.mjs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { ROOT } from '../lib/host.mjs';

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
