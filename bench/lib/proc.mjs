// Processes under measurement: starting one on its core, and what the kernel says of it.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { sleep } from '../../tests/lib/host.mjs';

const TICK = Number(execFileSync('getconf', ['CLK_TCK']));
export const SERVER_CORE = '0';
export const CLIENT_CORE = String(Math.min(1, os.cpus().length - 1));

// A process and those it started.
export function family(pid) {
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

// Processor seconds and resident megabytes of all of them; `anon` are the private ones.
export function usage(pid) {
  const total = { cpu: 0, rss: 0, anon: 0 };
  for (const p of family(pid)) {
    try {
      const stat = fs.readFileSync(`/proc/${p}/stat`, 'latin1');
      const field = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      const status = fs.readFileSync(`/proc/${p}/status`, 'latin1');
      total.cpu += (Number(field[11]) + Number(field[12])) / TICK;
      total.rss += Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
      total.anon += Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
    } catch { /* gone */ }
  }
  return total;
}

// Processor milliseconds of all of them and their threads so far, to the nanosecond.
export function onCore(pid) {
  const of = (p) => fs.readdirSync(`/proc/${p}/task`).map((t) => Number(fs.readFileSync(`/proc/${p}/task/${t}/schedstat`, 'utf8').split(' ')[0]) / 1e6);
  return family(pid).flatMap(of).reduce((a, b) => a + b, 0);
}

// Private memory of one worker of luafn, in KiB: the supervisor's child.
export function workerAnon(pid) {
  const worker = family(pid)[1];
  return Number(/^RssAnon:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${worker}/status`, 'latin1'))[1]);
}

// Runs a program to its end and returns what it wrote. Not spawnSync: the issuer that answers the
// servers lives in this process.
export async function output(command, args) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (d) => { out += d; });
  const code = await new Promise((resolve, reject) => { child.on('close', resolve).on('error', reject); });
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${out}`);
  return out;
}

const accepts = (port) => new Promise((resolve) => {
  const socket = net.connect({ host: '127.0.0.1', port });
  socket.on('connect', () => { socket.destroy(); resolve(true); }).on('error', () => resolve(false));
});

// Load from one thread of wrk: what wrk.lua measured. `send`: its arguments.
export async function wrk(url, send, { seconds, connections = 64 }) {
  const script = path.join(import.meta.dirname, '../wrk.lua');
  const out = await output('taskset', ['-c', CLIENT_CORE, 'wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', script, url, ...(send ? ['--', ...send] : [])]);
  const m = /^JSON (.*)$/m.exec(out);
  if (!m) throw new Error(`wrk said:\n${out}`);
  return JSON.parse(m[1]);
}

// Starts a server on `cores`; `ready` asks it once it accepts connections, until that is true.
export async function start(name, [program, ...args], { port, cwd, env = {}, cores = SERVER_CORE, ready = () => true, log = 'ignore', patience = 10000 }) {
  const child = spawn('taskset', ['-c', cores, program, ...args], {
    cwd, stdio: ['ignore', log, 'pipe'], env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  });
  let stderr = '';
  child.stderr.on('data', (d) => { stderr += d; });
  const ended = new Promise((resolve) => { child.on('close', resolve); });
  for (const until = performance.now() + patience; ;) {
    if (await accepts(port) && await Promise.resolve(ready()).catch(() => false)) break;
    if (performance.now() > until || child.exitCode !== null) {
      child.kill('SIGKILL');
      throw new Error(`${name} does not answer:\n${stderr}`);
    }
    await sleep(0.002);
  }
  const down = async () => {
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
  };
  return { at: { address: '127.0.0.1', port }, pid: child.pid, down };
}
