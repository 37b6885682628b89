// examples/notes: its own tests, and what it does over SQLite and, with one line changed, over PostgreSQL.
import assert from 'node:assert/strict';
import test from 'node:test';
import { KINDS, startExample, tokenOf } from '../lib/sql-example.mjs';
import { request } from '../lib/wire.mjs';


for (const [kind, { skip, url }] of Object.entries(KINDS)) {
  test(`${kind}: its tests pass, it has no fault, and it serves`, { skip }, async (t) => {
    const h = await startExample(t, 'notes', url);
    const as = async (who) => await tokenOf(t, h, who);
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
