// One worker against its peers: the server alone on one core, wrk on another.
//
//   make bench                     everything
//   make bench ARGS="--rounds 3 --seconds 2 --tokens 5000 --case 'me, one token' --peer luafn"
//
// Every answer is checked before anything is measured. Peers take turns in each round, so that a
// slow minute of the machine hits all of them; the table gives medians, with the least and most.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { lua, ROOT, sleep } from '../tests/lib/host.mjs';
import { AUDIENCE, Issuer } from '../tests/lib/issuer.mjs';
import { request } from '../tests/lib/wire.mjs';

const { values: want } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' }, seconds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '20000' }, connections: { type: 'string', default: '64' },
    case: { type: 'string', multiple: true }, peer: { type: 'string', multiple: true },
  },
});

const HERE = path.join(ROOT, 'bench');
const OUT = path.join(ROOT, 'build', 'bench');
const TICK = Number(execFileSync('getconf', ['CLK_TCK']));
const cores = os.cpus().length;
const SERVER_CORE = '0';
const CLIENT_CORE = String(Math.min(1, cores - 1));

// ---- peers: { name, cases it can do, command(port, ctx) -> [program, ...args] } ----
const peers = [
  {
    name: 'floor (C, fixed answer)',
    can: () => true,
    checked: false,
    prepare() {
      execFileSync('cc', ['-std=c11', '-D_GNU_SOURCE', '-O2', '-Wall', '-o', path.join(OUT, 'floor'), path.join(HERE, 'floor.c')], { stdio: 'inherit' });
    },
    command: (port) => [path.join(OUT, 'floor'), String(port), '{"claims":{"sub":"auth0|1"}}'],
  },
  {
    name: 'luafn',
    can: () => true,
    checked: true,
    prepare({ issuer }) {
      const dir = path.join(OUT, 'luafn');
      fs.rmSync(dir, { recursive: true, force: true });
      fs.mkdirSync(path.join(dir, 'scripts/lib'), { recursive: true });
      for (const name of ['me.lua', 'lib/auth.lua']) fs.copyFileSync(path.join(ROOT, 'scripts', name), path.join(dir, 'scripts', name));
      fs.writeFileSync(path.join(dir, 'scripts/hello.lua'), 'return function() return { statusCode = 200, body = "hello" } end\n');
      fs.writeFileSync(path.join(dir, '.env'), `JWT_ISSUER=${issuer.issuer}\nJWT_AUDIENCE=${AUDIENCE}\n`);
      fs.writeFileSync(path.join(dir, 'functions.lua'), `return {
  functions = { me = { script = "scripts/me.lua" }, hello = { script = "scripts/hello.lua" } },
  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },
}\n`);
    },
    cwd: path.join(OUT, 'luafn'),
    command: (port) => [path.resolve(ROOT, process.env.LUAFN_BIN ?? 'build/luafn'), 'serve', '--workers', '1', '--log', 'none', '--listen', `127.0.0.1:${port}`],
  },
  {
    name: `Node ${process.version.slice(1)}, @serverless-jwt/netlify`,
    can: () => true,
    checked: true,
    prepare() {
      const dir = path.join(HERE, 'peers/node');
      if (!fs.existsSync(path.join(dir, 'node_modules'))) execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: dir, stdio: 'inherit' });
    },
    command: (port, { issuer }) => [process.execPath, path.join(HERE, 'peers/node/server.js'), String(port), issuer.issuer, AUDIENCE],
  },
].filter((p) => !want.peer || want.peer.some((name) => p.name.startsWith(name)));

const cases = [
  { name: 'hello', path: '/.netlify/functions/hello', tokens: 0 },
  { name: 'me, one token', path: '/.netlify/functions/me', tokens: 1 },
  { name: 'me, many tokens', path: '/.netlify/functions/me', tokens: Number(want.tokens) },
].filter((c) => !want.case || want.case.includes(c.name));

// ---- what the kernel says of a process and those it started ----
function family(pid) {
  const parents = new Map();
  for (const name of fs.readdirSync('/proc').filter((n) => /^\d+$/.test(n))) {
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'latin1');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch { /* gone */ }
  }
  const all = [pid];
  for (let i = 0; i < all.length; i++) for (const [p, parent] of parents) if (parent === all[i]) all.push(p);
  return all;
}

function usage(pid) {
  const total = { cpu: 0, rss: 0 };
  for (const p of family(pid)) {
    const stat = fs.readFileSync(`/proc/${p}/stat`, 'latin1');
    const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    total.cpu += (Number(field[11]) + Number(field[12])) / TICK;
    total.rss += Number(/^VmRSS:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${p}/status`, 'latin1'))?.[1] ?? 0) / 1024;
  }
  return total;
}

function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function up(peer, ctx) {
  const port = await freePort();
  const [program, ...args] = peer.command(port, ctx);
  const child = spawn('taskset', ['-c', SERVER_CORE, program, ...args], { cwd: peer.cwd, stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env.PATH } });
  let stderr = '';
  child.stderr.on('data', (d) => { stderr += d; });
  const ended = new Promise((resolve) => child.on('close', resolve));
  const at = { address: '127.0.0.1', port };
  for (let i = 0; ; i++) {
    const answer = await request(at, { path: '/.netlify/functions/hello', ms: 2000 }).catch(() => null);
    if (answer) break;
    if (i > 100 || child.exitCode !== null) throw new Error(`${peer.name} does not answer:\n${stderr}`);
    await sleep(0.05);
  }
  return { at, pid: child.pid, down: async () => { child.kill('SIGTERM'); await ended; } };
}

// The right answers, before speed means anything.
async function check(peer, server, issuer) {
  if (!peer.checked) return;
  const me = (headers) => request(server.at, { path: '/.netlify/functions/me', headers });
  const token = issuer.token();
  const good = await me({ Authorization: `Bearer ${token}` });
  assert.equal(good.status, 200, `${peer.name}: ${good.text}`);
  assert.equal(good.json().claims.sub, 'auth0|1');
  assert.deepEqual(good.json().claims.scope, ['openid', 'profile', 'read:shows']);
  const [h, , s] = token.split('.');
  const p = Buffer.from(JSON.stringify(issuer.claims({ sub: 'x' }))).toString('base64url');
  assert.equal((await me({ Authorization: `Bearer ${h}.${p}.${s}` })).status, 401);
  assert.equal((await me({})).status, 401);
}

// Not spawnSync: the issuer that answers the servers lives in this process.
async function wrk(server, test, file, seconds) {
  const args = ['-c', CLIENT_CORE, 'wrk', '-t1', `-c${want.connections}`, `-d${seconds}s`, '-s', path.join(HERE, 'wrk.lua'),
    `http://127.0.0.1:${server.at.port}${test.path}`, ...(file ? ['--', file] : [])];
  const child = spawn('taskset', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (d) => { out += d; });
  await new Promise((resolve) => child.on('close', resolve));
  const m = /^JSON (.*)$/m.exec(out);
  if (!m) throw new Error(`wrk said:\n${out}`);
  return JSON.parse(m[1]);
}

async function measure(peer, test, ctx) {
  const server = await up(peer, ctx);
  try {
    await check(peer, server, ctx.issuer);
    await wrk(server, test, ctx.files[test.tokens], 1); // warm
    const before = usage(server.pid);
    const got = await wrk(server, test, ctx.files[test.tokens], Number(want.seconds));
    const after = usage(server.pid);
    assert.equal(got.bad + got.broken, 0, `${peer.name}, ${test.name}: ${got.bad} bad answers, ${got.broken} broken connections`);
    return {
      'req/s': got.requests / (got.us / 1e6), 'CPU us/req': ((after.cpu - before.cpu) * 1e6) / got.requests,
      'p50 us': got.p50, 'p99 us': got.p99, 'RSS MB': after.rss,
    };
  } finally {
    await server.down();
  }
}

const sorted = (list) => [...list].sort((a, b) => a - b);
const median = (list) => { const s = sorted(list); return (s[(s.length - 1) >> 1] + s[s.length >> 1]) / 2; };
const show = (v) => (v >= 100 ? v.toFixed(0) : v.toFixed(1));

const cleanup = [];
const issuer = (await Issuer.start({ after: (fn) => cleanup.push(fn) })).tenant();
fs.mkdirSync(OUT, { recursive: true });
const ctx = { issuer, files: {} };
for (const test of cases.filter((c) => c.tokens > 0)) {
  const file = path.join(OUT, `tokens-${test.tokens}`);
  const lines = Array.from({ length: test.tokens }, (_, i) => issuer.token({ sub: test.tokens === 1 ? 'auth0|1' : `auth0|${i}`, exp: Math.floor(Date.now() / 1000) + 86400 }));
  fs.writeFileSync(file, `${lines.join('\n')}\n`);
  ctx.files[test.tokens] = file;
}
for (const peer of peers) peer.prepare(ctx);

const cpu = os.cpus()[0].model.trim();
console.log(`# ${cpu}, Linux ${os.release()}; server on core ${SERVER_CORE}, wrk on core ${CLIENT_CORE}, ${want.connections} connections, ${want.rounds} rounds of ${want.seconds} s; median (least-most)`);
if (cores < 2) console.log('# one core only: server and wrk share it');
const results = {};
for (const test of cases) {
  const rows = new Map(peers.map((p) => [p, []]));
  for (let round = 0; round < Number(want.rounds); round++) {
    const turn = round % 2 ? [...peers].reverse() : peers;
    for (const peer of turn) rows.get(peer).push(await measure(peer, test, ctx));
  }
  console.log(`\n## ${test.name}${test.tokens > 1 ? ` (${test.tokens})` : ''}\n`);
  const columns = Object.keys(rows.get(peers[0])[0]);
  console.log(`| peer | ${columns.join(' | ')} |\n|---|${columns.map(() => '---:|').join('')}`);
  for (const [peer, list] of rows) {
    const cells = columns.map((c) => {
      const s = sorted(list.map((r) => r[c]));
      return `${show(median(s))} (${show(s[0])}-${show(s.at(-1))})`;
    });
    console.log(`| ${peer.name} | ${cells.join(' | ')} |`);
  }
  results[test.name] = Object.fromEntries([...rows].map(([p, list]) => [p.name, list]));
  const speed = (name) => { const p = peers.find((x) => x.name.startsWith(name)); return p && median(rows.get(p).map((r) => r['req/s'])); };
  if (speed('luafn') && speed('Node')) console.log(`\nluafn / Node: ${(speed('luafn') / speed('Node')).toFixed(1)} times the requests per second`);
}
fs.writeFileSync(path.join(OUT, 'results.json'), JSON.stringify(results, null, 1));
for (const fn of cleanup) fn();
