// One worker against its peers: the server alone on one core, the client on another.
//
//   make bench                                      everything, about 45 minutes
//   make bench ARGS="--rounds 3 --seconds 2 --tokens 5000 --case me --case hello --peer luafn --peer floor"
//   make bench ARGS="--only cases"                  or --only extras, --extra idle, ...
//   make bench ARGS="--svg"                         docs/bench.svg, tables and ratios from the results so far
//
// Every peer's answers are checked before it is measured. Peers take turns in each round, so that a
// slow minute of the machine hits all of them; the tables give medians, with the least and most.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { certificate } from '../tests/lib/cert.mjs';
import { freePort, ROOT } from '../tests/lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../tests/lib/issuer.mjs';
import { request } from '../tests/lib/wire.mjs';
import { extras } from './lib/extras.mjs';
import * as luafn from './lib/luafn.mjs';
import { compile, OUT, peers as all } from './lib/peers.mjs';
import { CLIENT_CORE, output, SERVER_CORE, start, usage, wrk } from './lib/proc.mjs';
import { draw } from './lib/svg.mjs';
import { cell, median, table } from './lib/table.mjs';

const { values: want } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' }, warm: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '20000' }, connections: { type: 'string', default: '64' },
    case: { type: 'string', multiple: true }, peer: { type: 'string', multiple: true },
    extra: { type: 'string', multiple: true }, only: { type: 'string' }, svg: { type: 'boolean' },
  },
});

const RESULTS = path.join(OUT, 'results.json');
const PICTURE = path.join(ROOT, 'docs/bench.svg');
const SHOWS = Array.from({ length: 10 }, (_, i) => ({ id: i + 1, url: `https://www.tvmaze.com/shows/${i + 1}`, name: `Show ${i + 1}`, genres: ['Drama', 'Science-Fiction'], runtime: 60, rating: { average: 8.1 } }));

const PERSON = { email: 'ada.lovelace@example.com', nickname: 'ada', name: 'Ada Lovelace', locale: 'en-GB' };

// A show as a TV guide describes it: 330 bytes.
const item = (_, i) => ({
  id: i, url: `https://www.tvmaze.com/shows/${i}`, name: `Show ${i}`, type: 'Scripted', language: 'English', genres: ['Drama', 'Thriller'], status: 'Ended',
  runtime: 60, premiered: '2013-06-24', rating: { average: 6.5 }, network: { id: 2, name: 'CBS', country: { name: 'United States', code: 'US' } }, ended: false, updated: 1573667713,
});

const at = (name) => `/.netlify/functions/${name}`;
const cases = [
  { id: 'hello', title: 'hello', path: at('hello') },
  { id: 'me', title: 'me, one token', path: at('me'), send: (ctx) => ['tokens', ctx.tokens(1)] },
  { id: 'many', title: `me, ${want.tokens} tokens in turn`, path: at('me'), send: (ctx) => ['tokens', ctx.tokens(Number(want.tokens))] },
  { id: 'new', title: `me, ${want.tokens} tokens, each once`, path: at('me'), warm: (ctx) => ['tokens', ctx.tokens(1)], send: (ctx) => ['once', ctx.tokens(Number(want.tokens))] },
  { id: 'shows', title: 'shows, fetched from a server on loopback', path: at('shows'), send: (ctx) => ['tokens', ctx.tokens(1)] },
  { id: 'echo1', title: 'JSON of 1 KB, parsed and written', path: at('echo'), send: (ctx) => ['body', ctx.json(1000)] },
  { id: 'read3', title: 'three members of 100 KB of JSON', path: at('read3'), send: (ctx) => ['body', ctx.document()] },
  { id: 'pick250', title: 'id, url and name of 250 objects', path: at('pick'), send: (ctx) => ['body', ctx.items(250)] },
  { id: 'pick10', title: 'the same of 10', path: at('pick'), send: (ctx) => ['body', ctx.items(10)] },
  { id: 'small', title: 'a file of 1 KB', path: '/small.txt', bytes: luafn.FILES['small.txt'] },
  { id: 'large', title: 'a file of 1 MB', path: '/large.bin', bytes: luafn.FILES['large.bin'] },
  { id: 'tls', title: 'hello over TLS, HTTP/1.1', path: at('hello'), tls: true },
  { id: 'http2', title: 'hello over TLS, HTTP/2: 8 connections, 8 streams each', path: at('hello'), tls: true, run: http2 },
  { id: 'tlsnew', title: 'hello, a TLS connection each', path: at('hello'), tls: true, run: (server, url) => connections(server, url, '-new') },
  { id: 'tlsagain', title: 'hello, a resumed TLS connection each', path: at('hello'), tls: true, run: (server, url) => connections(server, url, '-reuse') },
  { id: 'echo100', title: 'JSON of 100 KB, parsed and written', path: at('echo'), send: (ctx) => ['body', ctx.json(100000)] },
];

// The right answers, before speed means anything.
async function check(peer, server, ctx) {
  if (peer.checked === false) return;
  const call = (name, options) => request(server.at, { path: at(name), ...options });
  if (peer.checked === 'status') {
    assert.equal((await call('me', { headers: ctx.issuer.bearer() })).status, 200, peer.name);
    assert.equal((await call('me', { headers: ctx.issuer.bearer({ exp: 1 }) })).status, 401, `${peer.name}: an expired token`);
    assert.equal((await call('me')).status, 401, `${peer.name}: no token`);
    return;
  }
  assert.equal((await call('hello')).text, 'hello', peer.name);
  const token = ctx.issuer.token();
  const bearer = { Authorization: `Bearer ${token}` };
  const good = await call('me', { headers: bearer });
  assert.equal(good.status, 200, `${peer.name}: ${good.text}`);
  assert.equal(good.json().claims.sub, 'auth0|1');
  assert.deepEqual(good.json().claims.scope, ['openid', 'profile', 'read:shows']);
  const [h, , s] = token.split('.');
  const p = Buffer.from(JSON.stringify(ctx.issuer.claims({ sub: 'x' }))).toString('base64url');
  assert.equal((await call('me', { headers: { Authorization: `Bearer ${h}.${p}.${s}` } })).status, 401, `${peer.name}: a tampered token`);
  assert.equal((await call('me', { headers: ctx.issuer.bearer({ exp: 1 }) })).status, 401, `${peer.name}: an expired token`);
  assert.equal((await call('me')).status, 401, `${peer.name}: no token`);
  if (peer.cases.includes('shows')) {
    assert.deepEqual((await call('shows', { headers: bearer })).json(), SHOWS.map(({ id, url, name }) => ({ id, url, name })), peer.name);
  }
  if (peer.cases.includes('echo1')) {
    const body = fs.readFileSync(ctx.json(1000), 'utf8');
    const echo = await call('echo', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
    assert.deepEqual(echo.json(), JSON.parse(body), peer.name);
    const post = async (name, file) => (await call(name, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: fs.readFileSync(file, 'utf8') })).json();
    assert.deepEqual(await post('read3', ctx.document()), { total: 250, page: 1, next: 'abc' }, peer.name);
    assert.deepEqual(await post('pick', ctx.items(10)), Array.from({ length: 10 }, item).map(({ id, url, name }) => ({ id, url, name })), peer.name);
  }
}

async function up(peer, ctx) {
  const port = await freePort();
  const ready = ctx.tls ? undefined
    : () => request({ address: '127.0.0.1', port }, { path: peer.ready ?? at('hello'), ms: 2000 }).then((r) => r.status === 200);
  return start(peer.name, peer.command(port, ctx), { port, cwd: peer.cwd, env: peer.env, ready });
}

const load = (url, send, seconds) => wrk(url, send, { seconds, connections: want.connections });

// Warms a running server up, then measures it.
async function timed(server, url, send, { seconds = Number(want.seconds), warm = send } = {}) {
  await load(url, warm, want.warm);
  const before = usage(server.pid);
  const got = await load(url, send, seconds);
  const after = usage(server.pid);
  assert(got.requests > 0, `${url}: no answer within ${seconds} s`);
  assert.equal(got.bad + got.broken, 0, `${url}: ${got.bad} bad answers, ${got.broken} broken connections`);
  return {
    'CPU us/req': ((after.cpu - before.cpu) * 1e6) / got.requests, 'req/s': got.requests / (got.us / 1e6),
    'p50 us': got.p50, 'p99 us': got.p99, 'RSS MB': after.rss,
  };
}

// Of the server's processes, over what `work` does; it says how often it did it.
async function costing(server, work) {
  const before = usage(server.pid);
  const began = performance.now();
  const times = await work();
  const after = usage(server.pid);
  return { 'CPU us/req': ((after.cpu - before.cpu) * 1e6) / times, 'req/s': times / ((performance.now() - began) / 1000), 'RSS MB': after.rss };
}

async function http2(server, url) {
  const send = async (n) => {
    const out = await output('taskset', ['-c', CLIENT_CORE, 'h2load', '-t1', '-c8', '-m8', `-n${n}`, url]);
    assert.match(out, new RegExp(`${n} succeeded, 0 failed`));
    return n;
  };
  await send(5000);
  return costing(server, () => send(20000 * Number(want.seconds)));
}

// One after the other, each with a request.
async function connections(server, url, kind) {
  const { host, pathname } = new URL(url);
  const open = async (seconds) => {
    const out = await output('taskset', ['-c', CLIENT_CORE, 'openssl', 's_time', '-connect', host, kind, '-tls1_3', '-time', String(seconds), '-www', pathname]);
    return Number(/(\d+) connections in \d+ real seconds, \d+ bytes read per connection/.exec(out)[1]);
  };
  await open(1);
  return costing(server, () => open(Math.max(2, Number(want.seconds))));
}

async function measure(peer, test, ctx) {
  const server = await up(peer, { ...ctx, tls: test.tls ? ctx.certificate : null });
  try {
    if (!test.tls) await check(peer, server, ctx);
    if (test.bytes) assert.equal((await request(server.at, { path: test.path })).text.length, test.bytes, peer.name);
    const url = `${test.tls ? 'https' : 'http'}://127.0.0.1:${server.at.port}${test.path}`;
    if (test.run) return await test.run(server, url);
    return await timed(server, url, test.send?.(ctx), { warm: (test.warm ?? test.send)?.(ctx) });
  } finally {
    await server.down();
  }
}

async function upstream() {
  const port = await freePort();
  return start('upstream', [compile('floor'), String(port), JSON.stringify(SHOWS)], { port, cores: CLIENT_CORE });
}

// Inputs are files, made once a run.
function inputs(issuer) {
  const once = (name, make) => {
    const file = path.join(OUT, name);
    if (!made.has(file)) fs.writeFileSync(file, make());
    made.add(file);
    return file;
  };
  const made = new Set();
  const exp = Math.floor(Date.now() / 1000) + 86400;
  return {
    tokens: (count) => once(`tokens-${count}`, () => Array.from({ length: count }, (_, i) => issuer.token({ ...PERSON, sub: `auth0|${i + 1}`, exp })).join('\n')),
    json: (bytes) => once(`json-${bytes}`, () => {
      const list = [];
      while (JSON.stringify(list).length < bytes) list.push({ ...SHOWS[list.length % 10], id: list.length });
      return JSON.stringify(list);
    }),
    items: (count) => once(`items-${count}`, () => JSON.stringify(Array.from({ length: count }, item))),
    document: () => once('document', () => JSON.stringify({ total: 250, page: 1, next: 'abc', items: Array.from({ length: 300 }, item) })),
  };
}

function prepared(ctx) {
  return all.filter((p) => !want.peer || want.peer.includes(p.name)).filter((peer) => {
    try {
      peer.prepare(ctx);
      peer.shown = peer.label();
      return true;
    } catch (e) {
      console.log(`# left out: ${peer.name}: ${e.message.split('\n')[0]}`);
      return false;
    }
  });
}

// After each piece: a part that is run again takes the place of the one before.
const save = (results) => fs.writeFileSync(RESULTS, JSON.stringify(results, null, 1));

async function compare(ctx, results) {
  const peers = prepared(ctx);
  for (const test of cases.filter((c) => !want.case || want.case.includes(c.id))) {
    const rows = new Map(peers.filter((p) => p.cases.includes(test.id)).map((p) => [p, []]));
    for (let round = 0; round < Number(want.rounds); round++) {
      const turn = round % 2 ? [...rows.keys()].reverse() : [...rows.keys()];
      for (const peer of turn) {
        try {
          rows.get(peer)?.push(await measure(peer, test, ctx));
        } catch (e) {
          console.log(`# left out of ${test.id}: ${peer.name}: ${e.message.slice(0, 300)}`);
          rows.delete(peer);
        }
      }
    }
    const kept = [...rows].map(([peer, list]) => ({ name: peer.name, label: peer.shown, list }));
    console.log(`\n## ${test.title}\n\n${table(kept)}`);
    results.cases[test.id] = { title: test.title, rows: kept };
    save(results);
  }
}

// The floor of a check: one EVP_DigestVerify, in the same run.
async function verifyFloor(results) {
  const bin = compile('verify', '-lcrypto');
  const list = [];
  for (let i = 0; i < Number(want.rounds); i++) {
    const out = await output('taskset', ['-c', SERVER_CORE, bin]);
    list.push(JSON.parse(out));
  }
  results.verify = list.map((r) => r.fresh);
  console.log(`\nEVP_DigestVerify, RS256, 2048 bits, key parsed: ${cell(results.verify)} us; the context copied from a prepared one: ${cell(list.map((r) => r.prepared))} us`);
}

// Processor milliseconds of a start that says its version, and from a start to the first answer.
async function startFloor(results, ctx) {
  const cwd = luafn.deployment(path.join(OUT, 'start'), ctx);
  const said = await output('taskset', ['-c', CLIENT_CORE, 'env', '-C', cwd, compile('launch'), luafn.BIN, SERVER_CORE, String(10 * want.rounds)]);
  const spent = JSON.parse(said);
  results.start = spent;
  console.log(`luafn --version: ${cell(spent.version)} ms of processor time; start to first answer: ${cell(spent.answer)} ms`);
}

// The floor of fetch: libcurl in a loop.
async function fetchFloor(results, ctx) {
  const bin = compile('fetch', '-lcurl');
  const list = [];
  for (let i = 0; i < Number(want.rounds); i++) list.push(JSON.parse(await output('taskset', ['-c', SERVER_CORE, bin, ctx.tvApi])).each);
  results.fetch = list;
  console.log(`libcurl in a loop, one handle: ${cell(list)} us a fetch`);
}

const mid = (results, test, name, column = 'CPU us/req') => {
  const row = results.cases[test]?.rows.find((r) => r.name === name);
  return row ? median(row.list.map((r) => r[column])) : NaN;
};

function ratios(results) {
  const best = (test) => Math.min(...(results.cases[test]?.rows ?? []).filter((r) => !['floor', 'luafn'].includes(r.name)).map((r) => median(r.list.map((x) => x['CPU us/req']))));
  const own = (test) => mid(results, test, 'luafn');
  const verify = results.verify ? median(results.verify) : NaN;
  const fetched = results.fetch ? median(results.fetch) : NaN;
  const against = (test, name) => own(test) / mid(results, test, name);
  const lines = [
    ['hello: luafn / floor', against('hello', 'floor'), 'at most 1.2'],
    ['hello: luafn / nginx', against('hello', 'nginx'), 'below 1'],
    ['me: luafn / floor', against('me', 'floor'), 'at most 1.4'],
    ['me: the article\'s stack / luafn', mid(results, 'me', 'Node') / own('me'), 'at least 12'],
    ['me: best peer / luafn', best('me') / own('me'), 'at least 2.5'],
    ['me: mod_oauth2 / luafn', mid(results, 'me', 'Apache') / own('me'), ''],
    ['me, many tokens: luafn / (floor + one verify)', own('many') / (mid(results, 'many', 'floor') + verify), 'at most 0.6'],
    ['me, many tokens: best peer / luafn', best('many') / own('many'), 'at least 1.5'],
    ['me, tokens never seen before: luafn / (me + one verify)', own('new') / (own('me') + verify), 'at most 1.15'],
    ['JSON of 100 KB, parsed and written: luafn / Bun', against('echo100', 'Bun'), 'at most 0.6'],
    ['three members of 100 KB: luafn / Bun', against('read3', 'Bun'), 'at most 0.35'],
    ['id, url and name of 250 objects: luafn / Bun', against('pick250', 'Bun'), 'at most 0.8'],
    ['JSON of 1 KB: luafn / Bun', against('echo1', 'Bun'), 'at most 1.0'],
    ['shows: luafn / (libcurl in a loop + the same of 10)', own('shows') / (fetched + own('pick10')), 'at most 1.3'],
    ['shows: luafn / Bun', against('shows', 'Bun'), 'at most 0.8'],
    ['shows: Node / luafn', mid(results, 'shows', 'Node') / own('shows'), 'at least 3'],
    ['a file of 1 KB: luafn / nginx', against('small', 'nginx'), ''],
    ['a file of 1 MB: luafn / nginx', against('large', 'nginx'), ''],
    ['hello over TLS: luafn / nginx\'s fixed answer', against('tls', 'nginx'), 'at most 1.3'],
    ['hello over HTTP/2: luafn / nginx\'s fixed answer', against('http2', 'nginx'), 'at most 1.3'],
    ['new TLS connections: luafn / nginx', against('tlsnew', 'nginx'), 'at most 1.1'],
    ['resumed TLS connections: luafn / nginx', against('tlsagain', 'nginx'), 'at most 1.1'],
    ['start to first answer / `luafn --version`', results.start ? median(results.start.answer) / median(results.start.version) : NaN, 'at most 1.5'],
  ].filter(([, v]) => Number.isFinite(v));
  if (lines.length > 0) console.log(`\n## Ratios of processor time a request\n\n| ratio | measured | goal |\n|---|---:|---|\n${lines.map(([a, b, c]) => `| ${a} | ${b.toFixed(2)} | ${c} |`).join('\n')}`);
}

async function main() {
  fs.mkdirSync(OUT, { recursive: true });
  const results = fs.existsSync(RESULTS) ? JSON.parse(fs.readFileSync(RESULTS)) : { cases: {}, extras: {} };
  if (want.svg) {
    for (const { title, rows } of Object.values(results.cases)) console.log(`\n## ${title}\n\n${table(rows)}`);
    ratios(results);
    return fs.writeFileSync(PICTURE, draw(results));
  }
  const cleanup = [];
  const issuer = (await Issuer.start({ after: (fn) => cleanup.push(fn) })).tenant();
  const api = await upstream();
  const ctx = {
    issuer, audience: AUDIENCE, tvApi: `http://127.0.0.1:${api.at.port}/`, ...inputs(issuer), timed, wrk, want,
    certificate: certificate(fs.mkdtempSync(path.join(OUT, 'tls-'))),
    pem: keys.k1.publicKey.export({ type: 'spki', format: 'pem' }),
  };
  const tokenBytes = issuer.token(PERSON).length;
  console.log(`# ${os.cpus()[0].model.trim()}, Linux ${os.release()}; server on core ${SERVER_CORE}, client on core ${CLIENT_CORE}`);
  console.log(`# ${want.connections} connections, ${want.rounds} rounds of ${want.seconds} s after ${want.warm} s of warming up; median (least-most)`);
  console.log(`# RS256, 2048 bits, token of ${tokenBytes} bytes. luafn: every limit and check of production on; access logs off everywhere`);
  if (os.cpus().length < 2) console.log('# one core only: server and client share it');
  try {
    if (!want.only || want.only === 'cases') {
      await verifyFloor(results);
      await fetchFloor(results, ctx);
      await startFloor(results, ctx);
      await compare(ctx, results);
      ratios(results);
    }
    if (!want.only || want.only === 'extras') {
      for (const extra of extras.filter((x) => !want.extra || want.extra.includes(x.id))) {
        console.log(`\n## ${extra.title}\n`);
        results.extras[extra.id] = await extra.run(ctx);
        save(results);
      }
    }
  } finally {
    await api.down();
    for (const fn of cleanup) fn();
  }
  return undefined;
}

await main();
