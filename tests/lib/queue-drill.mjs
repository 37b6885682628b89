// Jobs over kills of workers, of whole hosts and of the store's server: which of those that were promised ran, how often,
// and which ran again although they had ended.
import { deployment, eventually, folder, launch, lua, sleep } from './host.mjs';
import { later } from './later.mjs';
import { Redis } from './redis.mjs';
import { upstream } from './upstream.mjs';

// With `everysec` a server that is killed loses what it has answered while the disk was busy.
const AOF = ['--appendonly', 'yes', '--appendfsync', 'always'];

const files = (url) => deployment({
  send: `return function(event)
    local n = event.queryStringParameters.n
    local id, why = queue.send("work", n, { key = n })
    return id or { statusCode = why == "taken" and 200 or 503, body = why }
  end`,
  work: `return function(event) fetch(${lua(url)} .. "/work/" .. event:json() .. "/" .. event.job.id) end`,
  'call-background': `return function(event) fetch(${lua(url)} .. "/call/" .. event.queryStringParameters.n .. "/" .. event.job.id) end`,
}, { fields: {
  send: 'concurrency = 16',
  work: 'fetch = { "127.0.0.1" }, concurrency = 4, retry = { 0.1, 0.1, 0.1 }',
  'call-background': 'fetch = { "127.0.0.1" }, concurrency = 4, retry = { 0.1, 0.1, 0.1 }',
} });

// A machine whose host is started anew when it was killed.
class Machine {
  constructor(t, options) {
    Object.assign(this, { options, dir: folder(t, options.files), hosts: [] });
    later(t, () => this.host.stop());
  }

  async serve() {
    const host = launch(this.dir, this.options);
    this.host = host;
    this.hosts.push(host);
    await host.listening;
    this.at = host;
  }

  async kill() {
    this.at = undefined;
    this.host.kill('SIGKILL');
    await this.host.exit;
    await this.serve();
  }

  // One worker, by its process; another takes its place.
  killWorker(pick) {
    const pids = this.host.workers();
    if (pids.length > 0) process.kill(pids[pick % pids.length], 'SIGKILL');
  }
}

// What each was sent for: a key (asked for again until it is promised), or a background call (of which only a 202 counts).
class Sender {
  constructor(machines) {
    Object.assign(this, { machines, promised: { work: new Set(), call: new Set() }, tries: 0 });
  }

  async ask(n, name, options) {
    const up = this.machines.filter((m) => m.at);
    this.tries++;
    if (up.length === 0) return 0;
    return up[n % up.length].at.call(name, { suffix: `?n=${n}`, ms: 30000, ...options }).then((res) => res.status, () => 0);
  }

  async send(n) {
    const kind = n % 4 === 0 ? 'call' : 'work';
    const good = kind === 'call' ? 202 : 200;
    await eventually(async () => await this.ask(n, kind === 'call' ? 'call-background' : 'send', kind === 'call' ? { method: 'POST' } : {}) === good, 60, `${n} is promised`);
    this.promised[kind].add(n);
  }
}

// The ids of jobs that a worker has run to their end more than once, by what it logs.
function endedTwice(machines) {
  const seen = new Set(), twice = new Set();
  for (const { hosts } of machines) {
    for (const { stderr } of hosts) {
      for (const [, id] of stderr.matchAll(/"msg":"job ended".*"job":"(\w+)"/g)) (seen.has(id) ? twice : seen).add(id);
    }
  }
  return [...twice];
}

// `jobs` over `kills`: of each ten seven kill a worker, two a supervisor (and its workers with it) and one the server, where
// `server` has them use one. `rate`: jobs a second, 0: as fast as they are taken. Each kill comes up to `pause` ms after a
// promise; with 0 what was promised is running then. Result: { jobs, kills, missing, twice, endedTwice, keysTwice, refused,
// workers, hosts, servers }. What is in `twice` alone was cut off while it ran, and nobody can tell how far it had come.
export async function queueDrill(t, { jobs, kills, hosts = 2, server = true, lanes = 4, rate = 0, pause = 20, tell = () => {} }) {
  const ran = { work: new Map(), call: new Map() }; // n -> id -> how often
  const url = await upstream(t, (req, res) => {
    const [, kind, n, id] = req.url.split('/');
    const ids = ran[kind].get(Number(n)) ?? new Map();
    ran[kind].set(Number(n), ids.set(id, (ids.get(id) ?? 0) + 1));
    res.end();
  });
  const redis = server ? await Redis.start(t, AOF) : undefined;
  const env = server ? { KV_URL: redis.url } : {};
  const machines = Array.from({ length: hosts }, () => new Machine(t, { files: files(url), env, workers: 2 }));
  await Promise.all(machines.map((m) => m.serve()));
  const sender = new Sender(machines);
  const count = { workers: 0, hosts: 0, servers: 0 };
  const kill = async (i) => {
    const machine = machines[i % hosts];
    if (pause > 0) await sleep(Math.random() * pause / 1000); // at any moment of what is under way
    if (server && i % 10 === 9) {
      count.servers++;
      await redis.stop();
      await redis.begin();
    } else if (i % 10 === 3 || i % 10 === 7) {
      count.hosts++;
      await machine.kill();
    } else {
      count.workers++;
      machine.killWorker(i);
    }
  };
  const began = performance.now();
  let next = 0, killed = 0, killing = Promise.resolve();
  await Promise.all(Array.from({ length: lanes }, async () => {
    while (next < jobs) {
      const n = ++next;
      if (rate > 0) await sleep(Math.max(0, n / rate - (performance.now() - began) / 1000));
      await sender.send(n);
      if (killed < kills && n >= (killed + 1) * jobs / (kills + 1)) {
        const i = killed++;
        killing = killing.then(() => kill(i));
        await killing;
        tell(`${n} jobs, ${killed} kills`);
      }
    }
  }));
  await killing;
  const missing = () => ['work', 'call'].flatMap((kind) => [...sender.promised[kind]].filter((n) => !ran[kind].has(n)).map((n) => `${kind} ${n}`));
  await eventually(() => missing().length === 0, 60, 'all that was promised ran').catch(() => {});
  await Promise.all(machines.map((m) => m.host.stop())); // and has told all it had to tell
  const ids = [...ran.work.values(), ...ran.call.values()].flatMap((of) => [...of.values()]);
  return {
    ...count, jobs, kills: killed, missing: missing(),
    twice: ids.filter((times) => times > 1).length, endedTwice: endedTwice(machines).length,
    keysTwice: [...ran.work].filter(([, of]) => of.size > 1).map(([n]) => n),
    refused: sender.tries - jobs,
  };
}
