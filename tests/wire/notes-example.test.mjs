// examples/notes: its own tests, and what it does over SQLite and, with one line changed, over PostgreSQL.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { folder, ROOT, run, start } from '../lib/host.mjs';
import { MISSING, Postgres } from '../lib/postgres.mjs';
import { request } from '../lib/wire.mjs';

const KINDS = { SQLite: {}, PostgreSQL: { skip: MISSING, url: async (t) => (await Postgres.start(t)).url() } };

for (const [kind, { skip, url }] of Object.entries(KINDS)) {
  test(`${kind}: its tests pass, it has no fault, and it serves`, { skip }, async (t) => {
    const dir = folder(t);
    fs.cpSync(path.join(ROOT, 'examples/notes'), dir, { recursive: true, filter: (file) => !/\.luafn|\.env$|notes\.db/.test(file) });
    const env = fs.readFileSync(path.join(dir, '.env.example'), 'utf8');
    fs.writeFileSync(path.join(dir, '.env'), url ? env.replace(/^DATABASE_URL=.*$/m, `DATABASE_URL=${await url(t)}`) : env);
    const tested = await run(t, ['test'], { dir });
    assert.match(tested.stdout, /# 3 passed, 0 failed/, tested.stdout + tested.stderr);
    const checked = await run(t, ['check', '--dev'], { dir });
    assert.deepEqual([checked.code, checked.stderr], [0, '']);
    assert.equal((await run(t, ['migrate', '--dev'], { dir })).stdout, 'DATABASE_URL: applied migrations/001_notes.sql\n');

    const h = await start(t, { dir, command: 'dev' });
    const as = async (who) => (await run(t, ['token', '--sub', who], { dir })).stdout.trim();
    const [ada, bob] = [await as('ada'), await as('bob')];
    const ask = (token, method, at, body) => request(h, { method, path: at, body: body && JSON.stringify(body), headers: { Authorization: `Bearer ${token}`, ...body && { 'Content-Type': 'application/json' } } });
    const made = await ask(ada, 'POST', '/notes', { body: 'buy milk' });
    assert.equal(made.status, 201, made.text);
    const note = made.json();
    assert.equal((await ask(bob, 'PUT', `/notes/${note.id}`, { body: 'mine' })).status, 404);
    assert.deepEqual((await ask(ada, 'GET', '/notes')).json(), [note]);
    assert.deepEqual((await ask(bob, 'GET', '/notes')).json(), []);
    assert.equal((await ask(ada, 'PUT', `/notes/${note.id}`, { body: 'buy tea' })).status, 204);
    assert.deepEqual((await ask(ada, 'GET', '/notes')).json(), [{ ...note, body: 'buy tea' }]);
  });
}
