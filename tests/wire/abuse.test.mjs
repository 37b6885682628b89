// Every abuse of tests/abuse over HTTP: it ends at its limit, and neither its function nor its
// neighbours notice afterwards.
import assert from 'node:assert/strict';
import test from 'node:test';
import { abuseFiles, abuses, CPU_MS, isRight } from '../lib/abuse.mjs';
import { mixDrill } from '../lib/drill.mjs';
import { SLOW, sleep, start } from '../lib/host.mjs';
import { cpuMs, percentile } from '../lib/process.mjs';
import { requestText } from '../lib/wire.mjs';

// Processor time past the limit: the timer's tick (8 ms), one call of a library function, the
// unwinding. Deep recursion makes and frees frames by the hundred thousand. On a machine with slow
// memory, or at a slow moment, both take longer by as much as YARDSTICK does.
const OVERRUN_MS = 20;
const DEEP_MS = 60;
const overrun = (abuse) => (/^deep/.test(abuse.name) ? DEEP_MS : OVERRUN_MS);

// A fixed amount of what takes long in the abuses: pages that are new, and small blocks of memory.
const YARDSTICK = `return function()
  local t = {}
  for i = 1, 2 ^ 17 do t[i] = i % 4 == 0 and { i } or i end
  return #t .. ""
end`;
const YARDSTICK_MS = 10; // here, when nothing else runs
// The same for memory that the system has to give first: what abuses do that have more than 8 MB.
// A text that is longer than what malloc ever keeps.
const PAGES_SIZE = 33 * 2 ** 20;
const PAGES = `return function() return #("x"):rep(${PAGES_SIZE}) .. "" end`;
const PAGES_MS = 20; // where a page costs a quarter of a microsecond; on some machines it costs ten
const SLOWEST = 12; // slower than this no machine is judged

async function took(h, pid, name, answer) {
  const before = cpuMs(pid);
  assert.equal((await h.call(name, { ms: 60000 })).text, String(answer));
  return cpuMs(pid) - before;
}

async function slowness(h, pid, takesPages = false) {
  let factor = await took(h, pid, 'yardstick', 2 ** 17) / YARDSTICK_MS;
  if (takesPages) factor = Math.max(factor, await took(h, pid, 'pages', PAGES_SIZE) / PAGES_MS);
  return Math.min(Math.max(factor, SLOW), SLOWEST * SLOW);
}

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

// One abuse: the answer is right, and in the best of some rounds (time that is stolen from the
// machine looks like used) it takes no longer than the machine accounts for.
async function isBounded(h, pid, abuse, used) {
  const seen = [];
  for (let round = 0; round < 8; round++) {
    const before = cpuMs(pid);
    const res = await h.call(abuse.name, { suffix: '?go', ms: 60000 });
    if (abuse.outcome === 'after') await sleep(0.3 * SLOW);
    const ms = cpuMs(pid) - before;
    used.push({ ms, name: abuse.name });
    assert.ok(isRight(abuse, res), `${abuse.outcome} wanted: ${res.status} ${res.text.slice(0, 300)}`);
    if (ms < CPU_MS * SLOW + overrun(abuse)) return;
    const factor = await slowness(h, pid, abuse.memory !== '8MB');
    if (ms < CPU_MS * SLOW + overrun(abuse) * factor) return;
    seen.push(`${ms.toFixed(1)} ms, slowness ${factor.toFixed(1)}`);
  }
  assert.fail(`processor time: ${seen.join('; ')}`);
}

test('each abuse ends at its limit; the next request and the neighbours are served', async (t) => {
  const h = await start(t, {
    files: abuseFiles({ scripts: { yardstick: YARDSTICK, pages: PAGES }, fields: { yardstick: 'cpu = 30, timeout = 60', pages: 'cpu = 30, timeout = 60, memory = "128MB"' } }),
    args: ['--log', 'none'],
  });
  const [pid] = h.workers();
  for (const { name } of abuses) assert.equal((await h.call(name)).text, 'fine', name);
  const factors = [await slowness(h, pid)];
  const honest = await neighbour(h, pid);
  const used = [];
  for (const abuse of abuses) {
    await t.test(`${abuse.id} ${abuse.name}: ${abuse.what}`, async () => {
      await isBounded(h, pid, abuse, used);
      assert.equal((await h.call(abuse.name)).text, 'fine', 'the next request to the same function');
    });
  }
  const { cpu, wall } = await honest.stop();
  factors.push(await slowness(h, pid));
  const worst = Math.max(...factors);
  used.sort((a, b) => b.ms - a.ms);
  t.diagnostic(`slowness ${factors.map((f) => f.toFixed(1)).join(' and ')}; most processor time: ${used.slice(0, 4).map((u) => `${u.name} ${u.ms.toFixed(1)} ms`).join(', ')}`);
  t.diagnostic(`neighbour, ${cpu.length} requests: p50 ${percentile(cpu, 0.5).toFixed(1)}, p99 ${percentile(cpu, 0.99).toFixed(1)} ms of the worker's time; p99 ${percentile(wall, 0.99).toFixed(1)} ms on the clock`);
  assert.deepEqual(h.workers(), [pid], 'the worker is the same');
  assert.ok(percentile(cpu, 0.99) < CPU_MS * SLOW + OVERRUN_MS * worst, 'the neighbour waits for a slice; for a limit where Lua cannot yield');
});

test('abuses and honest requests, mixed, eight at a time', async (t) => {
  const got = await mixDrill(t, { requests: 400, clients: 8, abuseShare: 0.1 });
  assert.deepEqual(got.faults, []);
  assert.ok(got.honest >= 350 && got.abuse >= 39);
});
