// luafn migrate: numbered files, each applied once and whole, over PostgreSQL and SQLite.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, folder, run, start, write } from '../lib/host.mjs';
import { MISSING, Postgres } from '../lib/postgres.mjs';

const FIRST = "-- ö: several statements; comments, too\ncreate table notes (id integer primary key, body text not null check (body <> ''));\ninsert into notes values (1, 'a; b'), (2, '$1');\nselect * from notes\n";
const SECOND = 'alter table notes add owner text;\n\n-- the end\n';
const scripts = {
  notes: 'local db = sql.open(env.DATABASE_URL)\nreturn function() return json.encode(db:query("select id, body, owner from notes order by id")) end',
  applied: 'return { sql = { "DATABASE_URL" }, handler = function() local db = sql.open(env.DATABASE_URL) return json.encode(db:query("select number, name, length(hash) as size from luafn_migrations order by number")) end }',
};
const files = (url, migrations) => ({ ...deployment(scripts, { fields: { notes: 'sql = { "DATABASE_URL" }' } }), '.env': `DATABASE_URL=${url}\n`,
  ...Object.fromEntries(Object.entries(migrations).map(([name, text]) => [`migrations/${name}`, text])) });

const KINDS = { SQLite: { url: async () => 'sqlite:notes.db' }, PostgreSQL: { skip: MISSING, url: async (t) => (await Postgres.start(t)).url() } };

for (const [kind, of] of Object.entries(KINDS)) {
  test(`${kind}: each file once, in order, whole or not at all`, { skip: of.skip }, async (t) => {
    const url = await of.url(t);
    const dir = folder(t, files(url, { '10_owner.sql': SECOND, '002_notes.sql': FIRST, 'README.md': 'no migration' }));
    const migrate = async (...args) => { const { code, stdout, stderr } = await run(t, ['migrate', ...args], { dir }); return [code, stdout, stderr]; };
    // Several at once: what one applies the others find.
    const all = await Promise.all([1, 2, 3, 4, 5].map(() => migrate()));
    assert.deepEqual(all.filter((r) => r[0] !== 0 || r[2] !== ''), []);
    const lines = all.map((r) => r[1]).join('').split('\n').filter((l) => l.includes('applied')).sort();
    assert.deepEqual(lines, ['DATABASE_URL: applied migrations/002_notes.sql', 'DATABASE_URL: applied migrations/10_owner.sql']);
    assert.deepEqual(await migrate(), [0, 'DATABASE_URL: nothing to do\n', '']);
    assert.deepEqual(await migrate('DATABASE_URL'), [0, 'DATABASE_URL: nothing to do\n', '']);

    // The first one that fails is undone whole, and the ones after it wait.
    write(dir, { 'migrations/011_more.sql': "insert into notes values (3, 'c', 'ann');\n", 'migrations/012_bad.sql': 'create table other (id integer);\n\ninsert into missing values (1);\n', 'migrations/013_later.sql': 'create table later (id integer);' });
    const bad = await migrate();
    assert.deepEqual(bad.slice(0, 2), [1, 'DATABASE_URL: applied migrations/011_more.sql\n']);
    assert.match(bad[2], /^DATABASE_URL: migrations\/012_bad\.sql:3: .*missing.* \(42P01\)\n$/);
    write(dir, { 'migrations/012_bad.sql': "insert into notes values (4, 'd', 'bob');\ninsert into notes values (4, 'd', 'bob');" });
    assert.match((await migrate())[2], /^DATABASE_URL: migrations\/012_bad\.sql(:2)?: .* \(23505\)/);
    write(dir, { 'migrations/012_bad.sql': 'commit;\nbegin;' });
    for (let i = 0; i < 2; i++) assert.match((await migrate())[2], /012_bad\.sql: ends the transaction that it runs in: undo what it has done, and leave out its BEGIN and COMMIT\n$/);
    write(dir, { 'migrations/012_bad.sql': '-- nothing\n' });
    assert.deepEqual(await migrate(), [0, 'DATABASE_URL: applied migrations/012_bad.sql\nDATABASE_URL: applied migrations/013_later.sql\n', '']);

    // What was applied stays as it is.
    write(dir, { 'migrations/10_owner.sql': `${SECOND}-- changed\n` });
    assert.match((await migrate())[2], /^DATABASE_URL: migrations\/10_owner\.sql: its text is another one than when it was applied/);
    const h = await start(t, { dir });
    assert.deepEqual((await h.call('notes')).json(), [{ id: 1, body: 'a; b', owner: null }, { id: 2, body: '$1', owner: null }, { id: 3, body: 'c', owner: 'ann' }]);
    assert.deepEqual((await h.call('applied')).json(), [[2, '002_notes.sql'], [10, '10_owner.sql'], [11, '011_more.sql'], [12, '012_bad.sql'], [13, '013_later.sql']].map(([number, name]) => ({ number, name, size: 64 })));
  });
}

test('what cannot be applied is told by name, by check too', async (t) => {
  const dir = folder(t, files('sqlite:notes.db', { '1_a.sql': '', '001_b.sql': '', 'x.sql': '', '2_.sql': '', '3_zero.sql': 'select 1;\0', '99999999999999999999_c.sql': '' }));
  const wrong = ['1_a.sql: has the number of migrations/001_b.sql', '2_.sql: a name such as 001_notes.sql expected', '3_zero.sql: a zero byte', '99999999999999999999_c.sql: a name such as', 'x.sql: a name such as'];
  for (const command of ['check', 'migrate']) {
    const { code, stderr } = await run(t, [command], { dir });
    assert.equal(code, 1);
    for (const line of wrong) assert.ok(stderr.includes(`migrations/${line}`), `${line}\n${stderr}`);
  }
  assert.ok(!fs.existsSync(path.join(dir, 'notes.db')));
  fs.rmSync(path.join(dir, 'migrations'), { recursive: true });
  const told = async (...args) => { const { code, stderr } = await run(t, ['migrate', ...args], { dir }); return `${code} ${stderr}`; };
  assert.match(await told(), /^1 there is no migrations\/001_NAME\.sql/);
  write(dir, { 'migrations/1_a.sql': 'create table a (b integer);' });
  assert.match(await told('OTHER_URL'), /^1 OTHER_URL is set neither in the environment nor in a \.env file/);
  write(dir, { '.env': 'DATABASE_URL=postgres://luafn:secret@127.0.0.1:1/x\n' });
  const away = await told();
  assert.match(away, /^1 DATABASE_URL: the database cannot be reached \(08001\)/);
  assert.doesNotMatch(away, /secret/);
  write(dir, deployment({ hello: 'return function() return "hello" end' }));
  assert.match(await told(), /^1 no function lists a variable in `sql`/);
});

const TESTS = `test("sees the migrations, and writes", function(t)
  t.equal(t.invoke("db", { body = [[insert into notes values (7, 'x')]] }).json(), { n = 3 })
  t.equal(t.invoke("db", { body = [[insert into notes values (7, 'y')]] }).json(), { code = "23505", n = 3 })
  t.equal(t.invoke("db", { body = [[create table more (a integer)]] }).json(), { n = 3 })
end)
test("sees nothing of another test", function(t)
  t.equal(t.invoke("db", { body = [[insert into notes values (7, 'z')]] }).json(), { n = 3 })
  t.equal(t.invoke("db", { body = [[insert into more values (1)]] }).json().code, "42P01")
end)
test("rolls transactions back, and commits them, as the host does", function(t)
  t.equal(t.invoke("move", { query = { how = "raise" } }).body, "2")
  t.equal(t.invoke("move", { query = { how = "fail" } }).body, "23505 2")
  t.equal(t.invoke("move", { query = { how = "ok" } }).body, "3")
  t.equal(t.invoke("move", { query = { how = "raise" } }).body, "23505 3")
  t.equal(t.invoke("slow").status, 504)
  t.equal(t.invoke("db", { body = [[update notes set body = 'w']] }).json(), { n = 3 })
end)
`;
const tested = (slow) => ({
  db: 'return function(event) local db = sql.open(env.DATABASE_URL) local ok, e = pcall(db.exec, db, event.body) return respond.json(200, { code = not ok and e.code or nil, n = db:one("select count(*) as n from notes").n }) end',
  move: `return function(event)
  local db, how = sql.open(env.DATABASE_URL), event.queryStringParameters.how
  local _, e = pcall(db.transaction, db, function(tx)
    tx:exec("insert into notes values (8, 'b')")
    if how == "raise" then error("no") end
    if how == "fail" then tx:exec("insert into notes values (8, 'c')") end
  end)
  return (type(e) == "table" and e.code and e.code .. " " or "") .. db:one("select count(*) as n from notes").n
end`,
  slow: `return { timeout = 0.2, handler = function() local db = sql.open(env.DATABASE_URL) db:transaction(function(tx) tx:exec("delete from notes") tx:query(${slow}) end) end }`,
});

for (const [kind, of] of Object.entries(KINDS)) {
  test(`${kind}: each test of luafn test has a database of its own`, { skip: of.skip }, async (t) => {
    const url = await of.url(t);
    const slow = kind === 'SQLite' ? '"with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"' : '"select pg_sleep(100)"';
    const own = files(url, { '1_notes.sql': FIRST });
    const scripts = tested(slow);
    const dir = folder(t, { ...own, ...deployment(scripts, { fields: Object.fromEntries(Object.keys(scripts).map((k) => [k, 'sql = { "DATABASE_URL" }'])) }), 'db_test.lua': TESTS });
    assert.equal((await run(t, ['migrate'], { dir })).code, 0);
    const before = kind === 'SQLite' && fs.readFileSync(path.join(dir, 'notes.db'));
    for (let i = 0; i < 2; i++) {
      const { code, stdout, stderr } = await run(t, ['test'], { dir });
      assert.equal(code, 0, stdout + stderr);
    }
    if (before) assert.deepEqual(fs.readFileSync(path.join(dir, 'notes.db')), before, "the deployment's own is as it was");
    const h = await start(t, { dir });
    assert.deepEqual((await h.call('db', { method: 'POST', body: 'update notes set body = body' })).json(), { n: 2 });
    write(dir, { 'migrations/2_bad.sql': 'selec 1;' });
    assert.match((await run(t, ['test'], { dir })).stdout, /DATABASE_URL: migrations\/2_bad\.sql:1: .*\(42601\)/);
  });
}
