// Out of memory at every point of a sign-in, of a session's request, of its renewal, of its end: nothing crashes, nobody has a
// session that he was not given whole, none outlives a sign-out that was confirmed; and the next browser signs in.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Visitor } from '../lib/cookies.mjs';
import { config, eventually, start } from '../lib/host.mjs';
import { AUDIENCE } from '../lib/issuer.mjs';
import { cookie, HTML, provider, SECRET, session } from '../lib/sign-in.mjs';
import { attempt, descriptors, Faults, KIND, LONG, SANITIZED } from './fault.mjs';
import { judge } from './world.mjs';

async function world(t) {
  const op = await provider(t);
  const faults = new Faults(t);
  const host = await start(t, { env: faults.env, files: {
    'functions.lua': config({ page: 'script = "page.lua", auth = { login = true }, path = "/page"' },
      `auth = { issuer = "${op.issuer}", audience = "${AUDIENCE}", login = { client_id = "host", client_secret = "secret", secret = "${SECRET}" } },`),
    'page.lua': 'return function(event, context) return context.identityContext.claims.sub end',
  } });
  await host.keys();
  [faults.pid] = host.workers();
  return { op, faults, host, worker: faults.pid };
}

// The cookie of a session that res gives; undefined: it gives none.
const given = (res) => (res.headers['set-cookie'] ?? []).map((line) => /^(__Host-luafn=[^;]+);/.exec(line)?.[1]).find((text) => text);

// Before the answer of the issuer is followed.
async function halfway({ op, host }, { access = {}, refresh = null } = {}) {
  Object.assign(op, { access, refresh });
  const browser = new Visitor();
  const begun = await browser.go(host.url('/page'), { headers: HTML });
  assert.equal(begun.status, 302, begun.text());
  const back = new URL((await browser.go(begun.headers.get('location'))).headers.get('location'));
  return { browser, request: { path: back.pathname + back.search, headers: { ...HTML, cookie: cookie(browser) } } };
}

async function signedIn(w, how) {
  const { browser, request } = await halfway(w, how);
  const res = await browser.go(w.host.url(request.path), { headers: HTML });
  assert.equal(res.status, 303, res.text());
  Object.assign(w.op, { access: {}, refresh: 3600 });
  return `__Host-luafn=${session(browser)}`;
}

const LARGE = { access: { more: 'x'.repeat(5000) } };
const is = (status, check = () => true) => (res) => res.status === status && check(res);

// Each makes a request, says what is right, and looks at what must hold whatever has come.
const steps = (w) => {
  const into = (how) => async () => ({ request: (await halfway(w, how)).request, right: is(303, (r) => r.header('location') === '/page' && given(r) !== undefined) });
  const page = (how) => async () => ({ request: { path: '/page', headers: { cookie: await signedIn(w, how) } }, right: is(200, (r) => r.text === 'vera'), renews: how?.refresh !== undefined });
  const out = (how) => async () => {
    const kept = await signedIn(w, how);
    return {
      request: { method: 'POST', path: '/_luafn/logout', headers: { cookie: kept, 'sec-fetch-site': 'same-origin' } },
      right: is(303, (r) => r.header('location').startsWith(`${w.op.issuer}end?`)),
      async after(res, what) {
        if (res?.status === 303) assert.equal((await w.host.get('/page', { cookie: kept })).status, 401, `${what}: signed out, and yet it is good`);
      },
    };
  };
  return {
    'a browser is sent to the issuer': async () => ({ request: { path: '/page', headers: HTML }, right: is(302, (r) => r.header('location').startsWith(`${w.op.issuer}authorize?`)) }),
    'it comes back': into(),
    'it comes back, with what is too large for a cookie': into(LARGE),
    'it comes back with the state of another': async () => {
      const { request } = await halfway(w);
      return { request: { ...request, path: request.path.replace(/state=[^&]*/, 'state=another-that-is-long') }, right: is(400), bad: true };
    },
    'a session': page(),
    'a session in the store': page(LARGE),
    'a session that is renewed': page({ refresh: 1e-9 }),
    'a session in the store that is renewed': page({ ...LARGE, refresh: 1e-9 }),
    'a session that was spoiled': async () => {
      const kept = await signedIn(w);
      return { request: { path: '/page', headers: { cookie: `${kept.slice(0, -9)}${kept.at(-9) === 'A' ? 'B' : 'A'}${kept.slice(-8)}` } }, right: is(401), bad: true };
    },
    'a browser signs out': out(),
    'a browser signs out, of a session in the store': out(LARGE),
  };
};

async function attack(w, what, make, fault) {
  const one = await make();
  if (fault) w.faults.arm({ kinds: KIND.alloc, ...fault });
  const out = await attempt(w.faults, w.host, one.request);
  const struck = fault ? w.faults.struck : 0;
  const kind = judge(w, what, one, out, struck);
  // One that was renewed meanwhile must not be lost, whatever becomes of the request.
  if (out.res?.status >= 400 && !one.renews) assert.equal(given(out.res), undefined, `${what}: a session along with a refusal`);
  await one.after?.(out.res, what);
  return { kind, struck };
}

// Every n until a request passes untouched. In the short form only some of them.
async function sweep(w, name, make, forever) {
  const tally = {};
  for (let n = 1, points = 0; ; n += LONG || n < 4 ? 1 : n - 1, points += 1) {
    const what = `${name}, allocation ${n}${forever ? ' and all that follow' : ''}`;
    const { kind, struck } = await attack(w, what, make, { n, forever });
    assert.equal((await attack(w, `${what}, and then again`, make)).kind, 'right');
    if (struck === 0) return `${points} points: ${JSON.stringify(tally)}`;
    tally[kind] = (tally[kind] ?? 0) + 1;
    assert.ok(n < 20000);
  }
}

test('memory: each allocation of a sign-in, a session, its renewal and its end fails', { skip: SANITIZED && 'a sanitizer has a malloc of its own' }, async (t) => {
  for (const name of Object.keys(steps())) {
    await t.test(name, async (s) => {
      const w = await world(s);
      for (const [other, make] of Object.entries(steps(w))) assert.equal((await attack(w, `${other}, warming up`, make)).kind, 'right');
      const before = descriptors(w.worker);
      for (const forever of [false, true]) s.diagnostic(`${forever ? 'from then on' : 'once'}: ${await sweep(w, name, steps(w)[name], forever)}`);
      await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
    });
  }
});
