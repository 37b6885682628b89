// A deployment's bad day under steady load: a worker is killed, the configuration reloaded, the program upgraded, and SIGTERM ends it.
import fs from 'node:fs';
import path from 'node:path';
import { atomicWrite } from './drill.mjs';
import { BIN, deployment, eventually, folder, sleep, SLOW, start } from './host.mjs';
import { requestText, Wire } from './wire.mjs';

const script = (n) => `return function(event)\n  sleep(0.005)\n  return ${n} .. " " .. event.queryStringParameters.n\nend\n`;
const KILL_MS = 300; // after the end of the killed worker: what was in it has come to light

// Requests at a steady rate, half of them on connections of their own, half on connections that are kept.
class Load {
  constructor(h) {
    Object.assign(this, { h, kept: [], sent: 0, good: 0, refused: 0, inKilled: 0, retried: 0, faults: [], versions: new Set(), pending: new Set(), ms: [] });
  }

  // A kept connection that the host has closed meanwhile is no fault of either: such a request may be sent again (RFC 9112, 9.3.1).
  async #ask(n, keep, began) {
    const text = requestText({ path: `/.netlify/functions/a?n=${n}`, close: !keep });
    const old = keep ? this.kept.pop() : undefined;
    if (old && !old.ended) {
      old.send(text);
      const res = await old.response({ ms: 10000 * SLOW }).catch((e) => e);
      if (!(res instanceof Error)) { this.#keep(old, res); return res; }
      old.close();
      if (this.#mayBeKilled(began)) throw res;
      this.retried += 1;
    }
    const wire = await Wire.connect(this.h.address, this.h.port);
    try {
      wire.send(text);
      const res = await wire.response({ ms: 10000 * SLOW });
      if (keep) this.#keep(wire, res);
      return res;
    } finally {
      if (!keep) wire.close();
    }
  }

  #keep(wire, res) {
    if (/close/i.test(res.header('connection') ?? '')) wire.close(); else this.kept.push(wire);
  }

  // A process that is killed ends when the machine gives it time to: until it is gone, its kernel takes requests.
  #mayBeKilled(began) {
    const now = Date.now();
    return this.killedAt !== undefined && began <= (this.goneAt ?? now) && now <= (this.goneAt ?? now) + KILL_MS * SLOW;
  }

  async #one(n) {
    const began = Date.now();
    const res = await this.#ask(n, n % 2 === 0, began).catch((e) => e);
    const m = !(res instanceof Error) && res.status === 200 && /^(\d+) (\d+)$/.exec(res.text);
    if (m && Number(m[2]) === n) {
      this.good += 1;
      this.versions.add(m[1]);
      this.ms.push(Date.now() - began);
    } else if (res.code === 'ECONNREFUSED' && this.ending) this.refused += 1;
    else if (res instanceof Error && this.#mayBeKilled(began)) this.inKilled += 1;
    else this.faults.push(`${this.phase}: request ${n}: ${res instanceof Error ? res.message : `${res.status} ${res.text}`}`);
  }

  // Sends until `seconds` are over, or until stop() says so.
  async run(rate, seconds, stop = () => false) {
    const begun = Date.now();
    for (let due = 0; Date.now() - begun < seconds * 1000 && !stop(); ) {
      for (; due < ((Date.now() - begun) / 1000) * rate; due += 1) {
        const one = this.#one(this.sent += 1);
        this.pending.add(one);
        one.finally(() => this.pending.delete(one));
      }
      await sleep(0.004);
    }
  }
}

// Each of the phases lasts `seconds`. Result: counts, faults, and what was seen.
export async function deployDrill(t, { rate = 200, seconds = 1, workers = 2, tell = () => {} }) {
  const dir = folder(t, deployment({ a: script(1) }));
  const program = path.join(dir, 'luafn');
  const install = () => {
    fs.copyFileSync(BIN, `${program}.new`);
    fs.chmodSync(`${program}.new`, 0o755);
    fs.renameSync(`${program}.new`, program);
  };
  install();
  const h = await start(t, { dir, workers, bin: program });
  const load = new Load(h);
  const phase = async (name, act) => {
    tell(name);
    load.phase = name;
    await Promise.all([load.run(rate, seconds), act()]);
  };
  await phase('steady', async () => {});
  await phase('a worker is killed', async () => {
    const [pid] = h.workers();
    load.killedAt = Date.now();
    process.kill(pid, 'SIGKILL');
    await eventually(() => !h.workers().includes(pid), 10, 'the end of the killed worker');
    load.goneAt = Date.now();
  });
  await phase('reload', async () => {
    atomicWrite(path.join(dir, 'scripts/a.lua'), script(2));
    h.kill('SIGHUP');
    await eventually(() => load.versions.has('2'), 10, 'version 2');
  });
  await phase('upgrade', async () => {
    atomicWrite(path.join(dir, 'scripts/a.lua'), script(3));
    install();
    h.kill('SIGUSR2');
    await eventually(() => h.stderr.includes('the new program serves') && load.versions.has('3'), 20, 'the new program');
  });
  load.phase = 'end';
  tell('end');
  setTimeout(() => { load.ending = true; h.kill('SIGTERM'); }, seconds * 500);
  await load.run(rate, 30 * SLOW, () => h.ended);
  await Promise.all(load.pending);
  for (const wire of load.kept) wire.close();
  const { code } = await h.exit;
  if (code !== 0) load.faults.push(`exit code ${code}`);
  for (const v of ['1', '2', '3']) if (!load.versions.has(v)) load.faults.push(`version ${v} was never seen`);
  return load;
}
