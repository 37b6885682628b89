// Money between accounts while workers, the database and clients are killed: nothing is lost or
// doubled, and nothing runs on at the database when its request is over. `make perf` moves ten thousand.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, PERF, sleep, start } from '../lib/host.mjs';
import { MISSING, Postgres } from '../lib/postgres.mjs';

const TRANSFERS = PERF ? 10000 : 120;
const KILLS = PERF ? 12 : 2; // a worker and the database, in turn
const ACCOUNTS = 20;
const BEGIN = 1000;
const CLIENTS = 16;

const MOVE = `local db = sql.open(env.DATABASE_URL)
return function(event)
  local q = event.queryStringParameters
  local ok, fault = pcall(db.transaction, db, function(tx)
    tx:exec("insert into moves (id, source, target, sum) values ($1, $2, $3, $4)", q.id, q.source, q.target, q.sum)
    local first, second = math.min(q.source, q.target), math.max(q.source, q.target)
    tx:query("select id from accounts where id in ($1::integer, $2::integer) order by id for update", first, second)
    tx:exec("update accounts set sum = sum - $1::integer where id = $2::integer", q.sum, q.source)
    tx:exec("update accounts set sum = sum + $1::integer where id = $2::integer", q.sum, q.target)
  end)
  if ok or fault.code == "23505" then return "moved" end
  error { statusCode = 503, body = tostring(fault) }
end`;

// One try; false: nobody knows. `leave`: the client breaks off when it has asked.
const tryOnce = (h, query, leave) => new Promise((resolve) => {
  const req = http.get(h.url(`/.netlify/functions/move?${query}`), { agent: false, timeout: 20000 }, (res) => {
    let text = '';
    res.on('data', (d) => { text += d; }).on('end', () => resolve(res.statusCode === 200 && text === 'moved')).on('error', () => resolve(false));
  });
  req.on('error', () => resolve(false)).on('timeout', () => req.destroy());
  if (leave) req.on('finish', () => setImmediate(() => req.destroy()));
});

test('transfers, with kills of workers, of the database and of clients: each once', { skip: MISSING }, async (t) => {
  const pg = await Postgres.start(t);
  pg.psql('create table accounts (id integer primary key, sum integer not null)');
  pg.psql(`insert into accounts select i, ${BEGIN} from generate_series(1, ${ACCOUNTS}) i`);
  pg.psql('create table moves (id integer primary key, source integer, target integer, sum integer)');
  const h = await start(t, { workers: 2, files: deployment({ move: MOVE }, { fields: { move: 'sql = { "DATABASE_URL" }, env = { "DATABASE_URL" }, timeout = 10' } }),
    env: { DATABASE_URL: pg.url('?pool=8') } });

  let [next, done, left] = [0, 0, 0];
  const client = async () => {
    while (next < TRANSFERS) {
      const id = next++;
      const source = 1 + (id * 7919) % ACCOUNTS;
      const query = new URLSearchParams({ id, source, target: 1 + (source + 1 + (id * 31) % (ACCOUNTS - 2)) % ACCOUNTS, sum: 1 + id % 9 });
      for (let tries = 0; !await tryOnce(h, query, id % 17 === 0 && tries === 0 && ++left); tries++) {
        assert.ok(tries < 2000, `transfer ${id} never ends`);
        await sleep(0.02);
      }
      done++;
    }
  };
  const kills = async () => {
    for (let i = 1; i <= KILLS; i++) {
      await eventually(() => done >= (TRANSFERS * i) / (KILLS + 2), 600, `the time of kill ${i}`);
      if (i % 2 === 1) {
        const before = h.workers();
        process.kill(before[0], 'SIGKILL');
        await eventually(() => h.workers().length === 2 && !h.workers().includes(before[0]), 20, 'another worker');
      } else {
        await pg.stop();
        await pg.run();
      }
    }
  };
  await Promise.all([kills(), ...Array.from({ length: CLIENTS }, client)]);

  assert.ok(left > 0 && done === TRANSFERS);
  await eventually(() => pg.psql("select count(*) from pg_stat_activity where usename = 'luafn' and pid <> pg_backend_pid() and state <> 'idle' and backend_type = 'client backend'") === '0', 10, 'nothing runs on');
  assert.equal(pg.psql('select count(*) from moves'), String(TRANSFERS), 'each of them, once');
  assert.equal(pg.psql('select sum(sum) from accounts'), String(ACCOUNTS * BEGIN), 'the sum of all');
  assert.equal(pg.psql(`select count(*) from accounts a where a.sum <> ${BEGIN} + coalesce((select sum(sum) from moves where target = a.id), 0) - coalesce((select sum(sum) from moves where source = a.id), 0)`), '0', 'and of each');
  t.diagnostic(`${TRANSFERS} transfers, ${left} clients broke off`);
});
