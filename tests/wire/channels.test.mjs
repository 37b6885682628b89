// channel.publish and channel.subscribe: over all workers of a host, over hosts that share a server,
// and every way in which a subscriber goes.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, run, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { rss } from '../lib/process.mjs';
import { Redis } from '../lib/redis.mjs';
import { open, RawSocket } from '../lib/websocket.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;

const SCRIPTS = {
  room: `return function(event)
    local name = event.queryStringParameters.room
    return { websocket = function(ws)
      local room <close> = channel.subscribe(name)
      ws:send("ready")
      parallel(function() for text in room do ws:send(text) end end,
        function() for text in ws:messages() do assert(channel.publish(name, text)) end end)
      log.info("left " .. name)
    end }
  end`,
  events: `return function(event)
    local room = assert(channel.subscribe(event.queryStringParameters.room))
    return { statusCode = 200, headers = { ["Content-Type"] = "text/event-stream" }, body = function(write)
      write("data: ready\\n\\n")
      for text in room do write("data: " .. text .. "\\n\\n") end
      write("data: over\\n\\n")
    end }
  end`,
  say: `return function(event)
    local q = event.queryStringParameters
    local ok, why = channel.publish(q.room, q.size and ("x"):rep(tonumber(q.size)) or q.text)
    return json.encode { ok = ok or false, why = why }
  end`,
  self: `return function(event)
    local one <close> = channel.subscribe("self")
    local two = channel.subscribe("self")
    channel.publish("self", "password=geheim a")
    channel.publish("self", "b")
    local got = { one(), one(), two() }
    two:close()
    got[#got + 1] = tostring(two())
    return json.encode(got)
  end`,
  misuse: `local M = {} return function()
    local faults = {}
    local function try(f, ...) local _, got = pcall(f, ...) faults[#faults + 1] = tostring(got) end
    try(channel.publish, "", "x") try(channel.publish, ("n"):rep(129), "x") try(channel.publish, "\\xff", "x") try(channel.publish, "a", 5)
    try(channel.publish, "a", ("x"):rep(65537)) try(channel.subscribe) try(channel.subscribe, "") try(channel.publish, "a", ("x"):rep(65536))
    local sub = channel.subscribe("a")
    parallel(function() try(function() for text in sub do break end end) end, function() try(sub) channel.publish("a", "go") end)
    if M.kept then try(M.kept) end
    M.kept = channel.subscribe("a")
    return json.encode(faults)
  end`,
  wait: 'return { timeout = 2, handler = function() for text in channel.subscribe("nobody") do return text end end }',
  hello: 'return function() return "hello" end',
};
SCRIPTS.patient = SCRIPTS.events;
const TIMEOUT = { self: '', wait: '', patient: ', timeout = 2' };
const host = (t, options = {}) => start(t, { files: deployment(SCRIPTS, { fields: Object.fromEntries(Object.keys(SCRIPTS).map((n) => [n, `concurrency = 200${TIMEOUT[n] ?? ', timeout = 60'}`])) , more: options.more }), ...options });
const enter = async (h, room = 'a') => {
  const ws = await open(h.url(`${FN}/room?room=${room}`));
  assert.equal(await ws.next(), 'ready');
  return ws;
};
const say = async (h, room, text) => (await h.call('say', { suffix: `?${new URLSearchParams({ room, text })}` })).json();
const subscribers = (h, n) => eventually(async () => (await h.metric('channel_subscribers')) === n, 10, `${n} subscribers`);

// An event stream: await next() for its texts; null at the end.
async function events(t, h, room = 'a', name = 'events') {
  const [messages, waiting] = [[], []];
  const give = (m) => (waiting.length > 0 ? waiting.shift()(m) : messages.push(m));
  let buffer = '';
  const req = http.get(h.url(`${FN}/${name}?room=${room}`), { agent: false }, (res) => {
    res.setEncoding('utf8').on('data', (d) => {
      buffer += d;
      for (let at; (at = buffer.indexOf('\n\n')) >= 0; buffer = buffer.slice(at + 2)) give(buffer.slice(6, at));
    }).on('end', () => give(null)).on('error', () => give(null));
  });
  req.on('error', () => give(null));
  later(t, () => req.destroy());
  const stream = { req, next: () => (messages.length > 0 ? Promise.resolve(messages.shift()) : new Promise((resolve) => { waiting.push(resolve); })) };
  assert.equal(await stream.next(), 'ready');
  return stream;
}

test('what one says all hear, in all workers, each speaker in order; who leaves is gone', async (t) => {
  const h = await host(t, { workers: 3 });
  await eventually(() => h.workers().length === 3, 10, 'all workers');
  const sockets = [];
  for (let i = 0; i < 9; i++) sockets.push(await enter(h));
  const streams = [await events(t, h), await events(t, h)];
  const other = await enter(h, 'b');
  await subscribers(h, 12);
  const speakers = 3, count = 60;
  for (let i = 0; i < count; i++) for (let s = 0; s < speakers; s++) sockets[s].socket.send(`${s}:${i}`);
  for (const one of [...sockets, ...streams]) {
    const next = Array(speakers).fill(0);
    for (let i = 0; i < count * speakers; i++) {
      const [s, n] = (await one.next()).split(':').map(Number);
      assert.equal(n, next[s]++);
    }
  }
  assert.deepEqual(await say(h, 'b', 'ö from a plain function'), { ok: true });
  assert.equal(await other.next(), 'ö from a plain function', 'and nothing of the other channel');
  assert.deepEqual(await say(h, 'nobody', 'x'), { ok: true });
  const longest = 'x'.repeat(64 * KIB);
  other.socket.send(longest);
  assert.equal(await other.next(), longest);
  for (const one of sockets) one.socket.close();
  other.socket.close();
  for (const one of streams) one.req.destroy();
  await subscribers(h, 0);
  // A worker's numbers are known to the others when it waits for its next event.
  for (const [name, n] of [['published', count * speakers + 3], ['delivered', count * speakers * 11 + 2]]) {
    await eventually(async () => await h.metric(`channel_${name}_total`) === n, 10, `${n} ${name}`);
  }
  assert.equal(await h.metric('channel_dropped_total'), 0);
  await h.says(/left a/);
});

test('who does not read is dropped, and holds up nobody', async (t) => {
  const h = await host(t);
  const slow = await RawSocket.open(h, `${FN}/room?room=a`);
  assert.equal((await slow.next()).text, 'ready');
  slow.wire.socket.pause();
  const good = await enter(h);
  await subscribers(h, 2);
  const [pid] = h.workers();
  const before = rss(pid).all;
  let said = 0;
  const text = 'y'.repeat(60 * KIB);
  while (await h.metric('channel_dropped_total') === 0) {
    for (let i = 0; i < 3; i++, said++) good.socket.send(text);
    for (let i = 0; i < 3; i++) assert.equal((await good.next()).length, text.length);
    assert.ok(said < 2000, 'it ends');
  }
  await subscribers(h, 1);
  if (SLOW === 1) assert.ok(rss(pid).all - before < 24 * KIB, `${rss(pid).all - before} KiB`);
  slow.wire.socket.resume();
  let frame;
  do frame = await slow.next(); while (frame.opcode === 1);
  assert.equal(frame.code, 1011, 'it is told so when it reads again');
  await h.says(/channel 'a': more came than was taken \(1024 messages or 256 KiB may wait\)/);
  good.socket.send('still here');
  assert.equal(await good.next(), 'still here');
  slow.close();
  good.socket.close();
});

test('a worker that is killed, a reload, a drain', async (t) => {
  const h = await host(t, { workers: 2, args: ['--watch'] });
  const sockets = [];
  for (let i = 0; i < 8; i++) sockets.push(await enter(h));
  const alive = new Set(sockets);
  for (const one of sockets) one.closed.then(() => alive.delete(one));
  const before = h.workers();
  const [victim] = before;
  process.kill(victim, 'SIGKILL');
  await eventually(() => h.workers().length === 2 && !h.workers().includes(victim), 15, 'another one');
  let fresh = await enter(h);
  fresh.socket.send('after');
  assert.equal(await fresh.next(), 'after');
  for (const one of alive) assert.equal(await one.next(), 'after', 'those of the other worker');

  const stream = await events(t, h);
  const script = path.join(h.dir, 'scripts/events.lua');
  fs.writeFileSync(script, `${fs.readFileSync(script)}\n-- another generation`);
  assert.equal(await stream.next(), 'over', 'a stream of the old generation comes to its end');
  assert.equal(await stream.next(), null);
  fresh.socket.send('untouched');
  assert.equal(await fresh.next(), 'untouched', 'what did not change goes on');

  const last = await events(t, h);
  h.kill('SIGTERM');
  const said = await last.next(); // its worker may have heard of what was sent before this late
  assert.equal(said === 'untouched' ? await last.next() : said, 'over');
  assert.equal(await last.next(), null);
  assert.equal((await fresh.closed).code, 1001);
  assert.equal((await h.exit).code, 0);
});

test('one function to itself; what is wrong is said; a handler that waits has its timeout', async (t) => {
  const h = await host(t, { command: 'dev' });
  const got = ['password=geheim a', 'b', 'password=geheim a', 'nil'];
  assert.deepEqual((await h.call('self')).json(), got);
  const { stdout } = await run(t, ['invoke', 'self'], { dir: h.dir });
  assert.deepEqual(JSON.parse(stdout), got, 'in process, too');
  const expected = [/1 to 128 bytes of UTF-8/, /1 to 128 bytes/, /1 to 128 bytes/, /string expected, got number/, /64 KiB at most/, /string expected, got (nil|no value)/, /1 to 128 bytes/, /^true$/, /waited for already/, /^nil$/];
  const faults = (await h.call('misuse')).json();
  expected.forEach((e, i) => assert.match(faults[i] ?? JSON.stringify(faults), e, `${i}`));
  assert.match((await h.call('misuse')).json()[10], /belongs to a request that is over/);
  const patient = await events(t, h, 'p', 'patient');
  assert.equal((await h.call('wait')).status, 504);
  assert.deepEqual(await say(h, 'p', 'late'), { ok: true });
  assert.equal(await patient.next(), 'late', 'a stream waits for longer than the same timeout');

  const [row] = (await run(t, ['journal'], { dir: h.dir })).stdout.split('\n').filter((l) => l.includes('self'));
  const id = row.split(/\s+/)[0];
  const shown = await run(t, ['journal', id], { dir: h.dir });
  assert.match(shown.stdout, /channel\.publish/);
  assert.match(shown.stdout, /channel\.message/);
  const again = await run(t, ['replay', id], { dir: h.dir });
  assert.equal(again.code, 0, again.stdout + again.stderr);
});

test('KV_URL: all hosts hear it; a server that goes, and comes again', async (t) => {
  const redis = await Redis.start(t, ['--user', 'shop', 'on', '>geheim', '~luafn*', '&luafn*', '+@all']);
  const url = redis.url.replace('//', '//shop:geheim@');
  const [a, b] = await Promise.all([1, 2].map(() => host(t, { env: { KV_URL: url } })));
  const [one, two] = [await enter(a), await enter(b)];
  const stream = await events(t, b);
  assert.deepEqual((await a.call('self')).json(), ['password=geheim a', 'b', 'password=geheim a', 'nil'], 'who has subscribed hears what is said next');
  for (let i = 0; i < 50; i++) one.socket.send(`${i}`);
  for (const sub of [one, two, stream]) for (let i = 0; i < 50; i++) assert.equal(await sub.next(), `${i}`);
  assert.deepEqual(await say(a, 'b', 'to another channel'), { ok: true });
  await redis.stop();
  await eventually(async () => {
    const { ok, why } = await say(a, 'a', 'lost');
    return !ok && /cannot be reached/.test(why);
  }, 10, 'publish says so');
  await redis.begin();
  await eventually(async () => (await redis.ask('pubsub', 'numsub', 'luafn:channel:a')).endsWith('\n2') || (await redis.ask('pubsub', 'numsub', 'luafn:channel:a')).endsWith(' 2'), 15, 'both listen again');
  await eventually(async () => (await say(b, 'a', 'again')).ok, 10, 'it can be said again');
  for (const sub of [one, two, stream]) assert.equal(await sub.next(), 'again');
  for (const sub of [one, two]) sub.socket.close();
  stream.req.destroy();
  await subscribers(a, 0);
  await subscribers(b, 0);
  await eventually(async () => /[\n ]0$/.test(await redis.ask('pubsub', 'numsub', 'luafn:channel:a')), 10, 'nobody listens any more');
});
