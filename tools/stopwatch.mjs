// How long a newcomer needs, by the README's own commands: from `git clone` to the first protected
// answer of a function of one's own. Packages are installed before the clock runs.
//
//   node tools/stopwatch.mjs
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ownFiles } from '../tests/lib/demo.mjs';
import { ROOT } from '../tests/lib/host.mjs';
import { play } from '../tests/lib/pages.mjs';

const LIMIT = 180; // seconds

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-stopwatch-'));
const sh = (command, cwd) => execFileSync('bash', ['-c', command], { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
try {
  sh('make deps', ROOT);
  const begun = Date.now();
  let last = begun;
  const lap = (what) => {
    console.log(`${((Date.now() - last) / 1000).toFixed(1).padStart(6)} s  ${what}`);
    last = Date.now();
  };
  sh(`git clone -q ${ROOT} luafn`, dir);
  lap('git clone');
  const clone = path.join(dir, 'luafn');
  sh(`make -j${os.cpus().length}`, clone); // what `make run` does first
  lap('make');
  await play('README.md', clone, ownFiles(), path.join(clone, 'build/luafn'));
  lap('everything that the README shows');
  const total = (Date.now() - begun) / 1000;
  console.log(`${total.toFixed(1).padStart(6)} s  in all; ${LIMIT} s are allowed`);
  process.exitCode = total > LIMIT ? 1 : 0;
} finally {
  fs.rmSync(dir, { recursive: true, force: true });
}
