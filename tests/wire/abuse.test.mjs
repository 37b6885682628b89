// Every abuse of tests/abuse over HTTP: it ends at its limit, and neither its function nor its
// neighbours notice afterwards.
import assert from 'node:assert/strict';
import test from 'node:test';
import { abuseFiles, abuses, CPU_MS, isRight } from '../lib/abuse.mjs';
import { mixDrill } from '../lib/drill.mjs';
import { SLOW, sleep, start } from '../lib/host.mjs';
import { cpuMs, percentile, rss } from '../lib/process.mjs';
import { requestText } from '../lib/wire.mjs';

// Processor time past the limit: the timer's tick (8 ms), one call of a library function, the unwinding.
const OVERRUN_MS = 20;

// Asks a function every few milliseconds on one connection; the time that the worker spent between
// question and answer, and the time on the clock.
async function neighbour(h, pid) {
  const wire = await h.connect();
  const cpu = [];
  const wall = [];
  let on = true;
  const done = (async () => {
    for (let n = 0; on; n++) {
      const [c, w] = [cpuMs(pid), performance.now()];
      wire.send(requestText({ path: `/.netlify/functions/honest?n=${n}`, close: false }));
      const res = await wire.response();
      assert.equal(res.text, `${n} {"square":${n * n}}`);
      cpu.push(cpuMs(pid) - c);
      wall.push(performance.now() - w);
      await sleep(0.003);
    }
    wire.close();
  })();
  return { stop: async () => { on = false; await done; return { cpu, wall }; } };
}

// Resident memory once it is low enough, or does not sink any more.
async function settled(pid, enough = 0) {
  let now = rss(pid).all;
  for (let i = 0, least = now; i < 40 && now > enough; i++) {
    await sleep(0.1);
    now = rss(pid).all;
    if (now < least * 0.98) [i, least] = [0, now];
  }
  return now;
}

test('each abuse ends at its limit; the next request and the neighbours are served', async (t) => {
  const h = await start(t, { files: abuseFiles(), args: ['--log', 'none'] });
  const [pid] = h.workers();
  for (const { name } of abuses) assert.equal((await h.call(name)).text, 'fine', name);
  const before = rss(pid);
  const honest = await neighbour(h, pid);
  const used = [];
  for (const abuse of abuses) {
    await t.test(`${abuse.id} ${abuse.name}: ${abuse.what}`, async () => {
      let ms;
      for (let round = 0; round < 3; round++) { // a time that is stolen from the machine looks like used
        const c = cpuMs(pid);
        const res = await h.call(abuse.name, { suffix: '?go', ms: 20000 });
        if (abuse.outcome === 'after') await sleep(0.3 * SLOW);
        ms = cpuMs(pid) - c;
        used.push({ ms, name: abuse.name });
        assert.ok(isRight(abuse, res, SLOW > 1), `${abuse.outcome} wanted: ${res.status} ${res.text.slice(0, 300)}`);
        if (ms < (CPU_MS + OVERRUN_MS) * SLOW) break;
      }
      assert.ok(ms < (CPU_MS + OVERRUN_MS) * SLOW, `${ms.toFixed(1)} ms of processor time`);
      assert.equal((await h.call(abuse.name)).text, 'fine', 'the next request to the same function');
    });
  }
  const { cpu, wall } = await honest.stop();
  used.sort((a, b) => b.ms - a.ms);
  await t.test('afterwards', async (inner) => {
    const first = await settled(pid, before.all + 6144);
    for (const { name } of abuses.filter((x) => /memory|limit|error/.test(x.outcome))) await h.call(name, { suffix: '?go', ms: 20000 });
    const second = await settled(pid, first * 1.1);
    inner.diagnostic(`most processor time: ${used.slice(0, 4).map((u) => `${u.name} ${u.ms.toFixed(1)} ms`).join(', ')}`);
    inner.diagnostic(`neighbour, ${cpu.length} requests: p50 ${percentile(cpu, 0.5).toFixed(1)}, p99 ${percentile(cpu, 0.99).toFixed(1)} ms of the worker's time; p99 ${percentile(wall, 0.99).toFixed(1)} ms on the clock`);
    inner.diagnostic(`memory: ${before.all} KiB at the start, ${first} after all abuses, ${second} after those of memory again`);
    assert.deepEqual(h.workers(), [pid], 'the worker is the same');
    assert.ok(percentile(cpu, 0.99) < (CPU_MS + OVERRUN_MS) * SLOW, 'the neighbour waits for a slice; for a limit where Lua cannot yield');
    if (SLOW === 1) assert.ok(first < before.all + 8192 && second < first * 1.1, 'memory is given back');
  });
});

test('abuses and honest requests, mixed, eight at a time', async (t) => {
  const got = await mixDrill(t, { requests: 400, clients: 8, abuseShare: 0.1 });
  assert.deepEqual(got.faults, []);
  assert.ok(got.honest >= 350 && got.abuse >= 39);
});
