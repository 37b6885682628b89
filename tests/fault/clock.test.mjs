// The wall clock is set: an hour on, an hour back, to 1970, by years. Tokens follow it; deadlines, waits and
// what is counted by the second do not; schedules go by it without a storm.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { eventually, lua, sleep, SLOW } from '../lib/host.mjs';
import { AUDIENCE, keys } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { LONG } from './fault.mjs';
import { FN, jkt, withProof, world } from './world.mjs';

const HOUR = 3600;
const YEAR = 365 * 24 * HOUR;
const WINDOW = 6;
const now = () => Math.floor(Date.now() / 1000);

test('the wall clock is set: tokens follow, sleepers and keys do not', async (t) => {
  const { faults, host, issuer, worker } = await world(t, {
    scripts: { nap: 'return function() sleep(0.5) return tostring(os.time()) end' },
  });
  let offset = 0;
  const set = (seconds) => { offset = seconds; faults.set({ clock: seconds }); };
  // A token that is good for ten minutes from the host's idea of now.
  const token = (over = {}) => issuer.token({ iat: now() + offset - 10, exp: now() + offset + 600, ...over });
  const ask = async (tok) => {
    const r = await host.call('me', { headers: { Authorization: `Bearer ${tok}` } });
    return r.status === 401 ? r.json().error : r.status;
  };
  const old = token();
  assert.equal(await ask(old), 200);
  const bound = token({ exp: now() + 20 * YEAR, cnf: { jkt } });
  const proofs = [];
  for (const to of [HOUR, -HOUR, 10 * YEAR, -now(), 0]) {
    const before = offset;
    let slept, took;
    for (let round = 0; round < 5; round++) { // once more where it woke before the clock was set
      set(before);
      const t0 = process.hrtime.bigint();
      const napping = host.call('nap');
      await sleep(0.1);
      set(to);
      slept = await napping;
      took = Number(process.hrtime.bigint() - t0) / 1e9;
      if (Math.abs(Number(slept.text) - (now() + to)) < HOUR / 2) break;
    }
    assert.equal(slept.status, 200, `a sleeper while the clock is set to ${to} s: ${slept.text}`);
    assert.ok(took > 0.45, `slept ${took} s`);
    assert.ok(Math.abs(Number(slept.text) - (now() + to)) < HOUR / 2, 'scripts see the new time');

    assert.equal(await ask(token()), 200, `a token of that time, ${to}`);
    assert.equal(await ask(token({ exp: now() + to - 100 })), 'jwt_expired', `${to}`);
    assert.equal(await ask(token({ nbf: now() + to + 300 })), 'jwt_invalid', `${to}`);
    assert.equal(await ask(old), to > 0 ? 'jwt_expired' : 200, `one made before, ${to}`);

    const headers = withProof(host, bound, { iat: now() + to });
    const prove = async (h) => (await host.request({ path: `${FN}bound`, headers: h })).status;
    assert.equal(await prove(headers), 200, `a proof of that time, ${to}`);
    assert.equal(await prove(headers), 401, `the same again, ${to}`);
    for (const one of proofs) assert.equal(await prove(one), 401, `one of another time, ${to}`);
    proofs.push(headers);
    assert.deepEqual(host.workers(), [worker]);
  }
  assert.deepEqual(issuer.hits, { oidc: 1, jwks: 1 }, 'keys are as old as they were');
});

// What an endpoint says of every token, and how often it was asked.
async function endpoint(t) {
  const plan = { active: true, asked: 0 };
  const server = http.createServer((req, res) => {
    plan.asked += 1;
    res.setHeader('Content-Type', 'application/json');
    req.resume().on('end', () => res.end(JSON.stringify({ active: plan.active, sub: 's', exp: plan.exp })));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return Object.assign(plan, { url: `http://127.0.0.1:${server.address().port}/` });
}

for (const [to, name] of [[-HOUR, 'an hour back'], ...(LONG ? [[HOUR, 'an hour on'], [-now(), '1970']] : [])]) {
  test(`the clock is set to ${name}: what is counted by the second goes on`, async (t) => {
    const plan = await endpoint(t);
    const { faults, host, issuer, worker } = await world(t, {
      scripts: { few: 'return function() return "x" end', late: 'return function() sleep(20) end', known: 'return function() return "x" end' },
      fields: (by) => ({
        few: `auth = "public", rate_limit = { limit = 2, window = ${WINDOW} }`,
        late: 'auth = "public", timeout = 1',
        known: `auth = { issuer = ${lua(by.issuer)}, audience = ${lua(AUDIENCE)}, introspection = { url = ${lua(plan.url)}, client_id = "a", client_secret = "b", cache = 2 } }`,
      }),
    });
    const bearer = (tok) => ({ headers: { Authorization: `Bearer ${tok}` } });
    const status = async (fn, options) => (await host.call(fn, options)).status;
    const stray = (over = {}) => bearer(issuer.token({ iat: now() + to, exp: now() + to + 600, ...over }, { kid: 'k3', by: 'k3' }));
    plan.exp = now() + 2 * HOUR;

    assert.equal(await status('me', { headers: issuer.bearer() }), 200);
    assert.equal(await status('known', bearer('opaque-1')), 200);
    const begun = performance.now();
    const within = () => performance.now() - begun < WINDOW * 1000; // else the machine has stood still for so long
    assert.equal(await status('few'), 200);
    const [second, third] = [await status('few'), await status('few')];
    if (within()) assert.deepEqual([second, third], [200, 429]);
    issuer.state.jwks = { status: 503, body: '{}' };
    assert.notEqual(await status('me', stray()), 200); // a fetch that fails: the next one waits a second
    const running = host.call('late');

    faults.set({ clock: to });
    plan.active = false;
    const fourth = await status('few');
    if (within()) assert.equal(fourth, 429, 'still counted');
    issuer.state.jwks = undefined;
    issuer.state.keys = [keys.k1.jwk, keys.k3.jwk];
    const { jwks } = issuer.hits;
    await eventually(async () => await status('me', stray()) === 200, 4, 'the new key is fetched');
    assert.ok(issuer.hits.jwks - jwks <= 2, `${issuer.hits.jwks - jwks} fetches`);
    assert.equal((await running).status, 504, 'its second is over');
    await eventually(async () => await status('known', bearer('opaque-1')) === 401, 5, 'the endpoint is asked again');
    assert.ok(plan.asked <= 4, `${plan.asked} questions`);
    await eventually(async () => await status('few') === 200, WINDOW, 'the window ends');
    assert.ok(!within(), 'and not before its time');
    assert.deepEqual(host.workers(), [worker]);
  });
}

const tick = 'return { schedule = "* * * * * *", handler = function() log.info("tick", { at = tostring(os.time()) }) end }';

test('schedules go by a clock that is set, each due time once, without a storm', async (t) => {
  const { faults, host, worker } = await world(t, { scripts: { tick }, fields: () => ({ tick: '' }) });
  // The runs that have ended since stderr was so long.
  const due = (from) => [...host.stderr.slice(from).matchAll(/^\{.*"scheduled run ended".*$/gm)].map(([line]) => JSON.parse(line).due);
  const seen = (count, from) => eventually(() => due(from).length >= count && due(from), 8, `${count} runs`);
  await seen(2, 0);
  const missed = /runs before this one were missed/, back = /clock was set back/;
  const all = [[HOUR, missed], [0, back], [-HOUR, back], [-now(), back], [0, missed]];
  for (const [to, said] of LONG ? all : all.slice(0, 2)) {
    const { length } = host.stderr;
    const t0 = Date.now();
    faults.set({ clock: to });
    // What comes before it may have been on its way when the clock was set.
    const turn = await eventually(() => host.stderr.slice(length).search(said) + 1, 8, `${said}`) + length;
    const runs = await seen(3, turn);
    const seconds = (Date.now() - t0) / 1000;
    assert.ok(runs.length <= seconds + 3, `${runs.length} runs in ${seconds} s, set to ${to}`);
    assert.equal(new Set(runs).size, runs.length, `${runs}`);
    const at = Date.parse(runs.at(-1)) / 1000;
    assert.ok(Math.abs(at - (now() + to)) < HOUR / 2, `${runs.at(-1)}, set to ${to}`);
    const lines = host.stderr.slice(length).match(new RegExp(said, 'g')) ?? [];
    assert.equal(lines.length, 1, `${said}: ${host.stderr.slice(length)}`);
  }
  assert.deepEqual(host.workers(), [worker]);
});
