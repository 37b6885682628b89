// Drills that a test runs short and tools/drills.mjs long.
import fs from 'node:fs';
import path from 'node:path';
import { abuseFiles, abuses, isRight } from './abuse.mjs';
import { deployment, eventually, folder, SLOW, sleep, start } from './host.mjs';
import { requestText, Wire } from './wire.mjs';

// As editors and deployments do it.
export function atomicWrite(file, text) {
  fs.writeFileSync(`${file}.tmp`, text);
  fs.renameSync(`${file}.tmp`, file);
}

// A script that says which version it is at the beginning and the end of a long body.
const versioned = (n) => `local n = ${n}
local filler = ("v${n};"):rep(${200 + (n % 50)})
return function() return n .. "<" .. filler .. ">" .. ${n} end
`;

// What is wrong with that body, or undefined and the version.
export function readVersion(text) {
  const m = /^(\d+)<((?:v\d+;)*)>(\d+)$/.exec(text);
  const whole = m && m[1] === m[3] && m[2] === `v${m[1]};`.repeat(200 + (Number(m[1]) % 50));
  return whole ? { version: Number(m[1]) } : { fault: `not whole: ${text.slice(0, 60)}` };
}

// One connection that asks and asks; notes what fails and what goes back.
async function client(h, state, name) {
  const wire = await Wire.connect(h.address, h.port);
  const text = requestText({ path: `/.netlify/functions/${name}`, close: false });
  for (let newest = 0; state.on;) {
    wire.send(text);
    const res = await wire.response({ ms: 20000 }).catch((e) => e);
    state.requests += 1;
    if (res instanceof Error || res.status !== 200) {
      state.faults.push(res instanceof Error ? res.message : `${res.status} ${res.text.slice(0, 200)}`);
      break;
    }
    const { fault, version } = readVersion(res.text);
    if (fault) state.faults.push(fault);
    else if (version < newest) state.faults.push(`${version} after ${newest}`);
    newest = version ?? newest;
    state.seen.add(version);
  }
  wire.close();
}

// Renames a script again and again while clients ask for it on connections that they keep.
export async function renameDrill(t, { workers, renames, connections, pause, tell = () => {} }) {
  const dir = folder(t, deployment({ a: versioned(1) }));
  const script = path.join(dir, 'scripts/a.lua');
  const h = await start(t, { dir, workers, args: ['--watch', '--log', 'none'] });
  const state = { on: true, requests: 0, faults: [], seen: new Set() };
  const clients = Array.from({ length: connections }, () => client(h, state, 'a'));
  for (let n = 2; n <= renames + 1; n++) {
    atomicWrite(script, versioned(n));
    await sleep(pause);
    if (n % 5 === 0) await eventually(() => state.seen.has(n) || state.faults.length > 0, 5, `version ${n}`); // the others may be passed over
    if (n % 100 === 0) tell(`${n} renames, ${state.requests} requests`);
  }
  await eventually(() => state.seen.has(renames + 1), 5, 'the last version');
  state.on = false;
  await Promise.all(clients);
  return { renames, requests: state.requests, generations: state.seen.size, faults: state.faults.slice(0, 5) };
}

// Abuses and honest requests, mixed, over `clients` connections at a time.
export async function mixDrill(t, { requests, clients, abuseShare = 0.5, pick = () => true, tell = () => {} }) {
  const chosen = abuses.filter(pick);
  const h = await start(t, { files: abuseFiles({ timeout: 60, chosen }), args: ['--log', 'none'] });
  const workers = h.workers();
  const got = { honest: 0, abuse: 0, faults: [] };
  let left = requests;
  const one = async () => {
    const n = left;
    if (n % Math.round(1 / abuseShare) === 0) {
      const abuse = chosen[Math.floor(n * abuseShare) % chosen.length];
      const res = await h.call(abuse.name, { suffix: '?go', ms: 120000 * SLOW });
      got.abuse += 1;
      // Beside others of its function it may also meet their end of memory, or find no slot.
      if (!isRight(abuse, res) && res.status !== 503) got.faults.push(`${abuse.name}: ${res.status} ${res.text.slice(0, 100)}`);
    } else {
      const res = await h.call('honest', { suffix: `?n=${n}`, ms: 120000 * SLOW });
      got.honest += 1;
      if (res.text !== `${n} {"square":${n * n}}`) got.faults.push(`honest: ${res.status} ${res.text.slice(0, 100)}`);
    }
    if (n % 100 === 0) tell(`${requests - n} requests`);
  };
  const lane = async () => {
    while (left > 0) {
      left -= 1;
      await one().catch((e) => got.faults.push(e.message));
    }
  };
  await Promise.all(Array.from({ length: clients }, lane));
  for (const { name } of chosen) {
    const res = await h.call(name, { ms: 20000 * SLOW });
    if (res.text !== 'fine') got.faults.push(`afterwards ${name}: ${res.status} ${res.text.slice(0, 100)}`);
  }
  if (String(h.workers()) !== String(workers)) got.faults.push('a worker was replaced');
  return { ...got, faultCount: got.faults.length, faults: got.faults.slice(0, 5), stderr: h.stderr };
}
