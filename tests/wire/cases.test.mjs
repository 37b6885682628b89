// Replays the recorded answers of the original over HTTP, once for each signature backend.
import assert from 'node:assert/strict';
import test from 'node:test';
import { cases, DEFAULT, differences, HELPERS, hostRule, judge, make, notToCopy, script } from '../lib/cases.mjs';
import { config, lua, run, sleep, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const all = [...cases, ...notToCopy.filter((c) => c.expect)];
const groups = {
  construction: all.filter((c) => c.config_error),
  helpers: all.filter((c) => c.input.call),
};
groups.requests = all.filter((c) => !c.config_error && !c.input.call);

const name = (record) => `case_${record.id}`;

// A deployment in which every record has a function, and an issuer, of its own.
async function deploy(t, backend) {
  const issuer = await Issuer.start(t);
  const shared = issuer.tenant('shared');
  const files = { 'scripts/helpers.lua': HELPERS };
  const functions = { helpers: 'script = "scripts/helpers.lua", auth = "public"' };
  const tenants = new Map();
  for (const record of groups.requests) {
    const tenant = hostRule(record) ? shared : issuer.tenant(name(record));
    tenant.state = (record.input.before ?? [record.input])[0].issuerState ?? {};
    tenants.set(record, tenant);
    files[`scripts/${name(record)}.lua`] = script(record, tenant.base);
    functions[name(record)] = `script = "scripts/${name(record)}.lua"${hostRule(record) ? ', auth = { scope = "read:shows" }' : ''}`;
  }
  files['functions.lua'] = config(functions,
    `  auth = { issuer = ${lua(shared.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)} },`);
  return { host: await start(t, { files }), tenants };
}

// { answer, sent, before }: what the issuer had been asked by then. Nobody waits for keys for longer than three seconds: where the
// machine did not get to the issuer in those, and at no other 503, it is asked again when it may be.
async function send(host, record, input, tenant) {
  for (let tries = 1; ; tries++) {
    const sent = make(input, tenant.base);
    const headers = Object.entries(input.headers ?? {}).map(([k, v]) => [k, v.replaceAll('<JWT>', sent.token)]);
    const before = { ...tenant.hits };
    const begun = performance.now();
    const answer = await host.call(name(record), { headers });
    if (answer.status !== 503 || performance.now() - begun < 2900 || tries === 4) return { answer, sent, before };
    await sleep(Number(answer.header('retry-after')));
  }
}

const accepted = (record) => (record.expect ?? record.http)?.status === 200;

const plain = ({ kid, signedBy }) => ({
  headers: { authorization: 'Bearer <JWT>' }, signedBy, jwtClaims: DEFAULT.jwtClaims,
  jwtHeader: { ...DEFAULT.jwtHeader, kid },
});

// Sends what comes before, waits out a 503, then sends the recorded request.
async function replay(host, record, tenant) {
  for (const before of record.input.before ?? []) {
    tenant.state = before.issuerState ?? {};
    const { answer } = await send(host, record, plain(before), tenant);
    if (answer.status === 503) await sleep(Number(answer.header('retry-after')));
  }
  tenant.state = record.input.issuerState ?? {};
  let base = { ...tenant.hits };
  const faults = [];
  if (record.input.parallel) {
    const sends = record.input.parallel.flatMap((p) => Array.from({ length: p.count }, () => send(host, record, plain(p), tenant)));
    for (const { answer } of await Promise.all(sends)) {
      if (answer.status !== 200) faults.push(`status: wanted 200, got ${answer.status} ${answer.text}`);
    }
  } else {
    const { answer, sent, before } = await send(host, record, record.input, tenant);
    base = before;
    faults.push(...judge(record, answer, sent, tenant.base));
    if (answer.status === 401 && !record.input.config?.handleError && !/^Bearer /.test(answer.header('www-authenticate') ?? '')) {
      faults.push('401 without a challenge');
    }
  }
  for (const kind of Object.keys(record.hits ?? {})) {
    const made = tenant.hits[kind] - base[kind];
    // What the original refuses for its header alone costs the keys where luafn accepts it.
    const most = accepted(record) ? 1 : record.hits[kind];
    if (made > most) faults.push(`${kind}: ${made} fetches, at most ${most}`);
  }
  return faults;
}

async function helper(host, record) {
  const args = record.input.args.map((v) => (v === '<absent>' ? {} : { value: v }));
  const answer = await host.call('helpers', {
    method: 'POST', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ call: record.input.call, args, n: args.length }),
  });
  if (answer.status !== 200) return [`status ${answer.status} ${answer.text}`];
  const got = answer.json();
  const none = { token: '', claims: {} };
  if (record.expect?.raises) return got.throws ? [] : [`wanted a fault, got ${answer.text}`];
  if (record.expect?.valueAnyOf) {
    const fits = record.expect.valueAnyOf.some((v) => differences(v, got.value, none, '').length === 0);
    return fits ? [] : [`wanted one of ${JSON.stringify(record.expect.valueAnyOf)}, got ${answer.text}`];
  }
  if (record.throws) return differences(record.throws, got.throws, none, '', 'throws');
  return differences(record.value, got.value, none, '', 'value');
}

const sendable = (record) => record.http !== null;

test('recorded answers, both backends at once', { concurrency: true }, (top) => Promise.all(['openssl', 'libjwt'].map((backend) => (
  top.test(backend, async (t) => {
    const { host, tenants } = await deploy(t, backend);
    const tally = { right: 0, of: 0 };
    const check = (record, fn) => t.test(`${record.id} ${record.name}`, async () => {
      tally.of += 1;
      const faults = await fn();
      assert.deepEqual(faults, []);
      tally.right += 1;
    });
    for (const record of groups.helpers) await check(record, () => helper(host, record));
    const requests = groups.requests.filter(sendable);
    const begin = (record) => replay(host, record, tenants.get(record));
    // Those that wait out a 503 do so while the others are asked; each has an issuer of its own.
    const begun = new Map(requests.filter((record) => record.input.before && !hostRule(record)).map((record) => [record, begin(record).catch((e) => [e.message])]));
    for (const record of requests) await check(record, () => begun.get(record) ?? begin(record));
    t.diagnostic(`${backend}: ${tally.right} of ${tally.of} (${all.length - groups.construction.length - tally.of} cannot be sent over HTTP)`);
  })))));

test('recorded answers, construction', async (t) => {
  const files = {};
  const functions = { fine: 'script = "scripts/fine.lua"' };
  files['scripts/fine.lua'] = script({ input: {} }, 'http://127.0.0.1:1');
  for (const record of groups.construction) {
    files[`scripts/${name(record)}.lua`] = script(record, 'http://127.0.0.1:1');
    functions[name(record)] = `script = "scripts/${name(record)}.lua"`;
  }
  files['functions.lua'] = config(functions);
  const { code, stdout, stderr } = await run(t, ['check'], { files });
  const lines = `${stdout}\n${stderr}`.split('\n');
  assert.equal(code, 1);
  assert.ok(!lines.some((l) => l.includes('fine.lua:')), 'the good verifier is a fault too');
  let right = 0;
  for (const record of groups.construction) {
    await t.test(`${record.id} ${record.name}`, () => {
      const line = lines.find((l) => l.includes(`${name(record)}.lua:1:`));
      if (!line && record.also_accepted) { right += 1; return; }
      assert.ok(line, `no fault is reported for ${name(record)}.lua:1`);
      const text = record.config_error.split(', got')[0];
      assert.ok(line.includes(text), `${line}\n  should contain: ${text}`);
      right += 1;
    });
  }
  t.diagnostic(`construction: ${right} of ${groups.construction.length}`);
});
