// Queries on PostgreSQL: what one by key costs beside Node with `pg`, and what 64 slow ones do to others.
//
//   make bench-sql ARGS="--rounds 9 --seconds 3"
//
// One server of PostgreSQL for all, with tables in memory; one worker on its core, the client and the server on
// another. Processor time is that of the host's process alone, to the nanosecond. All take turns in each round.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { eventually, freePort, ROOT } from '../tests/lib/host.mjs';
import { MISSING, Postgres } from '../tests/lib/postgres.mjs';
import { request } from '../tests/lib/wire.mjs';
import * as luafn from './lib/luafn.mjs';
import { OUT } from './lib/peers.mjs';
import { CLIENT_CORE, onCore, start, wrk } from './lib/proc.mjs';
import { cell, median } from './lib/table.mjs';

const { values: want } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, seconds: { type: 'string', default: '3' }, connections: { type: 'string', default: '64' } },
});
const ROWS = 10000, SLOW = 64;
const PEER = path.join(ROOT, 'bench/peers/pg');

const FILES = {
  'functions.lua': `return { functions = {
  hello = { script = "hello.lua", path = "/hello", auth = "public" },
  show = { script = "show.lua", path = "/shows/:id", auth = "public", sql = { "DATABASE_URL" } },
  slow = { script = "slow.lua", path = "/slow", auth = "public", sql = { "SLOW_URL" }, concurrency = ${SLOW} },
} }
`,
  'hello.lua': 'return function() return { statusCode = 200, body = "hello" } end\n',
  'show.lua': `local db = sql.open(env.DATABASE_URL)

return function(event)
  local show = db:one("select id, name, url, language, rating, ended from shows where id = $1", event.params.id)
  if not show then return { statusCode = 404 } end
  return respond.json(200, show)
end
`,
  'slow.lua': `local db = sql.open(env.SLOW_URL)
return function(event)
  db:query("select pg_sleep($1)", tonumber(event.queryStringParameters.seconds))
  return "slept"
end
`,
};

async function database(ends) {
  const pg = await Postgres.start({ after: (end) => ends.unshift(end) }, { connections: 2 * SLOW + 40 });
  pg.psql(`create table shows (id integer primary key, name text not null, url text not null, language text not null, rating double precision, ended boolean not null)`);
  pg.psql(`insert into shows select i, 'Show ' || i, 'https://www.tvmaze.com/shows/' || i, 'English', (i % 100) / 10.0, i % 3 = 0 from generate_series(1, ${ROWS}) i`);
  pg.psql('vacuum analyze shows');
  return pg;
}

function deployment(pg) {
  const dir = path.join(OUT, 'sql');
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, text] of Object.entries(FILES)) fs.writeFileSync(path.join(dir, name), text);
  fs.writeFileSync(path.join(dir, '.env'), `DATABASE_URL=${pg.url()}\nSLOW_URL=${pg.url(`?pool=${SLOW}`)}\n`);
  return dir;
}

async function host(command, cwd, ready, cores) {
  const port = await freePort();
  const server = await start(command(port)[0], command(port), { port, cwd, cores, ready: () => request({ address: '127.0.0.1', port }, { path: ready, ms: 2000 }).then((r) => r.status === 200) });
  return { ...server, url: (at) => `http://127.0.0.1:${port}${at}` };
}

// One round: microseconds of processor time a query.
async function byKey(server) {
  const { status, json } = await request(server.at, { path: '/shows/7' }).then((res) => ({ status: res.status, json: res.json() }));
  assert.deepEqual([status, json], [200, { id: 7, name: 'Show 7', url: 'https://www.tvmaze.com/shows/7', language: 'English', rating: 0.7, ended: false }]);
  assert.equal((await request(server.at, { path: `/shows/${ROWS + 1}` })).status, 404);
  const ask = (seconds) => wrk(server.url('/shows/'), ['keys', String(ROWS)], { seconds, connections: want.connections });
  await ask(2);
  const before = onCore(server.pid);
  const got = await ask(Number(want.seconds));
  assert.equal(got.bad + got.broken, 0);
  return { us: (onCore(server.pid) - before) * 1000 / got.requests, rate: got.requests / (got.us / 1e6), p99: got.p99 };
}

// As many as SLOW queries under way, all the time, until end() is called; it tells how many were made. All of half a
// second, so that they end and begin together; or `apart`, each of its own length, half a second on average.
function slowOnes(server, apart) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: SLOW });
  let on = true, made = 0;
  const ask = () => new Promise((resolve, reject) => {
    http.get(server.url(`/slow?seconds=${apart ? 0.25 + Math.random() / 2 : 0.5}`), { agent }, (res) => { assert.equal(res.statusCode, 200, 'a slow query'); res.resume().on('end', resolve); }).on('error', reject);
  });
  const each = async () => { while (on) { await ask(); made += 1; } };
  const all = Promise.all(Array.from({ length: SLOW }, each));
  return async () => { on = false; await all; agent.destroy(); return made; };
}

// `slow`: the host that has the slow ones; none: hello is alone.
async function hello(server, pg, slow, apart) {
  const end = slow ? slowOnes(slow, apart) : async () => 0;
  const ask = (seconds) => wrk(server.url('/hello'), undefined, { seconds, connections: want.connections });
  await ask(1);
  const under = () => Number(pg.psql("select count(*) from pg_stat_activity where query = 'select pg_sleep($1)' and state = 'active'"));
  if (slow) await eventually(() => under() > SLOW / 2, 10, 'most are asleep'); // while we ask, those that wake up wait for us
  const got = await ask(Number(want.seconds));
  assert.equal(got.bad + got.broken, 0);
  await end();
  return got;
}

async function main() {
  if (MISSING) return console.log(`bench-sql skipped: ${MISSING}`);
  if (!fs.existsSync(path.join(PEER, 'node_modules/.package-lock.json'))) execFileSync('npm', ['ci', '--ignore-scripts', '--silent'], { cwd: PEER, stdio: 'inherit' });
  execFileSync('taskset', ['-cp', CLIENT_CORE, String(process.pid)], { stdio: 'ignore' }); // and so those that it starts
  const ends = [];
  try {
    const pg = await database(ends);
    const dir = deployment(pg);
    const kinds = {
      luafn: (cores) => host((port) => luafn.command(port), dir, '/hello', cores),
      Node: () => host((port) => [process.execPath, path.join(PEER, 'server.js'), String(port), pg.url()], PEER, '/shows/1'),
    };
    const rows = { luafn: [], Node: [] }, waits = Object.fromEntries(['alone', 'elsewhere', 'beside', 'elsewhere apart', 'beside apart'].map((kind) => [kind, []]));
    for (let round = 0; round < Number(want.rounds); round++) {
      const turn = Object.keys(kinds);
      for (const name of round % 2 ? turn.reverse() : turn) {
        const server = await kinds[name]();
        rows[name].push(await byKey(server));
        for (const kind of name === 'luafn' ? Object.keys(waits) : []) {
          const [where, apart] = kind.split(' ');
          const other = where === 'elsewhere' ? await kinds.luafn(CLIENT_CORE) : undefined;
          waits[kind].push(await hello(server, pg, where === 'beside' ? server : other, apart));
          await other?.down();
        }
        await server.down();
      }
    }
    const of = (list, what) => list.map((one) => one[what]);
    console.log(`# ${want.rounds} rounds of ${want.seconds} s, ${want.connections} connections; medians (least-most)`);
    for (const [name, list] of Object.entries(rows)) console.log(`one query by key, ${name === 'Node' ? `Node ${process.version.slice(1)} with pg ${JSON.parse(fs.readFileSync(path.join(PEER, 'node_modules/pg/package.json'))).version}` : name}: ${cell(of(list, 'us'))} us of processor time, ${cell(of(list, 'rate'))} a second, p99 ${cell(of(list, 'p99'))} us`);
    const each = rows.luafn.map(({ us }, i) => us / rows.Node[i].us);
    console.log(`luafn / Node: ${(median(of(rows.luafn, 'us')) / median(of(rows.Node, 'us'))).toFixed(2)} of the medians, ${cell(each)} round by round (goal: at most 0.6)`);
    const said = { alone: 'alone', elsewhere: `beside ${SLOW} slow queries of another host`, beside: `beside ${SLOW} of its own` };
    for (const where of ['elsewhere', 'beside']) said[`${where} apart`] = `${said[where]} that end apart`;
    for (const [kind, list] of Object.entries(waits)) console.log(`hello ${said[kind]}: p50 ${cell(of(list, 'p50'))} us, p99 ${cell(of(list, 'p99'))} us`);
    // The client, the database and who asks for the slow ones share a core: what that costs is in the second.
    for (const [own, kind] of [['beside', 'alone'], ['beside', 'elsewhere'], ['beside apart', 'alone'], ['beside apart', 'elsewhere apart']]) {
      const ratios = waits[kind].map(({ p99 }, i) => waits[own][i].p99 / p99);
      console.log(`hello's p99 ${said[own]} / ${said[kind]}: ${(median(of(waits[own], 'p99')) / median(of(waits[kind], 'p99'))).toFixed(2)} of the medians, ${cell(ratios)} round by round (goal: at most 1.3)`);
    }
  } finally {
    for (const end of ends) await end();
  }
  return undefined;
}

await main();
