// Connections that are slow on purpose, by slowhttptest(1), beside a client that behaves; and
// connections that only wait. What others notice of them, and what is left afterwards.
import { spawn } from 'node:child_process';
import { deployment, eventually, sleep, start } from './host.mjs';
import { cpuMs, descriptors, percentile, rss } from './process.mjs';
import { requestText, Wire } from './wire.mjs';

const ATTACKS = {
  'slow head': ['-H', '-i', '2', '-x', '24', '-p', '3'],
  'slow body': ['-B', '-i', '2', '-s', '8192', '-t', 'POST', '-x', '10', '-p', '3'],
  'slow read': ['-X', '-w', '10', '-y', '20', '-n', '2', '-z', '32', '-k', '3', '-p', '3'],
};
const BIG = 'local text = ("slow reading "):rep(20000)\nreturn function() return text end\n';
const GOOD = 'return function() return "good" end\n';

// Asks `good` every few milliseconds on one connection for some seconds, or until `ended` is settled;
// result: milliseconds of each answer, in order of size.
async function behave(h, { seconds, ended }) {
  const wire = await h.connect();
  const text = requestText({ path: '/.netlify/functions/good', close: false });
  const ms = [];
  let on = true;
  ended?.then(() => { on = false; });
  for (const until = Date.now() + (seconds ?? 600) * 1000; on && Date.now() < until;) {
    const asked = performance.now();
    wire.send(text);
    const res = await wire.response();
    if (res.text !== 'good') throw new Error(`${res.status} ${res.text}`);
    ms.push(performance.now() - asked);
    await sleep(0.004);
  }
  wire.close();
  return ms.sort((a, b) => a - b);
}

const spread = (ms) => ({ requests: ms.length, p50: percentile(ms, 0.5), p99: percentile(ms, 0.99), most: ms.at(-1) });

// One attack; result: its end, and how many connections it had at most.
function attack(h, args, { connections, seconds }) {
  const child = spawn('nice', [
    '-n', '19', 'slowhttptest', ...args, '-c', String(connections), '-r', '200', '-l', String(seconds), '-u', h.url('/.netlify/functions/big'),
  ], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stdout.on('data', (d) => { said += d.toString().replace(/\x1b\[[\d;]*m/g, ''); });
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { ended, connected: () => Math.max(...[...said.matchAll(/connected:\s*(\d+)/g)].map((m) => Number(m[1]))) };
}

// Result: per attack the spread of the answers' times beside those at rest, and what is left.
export async function slowDrill(t, { connections = 1000, seconds = 60, tell = () => {} }) {
  const h = await start(t, { files: deployment({ good: GOOD, big: BIG }), args: ['--log', 'none'] });
  const [pid] = h.workers();
  await behave(h, { seconds: 1 });
  const phases = [];
  for (const [name, args] of Object.entries(ATTACKS)) {
    tell(`${name}: at rest`);
    const rest = await behave(h, { seconds });
    const before = { descriptors: descriptors(pid), kib: rss(pid).anon };
    tell(name);
    const busy = cpuMs(pid);
    const running = attack(h, args, { connections, seconds });
    const during = await behave(h, { ended: running.ended });
    // What the attack leaves behind are connections that its end has closed.
    await eventually(() => descriptors(pid) <= before.descriptors, 10, `descriptors back after ${name}`);
    phases.push({ name, connected: running.connected(), rest: spread(rest), during: spread(during), before, cpuMs: cpuMs(pid) - busy, after: { kib: rss(pid).anon } });
  }
  return { phases, connections };
}

// Many connections that have asked once and wait; result: bytes of the worker's own for each of them.
export async function idleDrill(t, { connections = 10000, tell = () => {} }) {
  const h = await start(t, {
    files: deployment({ good: GOOD }, { more: `  limits = { connections = ${connections + 100}, idle_timeout = 300 },` }),
    args: ['--log', 'none'],
  });
  const [pid] = h.workers();
  const text = requestText({ path: '/.netlify/functions/good', close: false });
  const open = async () => {
    const wire = await Wire.connect(h.address, h.port);
    wire.send(text);
    await wire.response();
    return wire;
  };
  const wires = [await open()];
  const before = rss(pid);
  while (wires.length <= connections) {
    wires.push(...await Promise.all(Array.from({ length: Math.min(100, connections + 1 - wires.length) }, open)));
    if (wires.length % 1000 === 1) tell(`${wires.length - 1} connections`);
  }
  await sleep(1);
  const with_ = rss(pid);
  for (const wire of wires) wire.close();
  await eventually(() => descriptors(pid) < 100, 10, 'the connections are gone');
  await sleep(1);
  return { connections, bytesEach: ((with_.anon - before.anon) * 1024) / connections, before: before.anon, during: with_.anon, after: rss(pid).anon };
}
