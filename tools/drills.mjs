// The long drills: `make abuse-mix` and `make reload-drill`.
//
//   node tools/drills.mjs mix [--requests 10000] [--clients 8] [--share 0.1] [--pick REGEX]
//   node tools/drills.mjs renames [--renames 1000] [--connections 32]
//   node tools/drills.mjs reloads [--reloads 10000]
//
// LUAFN_BIN, LUAFN_SLOW and LUAFN_WRAP as for the tests: a sanitizer build or valgrind work too.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { atomicWrite, mixDrill, renameDrill } from '../tests/lib/drill.mjs';
import { deployment, eventually, folder, sleep, start } from '../tests/lib/host.mjs';
import { descriptors, rss, slope } from '../tests/lib/process.mjs';

const { values: want, positionals: [drill] } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: 'string', default: '10000' }, clients: { type: 'string', default: '8' }, share: { type: 'string', default: '0.1' },
    pick: { type: 'string', default: '' }, renames: { type: 'string', default: '1000' }, connections: { type: 'string', default: '32' },
    reloads: { type: 'string', default: '10000' },
  },
});

// What the library of tests expects of a test: something to do afterwards.
const t = { after(fn) { this.end = fn; } };
const tell = (text) => process.stderr.write(`\r${text}   `);

async function mix() {
  const pattern = new RegExp(want.pick);
  const got = await mixDrill(t, {
    requests: Number(want.requests), clients: Number(want.clients), abuseShare: Number(want.share), pick: ({ name }) => pattern.test(name), tell,
  });
  console.log(`\n${got.honest} honest requests, ${got.abuse} abuses, ${got.faultCount} faults`);
  if (got.faultCount > 0) console.log(got.stderr.slice(-3000));
  return got.faults;
}

async function renames() {
  const faults = [];
  for (const workers of [1, 2]) {
    const got = await renameDrill(t, { workers, renames: Number(want.renames), connections: Number(want.connections), pause: 0.02, tell });
    console.log(`\n${workers} worker(s): ${got.renames} renames, ${got.requests} requests, ${got.generations} generations seen, ${got.faults.length} faults`);
    faults.push(...got.faults);
    await t.end();
  }
  t.end = undefined;
  return faults;
}

// A script changes as soon as its last change is taken up; memory and descriptors are looked at
// now and then. The first tenth warms up.
async function reloads() {
  const count = Number(want.reloads);
  const dir = folder(t, deployment({ a: 'return function() return "1" end' }));
  const h = await start(t, { dir, args: ['--watch', '--log', 'none'] });
  const [pid] = h.workers();
  const wire = await h.connect();
  const ask = async () => {
    wire.send(`GET /.netlify/functions/a HTTP/1.1\r\nHost: x\r\n\r\n`);
    return (await wire.response()).text;
  };
  const memory = [];
  const handles = [];
  for (let n = 2; n <= count + 1; n++) {
    atomicWrite(path.join(dir, 'scripts/a.lua'), `local kept = {} for i = 1, 100 do kept[i] = { i } end\nreturn function() return "${n}" end\n`);
    await eventually(async () => (await ask()) === String(n), 5, `version ${n}`);
    if (n % Math.ceil(count / 100) !== 0) continue;
    tell(`${n} reloads, ${rss(pid).anon} KiB`);
    if (n <= count / 10) continue;
    memory.push([n, rss(pid).anon]);
    handles.push([n, descriptors(pid)]);
  }
  await sleep(1);
  const perThousand = (points) => (slope(points) * 1000).toFixed(2);
  console.log(`\n${count} reloads: ${memory[0][1]} to ${memory.at(-1)[1]} KiB, ${perThousand(memory)} KiB a thousand; `
    + `${handles[0][1]} to ${handles.at(-1)[1]} descriptors, ${perThousand(handles)} a thousand`);
  const faults = [];
  if (memory.at(-1)[1] > memory[0][1] * 1.1) faults.push('memory grows');
  if (handles.at(-1)[1] > handles[0][1]) faults.push('descriptors grow');
  return faults;
}

const drills = { mix, renames, reloads };
if (!Object.hasOwn(drills, drill)) {
  console.error(`one of: ${Object.keys(drills).join(' ')}`);
  process.exit(2);
}
const faults = await drills[drill]();
await t.end?.();
for (const fault of faults) console.log(`  ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
