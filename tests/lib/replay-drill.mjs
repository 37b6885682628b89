// Recorded requests of every kind of handler, run again in other processes; and with a line of the script changed.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { deployment, run, start, write } from './host.mjs';
import { records } from './journal.mjs';
import { percentile } from './process.mjs';
import { upstream } from './upstream.mjs';

const TEXT = { method: 'POST', headers: { 'Content-Type': 'text/plain' } };
const pem = (kind, options) => crypto.generateKeyPairSync(kind, options).privateKey.export({ type: 'pkcs8', format: 'pem' });
const EC = pem('ec', { namedCurve: 'P-256' }), RSA = pem('rsa', { modulusLength: 2048 });
export const SECRET = 'hmac-secret-of-the-issuer-0123456789';

// Each with how it is called.
const handlers = (url) => ({
  json: ['return function(event) return json.encode { got = event:json(), q = event.queryStringParameters, path = event.path } end', { ...TEXT, body: '{"a":[1,2.5,null]}', suffix: '?x=1&y=a%20b' }],
  fetch: [`return function() local res = fetch("${url}a?n=1", { headers = { A = "1", B = "2", C = "3" } }) return json.encode { res.status, res.headers["x-n"], res:json() } end`],
  failing: ['return function() local ok, why = pcall(fetch, "http://127.0.0.1:1/") return tostring(ok) .. why end'],
  pieces: [`return function() local n, all = 0, {} for piece in fetch("${url}b", { stream = true }):chunks() do n = n + 1 all[n] = piece end return n .. ":" .. table.concat(all) end`],
  kv: ['return function() kv.set("a", { b = { 1, 2 }, c = "x" }, { ttl = 60 }) local v = kv.get("a") kv.set("t", "\\255\\0") return json.encode { v, #kv.get("t"), kv.get("none") == nil } end'],
  count: ['return function() return tostring(kv.incr("n", 3)) end'],
  swap: ['return function() kv.set("l1", "x") kv.set("l2", "y") local done = kv.cas("l1", "x", "z") local keys, more = kv.list("l", { limit = 1 }) kv.delete("l2") return json.encode { done, keys, more } end'],
  sleep: ['return function() sleep(0.02) sleep(0) return "slept" end'],
  parallel: [`local shared = {}
return function()
  local order = {}
  local function note(x) order[#order + 1] = x return x end
  local a, b, c = parallel(function() sleep(0.03) return note("slow") end, function() note(fetch("${url}c").body) sleep(0.005) return note("two") end,
    function() for i = 1, 3 do kv.incr("p") note(i) end return math.random() end)
  return table.concat(order, ",") .. a .. b .. c
end`],
  nested: ['return function() local ok, why = pcall(parallel, function() sleep(1) return 1 end, function() sleep(0.01) error("first") end) return tostring(ok) .. tostring(why) end'],
  random: ['return function() local t = {} for i = 1, 10 do t[i] = math.random(1000) end return table.concat(t, " ") .. math.random() end'],
  seeded: ['return function() math.randomseed(42) local a = math.random(1e9) math.randomseed() return a .. " " .. math.random(1e9) end'],
  bytes: ['return function() return base64.encode(crypto.random(40)) .. crypto.uuid() end'],
  sealed: ['local key = ("k"):rep(32) return function() return base64.encode(crypto.encrypt(key, "text")) end'],
  signed: [`local es, ps = [[${EC}]], [[${RSA}]]
return function()
  return json.encode { base64.encode(crypto.sign("ES256", es, "text")), base64.encode(crypto.sign("PS256", ps, "text")), base64.encode(crypto.sign("RS256", ps, "text")),
    jwt.sign({ sub = "ada" }, { key = es, algorithm = "ES256" }), jwt.sign({ sub = "ada" }, { key = ps, algorithm = "PS256" }) }
end`],
  time: ['return function(event, context) return json.encode { time.now(), time.monotonic(), time.iso(), os.time(), os.date("%c"), os.clock(), context.getRemainingTimeInMillis() } end'],
  order: [`local kept = {} for i = 1, 30 do kept["k" .. i] = i end
return function(event) local out = {} for k in pairs(kept) do out[#out + 1] = k end local t = {} for i = 1, 40 do t[event.queryStringParameters.x .. ("long key "):rep(i)] = i end for k, v in pairs(t) do out[#out + 1] = v end return json.encode(out) .. json.encode(t) end`, { suffix: '?x=abc' }],
  stream: ['return function() return { statusCode = 200, body = function(write) for i = 1, 5 do write("piece " .. i .. math.random()) sleep(0.002) end end } end'],
  binary: ['return function(event) return { statusCode = 201, isBase64Encoded = true, body = base64.encode("\\0\\255" .. base64.decode(event.body)) } end', { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: Buffer.from([1, 254, 3]) }],
  env: ['local kept = env.KEPT return function() return { statusCode = 200, headers = { ["X-A"] = kept }, body = kept .. (env.NOT_SET or "-") } end'],
  guarded: ['return jwt.require_auth(function(event, context) return json.encode(context.identityContext.claims) end)', 'token'],
  policy: ['return function(event, context) return json.encode(context.identityContext.claims) end', 'token'],
  refused: ['return jwt.require_scope("write", function() return "x" end)', 'token'],
  revokes: ['return function() return json.encode { { jwt.revoke { sub = "gus" } }, { jwt.revoke { jti = "j", issuer = "https://other.example/" } }, { jwt.revoke { sid = "s", before = 1000 } } } end'],
  raises: ['return function() kv.get("a") error("boom " .. math.random()) end'],
  late: ['return { handler = function() sleep(3) return "x" end, timeout = 0.1 }'],
  chunks: ['return function(event) local n, size = 0, 0 for piece in event:chunks() do n = n + 1 size = size + #piece end return n .. " " .. size end', { ...TEXT, body: 'x'.repeat(20000) }],
  after: ['return function() after_response(function() kv.set("after", tostring(math.random())) end) return "x" end'],
  params: ['return function(event) return json.encode(event.params) end', { suffix: '' }],
  'work-background': ['return function(event) kv.set("work", event.body .. event.job.id .. event.job.attempt) end', { ...TEXT, body: 'work' }],
});

// A host with all of them: { host, names, call(name, round), scripts }.
export async function replayWorld(t, command, options = {}) {
  const url = await upstream(t, (req, res) => { res.setHeader('X-N', String(Math.random())); res.write(JSON.stringify({ n: Math.random() })); res.end('  '); });
  const all = handlers(`${url.replace(/\/$/, '')}/`);
  const scripts = Object.fromEntries(Object.entries(all).map(([name, [code]]) => [name, code]));
  const journal = command === 'serve' ? 'journal = { sample = 1, keep = "1GB" },' : '';
  const fields = { policy: 'auth = true', guarded: 'auth = "public"', refused: 'auth = "public"', chunks: 'stream_body = true', params: 'path = "/items/:id"' };
  for (const name of ['fetch', 'failing', 'pieces', 'parallel']) fields[name] = 'fetch = { "127.0.0.1" }';
  const host = await start(t, { ...options, command, files: deployment(scripts, {
    fields, more: `auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256" }, secret = "${SECRET}" }, ${journal}`, files: { '.env': 'KEPT=kept-for-this-only\n' } }) });
  const made = await run(t, ['token', '--alg', 'HS256', '--secret', SECRET, '--issuer', 'https://idp.example/', '--aud', 'a', '--sub', 'ada'], { dir: host.dir });
  assert.equal(made.code, 0, made.stderr);
  const call = (name, round) => {
    const [, how = {}] = all[name];
    if (name === 'params') return host.get(`/items/${round}`);
    return host.call(name, how === 'token' ? { headers: { Authorization: `Bearer ${made.stdout.trim()}` } } : how);
  };
  return { host, names: Object.keys(all), call, scripts };
}

// Each of the list, by as many as there are workers.
async function each(list, workers, act) {
  const queue = [...list];
  await Promise.all(Array.from({ length: workers }, async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) await act(one, list.length - queue.length);
  }));
}

// The script with one line more at the beginning of its handler, and which line that is; null: it has no place for it.
function changed(script) {
  const at = /return (?:\{ handler = |jwt\.require_\w+\((?:"\w+", )?)?function\([^)]*\)/.exec(script);
  if (!at) return null;
  const head = script.slice(0, at.index + at[0].length);
  return { code: `${head}\nkv.get("changed")\n${script.slice(head.length)}`, line: head.split('\n').length + 1 };
}

// { requests, handlers, calls, changes, ms: of a replay, faults }
export async function replayDrill(t, { requests = 1000, workers = 2, tell = () => {} }) {
  const world = await replayWorld(t, 'serve', { workers });
  const rounds = Math.ceil(requests / world.names.length);
  for (let i = 0; i < rounds; i++) {
    await Promise.all(world.names.map((name) => world.call(name, i)));
    tell(`${(i + 1) * world.names.length} requests`);
  }
  const list = await records(world.host.dir, rounds * world.names.length);
  await world.host.stop();
  const faults = [], ms = [];
  let calls = 0;
  await each(list, workers, async (one, count) => {
    const begun = performance.now();
    const again = await run(t, ['replay', one.id, '--json'], { dir: world.host.dir });
    ms.push(performance.now() - begun);
    const told = again.code === 0 ? JSON.parse(again.stdout) : { same: false };
    calls += told.calls ?? 0;
    if (!told.same) faults.push(`${one.function} ${one.id}: ${again.stdout}${again.stderr}`);
    tell(`${count} replays`);
  });
  const tried = new Map(); // a few of each handler
  for (const one of list) tried.set(one.function, [...tried.get(one.function) ?? [], one].slice(0, 5));
  let changes = 0;
  for (const [name, some] of tried) {
    const change = some[0].status === 403 ? null : changed(world.scripts[name]); // a refused one does not get to its line
    if (!change) continue;
    const file = path.join(world.host.dir, 'changed.lua');
    write(world.host.dir, { 'changed.lua': change.code });
    await each(some, workers, async (one) => {
      const again = await run(t, ['replay', one.id, '--json', '--against', file], { dir: world.host.dir });
      const way = again.stdout.startsWith('{') ? JSON.parse(again.stdout).another_way : undefined;
      changes++;
      if (again.code !== 1 || !way?.startsWith(`changed.lua:${change.line}: the script calls kv.get({"key":"changed"})`)) faults.push(`${name}, changed: ${again.stdout}${again.stderr}`);
    });
    tell(`${changes} changed`);
  }
  fs.rmSync(path.join(world.host.dir, 'changed.lua'), { force: true });
  return { requests: list.length, handlers: world.names.length, calls, changes, ms: { median: percentile(ms, 0.5), p99: percentile(ms, 0.99) }, faults };
}
