// What the kernel says of a process: processor time, memory, descriptors.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { eventually } from './host.mjs';

// Milliseconds of processor time of a process' first thread, to the microsecond; time that the
// machine gave to others does not count.
export function cpuMs(pid) {
  return Number(fs.readFileSync(`/proc/${pid}/schedstat`, 'latin1').split(' ')[0]) / 1e6;
}

// Resident memory in KiB: `all` of it, or only what is the process' own (`anon`).
export function rss(pid) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'latin1');
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]);
  return { all: field('VmRSS'), anon: field('RssAnon') };
}

export const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;

// The value below which a share of the numbers lies.
export function percentile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

// Least squares: how much y grows for each x.
export function slope(points) {
  const mean = (k) => points.reduce((sum, p) => sum + p[k], 0) / points.length;
  const [mx, my] = [mean(0), mean(1)];
  let over = 0;
  let under = 0;
  for (const [x, y] of points) {
    over += (x - mx) * (y - my);
    under += (x - mx) ** 2;
  }
  return over / under;
}

// From now on no worker of this host can begin: it does not get the timers that it needs. Returns what allows it again.
export function noWorkerBegins({ pid }) {
  const prlimit = (...args) => execFileSync('prlimit', ['--pid', String(pid), ...args], { encoding: 'utf8' }).trim();
  const before = prlimit('--sigpending', '--noheadings', '--output', 'SOFT');
  prlimit('--sigpending=0:');
  return () => prlimit(`--sigpending=${before}:`);
}

// Kills every worker and waits until as many others serve, and nobody stands in for them any more. One that is dead
// counts as serving until its end is noted.
export async function replaceWorkers(h) {
  const before = h.workers();
  const noted = await h.metric('worker_restarts_total') + before.length;
  for (const pid of before) process.kill(pid, 'SIGKILL');
  await eventually(() => h.metric('worker_restarts_total').then((n) => n >= noted, () => false), 10, 'the end of the workers');
  await eventually(() => h.admin('ready').then((r) => { const s = r.json(); return s.serving === s.workers; }, () => false), 10, 'as many others');
  await eventually(() => h.workers().length === before.length, 10, 'the end of who stood in, if it took long');
}
