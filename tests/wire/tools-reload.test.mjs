// Reloads while tools are called: no call is lost, and none runs with the policy of another version. 1,000 of them in
// `make perf`, a few here.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { atomicWrite } from '../lib/drill.mjs';
import { deployment, eventually, lua, PERF, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { requestText } from '../lib/wire.mjs';

const RELOADS = PERF ? 1000 : 30;
const CLIENTS = 4; // of each kind

// Policy and code in one file, which comes at once.
const turns = (n) => {
  const letter = n % 2 === 0 ? 'a' : 'b';
  return `return {
  auth = { scope = "${letter}" }, tool = { description = "version ${n}" },
  handler = function(event) sleep(0.001) return "${letter}" end,
}`;
};

test(`${RELOADS} reloads`, async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    workers: 2,
    files: deployment({ turns: turns(0), stays: 'return function() sleep(0.001) return "s" end' }, {
      fields: { stays: 'auth = { scope = "s" }, tool = { description = "stays" }' },
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },`,
    }),
  });
  await h.keys();
  const faults = [];
  const seen = { a: 0, b: 0, s: 0, refused: 0 };
  let over = false;
  const post = async (wire, headers, method, params) => {
    wire.send(requestText({
      method: 'POST', path: '/mcp', close: false, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
      headers: { 'Content-Type': 'application/json', ...headers },
    }));
    return wire.response({ ms: 60000 });
  };
  const caller = async (scope, name) => {
    const headers = issuer.bearer({ scope });
    const wire = await h.connect();
    while (!over) {
      const res = await post(wire, headers, 'tools/call', { name }).catch((e) => ({ status: 0, text: e.message }));
      const said = res.status === 200 ? res.json().result?.content[0].text : undefined;
      if (res.status === 403 && name === 'turns') seen.refused += 1;
      else if (said === scope) seen[said] += 1;
      else return faults.push(`${name} with the scope ${scope}: ${res.status} ${res.text}`);
    }
    return wire.close();
  };
  const callers = [['a', 'turns'], ['b', 'turns'], ['s', 'stays']].flatMap(([scope, name]) => Array.from({ length: CLIENTS }, () => caller(scope, name)));
  const until = (...kinds) => eventually(() => faults.length > 0 || kinds.every((kind) => seen[kind] > 0), 10, `calls of each kind: ${kinds}`);
  const reader = issuer.bearer({ scope: 'a b s' });
  const wire = await h.connect();
  for (let n = 1; n <= RELOADS && faults.length === 0; n++) {
    atomicWrite(path.join(h.dir, 'scripts/turns.lua'), turns(n));
    h.kill('SIGHUP');
    await eventually(async () => (await post(wire, reader, 'tools/list')).text.includes(`version ${n}"`), 10, `version ${n}`);
    if (n === 1) await until('b', 'refused');
  }
  await until('a', 's', 'refused');
  over = true;
  await Promise.all(callers);
  wire.close();
  t.diagnostic(`${seen.a + seen.b + seen.s} calls answered, ${seen.refused} refused by the other version`);
  assert.deepEqual(faults, []);
});
