// A deployment's bad days under load: workers are killed and stopped, scripts, functions.lua and certificates come, broken and whole, the
// program is upgraded, and SIGTERM ends it. Clients keep their connections and send POSTs, which nobody may send twice: each has its own
// answer, whole, but for those that were in a worker when it was killed.
import fs from 'node:fs';
import https from 'node:https';
import path from 'node:path';
import tls from 'node:tls';
import { certificate, tlsArgs } from './cert.mjs';
import { atomicWrite } from './drill.mjs';
import { BIN, deployment, eventually, folder, sleep, start } from './host.mjs';
import { descriptors, rss } from './process.mjs';
import { requestText, Wire } from './wire.mjs';

const script = (n) => `local filler = ("v${n};"):rep(${100 + (n % 7) * 300})\nreturn function(event)\n  sleep(0.002)\n  return "${n}|" .. event.body .. "|" .. filler\nend\n`;
const isWhole = (text, n, body) => text === `${n}|${body}|${`v${n};`.repeat(100 + (n % 7) * 300)}`;

class Load {
  constructor(h, clients) {
    Object.assign(this, { h, sent: 0, good: 0, inKilled: 0, refused: 0, kills: 0, faults: [], seen: Array.from({ length: clients }, () => 0) });
    this.all = this.seen.map((_, i) => this.#client(i));
  }

  #connect() {
    return new Promise((resolve, reject) => {
      const socket = tls.connect({ host: this.h.address, port: this.h.port, rejectUnauthorized: false, servername: 'localhost' });
      socket.once('error', reject);
      socket.once('secureConnect', () => { socket.off('error', reject); resolve(Object.assign(new Wire(socket), { kills: this.kills })); });
    });
  }

  // A worker that is killed takes along what is in it. A connection that answered since was not in it.
  #note(error, kills, what) {
    if (error.code === 'ECONNREFUSED' && this.ending) this.refused += 1;
    else if (kills < this.kills) this.inKilled += 1;
    else this.faults.push(`${this.phase}: ${what}: ${error.message}`);
  }

  async #client(i) {
    let wire;
    for (let n = 0; !this.over; n++) {
      await sleep((n % 8) / 1000);
      await new Promise((resolve) => { setImmediate(resolve); }); // what came meanwhile is heard first
      if (!wire || wire.ended) {
        const { kills } = this;
        wire = await this.#connect().catch((e) => { this.#note(e, kills, 'connecting'); });
        if (wire === undefined) {
          if (this.ending) return;
          continue;
        }
      }
      const body = `${i}-${n}-${'x'.repeat((n % 5) * 5000)}`;
      const { kills } = this;
      this.sent += 1;
      wire.send(requestText({ method: 'POST', path: '/.netlify/functions/a', headers: { 'Content-Type': 'text/plain' }, body, close: false }));
      const res = await wire.response({ ms: 60000 }).catch((e) => e);
      if (res instanceof Error) {
        this.#note(res, wire.kills, `request ${i}-${n}`);
        wire.close();
        wire = undefined;
        continue;
      }
      const version = Number(res.text.split('|')[0]);
      if (res.status === 200 && isWhole(res.text, version, body)) this.good += 1;
      else this.faults.push(`${this.phase}: request ${i}-${n}: ${res.status} ${res.text.slice(0, 80)}`);
      this.seen[i] = version;
      wire.kills = kills;
      if (/close/i.test(res.header('connection') ?? '')) { wire.close(); wire = undefined; }
    }
    wire?.close();
  }

  // Until each client has had another answer; of that version, if one is said.
  async everybody(version) {
    const to = this.good + 2 * this.seen.length;
    const enough = () => this.good >= to && (version === undefined || this.seen.every((v) => v === version));
    await eventually(() => enough() || this.faults.length > 0, 60, 'answers').catch(() => {
      this.faults.push(`${this.phase}: only ${this.good} of ${to} answers, or not all of version ${version}: ${this.seen}; ${this.h.stderr.split('\n').slice(-12).join('\n')}`);
    });
  }
}

// Runs rounds until `more(round)` says no. Result: the load's counts and faults, and what the processes had after each round.
export async function deployDrill(t, { clients = 64, workers = 2, more = (round) => round < 1, tell = () => {} }) {
  const dir = folder(t, deployment({ a: script(1) }));
  const program = path.join(dir, 'luafn');
  const pair = certificate(dir);
  const install = () => {
    fs.copyFileSync(BIN, `${program}.new`);
    fs.chmodSync(`${program}.new`, 0o755);
    fs.renameSync(`${program}.new`, program);
  };
  install();
  const h = await start(t, { dir, workers, bin: program, args: [...tlsArgs(pair), '--log', 'none'] });
  const first = h.pid; // the one that we have started; h.pid is whose children the workers are
  const load = new Load(h, clients);
  const file = path.join(dir, 'scripts/a.lua');
  const configuration = fs.readFileSync(path.join(dir, 'functions.lua'), 'utf8');
  let version = 1;
  const logged = (pattern, from) => eventually(() => pattern.test(h.stderr.slice(from)), 30, `${pattern} in the log`);
  const served = () => new Promise((resolve, reject) => {
    https.get({ host: h.address, port: h.port, path: '/.netlify/functions/none', rejectUnauthorized: false, agent: false }, (res) => { res.resume(); resolve(res.socket.getPeerCertificate().fingerprint); }).on('error', reject);
  });
  const kill = async (signal) => {
    const [pid] = h.workers();
    load.kills += 1;
    process.kill(pid, signal);
    await eventually(() => !h.workers().includes(pid), 30, 'the end of a worker');
    load.kills += 1; // what connects from here on was not in it
    await eventually(() => h.workers().length === workers, 30, 'another one');
  };
  const acts = {
    'steady': async () => {},
    'kill -9': () => kill('SIGKILL'),
    'SIGSTOP': () => kill('SIGSTOP'), // the supervisor sees that its heart has stopped
    'reload': async () => {
      atomicWrite(file, script(version += 1));
      h.kill('SIGHUP');
      await load.everybody(version);
    },
    'a broken script, kill -9': async () => {
      const from = h.stderr.length;
      atomicWrite(file, 'syntax error');
      h.kill('SIGHUP');
      await logged(/syntax error near/, from);
      await kill('SIGKILL');
      await load.everybody(version);
      atomicWrite(file, script(version));
    },
    'a broken functions.lua, kill -9': async () => {
      const from = h.stderr.length;
      atomicWrite(path.join(dir, 'functions.lua'), 'return {');
      h.kill('SIGHUP');
      await logged(/functions\.lua:1: /, from);
      await kill('SIGKILL');
      await load.everybody(version);
      atomicWrite(path.join(dir, 'functions.lua'), configuration);
      atomicWrite(file, script(version += 1));
      h.kill('SIGHUP');
      await load.everybody(version);
    },
    'another certificate': async () => {
      const before = await served();
      certificate(dir);
      await eventually(() => served().then((now) => now !== before), 30, 'the new certificate');
    },
    'upgrade': async () => {
      const before = h.workers();
      const from = h.stderr.length;
      atomicWrite(file, script(version += 1));
      install();
      h.kill('SIGUSR2');
      await logged(/the new program serves/, from);
      h.pid = Number(/the new program is process (\d+)/.exec(h.stderr.slice(from))[1]);
      await load.everybody(version);
      await eventually(() => before.every((pid) => !fs.existsSync(`/proc/${pid}`)), 40, 'the end of the old workers');
    },
  };
  load.rounds = [];
  for (let round = 0; more(round) && load.faults.length === 0; round++) {
    for (const [name, act] of Object.entries(acts)) {
      load.phase = `round ${round}, ${name}`;
      tell(load.phase);
      await act();
      await load.everybody();
    }
    load.rounds.push({ supervisor: { kib: rss(h.pid).anon, files: descriptors(h.pid) }, workers: h.workers().map((pid) => ({ kib: rss(pid).anon, files: descriptors(pid) })) });
  }
  load.phase = 'SIGTERM';
  tell(load.phase);
  load.ending = true;
  h.kill('SIGTERM');
  await Promise.all(load.all);
  const { code } = await h.exit;
  if (code !== 0) load.faults.push(`exit code ${code}`);
  h.pid = first;
  return load;
}
