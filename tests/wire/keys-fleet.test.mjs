// Key sets of hosts that share a store: one of them fetches, and none believes the store more than it says.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { describe, test } from 'node:test';
import { deployment, eventually, lua, sleep, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';

const PASSWORD = 'p'.repeat(32);
const OK = 'return function() return "ok" end';

async function place(t, { password } = {}) {
  const redis = await Redis.start(t, password ? ['--requirepass', password] : []);
  const issuer = (await Issuer.start(t)).tenant();
  const host = (of = issuer, env = {}) => start(t, {
    files: deployment({ me: OK }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = ${lua(of.issuer)}, audience = ${lua(AUDIENCE)} },` }),
    workers: 2, env: { KV_URL: password ? `redis://:${password}@127.0.0.1:${redis.port}` : redis.url, ...env },
  });
  const ask = (...args) => redis.ask(...(password ? ['--no-auth-warning', '-a', password] : []), ...args);
  const entry = `luafn:keys:${issuer.issuer} `;
  // What an ordinary host has put there is what this test changes.
  const set = () => eventually(async () => await ask('hget', entry, 't') || null, 10, 'the set is there');
  return { redis, issuer, host, hosts: (n) => Promise.all(Array.from({ length: n }, () => host())), ask, entry, set };
}

const me = async (h, issuer, options) => (await h.call('me', { headers: issuer.bearer({}, options) })).status;

// A key of whoever writes to the store, under the name of the issuer's.
const forged = (issuer) => JSON.stringify({
  identity: `${issuer.issuer} `, fetched_at: Date.now() / 1000, jwks: JSON.stringify({ keys: [{ ...keys.k3.jwk, kid: 'k1' }] }),
});

// The same, when it can be told: a slow machine sends those away who have waited for keys for three seconds.
async function judged(h, issuer, options) {
  let status = 503;
  await eventually(async () => (status = await me(h, issuer, options)) !== 503, 20, 'keys');
  return status;
}

// Who fetches has three seconds for it, then another does: how many may have since then.
function fetches() {
  const began = performance.now();
  return () => 1 + Math.floor((performance.now() - began) / 3000);
}

describe('key sets over hosts', { concurrency: true }, () => {
  test('one fetch for all; a rotation is one more', async (t) => {
    const { issuer, hosts } = await place(t);
    let most = fetches();
    const all = await hosts(3);
    assert.deepEqual(await Promise.all(all.flatMap((h) => [judged(h, issuer), judged(h, issuer)])), Array(6).fill(200));
    assert.ok(issuer.hits.jwks <= most() && issuer.hits.oidc <= most(), JSON.stringify(issuer.hits));
    most = fetches();
    const before = issuer.hits.jwks;
    issuer.state.keys = [keys.k1.jwk, keys.k3.jwk];
    // The set may be younger than two seconds: then they wait for the next.
    const k3 = { kid: 'k3', by: 'k3' };
    assert.deepEqual(await Promise.all(all.flatMap((h) => Array.from({ length: 4 }, () => judged(h, issuer, k3)))), Array(12).fill(200));
    assert.ok(issuer.hits.jwks > before && issuer.hits.jwks <= before + most(), JSON.stringify(issuer.hits));
  });

  test('a set whose way took longer than it was old is not taken for a new one', async (t) => {
    const { redis, issuer, host } = await place(t);
    issuer.state.keys = [keys.k1.jwk];
    let held = null;
    const between = net.createServer((near) => {
      const far = net.connect(redis.port, '127.0.0.1');
      near.pipe(far);
      far.on('data', (d) => { if (held) held.push([near, d]); else near.write(d); });
      for (const [a, b] of [[near, far], [far, near]]) a.on('error', () => {}).on('close', () => b.destroy());
    }).listen(0, '127.0.0.1');
    await once(between, 'listening');
    later(t, () => between.close());
    const [first, second] = [await host(), await host(issuer, { KV_URL: `redis://127.0.0.1:${between.address().port}` })];
    for (const h of [first, second]) assert.equal(await judged(h, issuer), 200);
    issuer.state.keys = [keys.k1.jwk, keys.k2.jwk];
    assert.equal(await judged(first, issuer, { kid: 'k2', by: 'k2' }), 200);
    issuer.state.keys = [keys.k1.jwk, keys.k3.jwk];
    held = [];
    const asked = judged(second, issuer, { kid: 'k3', by: 'k3' });
    await eventually(() => held.some(([, d]) => d.includes('fetched_at')), 10, 'the set is on its way');
    await sleep(0.5); // longer than it was old when it left
    const all = held;
    held = null;
    for (const [near, d] of all) near.write(d);
    assert.equal(await asked, 200);
  });

  test('unknown kids at all hosts: no more than one fetch in two seconds', async (t) => {
    const { issuer, hosts } = await place(t);
    const all = await hosts(3);
    for (const h of all) assert.equal(await judged(h, issuer), 200);
    const began = performance.now();
    const statuses = await Promise.all(all.flatMap((h) => Array.from({ length: 20 }, (_, i) => me(h, issuer, { kid: `stray${i}`, by: 'k1' }))));
    assert.ok(statuses.every((status) => status === 401 || status === 503), String(statuses));
    const most = 2 + Math.ceil((performance.now() - began) / 2000);
    assert.ok(issuer.hits.jwks <= most, `${issuer.hits.jwks} fetches, at most ${most}`);
    for (const h of all) assert.equal(await judged(h, issuer), 200, 'known keys go on');
  });

  test('an issuer that is down: a host that begins then has the keys of the others', async (t) => {
    const { issuer, host, set } = await place(t);
    const first = await host();
    assert.equal(await judged(first, issuer), 200);
    await set();
    issuer.state.oidc = issuer.state.jwks = { status: 500, body: '{}' };
    const { jwks } = issuer.hits;
    const next = await host();
    assert.equal(await judged(next, issuer), 200);
    assert.equal(issuer.hits.jwks, jwks, 'and did not ask');
  });

  test('without the store each host fetches for itself', async (t) => {
    const { redis, issuer, hosts } = await place(t);
    await redis.stop();
    const most = fetches();
    const all = await hosts(2);
    for (const h of all) assert.equal(await judged(h, issuer), 200);
    assert.ok(issuer.hits.jwks >= 2 && issuer.hits.jwks <= 2 * most(), JSON.stringify(issuer.hits));
  });

  // `change` gets the text of the set; what it gives is put in its place.
  for (const [what, password, change] of [
    ['no JSON', undefined, () => '{'],
    ['the set of another issuer', undefined, (text) => text.replace('/main/ ', '/other/ ')],
    ['one from long ago', undefined, (text) => text.replace(/"fetched_at":[\d.]+/, '"fetched_at":1700000000')],
    ['one from to come', undefined, (text) => text.replace(/"fetched_at":[\d.]+/, '"fetched_at":4000000000')],
    ['one that was not sealed, where the password is long enough', PASSWORD, (text, plain) => plain],
    ['one that was sealed, and changed', PASSWORD, (text) => text.replace(/.(?=.{40}$)/, (c) => (c === 'A' ? 'B' : 'A'))],
  ]) {
    test(`a set in the store is not used: ${what}`, async (t) => {
      const { issuer, host, ask, entry, set } = await place(t, { password });
      await host().then((h) => judged(h, issuer)).then((status) => assert.equal(status, 200));
      const text = await set();
      // The twin: as it is, it serves.
      const { jwks } = issuer.hits;
      assert.equal(await judged(await host(), issuer), 200);
      assert.equal(issuer.hits.jwks, jwks);
      const plain = forged(issuer);
      await ask('hset', entry, 't', change(password ? text : plain, plain), 's', String(Date.now()));
      const h = await host();
      assert.equal(await judged(h, issuer), 200);
      assert.equal(await judged(h, issuer, { kid: 'k1', by: 'k3' }), 401);
      assert.equal(issuer.hits.jwks, jwks + 1);
      if (!/long ago|to come/.test(what)) await h.says(/a key set in KV_URL's store is not used/);
    });
  }

  test('a password of 32 bytes or more seals a set; a shorter one does not, and the store is trusted', async (t) => {
    for (const [password, sealed] of [[PASSWORD, true], [PASSWORD.slice(1), false]]) {
      const { issuer, host, ask, entry, set } = await place(t, { password });
      assert.equal(await judged(await host(), issuer), 200);
      const text = await set();
      assert.equal(!text.includes('jwks'), sealed, text.slice(0, 40));
      await ask('hset', entry, 't', forged(issuer), 's', String(Date.now()));
      assert.equal(await judged(await host(), issuer, { kid: 'k1', by: 'k3' }), sealed ? 401 : 200);
    }
  });
});
