// An example that keeps its data in SQLite or, with one line of its .env changed, in PostgreSQL.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { folder, ROOT, run, start } from './host.mjs';
import { MISSING, Postgres } from './postgres.mjs';

export const KINDS = { SQLite: {}, PostgreSQL: { skip: MISSING, url: async (t) => (await Postgres.start(t)).url() } };

// A copy whose own three tests pass, and which has no fault; migrated, and served by `dev`. `url`: of one of KINDS.
export async function startExample(t, name, url) {
  const dir = folder(t);
  fs.cpSync(path.join(ROOT, 'examples', name), dir, { recursive: true, filter: (file) => !/\.luafn|\.env$/.test(file) && !file.includes(`${name}.db`) });
  const env = fs.readFileSync(path.join(dir, '.env.example'), 'utf8');
  fs.writeFileSync(path.join(dir, '.env'), url ? env.replace(/^DATABASE_URL=.*$/m, `DATABASE_URL=${await url(t)}`) : env);
  const tested = await run(t, ['test'], { dir });
  assert.match(tested.stdout, /# 3 passed, 0 failed/, tested.stdout + tested.stderr);
  const checked = await run(t, ['check', '--dev'], { dir });
  assert.deepEqual([checked.code, checked.stderr], [0, '']);
  assert.equal((await run(t, ['migrate', '--dev'], { dir })).stdout, `DATABASE_URL: applied migrations/001_${name}.sql\n`);
  return start(t, { dir, command: 'dev' });
}

// A token of the issuer of `dev`.
export const tokenOf = async (t, h, who) => (await run(t, ['token', '--sub', who], { dir: h.dir })).stdout.trim();
