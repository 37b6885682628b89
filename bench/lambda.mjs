// What `luafn lambda` costs: from its start to the first event that it asks for, and a call over the bare loop of a
// runtime (bench/lambda_floor.c), both against the Runtime API of tests/lib/lambda.mjs, in turns.
//
//   make bench-lambda          LUAFN_BIN and FLOOR_BIN name the programs
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { startLambda, urlEvent } from '../tests/lib/lambda.mjs';

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-bench-'));
fs.mkdirSync(path.join(dir, 'scripts'));
fs.writeFileSync(path.join(dir, 'functions.lua'), 'return { functions = "scripts" }\n');
for (let i = 0; i < 10; i++) {
  fs.writeFileSync(path.join(dir, `scripts/hello${i}.lua`), 'return function(event) return { statusCode = 200, body = "hello" } end\n');
}

const median = (list) => list.toSorted((a, b) => a - b)[list.length >> 1];
const ends = [];
const t = { after: (f) => ends.push(f) };
const event = urlEvent('GET', '/.netlify/functions/hello1', { headers: { accept: '*/*', 'user-agent': 'bench' } });

async function begin(bin) {
  const from = process.hrtime.bigint();
  const started = await startLambda(t, dir, { bin });
  await started.api.firstAsked;
  return { ...started, ms: Number(process.hrtime.bigint() - from) / 1e6 };
}

async function calls(api, count) {
  const took = [];
  for (let i = 0; i < count; i++) {
    const from = process.hrtime.bigint();
    await api.call(event);
    took.push(Number(process.hrtime.bigint() - from) / 1e6);
  }
  return took;
}

const programs = { luafn: undefined, floor: process.env.FLOOR_BIN };
const init = { luafn: [], floor: [] };
const call = { luafn: [], floor: [] };
for (let round = 0; round < 21; round++) {
  for (const [name, bin] of Object.entries(programs)) {
    const { api, host, ms } = await begin(bin);
    init[name].push(ms);
    await calls(api, 20);
    call[name].push(...await calls(api, 200));
    host.kill('SIGKILL');
    await host.exit;
  }
}
for (const end of ends) await end();
fs.rmSync(dir, { recursive: true });
const row = (what, list) => `${what}: luafn ${median(list.luafn).toFixed(3)} ms, bare loop ${median(list.floor).toFixed(3)} ms, `
  + `over it ${(median(list.luafn) - median(list.floor)).toFixed(3)} ms`;
console.log(row('start to the first event, 10 functions', init));
console.log(row('a call', call));
