// Instructions, counted by callgrind, against bench/counts.json: they do not depend on how busy a
// machine is. `make bench-guard` fails where a count has grown by more than 3 %; `make
// bench-guard-update` writes the file.
//
// Counted are the parts of a request (parts.c) and requests replayed through the program itself.
// Other versions of compiler or libraries count otherwise: then it says so, and skips.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { freePort, ROOT } from '../tests/lib/host.mjs';
import { Issuer } from '../tests/lib/issuer.mjs';
import { requestText, Wire } from '../tests/lib/wire.mjs';
import * as luafn from './lib/luafn.mjs';
import { family, start } from './lib/proc.mjs';

const FILE = path.join(ROOT, 'bench/counts.json');
const OUT = path.join(ROOT, 'build/bench/counts');
const SLACK = 1.03;
const TRIES = 3; // the least of them counts: what comes by chance only adds
const ALL_CORES = `0-${os.cpus().length - 1}`;
const REPLAYED = 10000;
const update = process.argv.includes('--update');

// What the machine's processor can do would change which variant of memcpy or SHA-256 is counted.
const PLAIN = {
  OPENSSL_ia32cap: '~0x1000000000000000:0',
  GLIBC_TUNABLES: `glibc.cpu.hwcaps=${['AVX512F', 'AVX512VL', 'AVX2', 'AVX', 'AVX_Fast_Unaligned_Load', 'BMI1', 'BMI2', 'LZCNT', 'MOVBE', 'ERMS', 'FSRM'].map((c) => `-${c}`).join(',')}`,
};
const valgrind = (out, ...args) => ['setarch', ['-R', 'valgrind', '-q', '--tool=callgrind', `--callgrind-out-file=${out}`, ...args]];

function versions() {
  const line = (program, ...args) => execFileSync(program, args, { encoding: 'utf8' }).trim().split('\n')[0];
  const all = { cc: line(process.env.CC ?? 'cc', '-dumpfullversion'), valgrind: line('valgrind', '--version'), machine: process.arch };
  for (const name of ['libc6', 'liblua5.4-0', 'libuv1', 'libjansson4', 'libssl3', 'libcurl4', 'libnghttp2-14', 'node-llhttp']) {
    all[name] = line('dpkg-query', '-W', '-f', '${Version}\n', name);
  }
  return all;
}

// The dumps of one process: { name of the dump: instructions }.
function dumps(prefix) {
  const found = {};
  const folder = path.dirname(prefix);
  for (const name of fs.readdirSync(folder).filter((f) => f.startsWith(path.basename(prefix)))) {
    const text = fs.readFileSync(path.join(folder, name), 'utf8');
    const of = /^desc: Trigger: (?:Client Request: )?(.*)$/m.exec(text)?.[1];
    const total = /^(?:totals|summary): (\d+)/m.exec(text)?.[1];
    if (of && total) found[of] = Number(total);
  }
  return found;
}

function clear() {
  fs.rmSync(OUT, { recursive: true, force: true });
  fs.mkdirSync(OUT, { recursive: true });
}

async function parts() {
  clear();
  const [program, args] = valgrind(path.join(OUT, 'parts'), '--instr-atstart=no', 'build/release/bench/parts');
  const rounds = execFileSync(program, args, { cwd: ROOT, encoding: 'utf8', env: { PATH: process.env.PATH, ...PLAIN } });
  const counted = dumps(path.join(OUT, 'parts'));
  return Object.fromEntries(rounds.trim().split('\n').map((l) => l.split(' ')).map(([name, n]) => [name, Math.round(counted[name] / n)]));
}

// What a deployment of today has switched on: metadata of its own address, trusted proxies, revocation.
const TODAY = {
  auth: ', resource = "https://api.example", revocation = {}',
  config: '  proxies = { from = { "10.0.0.0/8", "127.0.0.1" } },\n',
};

// A fixed token: the same bytes in every run, from keys of the run (their size is the same).
async function replay(name = 'replay', more = {}) {
  clear();
  const cleanup = [];
  const issuer = (await Issuer.start({ after: (fn) => cleanup.push(fn) })).tenant();
  const port = await freePort();
  const cwd = luafn.deployment(path.join(OUT, 'deployment'), { issuer, tvApi: 'http://127.0.0.1:9/', ...more });
  const [program, args] = valgrind(path.join(OUT, 'serve.%p'), '--trace-children=yes', ...luafn.command(port));
  const server = await start('luafn under callgrind', [program, ...args], { port, cwd, env: PLAIN, cores: ALL_CORES, patience: 120000 });
  try {
    if (more.auth) execFileSync(luafn.BIN, ['revoke', '--jti', 'another'], { cwd, stdio: 'ignore' });
    const wire = await Wire.connect('127.0.0.1', port);
    const send = async (text, times) => {
      for (let i = 0; i < times; i++) {
        wire.send(text);
        const { status } = await wire.response({ ms: 60000 });
        if (status !== 200) throw new Error(`replay: answered ${status}`);
      }
    };
    const iat = more.auth ? Math.floor(Date.now() / 1000) : 1700000000; // with revocation no token is that old
    const hello = requestText({ path: '/.netlify/functions/hello', headers: { 'X-Request-Id': 'replay' }, close: false });
    const me = requestText({ path: '/.netlify/functions/me', headers: { 'X-Request-Id': 'replay', ...issuer.bearer({ iat, exp: 4000000000 }) }, close: false });
    await send(hello, 500);
    await send(me, 500);
    const [, worker] = family(server.pid); // the supervisor's only child
    // What was counted since the dump before.
    const dump = (name) => execFileSync('vgdb', [`--pid=${worker}`, 'dump', name], { stdio: 'ignore' });
    await dump('start');
    await send(hello, REPLAYED);
    await dump('asked-hello');
    await send(me, REPLAYED);
    await dump('asked-me');
    wire.close();
  } finally {
    await server.down();
    for (const fn of cleanup) fn();
  }
  const counted = dumps(path.join(OUT, 'serve.'));
  const each = (of) => Math.round(Object.entries(counted).find(([k]) => k.includes(of))[1] / REPLAYED);
  return { [`${name}-hello`]: each('asked-hello'), [`${name}-me`]: each('asked-me') };
}
const today = () => replay('today', TODAY);

// What an option may cost where it is used: [with, without, at most]. Two runs of the same program may
// be 1 % apart: what may cost 3 % is held at 4.
const PRICES = [
  ['token-check-cached-revocations', 'token-check-cached', (n) => n + 200],
  ['today-hello', 'replay-hello', (n) => n * 1.04],
  ['today-me', 'replay-me', (n) => n * 1.04],
];

// The least of several runs; no more of them than it takes to be within what is allowed.
async function least(run, enough) {
  const best = {};
  const spread = {};
  for (let i = 0; i < TRIES; i++) {
    for (const [name, n] of Object.entries(await run())) {
      best[name] = Math.min(best[name] ?? n, n);
      (spread[name] ??= []).push(n);
    }
    if (enough(best)) break;
  }
  return { best, spread };
}

const known = fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE)) : { versions: {}, counts: {} };
const here = versions();
const other = Object.keys(here).filter((k) => here[k] !== known.versions[k]);
if (!update && other.length > 0) {
  console.log(`bench-guard skipped: counted with ${other.map((k) => `${k} ${known.versions[k]}`).join(', ')}; here is ${other.map((k) => `${k} ${here[k]}`).join(', ')}`);
  process.exit(0);
}
const counts = {};
const tooDear = (all) => PRICES.filter(([dear, plain, most]) => all[dear] > most(all[plain]));
const within = (best) => !update && Object.entries(best).every(([name, n]) => n <= known.counts[name] * SLACK)
  && tooDear({ ...counts, ...best }).length === 0;
let grown = 0;
for (const run of [parts, () => replay(), today]) {
  const { best, spread } = await least(run, within);
  for (const [name, n] of Object.entries(best)) {
    counts[name] = n;
    const change = known.counts[name] ? (n / known.counts[name] - 1) * 100 : NaN;
    const runs = spread[name].length > 1 ? `, runs ${((Math.max(...spread[name]) / n - 1) * 100).toFixed(2)} % apart` : '';
    console.log(`${name.padEnd(24)} ${String(n).padStart(9)} instructions${Number.isNaN(change) ? ', new' : `, ${change >= 0 ? '+' : ''}${change.toFixed(2)} %`}${runs}`);
    if (!(n <= known.counts[name] * SLACK)) grown++;
  }
}
for (const [dear, plain, most] of tooDear(counts)) {
  console.log(`bench-guard: ${dear} counts ${counts[dear]} where ${Math.floor(most(counts[plain]))} are allowed`);
  grown++;
}
fs.rmSync(OUT, { recursive: true, force: true });
if (update) {
  fs.writeFileSync(FILE, `${JSON.stringify({ versions: here, counts }, null, 2)}\n`);
} else if (grown > 0) {
  console.log(`bench-guard: ${grown} counts are too high. If that is meant: make bench-guard-update, and say why in the commit`);
  process.exit(1);
}
