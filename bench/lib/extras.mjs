// What is measured beside the comparison: { id, title, run(ctx) }; each prints its lines and returns them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { requestText, request, Wire } from '../../tests/lib/wire.mjs';
import { OFFER, RawSocket, text } from '../../tests/lib/websocket.mjs';
import * as luafn from './luafn.mjs';
import { compile, OUT, peers } from './peers.mjs';
import { CLIENT_CORE, output, start, usage, workerAnon } from './proc.mjs';
import { freePort, sleep } from '../../tests/lib/host.mjs';
import { cell, median, show } from './table.mjs';

const at = (name) => `/.netlify/functions/${name}`;
const say = (label, text) => console.log(`* ${label}: ${text}`);

// luafn with a deployment of its own.
async function host(ctx, { more = 0, cores, log, name = 'extra', ...options } = {}) {
  const port = await freePort();
  const cwd = luafn.deployment(path.join(OUT, name), ctx, more);
  const ready = () => request({ address: '127.0.0.1', port }, { path: at('hello'), ms: 2000 }).then((r) => r.status === 200);
  const file = log ? fs.openSync(path.join(OUT, 'access.log'), 'w') : 'ignore';
  const server = await start('luafn', luafn.command(port, { log, ...options }), { port, cwd, ready, cores, log: file });
  if (log) fs.closeSync(file);
  return { ...server, url: (fn) => `http://127.0.0.1:${port}${at(fn)}` };
}

async function using(server, fn) {
  try {
    return await fn(server);
  } finally {
    await server.down();
  }
}

const cpu = (row) => row['CPU us/req'];

// Alternates variants over the rounds: { label: (round) => microseconds of processor time a request }.
async function alternate(ctx, variants) {
  const rows = Object.fromEntries(Object.keys(variants).map((k) => [k, []]));
  for (let round = 0; round < Number(ctx.want.rounds); round++) {
    const names = Object.keys(variants);
    for (const name of round % 2 ? names.reverse() : names) rows[name].push(await variants[name]());
  }
  for (const [name, list] of Object.entries(rows)) say(name, `${cell(list)} us of processor time a request`);
  return rows;
}

const timedHost = (ctx, fn, send, options) => async () => using(await host(ctx, options), async (server) => cpu(await ctx.timed(server, server.url(fn), send)));

async function workers(ctx) {
  const send = ['tokens', ctx.tokens(1)];
  const rows = await alternate(ctx, {
    'me, one worker': timedHost(ctx, 'me', send),
    'me, two workers on the same core': timedHost(ctx, 'me', send, { workers: 2 }),
    'me, two workers on two cores, one of them the client\'s too': timedHost(ctx, 'me', send, { workers: 2, cores: `0,${CLIENT_CORE}` }),
  });
  const [one, same, two] = Object.values(rows).map(median);
  say('two workers / one', `${(same / one).toFixed(3)} on one core, ${(two / one).toFixed(3)} on two`);
  return rows;
}

async function accessLog(ctx) {
  const rows = await alternate(ctx, {
    'hello, no access log': timedHost(ctx, 'hello'),
    'hello, access log in JSON to a file': timedHost(ctx, 'hello', undefined, { log: 'json' }),
  });
  const [off, on] = Object.values(rows).map(median);
  say('cost of the access log', `${show(on - off)} us a request (goal: under 0.7)`);
  fs.rmSync(path.join(OUT, 'access.log'), { force: true });
  return rows;
}

async function many(ctx) {
  const count = 1000;
  const anon = {};
  for (const more of [6, count]) anon[more] = await using(await host(ctx, { more }), (server) => workerAnon(server.pid));
  const rss = await using(await host(ctx, { more: 6 }), (server) => usage(server.pid).rss);
  const rows = await alternate(ctx, {
    'hello, 4 functions loaded': timedHost(ctx, 'hello'),
    'hello in 1,000 functions, one after the other': timedHost(ctx, 'hello', ['functions', String(count)], { more: count }),
  });
  const each = (anon[count] - anon[6]) / (count - 6);
  say('private memory of a worker with 10 functions', `${(anon[6] / 1024).toFixed(2)} MB (goal: under 6); resident with the supervisor and shared pages of libraries ${rss.toFixed(1)} MB`);
  say('for each further function', `${each.toFixed(1)} KB (goal: under 64)`);
  return { ...rows, anon10: anon[6], each };
}

// The first request of a function against its second, over one connection.
async function cold(ctx) {
  const count = 200;
  return using(await host(ctx, { more: count }), async ({ at: where }) => {
    const wire = await Wire.connect(where.address, where.port);
    const ask = async (name) => {
      const began = performance.now();
      wire.send(requestText({ path: at(name), close: false }));
      assert.equal((await wire.response()).status, 200);
      return (performance.now() - began) * 1000;
    };
    for (let i = 0; i < 500; i++) await ask('hello');
    const times = { first: [], second: [], third: [] };
    for (let i = 1; i <= count; i++) for (const kind of Object.keys(times)) times[kind].push(await ask(`f${i}`));
    wire.close();
    for (const [kind, list] of Object.entries(times)) say(`${kind} request of a function`, `${cell(list)} us, ${count} functions`);
    const over = times.first.map((t, i) => t - times.second[i]);
    say('first over second', `${cell(over)} us (goal: under 1000)`);
    return times;
  });
}

async function idle(ctx) {
  const count = 10000;
  return using(await host(ctx), async (server) => {
    const before = workerAnon(server.pid);
    const sockets = [];
    const hello = requestText({ path: at('hello'), close: false });
    for (let i = 0; i < count; i += 500) {
      const some = await Promise.all(Array.from({ length: Math.min(500, count - i) }, () => Wire.connect(server.at.address, server.at.port)));
      for (const wire of some) wire.send(hello);
      await Promise.all(some.map((wire) => wire.response()));
      sockets.push(...some);
    }
    const after = workerAnon(server.pid);
    const alive = sockets.filter((wire) => !wire.ended).length;
    assert.equal(alive, count);
    sockets[0].send(hello);
    assert.equal((await sockets[0].response()).status, 200);
    say('idle keep-alive connections, each after one request', `${count}, ${((after - before) / count).toFixed(2)} KB of private memory each (worker ${(before / 1024).toFixed(1)} MB before, ${(after / 1024).toFixed(1)} MB with them)`);
    for (const wire of sockets) wire.close();
    return { before, after, count };
  });
}

// As Chromium asks for a page's WebSocket, or for an event stream.
const BROWSER = {
  Connection: 'keep-alive', Pragma: 'no-cache', 'Cache-Control': 'no-cache',
  'User-Agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
  'Accept-Encoding': 'gzip, deflate, br, zstd', 'Accept-Language': 'en-GB,en;q=0.9',
};
const UPGRADE = { ...BROWSER, ...OFFER, Connection: 'Upgrade', 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' };

const ECHOES = 'return { websocket = function(ws) for message in ws:messages() do ws:send(message) end end }';
const echoes = (wire) => new RawSocket(wire).send(text('still there?')).next();
const WAITING = {
  plain: {
    label: 'an idle WebSocket of `function(event, context)`',
    source: `return function(event, context) ${ECHOES} end\n`, headers: UPGRADE, check: echoes,
  },
  keeps: {
    label: 'one whose function keeps `event`',
    source: 'return function(event) return { websocket = function(ws) for m in ws:messages() do ws:send(event.headers.host) end end } end\n',
    headers: UPGRADE, check: echoes,
  },
  least: {
    label: 'one that takes no arguments, its functions made once',
    source: `local result = ${ECHOES.slice(7)}\nreturn function() return result end\n`, headers: UPGRADE, check: echoes,
  },
  stream: {
    label: 'an idle event stream that listens to a channel',
    source: 'return function() return stream.sse(function(send) for text in channel.subscribe("news") do send { data = text } end end) end\n',
    headers: { ...BROWSER, Accept: 'text/event-stream' },
  },
};

// When what was left behind is collected: it stays the same for longer than that waits (run/tidy.c).
async function settledAnon(pid) {
  for (let [before, same] = [0, 0]; ; ) {
    const now = workerAnon(pid);
    same = now === before ? same + 1 : 0;
    if (same === 6) return now;
    before = now;
    await sleep(0.25);
  }
}

// Waits for its head alone: what follows has no end.
async function headOf(wire) {
  while (!wire.buf.includes('\r\n\r\n')) await new Promise((resolve) => { wire.wake = resolve; });
  wire.buf = wire.buf.subarray(wire.buf.indexOf('\r\n\r\n') + 4);
}

async function waiting(ctx) {
  const [count, batch] = [3000, 500];
  const rows = {};
  for (const [name, { label, source, headers, check }] of Object.entries(WAITING)) {
    const scripts = { waiting: { source, options: `concurrency = ${count}` } };
    rows[name] = await using(await host({ ...ctx, scripts }), async (server) => {
      const { address, port } = server.at;
      const head = requestText({ path: at('waiting'), headers, close: false, host: `localhost:${port}` });
      const before = await settledAnon(server.pid);
      const sockets = [];
      while (sockets.length < count) {
        const some = await Promise.all(Array.from({ length: batch }, () => Wire.connect(address, port)));
        for (const wire of some) wire.send(head);
        await Promise.all(some.map(headOf));
        sockets.push(...some);
      }
      const after = await settledAnon(server.pid);
      assert.equal(sockets.filter((wire) => wire.ended).length, 0);
      await check?.(sockets[0]);
      say(label, `${count}, heads of ${head.length} bytes: ${((after - before) / count).toFixed(2)} KB of private memory each`);
      for (const wire of sockets) wire.close();
      return { before, after, count };
    });
  }
  return rows;
}

async function startup(ctx) {
  const rows = {};
  const chosen = peers.filter((p) => p.name !== 'floor' && (!ctx.want.peer || ctx.want.peer.includes(p.name)));
  for (const peer of chosen) {
    try {
      peer.prepare(ctx);
    } catch {
      continue;
    }
    rows[peer.name] = [];
    for (let i = 0; i < 7; i++) {
      const port = await freePort();
      const ready = () => request({ address: '127.0.0.1', port }, { path: at('hello'), ms: 2000 }).then((r) => r.status === 200);
      const began = performance.now();
      const server = await start(peer.name, peer.command(port, ctx), { port, cwd: peer.cwd, env: peer.env, ready });
      rows[peer.name].push(performance.now() - began);
      await server.down();
    }
    say(peer.label(), `${cell(rows[peer.name])} ms`);
  }
  return rows;
}

// Each at 70 % of what wrk reached with it. The floor says what of it is the machine's.
async function paced(ctx) {
  const pace = compile('pace');
  const tokens = ctx.tokens(1);
  const at70 = async (server, seconds) => {
    const most = (await ctx.timed(server, `http://127.0.0.1:${server.at.port}${at('me')}`, ['tokens', tokens]))['req/s'];
    const got = JSON.parse(await output('taskset', ['-c', CLIENT_CORE, pace, String(server.at.port), at('me'), tokens, String(Math.round(most * 0.7)), String(seconds), '64']));
    assert.equal(got.bad, 0);
    return { ...got, most };
  };
  const tell = (label, got) => say(label, `${got.requests} requests (${got.rate}/s of ${got.most.toFixed(0)}/s): p50 ${got.p50}, p99 ${got.p99}, p99.9 ${got.p999}, most ${got.max} us; ${got.over50ms} over 50 ms; `
    + `p99 / p50 ${(got.p99 / got.p50).toFixed(2)}`);
  const luafn70 = await using(await host(ctx), (server) => at70(server, 60));
  tell('me at 70 %, a minute (goal: p99 / p50 under 3, none over 50 ms)', luafn70);
  const port = await freePort();
  const floor70 = await using(await start('floor', [compile('floor'), String(port), 'x'.repeat(300)], { port }), (server) => at70(server, 20));
  tell('the floor at 70 %, 20 s', floor70);
  return { luafn: luafn70, floor: floor70 };
}

export const extras = [
  { id: 'workers', title: 'Two workers', run: workers },
  { id: 'log', title: 'Access log', run: accessLog },
  { id: 'functions', title: '1,000 functions', run: many },
  { id: 'cold', title: 'Cold function', run: cold },
  { id: 'idle', title: '10,000 idle connections', run: idle },
  { id: 'waiting', title: '3,000 idle WebSockets and event streams', run: waiting },
  { id: 'start', title: 'Start to first answer', run: startup },
  { id: 'paced', title: '70 % load', run: paced },
];
