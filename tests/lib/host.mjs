// Starts the program under test in a folder of its own and sees to it that it ends well.
//
// LUAFN_BIN   the binary (default: build/luafn)
// LUAFN_SLOW  factor on the deadlines of tests, for sanitizer builds
// LUAFN_WRAP  a command to run it under, as "valgrind -q"
// LUAFN_PERF  1: judge by the clock, too; `make perf` does, and it is no part of CI
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { later } from './later.mjs';
import { request, Wire } from './wire.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BIN = path.resolve(ROOT, process.env.LUAFN_BIN ?? 'build/luafn');
const [COMMAND, ...BEFORE] = [...(process.env.LUAFN_WRAP ?? '').split(' ').filter(Boolean), BIN];
export const SLOW = Number(process.env.LUAFN_SLOW ?? 1);
export const PERF = process.env.LUAFN_PERF === '1';

const REPORT = /AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed|==\d+== (Invalid|Conditional jump|Use of uninit|\d+ bytes .* definitely lost)/;

const listens = (...where) => new Promise((resolve) => {
  const server = net.createServer();
  server.on('error', () => resolve(null)).listen(...where, () => resolve(server));
});

// A port of loopback for what must know its address before it starts, or comes back to it. The kernel gives it to
// nobody who asks for any port, nor the one after it; and no other test has it until this process ends.
const [LOWEST] = fs.readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').split(/\s+/).map(Number);
export async function freePort() {
  const [from, to] = LOWEST > 16384 ? [8192, LOWEST - 2] : [32768, 65534];
  for (;;) {
    const port = from + 2 * Math.floor(Math.random() * (to - from) / 2);
    const mark = await listens(`\0luafn-test-port-${port}`);
    if (mark === null) continue;
    mark.unref();
    const server = await listens(port, '127.0.0.1');
    if (server === null) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

// Waits until fn() gives something true; polls, for things that no event announces. `seconds` is ample on a
// machine of one's own; beside others it may take PATIENCE times as long. Where the machine is so busy that
// we get but a part of our turns, the host gets no more of its own: so many it shall have.
const PATIENCE = 6;
export async function eventually(fn, seconds, what) {
  const deadline = Date.now() + seconds * 1000 * SLOW * PATIENCE;
  for (let turns = 0; ; turns++) {
    const got = await fn();
    if (got) return got;
    if (Date.now() > deadline && turns > seconds * 25) throw new Error(`not within ${seconds * SLOW * PATIENCE} s: ${what}`);
    await sleep(0.02);
  }
}

// A folder with these files ({ 'scripts/me.lua': text }), removed after the test.
export function folder(t, files = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-test-'));
  write(dir, files);
  later(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

// Each file is there whole or as it was: a host that watches may look while this process stands still.
export function write(dir, files) {
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const whole = path.join(os.tmpdir(), `luafn-test-write-${process.pid}`);
    fs.writeFileSync(whole, text);
    fs.renameSync(whole, file);
  }
}

function environment(extra) {
  const env = { PATH: process.env.PATH, HOME: os.tmpdir(), LANG: 'C.UTF-8' };
  for (const k of ['ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'LLVM_PROFILE_FILE', 'GCOV_PREFIX']) {
    if (process.env[k]) env[k] = process.env[k];
  }
  return { ...env, ...extra };
}

// Runs a command to its end: { code, signal, stdout, stderr }.
export async function run(t, args, { files, dir = folder(t, files), env = {}, input, seconds = 200 } = {}) {
  const child = spawn(COMMAND, [...BEFORE, ...args], { cwd: dir, env: environment(env), stdio: ['pipe', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (d) => { out.stdout += d; });
  child.stderr.on('data', (d) => { out.stderr += d; });
  child.stdin.on('error', () => {});
  child.stdin.end(input ?? '');
  const timer = setTimeout(() => child.kill('SIGKILL'), seconds * 1000 * SLOW);
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (...a) => resolve(a));
  });
  clearTimeout(timer);
  assert.doesNotMatch(out.stderr, REPORT);
  return { code, signal, dir, ...out };
}

export class Host {
  constructor(child, dir) {
    this.child = child;
    this.pid = child.pid;
    this.dir = dir;
    this.stdout = '';
    this.stderr = '';
    this.exit = new Promise((resolve) => child.on('close', (code, signal) => {
      this.ended = { code, signal };
      resolve(this.ended);
    }));
    child.stdout.on('data', (d) => { this.stdout += d; });
    child.stderr.on('data', (d) => { this.stderr += d; });
  }

  request(options) { return request(this, options); }
  get(pathname, headers) { return request(this, { path: pathname, headers }); }
  // A function by its default address.
  call(name, options = {}) {
    return request(this, { ...options, path: `/.netlify/functions/${name}${options.suffix ?? ''}` });
  }
  connect() { return Wire.connect(this.address, this.port); }
  // The admin pages of `serve`, which have a port of their own.
  admin(pathname) {
    const [, port] = /admin pages on http:\/\/127\.0\.0\.1:(\d+)/.exec(this.stderr);
    return request({ address: '127.0.0.1', port: Number(port) }, { path: `/_luafn/${pathname}` });
  }
  // Waits until that stands on its stderr: nothing orders a line before the answer that came with it.
  says(pattern) { return eventually(() => pattern.test(this.stderr), 10, String(pattern)); }
  // Waits for its issuers' keys: who asks before they are there is sent away after three seconds, in which a busy
  // machine may not get to the issuer that a test plays itself.
  keys() {
    const ready = () => (this.stderr.includes('admin pages on') ? this.admin('ready') : this.get('/_luafn/ready'));
    return eventually(async () => (await ready()).json().keys, 10, "the issuers' keys");
  }
  // The answer to who asks while they are on their way, as the first one does or one with a new key; asks again where
  // it was sent away after those three seconds.
  patiently(ask) { return eventually(async () => { const res = await ask(); return res.status !== 503 && res; }, 10, 'an answer that has the keys'); }
  // A number of the metrics that has no labels.
  async metric(name) { return Number(new RegExp(`^luafn_${name} (\\d+)$`, 'm').exec((await this.admin('metrics')).text)[1]); }
  url(pathname = '/') { return `http://${this.address}:${this.port}${pathname}`; }

  // Process ids of the workers, children of the supervisor.
  workers() {
    const found = [];
    for (const pid of fs.readdirSync('/proc')) {
      if (!/^\d+$/.test(pid)) continue;
      try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
        const rest = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        if (Number(rest[1]) === this.pid && rest[0] !== 'Z') found.push(Number(pid));
      } catch { /* gone meanwhile */ }
    }
    return found;
  }

  // One object for each line of the access log; the last one may be there in part.
  log() {
    return this.stdout.split('\n').slice(0, -1).filter((l) => l.startsWith('{')).map((l) => JSON.parse(l));
  }

  kill(signal) { this.child.kill(signal); }

  // SIGTERM, and the end that a good program makes.
  async stop() {
    if (!this.ended) this.kill('SIGTERM');
    const timer = setTimeout(() => this.kill('SIGKILL'), 60000 * SLOW);
    const { code, signal } = await this.exit;
    clearTimeout(timer);
    assert.doesNotMatch(this.stderr, REPORT);
    assert.equal(code, 0, `ended with code ${code}, signal ${signal}; stderr:\n${this.stderr}`);
  }
}

// `dev` makes two keys of RSA in a new folder, which takes a third of a second of a processor: here they are there.
function giveKeys(dir) {
  const folder = path.join(dir, '.luafn');
  if (fs.existsSync(folder)) return;
  fs.mkdirSync(folder, { mode: 0o700 });
  for (const name of ['dev-key.pem', 'dev-key-next.pem']) {
    fs.writeFileSync(path.join(folder, name), fs.readFileSync(path.join(ROOT, 'tests/data', name)), { mode: 0o600 });
  }
}

// Starts `serve` (or `dev`), on a free loopback port if no other is said (null: on none that we name);
// host.listening is settled when it says that it listens, or has ended. Whoever calls this stops it.
// `under`: a command to start it with; `bin`: another file to run.
export function launch(dir, { command = 'serve', listen = '127.0.0.1:0', args = [], env = {}, workers = 1, under = [], bin } = {}) {
  const all = [command, ...(listen === null ? [] : ['--listen', listen])];
  if (command === 'serve') all.push('--workers', String(workers));
  if (command === 'dev') giveKeys(dir);
  const [program, ...rest] = [...under, ...(bin ? [bin] : [COMMAND, ...BEFORE]), ...all, ...args];
  const child = spawn(program, rest, {
    cwd: dir, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'],
  });
  const host = new Host(child, dir);
  host.listening = new Promise((resolve, reject) => {
    child.on('error', reject);
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(new Error(`does not listen; stderr:\n${host.stderr}`));
    }, 60000 * SLOW);
    child.stderr.on('data', () => {
      const m = /listening on https?:\/\/(\[[0-9a-f:]*\]|[^\s:]+):(\d+)/.exec(host.stderr);
      if (!m) return;
      clearTimeout(timer);
      host.address = m[1] === 'localhost' ? '127.0.0.1' : m[1];
      host.port = Number(m[2]);
      resolve();
    });
    host.exit.then(({ code, signal }) => {
      clearTimeout(timer);
      reject(new Error(`ended before it listened: code ${code}, signal ${signal}; stderr:\n${host.stderr}`));
    });
  });
  return host;
}

// The same for the time of a test, when it listens.
export async function start(t, { files = {}, dir = folder(t, files), ...options } = {}) {
  const host = launch(dir, options);
  await host.listening;
  later(t, () => host.stop());
  return host;
}

// functions.lua from its parts: functions { name: fields as Lua text }, more as Lua text.
export function config(functions, more = '') {
  const rows = Object.entries(functions).map(([name, fields]) => `    [${lua(name)}] = { ${fields} },\n`);
  return `return {\n  functions = {\n${rows.join('')}  },\n${more}\n}\n`;
}

// Files of a deployment: scripts { name: Lua text }, each under scripts/, listed in functions.lua.
export function deployment(scripts, { fields = {}, more = '', files = {} } = {}) {
  const functions = {};
  const out = { ...files };
  for (const [name, text] of Object.entries(scripts)) {
    out[`scripts/${name}.lua`] = text;
    functions[name] = `script = ${lua(`scripts/${name}.lua`)}${fields[name] ? `, ${fields[name]}` : ''}`;
  }
  out['functions.lua'] = config(functions, more);
  return out;
}

// A JavaScript value as a Lua expression.
export function lua(v) {
  if (v === null || v === undefined) return 'nil';
  if (typeof v === 'string') {
    return `"${Buffer.from(v).toString('latin1').replace(/["\\\x00-\x1f\x7f-\xff]/g, (c) => `\\${String(c.charCodeAt(0)).padStart(3, '0')}`)}"`;
  }
  if (Array.isArray(v)) return `{ ${v.map(lua).join(', ')} }`;
  if (typeof v === 'object') {
    return `{ ${Object.entries(v).map(([k, x]) => `[${lua(k)}] = ${lua(x)}`).join(', ')} }`;
  }
  return String(v);
}
