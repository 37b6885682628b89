// The long drills, each behind a target of tools/targets.mk.
//
//   node tools/drills.mjs mix [--requests 10000] [--clients 8] [--share 0.1] [--pick REGEX]
//   node tools/drills.mjs renames [--renames 1000] [--connections 32]
//   node tools/drills.mjs deploy [--connections 64] [--minutes 5]
//   node tools/drills.mjs soak [--minutes 20]
//   node tools/drills.mjs schedule [--minutes 10]
//   node tools/drills.mjs queue [--jobs 10000] [--kills 100] [--rate 100] [--pause 20]
//   node tools/drills.mjs replay [--requests 1000]
//   node tools/drills.mjs reloads [--reloads 10000]
//   node tools/drills.mjs slow [--connections 1000] [--seconds 60]
//   node tools/drills.mjs idle [--connections 10000]
//
// LUAFN_BIN, LUAFN_SLOW and LUAFN_WRAP as for the tests: a sanitizer build or valgrind work too.
import path from 'node:path';
import { parseArgs } from 'node:util';
import { atomicWrite, mixDrill, renameDrill } from '../tests/lib/drill.mjs';
import { deployDrill } from '../tests/lib/deploy-drill.mjs';
import { deployment, eventually, folder, sleep, start } from '../tests/lib/host.mjs';
import { queueDrill } from '../tests/lib/queue-drill.mjs';
import { replayDrill } from '../tests/lib/replay-drill.mjs';
import { scheduleDrill } from '../tests/lib/schedule-drill.mjs';
import { idleDrill, slowDrill } from '../tests/lib/slow-drill.mjs';
import { report, soak } from '../tests/lib/soak.mjs';
import { descriptors, percentile, rss, slope } from '../tests/lib/process.mjs';

const { values: want, positionals: [drill] } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: 'string' }, clients: { type: 'string', default: '8' }, share: { type: 'string', default: '0.1' },
    pick: { type: 'string', default: '' }, renames: { type: 'string', default: '1000' }, connections: { type: 'string' },
    jobs: { type: 'string', default: '10000' }, kills: { type: 'string', default: '100' }, rate: { type: 'string', default: '100' },
    pause: { type: 'string', default: '20' },
    reloads: { type: 'string', default: '10000' }, seconds: { type: 'string' }, minutes: { type: 'string' },
  },
});

// What the library of tests expects of a test: something to do afterwards.
const t = { after(fn) { this.end = fn; } };
const tell = (text) => process.stderr.write(`\r${text}   `);

async function mix() {
  const pattern = new RegExp(want.pick);
  const got = await mixDrill(t, {
    requests: Number(want.requests ?? 10000), clients: Number(want.clients), abuseShare: Number(want.share), pick: ({ name }) => pattern.test(name), tell,
  });
  console.log(`\n${got.honest} honest requests, ${got.abuse} abuses, ${got.faultCount} faults`);
  if (got.faultCount > 0) console.log(got.stderr.split('\n').filter((l) => !/"msg":"(function loaded|handler raised)"/.test(l)).slice(-30).join('\n'));
  return got.faults;
}

async function replay() {
  const got = await replayDrill(t, { requests: Number(want.requests ?? 1000), tell });
  console.log(`\n${got.requests} requests of ${got.handlers} handlers, ${got.calls} calls, run again: median ${got.ms.median.toFixed(0)} ms, p99 ${got.ms.p99.toFixed(0)} ms; ${got.changes} with a line changed; ${got.faults.length} faults`);
  return got.faults;
}

async function renames() {
  const faults = [];
  for (const workers of [1, 2]) {
    const got = await renameDrill(t, { workers, renames: Number(want.renames), connections: Number(want.connections ?? 32), pause: 0.02, tell });
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

async function deploy() {
  const until = Date.now() + Number(want.minutes ?? 5) * 60000;
  const got = await deployDrill(t, { clients: Number(want.connections ?? 64), more: () => Date.now() < until, tell });
  console.log(`\n${got.rounds.length} rounds, ${got.sent} requests: ${got.good} good, ${got.inKilled} in killed workers, ${got.refused} refused after the end, ${got.faults.length} failed`);
  const line = (r) => `supervisor ${r.supervisor.kib} KiB, ${r.supervisor.files} descriptors; workers ${r.workers.map((w) => `${w.kib} KiB, ${w.files}`).join('; ')}`;
  console.log(`  after the first round: ${line(got.rounds[0])}\n  after the last:        ${line(got.rounds.at(-1))}`);
  return got.faults.slice(0, 10);
}

// Twice through all abuses takes a minute; what grows after that must come to nothing.
async function soaking() {
  const s = await soak(t, { seconds: Number(want.minutes ?? 20) * 60, tell });
  console.log(`\n${report(s)}`);
  const faults = s.faults.slice(0, 10);
  if (Number(want.minutes ?? 20) >= 10 && s.kibPerMinute > 256) faults.push(`memory grows by ${s.kibPerMinute.toFixed(0)} KiB a minute`);
  return faults;
}

async function schedule() {
  const got = await scheduleDrill(t, { seconds: Number(want.minutes ?? 10) * 60, tell });
  console.log(`\n${got.runs} scheduled runs, ${got.jobs} background runs, ${got.faults.length} faults`);
  return got.faults;
}

// Two machines of two workers with one server, which saves what it is told.
async function queue() {
  const got = await queueDrill(t, { jobs: Number(want.jobs), kills: Number(want.kills), rate: Number(want.rate), pause: Number(want.pause), tell });
  console.log(`\n${got.jobs} jobs, ${got.kills} kills (${got.workers} of workers, ${got.hosts} of supervisors, ${got.servers} of the server): ${got.missing.length} did not run, ${got.twice} ran more than once, ${got.endedTwice} of them although they had ended, ${got.keysTwice.length} without the promise of their key`);
  const faults = [...got.missing.map((job) => `${job} did not run`), ...got.keysTwice.map((n) => `more than one job has the key ${n}`)];
  if (got.twice > got.jobs / 100) faults.push('more than 1 % ran more than once');
  if (got.endedTwice > got.jobs / 1000) faults.push('more than 0.1 % ran again although they had ended');
  return faults;
}

const times = (s) => `${s.requests} requests, p50 ${s.p50.toFixed(2)}, p99 ${s.p99.toFixed(2)}, at most ${s.most.toFixed(1)} ms`;

async function slow() {
  const got = await slowDrill(t, { connections: Number(want.connections ?? 1000), seconds: Number(want.seconds ?? 60), tell });
  const faults = [];
  for (const p of got.phases) {
    const ratio = p.during.p99 / p.rest.p99;
    console.log(`\n${p.name}, ${p.connected} of ${got.connections} connections: p99 ${ratio.toFixed(2)} times that at rest\n`
      + `  at rest ${times(p.rest)}\n  beside  ${times(p.during)}\n  ${p.before.kib} KiB before, ${p.after.kib} after; ${p.cpuMs.toFixed(0)} ms of the worker's time`);
    if (ratio >= 2) faults.push(`${p.name}: others wait ${ratio.toFixed(2)} times as long`);
  }
  return faults;
}

async function idle() {
  const got = await idleDrill(t, { connections: Number(want.connections ?? 10000), tell });
  console.log(`\n${got.connections} idle connections: ${got.bytesEach.toFixed(0)} bytes each (${got.before} to ${got.during} KiB, ${got.after} when they are gone)`);
  return got.bytesEach < 10240 ? [] : ['more than 10 KiB a connection'];
}

const drills = { mix, renames, replay, reloads, deploy, queue, schedule, slow, idle, soak: soaking };
if (!Object.hasOwn(drills, drill)) {
  console.error(`one of: ${Object.keys(drills).join(' ')}`);
  process.exit(2);
}
const faults = await drills[drill]();
await t.end?.();
for (const fault of faults) console.log(`  ${fault}`);
process.exitCode = faults.length > 0 ? 1 : 0;
