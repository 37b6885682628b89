// Databases of handlers: the same scripts over PostgreSQL and SQLite.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, start } from '../lib/host.mjs';
import { MISSING, Postgres } from '../lib/postgres.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const DB = 'local db = sql.open(env.DATABASE_URL)\n';
const scripts = {
  setup: `${DB}return function()
    db:exec("create table notes (id integer primary key, owner text not null, body text, done boolean default false, weight double precision, data json, raw ${'%RAW%'}, constraint notes_owner unique (owner, body))")
    db:exec("create table accounts (id integer primary key, sum integer not null check (sum >= 0))")
    db:exec("insert into accounts values (1, 1000), (2, 1000)")
    return "ready"
  end`,
  types: `${DB}return function()
    local n = db:exec("insert into notes (id, owner, body, done, weight, data, raw) values ($1, $2, $3, $4, $5, $6, $7)",
      1, "ann", "ö' -- ;", true, 1.5, { a = { 1, 2 } }, "\\0\\\\x41\\xff")
    assert(n == 1, n)
    db:exec("insert into notes (id, owner, body) values ($1, $2, $3)", 2, "bob", nil)
    local rows = db:query("select * from notes order by id")
    local one, none = db:one("select body, data from notes where owner = $1", "ann"), db:one("select 1 as x from notes where id = 77")
    assert(rows.affected == 2 and #rows == 2 and none == nil)
    assert(rows[2].body == sql.null and rows[1].raw == "\\0\\\\x41\\xff" and math.type(rows[1].id) == "integer")
    assert(rows[1].done == true and rows[1].weight == 1.5 and rows[1].data.a[2] == 2 and one.body == "ö' -- ;")
    assert(db:one("select $1 as same, $2 as other, $1 as again", "x", "y").again == "x")
    rows[1].raw = nil rows[2].raw = nil
    return json.encode { rows, db:query("select id from notes where id > 77"), db:exec("update notes set done = $1", false) }
  end`,
  errors: `${DB}return function()
    local out = {}
    for i, call in ipairs {
      { "insert into notes (id, owner, body) values ($1, 'ann', 'ö'' -- ;')", 9 }, { "insert into notes (id) values (9)" }, { "selec 1" }, { "select * from missing" },
      { "select missing from notes" }, { "select 1; select 2" }, { "update accounts set sum = -1" }, { "select $1 as a, $2 as b", 1 } } do
      local ok, e = pcall(db.query, db, table.unpack(call))
      out[i] = { ok, e.code, type(e.message), tostring(e) == e.message, e.constraint or sql.null }
    end
    return json.encode(out)
  end`,
  wrong: `${DB}return function()
    local checks = { function() sql.open("postgres://other/") end, function() db:query(5, {}) end, function() db:query("select $1", print) end, function() db.query(1) end,
      function() db:query(("x\\0y")) end, function() local kept db:transaction(function(tx) kept = tx end) kept:query("select 1") end,
      function() db.query("db", "select 1") end, function() db.query({}, "select 1") end, function() db.query(sql.null, "select 1") end }
    assert(db:transaction(function(tx) return db.one(tx, "select 1 as x").x end) == 1)
    local out = {}
    for i, check in ipairs(checks) do out[i] = select(2, pcall(check)) end
    return json.encode(out)
  end`,
  transfer: `${DB}return function(event)
    local how = event.queryStringParameters.how
    return tostring(db:transaction(function(tx)
      tx:exec("update accounts set sum = sum - $1 where id = 1", 10)
      if how == "raise" then error({ statusCode = 409, body = "no" }) end
      if how == "fault" then error("a fault") end
      if how == "sleep" then sleep(60) end
      tx:exec("update accounts set sum = sum + $1 where id = 2", 10)
      return tx:one("select sum from accounts where id = 2").sum
    end))
  end`,
  sums: `${DB}return function() return json.encode(db:query("select sum from accounts order by id")) end`,
  many: `${DB}return function()
    local rows = db:query("with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000) select i, 'row ' || i as name from n")
    return #rows .. " " .. rows[20000].name
  end`,
  // What one result, or text, leaves behind is not in the next.
  again: `${DB}return function()
    local out, long = {}, ("ö"):rep(10000)
    for i, call in ipairs { { "select 1 as a, 'x' as b, 2 as c" }, { "select $1 as a", long }, { "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9000) select i, 'some text' as t from n" },
      { "select $1 as b, $2 as c", "x", "" }, { "selec 1" }, { "select $1 as d", "y" }, { "update notes set done = $1 where id > 99", true }, { "select 1 as e where 1 = 2" } } do
      local ok, rows = pcall(db.query, db, table.unpack(call))
      out[i] = not ok and rows.code or rows[1] and rows[1].a == long and "long" or { #rows, rows[1] or rows.affected }
    end
    return json.encode(out)
  end`,
  huge: `${DB}return { memory = "8MB", handler = function()
    return select(2, pcall(db.query, db, "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000000) select i, 'some text that is long enough to fill up memory ' || i as t from n")).code
  end }`,
  slow: `${DB}return { timeout = 0.3, handler = function() db:query(%SLOW%) return "done" end }`,
  hello: 'return function() return "hello" end',
};

const KINDS = {
  SQLite: { raw: 'blob', slow: '"with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"', url: async () => ({ url: 'sqlite:data/notes.db' }) },
  PostgreSQL: { raw: 'bytea', slow: '"select pg_sleep(100)"', skip: MISSING, url: async (t) => { const pg = await Postgres.start(t); return { pg, url: pg.url('?pool=5') }; } },
};

for (const [kind, of] of Object.entries(KINDS)) {
  test(`${kind}: rows, types, errors, transactions, and what does not end`, { skip: of.skip }, async (t) => {
    const { url, pg } = await of.url(t);
    const texts = Object.fromEntries(Object.entries(scripts).map(([k, v]) => [k, v.replace('%RAW%', of.raw).replace('%SLOW%', of.slow)]));
    const fields = Object.fromEntries(Object.keys(texts).filter((k) => k !== 'hello').map((k) => [k, 'sql = { "DATABASE_URL" }']));
    const h = await start(t, { files: { ...deployment(texts, { fields }), '.env': `DATABASE_URL=${url}\n`, 'data/.keep': '' } });
    const text = async (name, suffix) => (await h.call(name, { suffix })).text;
    assert.equal(await text('setup'), 'ready');
    const [rows, none, changed] = JSON.parse(await text('types'));
    assert.deepEqual(rows, [{ id: 1, owner: 'ann', body: "ö' -- ;", done: true, weight: 1.5, data: { a: [1, 2] } },
      { id: 2, owner: 'bob', body: null, done: false, weight: null, data: null }]);
    assert.deepEqual([none, changed], [[], 2]);
    const errors = JSON.parse(await text('errors'));
    assert.deepEqual(errors.map((e) => e[1]), ['23505', '23502', '42601', '42P01', '42703', '42601', '23514', kind === 'SQLite' ? '07001' : '08P01']);
    for (const e of errors) assert.deepEqual([e[0], e[2], e[3]], [false, 'string', true]);
    if (pg) assert.equal(errors[0][4], 'notes_owner');
    const wrong = JSON.parse(await text('wrong'));
    for (const [i, why] of [/not the value of a variable that `sql`/, /.*/, /a text, number, boolean, table or sql.null/, /luafn.sql/, /zero byte/, /the transaction is over/, /luafn.sql expected, got string/, /luafn.sql expected, got table/, /luafn.sql expected, got light userdata/].entries()) assert.match(wrong[i].message ?? wrong[i], why);

    assert.equal(await text('transfer', '?how=ok'), '1010');
    assert.equal((await h.call('transfer', { suffix: '?how=raise' })).status, 409);
    assert.equal((await h.call('transfer', { suffix: '?how=fault' })).status, 502);
    assert.equal(await text('sums'), '[{"sum":990},{"sum":1010}]');
    const wire = await Wire.connect(h.address, h.port); // he leaves in the middle of it
    wire.send(requestText({ path: '/.netlify/functions/transfer?how=sleep' }));
    const held = kind === 'SQLite' ? () => text('hello') : () => pg.psql("select count(*) from pg_stat_activity where state = 'idle in transaction'") === '1';
    await eventually(held, 10, 'a transaction is open');
    wire.socket.resetAndDestroy();
    assert.equal(await text('transfer', '?how=ok'), '1020', 'what he held is free');
    assert.equal(await text('sums'), '[{"sum":980},{"sum":1020}]');
    assert.equal(await text('many'), '20000 row 20000');
    assert.equal(await text('huge'), '54000');
    const again = [[1, { a: 1, b: 'x', c: 2 }], 'long', [9000, { i: 1, t: 'some text' }], [1, { b: 'x', c: '' }], '42601', [1, { d: 'y' }], [0, 0], [0, 0]];
    for (let i = 0; i < 3; i++) assert.deepEqual(JSON.parse(await text('again')), again);

    const slow = h.call('slow');
    assert.equal(await text('hello'), 'hello');
    assert.equal((await slow).status, 504);
    if (pg) await eventually(() => pg.psql("select count(*) from pg_stat_activity where query like '%pg_sleep(100)' and state = 'active'") === '0', 10, 'cancelled at the server');
    assert.equal(await text('transfer', '?how=ok'), '1030');
    const all = await Promise.all(Array.from({ length: 40 }, () => text('transfer', '?how=ok')));
    assert.deepEqual(all.map(Number).sort((a, b) => a - b), Array.from({ length: 40 }, (_, i) => 1040 + 10 * i));
    assert.equal(await text('sums'), '[{"sum":570},{"sum":1430}]');
    if (pg) {
      assert.ok(Number(pg.psql("select count(*) from pg_stat_activity where application_name = 'luafn'")) <= 5, 'no more than the pool has');
      await pg.stop();
      const away = await h.call('sums');
      assert.equal(away.status, 502);
      assert.match(away.json().errorMessage, /^(the database cannot be reached|the connection to the database broke|terminating connection.*)$/);
      await pg.run();
      await eventually(async () => (await text('sums')) === '[{"sum":570},{"sum":1430}]', 10, 'it is back, and so are we');
    } else {
      assert.ok(fs.existsSync(path.join(h.dir, 'data/notes.db')));
    }
    assert.equal(await text('hello'), 'hello');
  });
}

// What the server knows of a password: RFC 5803, by as many rounds as it is to take.
function verifier(password, rounds) {
  const salt = crypto.randomBytes(16), salted = crypto.pbkdf2Sync(password, salt, rounds, 32, 'sha256');
  const key = (name) => crypto.createHmac('sha256', salted).update(name).digest();
  const stored = crypto.createHash('sha256').update(key('Client Key')).digest();
  return `SCRAM-SHA-256$${rounds}:${salt.toString('base64')}$${stored.toString('base64')}:${key('Server Key').toString('base64')}`;
}

// Processor time so far, in nanoseconds: of the thread with the loop, and of the others.
function spent(pid) {
  const [loop, ...others] = fs.readdirSync(`/proc/${pid}/task`).sort((a, b) => a - b).map((tid) => Number(fs.readFileSync(`/proc/${pid}/task/${tid}/schedstat`, 'utf8').split(' ')[0]));
  return { loop, others: others.reduce((a, b) => a + b, 0) };
}

test('that a password is known is proved beside the loop', { skip: MISSING }, async (t) => {
  const pg = await Postgres.start(t);
  pg.psql(`create role ann login password '${verifier('secret', 40000)}'`);
  await pg.stop('SIGINT');
  fs.writeFileSync(path.join(pg.dir, 'data/pg_hba.conf'), 'local all all trust\nhost all all all scram-sha-256\n');
  await pg.run();
  const url = (password) => `postgres://ann:${password}@127.0.0.1:${pg.port}/postgres?pool=2`;
  const fields = { right: 'sql = { "RIGHT" }', wrong: 'sql = { "WRONG" }' };
  const h = await start(t, { files: { ...deployment({
    right: 'local db = sql.open(env.RIGHT) return function() return db:one("select current_user as name").name end',
    wrong: 'local db = sql.open(env.WRONG) return function() local ok, e = pcall(db.one, db, "select 1") return json.encode { ok, e.code, e.detail } end',
  }, { fields }), '.env': `RIGHT=${url('secret')}\nWRONG=${url('another')}\n` } });
  const [worker] = h.workers();
  const before = spent(worker);
  assert.equal((await h.call('right')).text, 'ann');
  const after = spent(worker);
  assert.ok(after.others - before.others > 3 * (after.loop - before.loop), JSON.stringify([before, after]));
  const [ok, code, why] = (await h.call('wrong')).json();
  assert.deepEqual([ok, code], [false, '08001']);
  assert.match(why, /password authentication failed/);
  assert.equal((await h.call('right')).text, 'ann');
});

test('a file of another place, and one that another file is attached to, are out of reach', async (t) => {
  const names = ['sqlite:/etc/x.db', 'sqlite:../x.db', 'sqlite:a/../../x.db', 'sqlite:x.db?mode=ro', 'mysql://x', 'sqlite:ok.db?pool=0', 'postgres://[', 'sqlite:none/x.db'];
  const env = Object.fromEntries([...names, 'sqlite:ok.db'].map((url, i) => [`URL_${i}`, url]));
  const h = await start(t, { files: { ...deployment({
    all: `return function() local out = {} for i = 0, ${names.length - 1} do local ok, e = pcall(function() return sql.open(env["URL_" .. i]):query("select 1") end) out[i + 1] = ok and "opened" or type(e) == "table" and e.code .. " " .. e.message or e end return json.encode(out) end`,
    attach: `local db = sql.open(env.URL_${names.length}) return function() local out = {} for i, s in ipairs { "attach 'other.db' as other", "vacuum into 'copy.db'", "pragma temp_store_directory = '/tmp'", "select load_extension('x')", "create table t (a)" } do out[i] = pcall(db.exec, db, s) end return json.encode(out) end`,
  }, { fields: { all: 'sql = { "URL_0", "URL_1", "URL_2", "URL_3", "URL_4", "URL_5", "URL_6", "URL_7" }', attach: `sql = { "URL_${names.length}" }` } }), '.env': Object.entries(env).map(([k, v]) => `${k}=${v}\n`).join('') } });
  const all = (await h.call('all')).json();
  for (const [i, why] of [/a path below/, /a path below/, /a path below/, /a path below/, /begins with postgres:\/\/ or sqlite:/, /pool: a number/, /postgres:\/\/USER/, /08001 the database file cannot be opened/].entries()) assert.match(all[i], why, names[i]);
  assert.deepEqual((await h.call('attach')).json(), [false, false, false, false, true]);
  assert.deepEqual(fs.readdirSync(h.dir).filter((f) => f.endsWith('.db')).sort(), ['ok.db']);
});
