// Every abuse of tests/abuse over HTTP: it ends at its limit, and neither its function nor its
// neighbours notice afterwards.
import assert from 'node:assert/strict';
import test from 'node:test';
import { abuseFiles, abuses, CPU_MS, isRight } from '../lib/abuse.mjs';
import { mixDrill } from '../lib/drill.mjs';
import { deployment, SLOW, sleep, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
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
      for (let round = 0; round < 10; round++) { // a time that is stolen from the machine looks like used
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
    const second = await settled(pid, first + 2048);
    inner.diagnostic(`most processor time: ${used.slice(0, 4).map((u) => `${u.name} ${u.ms.toFixed(1)} ms`).join(', ')}`);
    inner.diagnostic(`neighbour, ${cpu.length} requests: p50 ${percentile(cpu, 0.5).toFixed(1)}, p99 ${percentile(cpu, 0.99).toFixed(1)} ms of the worker's time; p99 ${percentile(wall, 0.99).toFixed(1)} ms on the clock`);
    inner.diagnostic(`memory: ${before.all} KiB at the start, ${first} after all abuses, ${second} after those of memory again`);
    assert.deepEqual(h.workers(), [pid], 'the worker is the same');
    assert.ok(percentile(cpu, 0.99) < (CPU_MS + OVERRUN_MS) * SLOW, 'the neighbour waits for a slice; for a limit where Lua cannot yield');
    if (SLOW === 1) assert.ok(first < before.all + 8192 && second < first + 3072, 'memory is given back');
  });
});

test('abuses and honest requests, mixed, eight at a time', async (t) => {
  const got = await mixDrill(t, { requests: 400, clients: 8, abuseShare: 0.1 });
  assert.deepEqual(got.faults, []);
  assert.ok(got.honest >= 350 && got.abuse >= 39);
});

// ---- what one request or function does, others do not see ----
const POISONS = [
  'string.format = nil', 'string.extra = 1', 'rawset(string, "format", 1)', 'setmetatable(string, {})', 'getmetatable("").__index = {}',
  'getmetatable("").__add = error', '_G.print = nil', 'rawset(_G, "print", 1)', 'setmetatable(_G, { __index = error })', 'leak = 1',
  'json.encode = error', 'env.WORD = 1', 'math.huge = 0', 'package.loaded.json = 1', 'getmetatable(json).__index = nil', 'table.insert(string, 1)',
  'next(json.null).x = 1', 'jwt.verify = function() return {} end', 'table.move({ 1 }, 1, 1, 1, string)', 'require("json").decode = nil',
];

test('L10 what a script overwrites, itself and others have as before', async (t) => {
  const state = `table.concat({ type(string.format), type(print), type(json.encode), tostring(leak), ("x"):rep(2), tostring(math.huge > 1),
    tostring(string.extra), tostring(env.WORD), type(jwt.verify), type(require("json").decode), tostring(rawequal(require "json", json)) }, " ")`;
  const h = await start(t, {
    files: deployment({
      poison: `return function()
        local refused = 0
        for i, text in ipairs { ${POISONS.map((p) => JSON.stringify(p)).join(', ')} } do
          local ok, why = pcall(assert(load(text)))
          if ok then return "not refused: " .. text end
        end
        return ${state}
      end`,
      clean: `return function() return ${state} end`,
    }),
  });
  const clean = (await h.call('clean')).text;
  assert.equal(clean, 'function function function nil xx true nil nil function function true');
  for (let i = 0; i < 2; i++) {
    assert.equal((await h.call('poison')).text, clean);
    assert.equal((await h.call('clean')).text, clean);
  }
});

test('L15 claims: exact values, plain data, fresh for each request', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({
      me: `return function(event, context)
        local c = context.identityContext.claims
        local out = json.encode({ big = c.big, none = c.none == json.null, gone = c.gone == nil, list = c.list, map = c.map,
          index = c.__index, gc = c.__gc, meta = getmetatable(c) == nil, mutated = c.mutated })
        c.mutated, c.sub, c.list = true, "root", nil
        return out
      end`,
    }, { fields: { me: 'auth = true' }, more: `auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" },` }),
  });
  const headers = issuer.bearer({ big: JSON.rawJSON('9007199254740993'), none: null, list: [], map: {}, __index: 'x', __gc: { __mode: 'k' } });
  for (let i = 0; i < 3; i++) {
    const res = await h.call('me', { headers });
    assert.equal(res.status, 200, res.text);
    assert.match(res.text, /"big":9007199254740993[,}]/);
    const { big, ...rest } = res.json();
    assert.deepEqual(rest, { none: true, gone: true, list: [], map: {}, index: 'x', gc: { __mode: 'k' }, meta: true });
  }
});

test('L16 a handler that yields, or keeps its context for later', async (t) => {
  const h = await start(t, {
    files: deployment({
      yields: 'return function() coroutine.yield(1) return "no" end',
      keeps: `local kept
        return function(event, context)
          if kept then
            local old = kept
            return json.encode({ id = old[2].awsRequestId ~= context.awsRequestId, left = type(old[2].getRemainingTimeInMillis()),
              path = old[1].path, header = old[1].headers["x-mark"] })
          end
          kept = { event, context }
          return "kept"
        end`,
      late: `local f
        return function() if f then return tostring(pcall(f)) end f = function() after_response(print) end return "kept" end`,
    }),
  });
  assert.equal((await h.call('yields')).status, 502);
  assert.equal((await h.call('keeps', { headers: { 'X-Mark': 'first' } })).text, 'kept');
  for (let i = 0; i < 20; i++) {
    const res = await h.call('keeps', { headers: { 'X-Mark': `other ${i}` } });
    assert.ok(res.status === 502 || res.json().header !== `other ${i}`, `the old event is not the new one: ${res.text}`);
  }
  assert.equal((await h.call('yields')).status, 502);
});
