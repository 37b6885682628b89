// The queue: jobs are stored before they are promised, run at least once, tried again, and become dead letters.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import test from 'node:test';
import { deployment, eventually, folder, launch, run, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { queueDrill } from '../lib/queue-drill.mjs';
import { Redis } from '../lib/redis.mjs';
import { gate, upstream } from '../lib/upstream.mjs';

// The same of either store: a file, and a server.
const stores = {
  'a file': async () => ({}),
  'a server': async (t) => ({ KV_URL: (await Redis.start(t)).url }),
};

function both(name, fn) {
  for (const [where, env] of Object.entries(stores)) {
    test(`${name}: ${where}`, async (t) => { await fn(t, await env(t)); });
  }
}

// Sends what the body says: { name, value, options, n }.
const SEND = `return function(event)
  local input = event:json()
  local ids = json.array()
  for i = 1, input.n or 1 do
    local ok, id, why = pcall(queue.send, input.name, input.value, input.options)
    ids[i] = not ok and { raised = tostring(id) } or { id = id, why = why }
  end
  return json.encode(ids)
end`;

const JSON_BODY = { 'Content-Type': 'application/json' };

async function send(h, name, value, options, n) {
  const res = await h.call('send', { method: 'POST', headers: JSON_BODY, body: JSON.stringify({ name, value, options, n }) });
  assert.equal(res.status, 200, res.text);
  return n === undefined ? res.json()[0] : res.json();
}

const said = (h, message) => h.stderr.split('\n').slice(0, -1).filter((line) => line.includes(message)).map((line) => JSON.parse(line));
const queue = (t, h, env, ...args) => run(t, ['queue', ...args], { dir: h.dir, env });
// The log says how a run ended before the store is told.
const knows = (t, h, env, what) => eventually(async () => (await queue(t, h, env)).stdout === `${what}\n`, 10, `the store knows: ${what}`);

both('a value comes as a POST of JSON, once; a key is taken once', async (t, env) => {
  const h = await start(t, { env, files: deployment({ send: SEND, work: 'return function(event, context) log.info("ran", { method = event.httpMethod, kind = event.headers["x-nf-event"], body = event:json(), job = event.job, claims = context.identityContext }) end' }) });
  const one = await send(h, 'work', { a: [1, { b: '€' }] }, { key: 'k' });
  assert.match(one.id, /^[0-9A-Z]{26}$/);
  assert.deepEqual(await send(h, 'work', 2, { key: 'k' }), { why: 'taken' });
  const other = await send(h, 'work', 'text', { key: 'l' });
  await eventually(() => said(h, '"job ended"').length >= 2, 10, 'both have ended');
  assert.deepEqual(said(h, '"ran"').map((line) => line.fields).sort((a, b) => (a.job.id < b.job.id ? -1 : 1)), [
    { method: 'POST', kind: 'queue', body: { a: [1, { b: '€' }] }, job: { id: one.id, attempt: 1, key: 'k' } },
    { method: 'POST', kind: 'queue', body: 'text', job: { id: other.id, attempt: 1, key: 'l' } },
  ]);
  await knows(t, h, env, '0 wait, 0 run, 0 dead');
  await eventually(async () => await h.metric('jobs_done_total') === 2, 10, 'they are counted');
});

both('what fails is tried again, and then is a dead letter with its reason', async (t, env) => {
  const h = await start(t, { env, workers: 2, files: deployment({
    send: SEND,
    work: `return function(event)
      log.info("ran", { attempt = event.job.attempt })
      local value = event:json()
      if value.until_attempt and event.job.attempt >= value.until_attempt then return "good" end
      if value.status then return { statusCode = value.status, body = "as wanted" } end
      error("no good")
    end`,
    never: 'return function() error("not once") end',
  }, { fields: { work: 'retry = { 0.05, 0.1 }', never: 'retry = {}' } }) });
  const good = await send(h, 'work', { until_attempt: 3 });
  const bad = await send(h, 'work', { status: 503 });
  const late = await send(h, 'never', 1);
  const fine = await send(h, 'work', { status: 404 });
  await eventually(() => said(h, '"job failed for good').length === 2 && said(h, '"job ended"').length === 2, 20, 'all have ended');
  assert.deepEqual(said(h, '"job ended"').map((line) => [line.job, line.attempt]).sort(), [[good.id, 3], [fine.id, 1]].sort());
  assert.deepEqual(said(h, '"job failed for good').map((line) => [line.job, line.attempt]).sort(), [[bad.id, 3], [late.id, 1]].sort());
  const list = await eventually(async () => { const r = await queue(t, h, env); return /0 wait, 0 run, 2 dead/.test(r.stdout) ? r : null; }, 10, 'the store knows');
  assert.match(list.stdout, new RegExp(`^${bad.id}  dead   \\d{4}-\\d\\d-\\d\\dT[\\d:]{8}Z  work  tries: 3  503 as wanted$`, 'm'));
  assert.match(list.stdout, new RegExp(`^${late.id}  dead .*  never  tries: 1  502 .*not once`, 'm'));
  assert.equal((await queue(t, h, env, 'drop', late.id)).stdout, '1 dropped\n');
  const none = await queue(t, h, env, 'retry', late.id);
  assert.deepEqual([none.code, none.stdout], [1, '']);
  assert.match(none.stderr, /there is no dead letter of the id/);
  assert.equal((await queue(t, h, env, 'retry', '--all')).stdout, '1 wait again\n');
  await eventually(() => said(h, '"job failed for good').length === 3, 20, 'it has failed anew');
  assert.equal(said(h, '"ran"').filter((line) => line.fields.attempt === 1).length, 4);
  await eventually(async () => /0 wait, 0 run, 1 dead/.test((await queue(t, h, env)).stdout), 10, 'the store knows');
  assert.equal((await queue(t, h, env, 'drop', '--all')).stdout, '1 dropped\n');
  assert.equal((await queue(t, h, env, 'list', '--all')).stdout, '0 wait, 0 run, 0 dead\n');
});

both('bad input is named; a job of 1 MB runs, one of 10 MB does not', async (t, env) => {
  const h = await start(t, { env, files: deployment({
    send: SEND,
    large: 'return function(event) local n = tonumber(event.queryStringParameters.n) local id, why = queue.send("work", ("x"):rep(n)) return why or id end',
    work: 'return function(event) log.info("ran", { bytes = #event:json() }) end',
    'big-background': 'return function(event) log.info("ran", { bytes = #event.body }) end',
  }, { more: '  limits = { body = "10MB" },', fields: { large: 'memory = "128MB"', work: 'memory = "128MB"', 'big-background': 'memory = "128MB"' } }) });
  for (const [name, options, why] of [
    ['nowhere', undefined, /queue\.send: there is no function 'nowhere'/],
    ['work', { delay: 1e9 }, /at most 366 days/],
    ['work', { delay: 1, run_at: 1 }, /delay or run_at, not both/],
    ['work', { delay: 'soon' }, /delay is a number of seconds/],
    ['work', { key: '' }, /a key is a text of 1 to 600 bytes/],
    ['work', { kye: 'x' }, /kye: unknown key; did you mean `key`/],
  ]) assert.match((await send(h, name, 1, options)).raised, why);
  for (const n of [16385, 65537, 262145, 1048577]) assert.equal((await h.call('large', { suffix: `?n=${n}` })).text.length, 26);
  assert.match((await h.call('large', { suffix: `?n=${10 * 1024 * 1024}` })).text, /the job is larger than 8 MB/);
  await eventually(() => said(h, '"ran"').length === 4, 10, 'they ran');
  assert.deepEqual(said(h, '"ran"').map((line) => line.fields.bytes).sort((a, b) => a - b), [16385, 65537, 262145, 1048577]);
  const post = (n) => h.call('big-background', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'x'.repeat(n) });
  assert.equal((await post(5e6)).status, 202);
  const refused = await post(9e6);
  assert.deepEqual([refused.status, refused.json().error], [413, 'job_too_large']);
  await eventually(() => said(h, '"ran"').length === 5, 10, 'the large call ran');
  assert.equal(said(h, '"ran"').at(-1).fields.bytes, 5e6);
});

both('a delay is kept, and a job that waits can be dropped', async (t, env) => {
  const h = await start(t, { env, files: deployment({ send: SEND, work: 'return function(event) log.info("ran", { value = event:json(), at = time.now() }) end' }) });
  const begun = Date.now() / 1000;
  await send(h, 'work', 'later', { delay: 1.2 });
  const never = await send(h, 'work', 'never', { delay: 3600 });
  await send(h, 'work', 'past', { run_at: 1 });
  await eventually(() => said(h, '"ran"').length === 2, 20, 'two ran');
  const ran = Object.fromEntries(said(h, '"ran"').map((line) => [line.fields.value, line.fields.at]));
  assert.deepEqual(Object.keys(ran).sort(), ['later', 'past']);
  assert.ok(ran.later >= begun + 1.19);
  assert.match((await queue(t, h, env, 'list', '--all')).stdout, new RegExp(`${never.id}  waits`));
  assert.equal((await queue(t, h, env, 'drop', never.id)).stdout, '1 dropped\n');
});

both('no more of a function run than its concurrency, in all workers', async (t, env) => {
  const waiting = [];
  const url = await upstream(t, (req, res) => waiting.push(res));
  const h = await start(t, { env, workers: 2, files: deployment({ send: SEND, work: `return function(event) fetch("${url}?" .. event.job.id) end` }, { fields: { work: 'fetch = { "127.0.0.1" }, concurrency = 2, timeout = 60' } }) });
  await send(h, 'work', 1, undefined, 5);
  const next = (n) => eventually(() => waiting.length === n, 20, `${n} ask`);
  for (let n = 2; n <= 5; n++) {
    await next(n); // so many were ever begun, of which two have not ended
    assert.match((await queue(t, h, env)).stdout, new RegExp(`${5 - n} wait, 2 run, 0 dead`));
    waiting[n - 2].end();
  }
  waiting[4].end();
  await eventually(() => said(h, '"job ended"').length === 5, 20, 'all have ended');
});

both('a worker that is killed leaves its jobs to the others', async (t, env) => {
  const g = await gate(t);
  const h = await start(t, { env, workers: 2, files: deployment({ send: SEND, work: `return function(event) log.info("ran", { job = event.job }) fetch("${g.url}") end`, 'late-background': `return function(event) log.info("ran", { job = event.job, body = event.body }) fetch("${g.url}") end` }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60', 'late-background': 'fetch = { "127.0.0.1" }' } }) });
  const { id } = await send(h, 'work', 1);
  assert.equal((await h.call('late-background', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'promised' })).status, 202);
  await g.asked(2);
  for (const pid of h.workers()) process.kill(pid, 'SIGKILL');
  await eventually(() => said(h, '"ran"').length === 4, 20, 'both began again');
  const ran = said(h, '"ran"').map((line) => line.fields);
  assert.deepEqual(ran.filter((f) => f.job.id === id).map((f) => f.job.attempt), [1, 1]);
  assert.deepEqual(ran.filter((f) => f.job.id !== id).map((f) => [f.job.attempt, f.body]), [[1, 'promised'], [1, 'promised']]);
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 2; }, 20, 'both have ended');
});

both('a host that is killed and started again loses none', async (t, env) => {
  const seen = new Set();
  const u = await upstream(t, (req, res) => { seen.add(req.url); res.end(); });
  const files = deployment({ send: SEND, work: `return function(event) fetch("${u}/" .. event.job.id) end` }, { fields: { work: 'fetch = { "127.0.0.1" }, concurrency = 4' } });
  const h = launch(folder(t, files), { env });
  later(t, () => h.kill('SIGKILL'));
  await h.listening;
  const ids = (await send(h, 'work', 1, undefined, 60)).map((one) => one.id);
  h.kill('SIGKILL');
  await h.exit;
  const again = await start(t, { env, dir: h.dir });
  await eventually(() => ids.every((id) => seen.has(`/${id}`)), 30, 'all ran');
  await eventually(async () => /0 wait, 0 run, 0 dead/.test((await queue(t, again, env)).stdout), 20, 'all have ended');
});

test('a payload and a stream of another version are dead letters that say so', async (t) => {
  const redis = await Redis.start(t);
  const env = { KV_URL: redis.url };
  const h = await start(t, { env, files: deployment({ send: SEND, work: 'return function() log.info("ran") end' }) });
  const id = '01AAAAAAAAAAAAAAAAAAAAAAAA';
  await redis.ask('hset', `luafn:{queue}:job:${id}`, 'v', '2', 'f', 'work', 'k', '', 'p', 'x', 'a', '0', 'l', '0');
  await redis.ask('zadd', 'luafn:{queue}:ids', '0', id);
  await redis.ask('sadd', 'luafn:{queue}:fn', 'work');
  await redis.ask('xgroup', 'create', 'luafn:{queue}:s:work', 'luafn', '0', 'mkstream');
  await redis.ask('xadd', 'luafn:{queue}:s:work', '*', 'j', id);
  await redis.ask('xadd', 'luafn:{queue}:s:work', '*', 'something', 'else');
  await send(h, 'work', 1);
  await eventually(() => said(h, '"ran"').length === 1, 10, 'the good one ran');
  const list = await eventually(async () => { const r = await queue(t, h, env); return /0 wait, 0 run, 2 dead/.test(r.stdout) ? r.stdout : null; }, 10, 'two are dead');
  assert.equal(list.match(/another version of luafn has written this job/g).length, 2);
});

test('jobs over kills of workers and hosts: all that were promised run, none without the promise of its key: a file', async (t) => {
  const got = await queueDrill(t, { jobs: 120, kills: 6, hosts: 1, server: false });
  assert.deepEqual([got.kills, got.missing, got.keysTwice], [6, [], []]);
});

test('jobs over kills of workers, hosts and the server: all that were promised run, none without the promise of its key', async (t) => {
  const got = await queueDrill(t, { jobs: 200, kills: 10 });
  assert.deepEqual([got.kills, got.servers, got.missing, got.keysTwice], [10, 1, [], []]);
});

// Two machines that share a server; the job that `h` has been sent waits at the gate.
async function pair(t, redis, g) {
  const env = { KV_URL: redis.url };
  const files = deployment({ send: SEND, work: `return function(event) log.info("ran", { job = event.job }) fetch("${g.url}") end` }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60' } });
  const h = launch(folder(t, files), { env });
  later(t, () => h.kill('SIGKILL'));
  await h.listening;
  const { id } = await send(h, 'work', 1);
  await g.asked();
  const [owner] = await owners(redis);
  return { h, id, owner, other: await start(t, { env, files }), env };
}

const owners = (redis) => redis.ask('zrange', 'luafn:{queue}:owners', '0', '-1').then((text) => text.split('\n').filter(Boolean));

test('a job of a machine that is gone passes on to another when nobody has heard of it for its lease', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const { h, id, owner: gone, other, env } = await pair(t, redis, g);
  const left = async () => Number(await redis.ask('zscore', 'luafn:{queue}:owners', gone)) - Number((await redis.ask('time')).split('\n')[0]) * 1000;
  await eventually(async () => (await owners(redis)).length === 2, 10, 'both have asked');
  await eventually(async () => await left() > 5000, 10, 'it is believed for so long when it has just asked');
  h.kill('SIGKILL');
  await h.exit;
  assert.ok(await left() <= 11000);
  await redis.ask('zadd', 'luafn:{queue}:owners', '1', gone); // as if they had passed
  await eventually(() => said(other, '"ran"').length === 1, 10, 'the other runs it');
  assert.deepEqual(said(other, '"ran"')[0].fields.job, { id, attempt: 1 });
  await eventually(() => { g.open(); return said(other, '"job ended"').length === 1; }, 10, 'it has ended');
  await knows(t, other, env, '0 wait, 0 run, 0 dead');
});

test('a server that was away takes nobody\'s jobs: all have a lease anew', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const { h, other } = await pair(t, redis, g);
  await eventually(async () => (await owners(redis)).length === 2, 10, 'both have asked');
  const away = `redis.call('SET', KEYS[1] .. ':seen', 1) for _, who in ipairs(redis.call('ZRANGE', KEYS[1] .. ':owners', 0, -1)) do redis.call('ZADD', KEYS[1] .. ':owners', 1, who) end`;
  await redis.ask('eval', away, '1', 'luafn:{queue}');
  await eventually(async () => await redis.ask('get', 'luafn:{queue}:seen') !== '1', 10, 'one has asked');
  assert.equal(await redis.ask('zcount', 'luafn:{queue}:owners', '-inf', '1'), '0');
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 1; }, 10, 'who began it has ended it');
  assert.equal(said(other, '"ran"').length, 0);
});

test('a server that stands still, and then does what it was asked before: no job stays behind', async (t) => {
  const redis = await Redis.start(t);
  const env = { KV_URL: redis.url };
  const h = await start(t, { env, files: deployment({ send: SEND, work: 'return function() end', 'late-background': 'return function() end' }) });
  await send(h, 'work', 1);
  await h.says(/"job ended"/);
  redis.process.kill('SIGSTOP');
  later(t, () => redis.process.kill('SIGCONT'));
  const [call, one] = await Promise.all([h.call('late-background', { method: 'POST' }), send(h, 'work', 2)]);
  redis.process.kill('SIGCONT');
  assert.deepEqual([call.status, call.json().error], [503, 'queue_unavailable']);
  assert.match(one.why, /the (store's server cannot be reached|connection to the store's server was lost)/);
  await eventually(async () => (await send(h, 'work', 3)).id, 10, 'it goes on');
  await eventually(async () => (await queue(t, h, env)).stdout === '0 wait, 0 run, 0 dead\n', 20, 'all has ended');
});

test('a server whose memory is full: no job is promised, and those that wait run', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const env = { KV_URL: redis.url };
  const h = await start(t, { env, files: deployment({ send: SEND, work: `return function(event) fetch("${g.url}") end`, bad: 'return function() error("no good") end', 'late-background': 'return function() end' }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60, concurrency = 1', bad: 'retry = {}' } }) });
  const ids = await send(h, 'work', 1, undefined, 3);
  assert.ok(ids.every((one) => one.id));
  const { id } = await send(h, 'bad', 1);
  await h.says(/job failed for good/);
  await g.asked();
  await redis.ask('config', 'set', 'maxmemory', '1');
  assert.equal((await send(h, 'work', 2)).why, 'the store is full');
  const refused = await h.call('late-background', { method: 'POST' });
  assert.deepEqual([refused.status, refused.json().error, refused.json().error_description], [503, 'queue_unavailable', 'the store is full']);
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 3; }, 20, 'those that waited ran');
  await eventually(async () => /0 wait, 0 run, 1 dead/.test((await queue(t, h, env)).stdout), 10, 'the store knows');
  assert.equal((await queue(t, h, env, 'drop', id)).stdout, '1 dropped\n');
  await redis.ask('config', 'set', 'maxmemory', '0');
  await redis.ask('set', 'luafn:{queue}:bytes', String(1024 ** 3)); // as if there were that much in it
  assert.equal((await send(h, 'work', 2)).why, 'the queue is full');
  assert.equal((await h.call('late-background', { method: 'POST' })).json().error, 'queue_full');
});

test('two fleets with one prefix: neither takes what it has no function for; what nobody has one for is a dead letter', async (t) => {
  const redis = await Redis.start(t);
  const env = { KV_URL: redis.url };
  const work = 'return function(event) log.info("ran", { value = event:json() }) end';
  const one = await start(t, { env, files: deployment({ send: SEND, one: work }) });
  const two = await start(t, { env, files: deployment({ send: SEND, two: work }) });
  for (const [h, name] of [[one, 'one'], [two, 'two']]) {
    assert.match((await send(h, name === 'one' ? 'two' : 'one', 1)).raised, /there is no function/);
    await send(h, name, name, undefined, 20);
  }
  for (const [h, name] of [[one, 'one'], [two, 'two']]) {
    await eventually(() => said(h, '"job ended"').length === 20, 20, `${name} has run its own`);
    assert.ok(said(h, '"ran"').every((line) => line.fields.value === name));
  }
  const id = '01AAAAAAAAAAAAAAAAAAAAAAAA'; // as if it had waited since 1970
  await redis.ask('hset', `luafn:{queue}:job:${id}`, 'v', '1', 'f', 'three', 'k', '', 'p', 'lf\x01v1', 'a', '0', 'l', '0', 'st', 'w');
  await redis.ask('zadd', 'luafn:{queue}:ids', '0', id);
  await redis.ask('sadd', 'luafn:{queue}:fn', 'three');
  await redis.ask('xgroup', 'create', 'luafn:{queue}:s:three', 'luafn', '0', 'mkstream');
  await redis.ask('xadd', 'luafn:{queue}:s:three', '1-1', 'j', id);
  const list = await eventually(async () => { const r = await queue(t, one, env); return /0 wait, 0 run, 1 dead/.test(r.stdout) ? r.stdout : null; }, 10, 'it is dead');
  assert.match(list, /three  tries: 0  there is no function of this name/);
  await eventually(async () => await one.metric('jobs_dead') === 1, 10, 'the metrics know');
});

// What the host sends to the server and what comes back, as texts.
async function between(t, redis) {
  const sent = [], got = [];
  const server = net.createServer((a) => {
    const b = net.connect(redis.port, '127.0.0.1');
    a.on('data', (d) => sent.push(d.toString('latin1')));
    b.on('data', (d) => got.push(d.toString('latin1')));
    for (const [x, y] of [[a, b], [b, a]]) { x.pipe(y); x.on('error', () => y.destroy()); x.on('close', () => y.destroy()); }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => server.close());
  return { sent, got, url: `redis://127.0.0.1:${server.address().port}` };
}

test('a background call waits for one round trip to the server, and it begins with no other', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const way = await between(t, redis);
  const h = await start(t, { env: { KV_URL: way.url }, files: deployment({ 'late-background': `return function(event) fetch("${g.url}") end` }, { fields: { 'late-background': 'fetch = { "127.0.0.1" }' } }) });
  await eventually(async () => (await owners(redis)).length === 0 && way.sent.length > 0, 10, 'it is connected');
  for (const n of [1, 2, 3]) {
    const res = await h.call('late-background', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: `marker-${n}` });
    assert.equal(res.status, 202);
    await g.asked(n);
    const times = (list, text) => list.join('').split(text).length - 1;
    assert.equal(times(way.sent, 'local limit, most, owner ='), n, 'one script for each');
    assert.equal(times(way.sent, `marker-${n}`), 1);
    assert.equal(times(way.got, `marker-${n}`), 0, 'who begins it did not have to fetch it');
  }
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 3; }, 10, 'they have ended');
});

test('an end that a server could not be told goes out before the next question: who dies then leaves no run behind', async (t) => {
  const redis = await Redis.start(t, ['--appendonly', 'yes', '--appendfsync', 'always']);
  const g = await gate(t);
  const way = await between(t, redis);
  const h = await start(t, { env: { KV_URL: way.url }, files: deployment({ send: SEND, work: `return function(event) log.info("ran", { job = event.job }) fetch("${g.url}") end` }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60' } }) });
  const { id } = await send(h, 'work', 1);
  await g.asked();
  await redis.stop();
  g.open();
  await h.says(/"job ended"/);
  way.sent.length = 0;
  await redis.begin();
  await eventually(async () => (await send(h, 'work', 2)).id, 10, 'it goes on');
  await g.asked(); // so that it has asked for jobs
  const sent = way.sent.join('');
  const end = sent.indexOf(id), take = sent.indexOf('local owner, left, age =');
  assert.ok(end >= 0 && end < take, `the end at ${end}, the first question at ${take}`);
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 2; }, 10, 'both have ended');
  assert.deepEqual(said(h, '"ran"').map((line) => line.fields.job.id).filter((other) => other === id), [id]);
});

test('a server that goes back to what it knew before, as a replica that is behind: what it takes for running is run', async (t) => {
  const redis = await Redis.start(t, ['--appendonly', 'yes', '--appendfsync', 'always']);
  const g = await gate(t);
  const env = { KV_URL: redis.url };
  const h = await start(t, { env, files: deployment({ send: SEND, work: `return function(event) log.info("ran", { job = event.job }) fetch("${g.url}") end` }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60, concurrency = 1' } }) });
  const restart = async (meanwhile) => {
    await redis.stop();
    meanwhile();
    await redis.begin();
  };
  const { id } = await send(h, 'work', 1);
  await g.asked();
  const before = folder(t);
  await restart(() => fs.cpSync(redis.dir, before, { recursive: true }));
  const allEnd = () => eventually(async () => { g.open(); return (await queue(t, h, env)).stdout === '0 wait, 0 run, 0 dead\n'; }, 20, 'all have ended, as the server knows');
  await eventually(async () => (await send(h, 'work', 2)).id, 10, 'it goes on');
  await send(h, 'work', 2, undefined, 7); // after each it asks for jobs, and so is sure of its own again
  await allEnd();
  await restart(() => { fs.rmSync(redis.dir, { recursive: true }); fs.cpSync(before, redis.dir, { recursive: true }); });
  await eventually(async () => (await send(h, 'work', 3)).id, 10, 'it goes on');
  await allEnd();
  const ran = said(h, '"ran"').map((line) => line.fields.job.id);
  assert.deepEqual(ran.filter((one, i) => ran.indexOf(one) !== i), [id]);
});

test('a connection that is lost while the server is told who is gone: the worker goes on, and tells it again', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  let cut = () => false;
  const server = net.createServer((a) => {
    const b = net.connect(redis.port, '127.0.0.1');
    for (const [x, y] of [[a, b], [b, a]]) { x.on('error', () => y.destroy()); x.on('close', () => y.destroy()); }
    b.on('data', (d) => a.write(d));
    a.on('data', (d) => { if (cut(d.toString('latin1'))) a.destroy(); else b.write(d); });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => server.close());
  const h = await start(t, { env: { KV_URL: `redis://127.0.0.1:${server.address().port}` }, files: deployment({ send: SEND, work: `return function(event) log.info("ran", { job = event.job }) fetch("${g.url}") end` }, { fields: { work: 'fetch = { "127.0.0.1" }, timeout = 60' } }) });
  const { id } = await send(h, 'work', 1);
  await g.asked();
  const [gone] = await owners(redis);
  let cuts = 0;
  cut = (text) => text.includes(`\r\n${gone} \r\n`) && cuts++ === 0; // in a list, not as the one who asks
  const [killed] = h.workers();
  process.kill(killed, 'SIGKILL');
  const next = await eventually(() => h.workers().find((pid) => pid !== killed), 10, 'another worker');
  await eventually(() => said(h, '"ran"').length === 2, 20, 'it is run again');
  assert.ok(cuts > 1, `told ${cuts} times`);
  assert.deepEqual(h.workers(), [next]);
  await eventually(() => { g.open(); return said(h, '"job ended"').length === 1; }, 10, 'it has ended');
  assert.deepEqual(said(h, '"ran"').map((line) => line.fields.job.id), [id, id]);
});

test('a store that is away is named, and a function with no room', async (t) => {
  const h = await start(t, { env: { KV_URL: 'redis://127.0.0.1:1' }, files: deployment({ send: SEND, work: 'return function() end', 'late-background': 'return function() end' }) });
  assert.match((await send(h, 'work', 1)).why, /cannot be reached/);
  const res = await h.call('late-background', { method: 'POST' });
  assert.deepEqual([res.status, res.json().error, res.headers['retry-after']], [503, 'queue_unavailable', ['1']]);
});

test('luafn queue: words that it does not know', async (t) => {
  const files = deployment({ work: 'return function() end' });
  for (const [args, why] of [[['lst'], /'lst' is not one of list, retry, drop/], [['retry'], /retry takes the id of a job, or --all/], [['drop', 'x', '--all'], /drop takes the id of a job, or --all/], [['list', 'x'], /list takes no id/]]) {
    const r = await run(t, ['queue', ...args], { files });
    assert.equal(r.code, 2);
    assert.match(r.stderr, why);
  }
  const r = await run(t, ['queue'], { files });
  assert.deepEqual([r.code, r.stdout, r.stderr], [0, '0 wait, 0 run, 0 dead\n', '']);
});
