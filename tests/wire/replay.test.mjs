// Recorded requests run again: in another process they come to the same, and where the script is another one it is said where.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, run, start, write } from '../lib/host.mjs';
import { journalFiles, journalLines, records } from '../lib/journal.mjs';
import { replayWorld, SECRET } from '../lib/replay-drill.mjs';
import { upstream } from '../lib/upstream.mjs';

const TEXT = { method: 'POST', headers: { 'Content-Type': 'text/plain' } };

// Requests of each handler, `rounds` times, in `dev`. [host, records, how many]
async function recorded(t, rounds) {
  const world = await replayWorld(t, 'dev');
  for (let i = 0; i < rounds; i++) for (const name of world.names) await world.call(name, i);
  const count = world.names.length * rounds;
  return [world.host, await records(world.host.dir, count), count];
}

test('each kind of handler comes to the same in another process', async (t) => {
  const [h, list, count] = await recorded(t, 2);
  await h.stop();
  assert.equal(list.length, count);
  const queue = [...list];
  await Promise.all([1, 2].map(async () => {
    for (let one = queue.shift(); one; one = queue.shift()) {
      const again = await run(t, ['replay', one.id], { dir: h.dir });
      assert.equal(again.code, 0, `${one.function}: ${again.stdout}${again.stderr}`);
      assert.match(again.stdout, new RegExp(`^the same: ${one.status}, `), one.function);
    }
  }));
  assert.equal(journalLines(h.dir).length, count, 'a replay is not recorded');
  const statuses = Object.fromEntries(list.map((r) => [r.function, r.status]));
  assert.deepEqual([statuses.raises, statuses.late, statuses.refused, statuses.guarded, statuses.policy], [502, 504, 403, 200, 200]);
});

test('another script: where it goes another way, or what its answer has', async (t) => {
  const files = deployment({ a: `return function(event)
  local n = kv.incr("n")
  sleep(0.001)
  return json.encode { n = n, q = event.rawQuery }
end` }, { files: { '.env': 'KEY=first-value-of-it\n' } });
  const h = await start(t, { command: 'dev', files });
  await h.call('a', { suffix: '?x=1', headers: { 'X-Request-Id': 'one' } });
  await records(h.dir, 1);
  await h.stop();
  const say = async (script, ...args) => {
    write(h.dir, { 'scripts/a.lua': script });
    const r = await run(t, ['replay', 'one', ...args], { dir: h.dir });
    return [r.code, r.stdout, r.stderr];
  };
  const rest = 'sleep(0.001) return json.encode { q = event.rawQuery, n = n } end';
  assert.deepEqual(await say(`return function(event) local n = kv.incr("n") ${rest}`), [0, 'the same: 200, after 2 calls\n', ''], 'members in another order are the same value');
  const rows = [
    [`return function(event)\n local n = kv.incr("m") ${rest}`, /^another way: scripts\/a\.lua:2: the script calls kv\.incr\(\{"key":"m","by":1\}\), where the record has kv\.incr\(\{"key":"n","by":1\}\) at scripts\/a\.lua:2\n$/],
    [`return function(event)\n pcall(kv.incr, "m") local n = 1 ${rest}`, /the script calls kv\.incr\(\{"key":"m"/],
    [`return function(event) local n = kv.incr("n") time.now() ${rest}`, /the script calls time\(\), where the record has sleep/],
    [`return function(event) local n = kv.incr("n") sleep(0.001)\n kv.get("x") return "y" end`, /a\.lua:2: the script calls kv\.get\(\{"key":"x"\}\), where the record has no more calls/],
    ['return function(event) return json.encode { n = kv.incr("n"), q = event.rawQuery } end', /the script never calls sleep, as it did at scripts\/a\.lua:3/],
    [`return function(event) local n = kv.incr("n") + 1 ${rest}`, /^body\n {2}was {2}\{.*"n":1.*\n {2}is {3}\{.*"n":2/],
    ['return function(event) local n = kv.incr("n") sleep(0.001) return { statusCode = 201, headers = { ["X-A"] = "b" }, body = "z" } end', /status\n {2}was {2}200\n {2}is {3}201\n[^]*header\n {2}was {2}\n {2}is {3}X-A: b/],
    ['return function(event) local n = kv.incr("n") sleep(0.001) error("no") end', /fault\n {2}was {2}none\n {2}is {3}no\n/],
  ];
  for (const [script, wanted] of rows) {
    const [code, out] = await say(script);
    assert.equal(code, 1, out);
    assert.match(out, wanted, script);
  }
  write(h.dir, { 'other.lua': `return function(event) local n = kv.incr("n") ${rest}` });
  assert.equal((await say('return function() return "other" end', '--against', 'other.lua'))[0], 0);
  assert.match((await say('return function(', '--against', 'gone.lua'))[2], /gone\.lua cannot be read/);
  assert.match((await say('return function('))[2], /a\.lua:1/);
  assert.match((await run(t, ['replay', 'none'], { dir: h.dir })).stderr, /no record in .* has the id none/);
  write(h.dir, { 'functions.lua': 'return { functions = {} }' });
  assert.match((await run(t, ['replay', 'one'], { dir: h.dir })).stderr, /there is no function a any more/);
});

test('what cannot be run again says why', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment({ locked: 'return function() return "x" end', large: 'return function(event) return #event.body .. "" end', env: 'return function() return env.KEY end',
    far: 'return function() kv.set("x", ("x"):rep(50000)) return #kv.get("x") .. "" end' }, {
    fields: { locked: 'auth = true' }, more: `auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256" }, secret = "${SECRET}" },`, files: { '.env': 'KEY=first-value-of-it\n' } }) });
  await h.call('locked');
  await h.call('large', { ...TEXT, body: 'x'.repeat(50000) });
  await h.call('env');
  await h.call('far');
  const list = await records(h.dir, 4);
  await h.stop();
  const again = (name) => run(t, ['replay', list.find((r) => r.function === name).id], { dir: h.dir });
  assert.match((await again('locked')).stderr, /no handler ran for \S+, which was refused: invalid_header/);
  assert.match((await again('large')).stderr, /the request's body was too long to be kept/);
  assert.match((await again('far')).stdout, /what kv\.get answered was too long to be kept/);
  fs.writeFileSync(path.join(h.dir, '.env'), 'KEY=second-value-of-it\n');
  const other = await again('env');
  assert.deepEqual([other.code, other.stderr], [0, 'KEY has another value than it had\n'], other.stdout);
  assert.ok(!fs.readFileSync(journalFiles(h.dir)[0], 'utf8').includes('-value-of-it'));
});

test('a test from a record passes, and fails when the script does something else', async (t) => {
  const url = await upstream(t, (req, res) => res.end(JSON.stringify({ path: req.url })));
  const scripts = {
    shows: `return function(event, context)
  local seen = kv.get("seen") or { n = 0 }
  kv.set("seen", { n = seen.n + 1 })
  local a, b = fetch("${url}/a"):json(), fetch("${url}/b?x=1").body
  return json.encode { seen.n, kv.incr("all"), a.path, b, event:json(), context.identityContext and context.identityContext.claims.sub }
end`,
    chance: 'return function() return { statusCode = 202, body = crypto.uuid() } end',
    fails: 'return function() error("boom") end',
  };
  const files = deployment(scripts, { fields: { shows: 'auth = true' }, more: `auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256", "RS256" }, secret = "${SECRET}" },` });
  files['functions.lua'] = files['functions.lua'].replace('algorithms = { "HS256", "RS256" }', 'algorithms = { "HS256" }');
  const h = await start(t, { command: 'dev', files });
  const token = (await run(t, ['token', '--alg', 'HS256', '--secret', SECRET, '--issuer', 'https://idp.example/', '--aud', 'a', '--sub', 'ada'], { dir: h.dir })).stdout.trim();
  for (let i = 0; i < 2; i++) await h.call('shows', { method: 'POST', headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' }, body: '{"a":"b\\n"}' });
  await h.call('chance');
  await h.call('fails');
  const list = await records(h.dir, 4);
  await h.stop();
  write(h.dir, { 'functions.lua': files['functions.lua'].replace(/algorithms = \{ "HS256" \}, secret = "[^"]*"/, 'algorithms = { "RS256" }') });
  const written = [];
  for (const one of list.slice(1)) {
    const r = await run(t, ['replay', one.id, '--test'], { dir: h.dir });
    assert.equal(r.code, 0, `${one.function}: ${r.stdout}${r.stderr}`);
    written.push(/^wrote (\S+_test\.lua)(.*)\n$/.exec(r.stdout));
  }
  assert.deepEqual(written.map(([, , more]) => more !== ''), [false, true, false]);
  const all = await run(t, ['test'], { dir: h.dir });
  assert.equal(all.code, 0, all.stdout + all.stderr);
  assert.match(fs.readFileSync(written[0][1], 'utf8'), /store\.set\("seen", \{ n = 1 \}\)\n {2}store\.set\("all", 1\)\n {2}local answers/);
  assert.match((await run(t, ['replay', list[1].id, '--test'], { dir: h.dir })).stderr, /cannot be written: File exists/);
  write(h.dir, { 'scripts/shows.lua': scripts.shows.replace('seen.n,', 'seen.n + 1,') });
  const other = await run(t, ['test'], { dir: h.dir });
  assert.equal(other.code, 1, other.stdout + fs.readFileSync(written[0][1], 'utf8'));
});

test('a replay asks no database', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment({ a: 'local db = sql.open(env.DB) return function() db:exec("create table if not exists t (x)") db:exec("insert into t values (1)") return tostring(db:one("select count(*) as n from t").n) end' },
    { fields: { a: 'sql = { "DB" }' }, files: { '.env': 'DB=sqlite:db.sqlite\n' } }) });
  assert.equal((await h.call('a')).text, '1');
  const [one] = await records(h.dir, 1);
  const again = await run(t, ['replay', one.id], { dir: h.dir });
  assert.equal(again.code, 1);
  assert.match(again.stdout, /the script calls sql\("create table/);
  assert.equal((await h.call('a')).text, '2', 'nothing was added meanwhile');
});

test('a test of a request that failed says what it is answered with since it was mended', async (t) => {
  const mended = (rest) => `local issuer = env.ISSUER return function(event, context) ${rest} return json.encode { context.identityContext.claims.sub, kv.get("none") == nil } end`;
  const h = await start(t, { command: 'dev', files: deployment({ a: mended('kv.get("none") error("boom")') }, {
    fields: { a: 'auth = true' }, more: `auth = { issuer = env.ISSUER, audience = "a", algorithms = { "HS256" }, secret = "${SECRET}" },`, files: { '.env': 'ISSUER=https://idp.example/\n' } }) });
  const token = (await run(t, ['token', '--alg', 'HS256', '--secret', SECRET, '--issuer', 'https://idp.example/', '--aud', 'a', '--sub', 'ada'], { dir: h.dir })).stdout.trim();
  for (let i = 0; i < 2; i++) assert.equal((await h.call('a', { headers: { Authorization: `Bearer ${token}` } })).status, 502);
  const [one, two] = await records(h.dir, 2);
  await h.stop();
  const keep = async ({ id }) => /^wrote (\S+)\n$/.exec((await run(t, ['replay', id, '--test'], { dir: h.dir })).stdout)?.[1];
  const before = await keep(one);
  assert.match(fs.readFileSync(before, 'utf8'), /^-- What request \S+ did[^]*t\.equal\(res\.status, 502\)\nend\)/, 'the twin: not mended, it fails still');
  assert.equal((await run(t, ['test', before], { dir: h.dir })).code, 0);
  write(h.dir, { 'scripts/a.lua': mended('') });
  const after = await keep(two);
  assert.match(fs.readFileSync(after, 'utf8'), /mended; it was 502 before[^]*t\.equal\(res\.status, 200\)\n {2}t\.equal\(res\.json\(\), json\.decode\("\[\\"ada\\",true\]"\)\)/);
  assert.deepEqual([(await run(t, ['test', after], { dir: h.dir })).code, (await run(t, ['test', before], { dir: h.dir })).code], [0, 1]);
});
