// Sessions of browsers over hosts that share the store of KV_URL.
import assert from 'node:assert/strict';
import test from 'node:test';
import { config, eventually, start } from '../lib/host.mjs';
import { AUDIENCE } from '../lib/issuer.mjs';
import { Redis } from '../lib/redis.mjs';
import { provider, SECRET, session, signIn } from '../lib/sign-in.mjs';

const LARGE = { more: 'x'.repeat(5000) };
const PAGE = 'return function(event, context) return tostring(context.identityContext.claims.n) end';

async function fleet(t) {
  const redis = await Redis.start(t);
  const op = await provider(t);
  const files = {
    'page.lua': PAGE,
    'functions.lua': config({ page: 'script = "page.lua", auth = { login = true }, path = "/page"' }, `  auth = { issuer = "${op.issuer}", audience = "${AUDIENCE}",
    login = { client_id = "host", client_secret = "secret", secret = "${SECRET}" } },`),
  };
  const hosts = await Promise.all([1, 2].map(() => start(t, { files, workers: 2, env: { KV_URL: redis.url } })));
  await Promise.all(hosts.map((h) => h.keys()));
  const page = (h, value) => h.get('/page', { cookie: `__Host-luafn=${value}` });
  // Signed in at the first of them, with a token that is to be renewed at once, or in an hour.
  const begin = async (access, refresh = 1e-9) => {
    Object.assign(op, { access, refresh, hold: null });
    const { browser } = await signIn(hosts[0]);
    return session(browser);
  };
  return { redis, op, hosts, page, begin };
}

const newer = (answers, old) => answers.map((res) => /^__Host-luafn=([\w-]+);/.exec(res.header('set-cookie') ?? '')?.[1]).find((value) => value) ?? old;

test('a session of one host is one of the other, also what is too large for a cookie', async (t) => {
  const { hosts: [a, b], page, begin } = await fleet(t);
  for (const access of [{}, LARGE]) {
    const value = await begin(access, 3600);
    for (const h of [a, b, a, b]) assert.equal((await page(h, value)).status, 200);
    assert.equal((await page(b, `${value.slice(0, -1)}${value.at(-1) === 'A' ? 'Q' : 'A'}`)).status, 401);
  }
});

test('renewed once for all who ask at either host, again and again, with what the issuer gave last', async (t) => {
  const { op, hosts: [a, b], page, begin } = await fleet(t);
  for (const access of [{}, LARGE]) {
    let value = await begin(access);
    // Who comes late with a cookie that says no more than where the rest is would find what is due again.
    if (access === LARGE) op.refresh = 3600;
    for (let round = 0; round < (access === LARGE ? 1 : 3); round++) {
      const before = op.renewed, { asked } = op;
      let open;
      op.hold = new Promise((resolve) => { open = resolve; });
      const all = Array.from({ length: 10 }, (_, i) => page(i % 2 ? a : b, value));
      await eventually(() => op.asked > asked, 10, 'one asks the issuer');
      op.hold = null;
      open();
      const answers = await Promise.all(all);
      for (const res of answers) assert.deepEqual([res.status, res.text], [200, String(before + 1)], 'all have the token that was given last');
      assert.equal(op.renewed, before + 1, 'once');
      assert.ok(op.live.size > 0, 'nothing was used twice');
      value = newer(answers, value);
    }
  }
});

test('signed out at one host it is over at the other, however it was renewed; and by a twin nobody else is', async (t) => {
  const { op, hosts: [a, b], page, begin } = await fleet(t);
  for (const access of [{}, LARGE]) {
    const old = await begin(access, 3600), twin = await begin(access, 3600), first = await begin(access);
    op.refresh = 3600;
    const renewed = newer([await page(b, first)], first);
    const out = async (value) => assert.equal((await a.request({ method: 'POST', path: '/_luafn/logout', headers: { cookie: `__Host-luafn=${value}`, 'sec-fetch-site': 'same-origin' } })).status, 303);
    await out(old);
    await out(renewed);
    for (const value of [old, first, renewed]) {
      assert.equal((await page(a, value)).status, 401);
      await eventually(async () => (await page(b, value)).status === 401, 10, 'the other host hears of it');
    }
    assert.equal((await page(b, twin)).status, 200);
  }
});

test('what lies in the store is nobody\'s cookie', async (t) => {
  const { redis, op, hosts: [a], page, begin } = await fleet(t);
  const large = await begin(LARGE, 3600), small = await begin({});
  op.refresh = 3600;
  const next = newer([await page(a, small)], small);
  let found;
  await eventually(async () => {
    const keys = (await redis.ask('--raw', 'keys', '*sessions*')).split('\n').filter(Boolean);
    found = (await Promise.all(keys.map((key) => redis.ask('--raw', 'get', key)))).flatMap((text) => text.match(/[\w-]{300,}/g) ?? []);
    return found.length >= 2;
  }, 10, 'the large part of one session, and the note of the other');
  for (const value of found) assert.equal((await page(a, value)).status, 401);
  for (const value of [large, next]) assert.equal((await page(a, value)).status, 200);
});

test('without the store: what is in a cookie is renewed at each host, what is not is not known', async (t) => {
  const { redis, op, hosts: [a, b], page, begin } = await fleet(t);
  const large = await begin(LARGE, 3600), small = await begin({});
  const kept = await begin({}, 3600);
  op.refresh = 3600;
  await redis.stop();
  for (const h of [a, b]) {
    const res = await page(h, large);
    assert.deepEqual([res.status, res.json().error], [503, 'session_unavailable']);
    assert.equal((await page(h, kept)).status, 200);
  }
  assert.equal((await page(a, small)).status, 200, 'who renews it needs nobody');
});
