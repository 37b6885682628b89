// auth = { login = true }: browsers that sign in at the issuer, and who attacks them.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { Visitor as Browser } from '../lib/cookies.mjs';
import { config, eventually, folder, run, start, write } from '../lib/host.mjs';
import { AUDIENCE, token } from '../lib/issuer.mjs';
import { cookie, forge, HTML, provider, seal, SECRET, session, signIn } from '../lib/sign-in.mjs';
import { answer, rawUpstream } from '../lib/upstream.mjs';

const ECHO = 'return function(event, context) return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = json.encode { sub = context.identityContext and context.identityContext.claims.sub, cookie = event.headers.cookie, authorization = event.headers.authorization, query = event.rawQuery } } end';

const PAGES = { page: 'script = "echo.lua", auth = { login = true }, path = "/page"', token: 'script = "echo.lua", auth = true, path = "/token"', admin: 'script = "echo.lua", auth = { login = true, role = "admin" }, path = "/admin"' };

async function site(t, more = '', login = `secret = "${SECRET}"`, options = {}) {
  const op = await provider(t);
  const files = {
    'functions.lua': config(PAGES, `  auth = { issuer = "${op.issuer}", audience = "${AUDIENCE}", revocation = { backchannel_logout = "/hooks/logout", client_id = "host" },
    login = { client_id = "host", client_secret = "secret", ${login} } },\n  publish = "web",\n  protect = { { path = "/files/*", auth = { login = true } }, { path = "/far", auth = { login = true } } },\n${more}`),
    'echo.lua': ECHO, 'web/files/a.html': 'secret', 'web/_luafn/callback.html': 'not this', 'web/_luafn/logout.html': 'nor this',
  };
  const h = await start(t, { files, ...options });
  await h.keys();
  return { op, h, files };
}

test('a browser signs in and comes back to where it was; nobody else is sent anywhere', async (t) => {
  const up = await rawUpstream(t, (request, conn) => conn.send(answer('far')));
  const { op, h } = await site(t, `  redirects = { { from = "/far", to = "${up.url}/x", status = 200 } },`);
  const first = await h.get('/page?a=1&b=%2F', HTML);
  assert.equal(first.status, 302);
  assert.equal(first.header('cache-control'), 'no-store');
  assert.match(first.header('set-cookie'), /^__Host-luafn-flow-[\w-]{12}=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax; Max-Age=600$/);
  const q = new URL(first.header('location')).searchParams;
  assert.deepEqual([q.get('response_type'), q.get('client_id'), q.get('code_challenge_method'), q.get('audience'), q.get('scope')], ['code', 'host', 'S256', AUDIENCE, 'openid profile email']);
  assert.equal(q.get('redirect_uri'), h.url('/_luafn/callback'));
  const { browser, res, way } = await signIn(h, '/page?a=1&b=%2F');
  assert.equal(way.at(-1), h.url('/page?a=1&b=%2F'));
  browser.cookies.set('mine', '1');
  const told = await (await browser.go(h.url('/page?a=1&b=%2F'))).json();
  assert.deepEqual(told, { sub: 'vera', cookie: 'mine=1', query: 'a=1&b=%2F' }, 'the handler sees who it is, and neither cookie nor token');
  assert.equal(res.status, 200);
  assert.equal([...browser.cookies.keys()].some((name) => name.includes('flow')), false, 'what began it is gone');
  assert.equal((await (await browser.go(h.url('/files/a'))).text()), 'secret', 'the same session for files');
  assert.equal((await signIn(h, '/files/a')).way.at(-1), h.url('/files/a'));
  await browser.go(h.url('/far'));
  assert.deepEqual([up.requests[0].headers.cookie, up.requests[0].headers.authorization], ['mine=1', undefined]);
  const before = op.asked;
  for (const headers of [{}, { accept: 'application/json' }, { ...HTML, authorization: 'Bearer x' }, { ...HTML, 'sec-fetch-mode': 'cors' }, { ...HTML, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' }, { ...HTML, host: 'public.example' }]) {
    const none = await h.get('/page', headers);
    assert.deepEqual([none.status, none.header('set-cookie')], [401, undefined], JSON.stringify(headers));
    assert.match(none.header('www-authenticate'), /^Bearer/);
  }
  assert.equal((await h.request({ method: 'POST', path: '/page', headers: HTML })).status, 401);
  for (const [at, headers, status] of [['/files/a', {}, 401], ['/files/none', {}, 401], ['/far', {}, 401], ['/files/a', HTML, 302], ['/files/none', HTML, 302], ['/far', HTML, 302]]) {
    const res = await h.get(at, headers);
    assert.deepEqual([res.status, (res.header('location') ?? '').startsWith(op.issuer)], [status, status === 302], `${at}: a program is told, a browser is sent`);
  }
  assert.equal(up.requests.length, 1);
  assert.equal((await h.get('/token', HTML)).status, 401, 'without `login` it is as ever');
  assert.equal((await browser.go(h.url('/token'))).status, 401, 'and a session is none there');
  const admin = await browser.go(h.url('/admin'), { headers: HTML });
  assert.deepEqual([admin.status, (await admin.json()).error], [403, 'access_denied'], 'who is somebody else than wanted is told so, and not sent round');
  assert.equal(op.asked, before);
  const now = Math.floor(Date.now() / 1000);
  const bearer = token({ iss: op.issuer, sub: 'gus', aud: AUDIENCE, iat: now, exp: now + 60 });
  assert.equal((await h.get('/page', { authorization: `Bearer ${bearer}` })).json().sub, 'gus', 'a token does as before');
  assert.equal((await (await browser.go(h.url('/page'), { headers: { authorization: `Bearer ${bearer}` } })).json()).sub, 'gus', 'and goes before the session');
});

test('open redirects: the way back is a path of this host', async (t) => {
  const { op, h } = await site(t, '  redirects = { { from = "/*", to = "/files/:splat", status = 200 } },');
  const own = new URL(h.url()).origin;
  // Where a browser ends up that asks for this and signs in; null: it is refused before.
  const way = async (target) => {
    const wire = await h.connect();
    wire.send(Buffer.from(`GET ${target} HTTP/1.1\r\nHost: ${new URL(own).host}\r\nAccept: text/html\r\nConnection: close\r\n\r\n`, 'latin1'));
    const res = await wire.response();
    wire.close();
    if (res.status !== 302) { assert.ok([400, 404, 421].includes(res.status), `${target}: ${res.status}`); return null; }
    assert.ok(res.header('location').startsWith(`${op.issuer}authorize?`), target);
    const browser = new Browser();
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(res.header('set-cookie'));
    browser.cookies.set(name, value);
    const back = await browser.go((await browser.go(res.header('location'))).headers.get('location'));
    assert.equal(back.status, 303, target);
    return back.headers.get('location');
  };
  for (const target of ['//evil.example/x', '///evil.example', '////evil.example/%2f..', '/\\evil.example', '/\\/evil.example', '//\\evil.example', `/${'x'.repeat(2100)}`]) assert.ok([null, '/'].includes(await way(target)), target);
  for (const target of ['/\t/evil.example', '/%09/evil.example', '/%0d%0aLocation:%20https://evil.example', '/%5cevil.example', '/%2f/evil.example', '/..//evil.example', '/.//evil.example', '/a/../..//evil.example', '/;/evil.example', '/@evil.example', '/:@evil.example', '/https://evil.example', '/?//evil.example', '/#//evil.example', '/\x85/evil.example',
    'https://evil.example/', 'http:evil.example', 'javascript:alert(1)', 'data:text/html,x']) {
    const to = await way(target);
    if (to !== null) assert.deepEqual([new URL(to, own).origin, to.startsWith('/'), /^\/[/\\]/.test(to)], [own, true, false], target);
  }
  assert.equal(await way('/files/a?x=//evil.example'), '/files/a?x=//evil.example');
  assert.equal((await signIn(h, '/files/a?x=//evil.example')).way.at(-1), h.url('/files/a?x=//evil.example'));
});

test('fixation, replay, mix-up: an answer counts for the browser that asked, once, from the issuer that was asked', async (t) => {
  const { op, h } = await site(t);
  // The address to which the issuer sends this browser back, not yet followed.
  const halfway = async () => {
    const browser = new Browser();
    const res = await browser.go(h.url('/page'), { headers: HTML });
    const to = await browser.go(res.headers.get('location'));
    return { browser, back: to.headers.get('location') };
  };
  const refused = async (browser, url, status, error) => {
    const asked = op.asked;
    const res = await browser.go(url, { headers: HTML });
    assert.deepEqual([res.status, (await res.json()).error, session(browser)], [status, error, undefined], url);
    return op.asked - asked;
  };
  const good = await halfway();
  assert.equal((await good.browser.go(good.back)).status, 303);
  assert.ok(session(good.browser));
  const again = new Browser();
  assert.equal(await refused(again, good.back, 400, 'login_unknown'), 0);
  const one = await halfway(), two = await halfway();
  assert.equal(await refused(new Browser(), one.back, 400, 'login_unknown'), 0, 'another browser: the code is not even tried');
  assert.equal(await refused(two.browser, one.back, 400, 'login_unknown'), 0);
  const changed = (url, name, value) => { const u = new URL(url); if (value === null) u.searchParams.delete(name); else u.searchParams.set(name, value); return u.href; };
  assert.equal(await refused(one.browser, changed(one.back, 'state', `${new URL(one.back).searchParams.get('state').slice(0, 12)}xxxxxxxxxx`), 400, 'login_unknown'), 0);
  assert.equal(await refused(one.browser, `${one.back}&code=x`, 400, 'login_unknown'), 0);
  for (const [name, value, status] of [['iss', 'https://evil.example/', 403], ['iss', null, 403], ['code', 'other', 403], ['error', 'access_denied', 403]]) {
    const { browser, back } = await halfway();
    await refused(browser, changed(back, name, value), status, 'login_refused');
    await refused(browser, back, 400, 'login_unknown');
  }
  for (const id of [{ nonce: 'other' }, { nonce: undefined }, { aud: 'another' }, { aud: ['host', 'another'] }, { azp: 'another' }, { exp: 1 }, { iss: 'https://evil.example/' }, { sub: undefined }]) {
    op.id = id;
    const { browser, back } = await halfway();
    await refused(browser, back, 403, 'login_refused');
  }
  op.id = { aud: ['host', 'another'], azp: 'host' };
  assert.ok(session((await signIn(h)).browser));
  op.id = {};
  for (const access of [{ aud: 'another' }, { exp: 1 }]) {
    op.access = access;
    const { browser, back } = await halfway();
    await refused(browser, back, 403, 'login_refused');
  }
  op.access = {};
  const tabs = new Browser();
  const first = await tabs.go(h.url('/page?1'), { headers: HTML }), second = await tabs.go(h.url('/page?2'), { headers: HTML });
  for (const [res, to] of [[first, '/page?1'], [second, '/page?2']]) {
    const back = (await tabs.go(res.headers.get('location'))).headers.get('location');
    assert.equal((await tabs.go(back)).headers.get('location'), to, 'several at once');
  }
});

test('what a sign-in began with: for ten minutes, this state, issuer, nonce and verifier, every byte of it', async (t) => {
  const { op, h } = await site(t);
  const state = 'a-state-of-22-letters.', verifier = crypto.randomBytes(32).toString('base64url');
  const back = async (more = {}, { spoil = (value) => value, asked = state, ...how } = {}) => {
    const code = crypto.randomUUID();
    op.codes.set(code, { redirect_uri: h.url('/_luafn/callback'), code_challenge: crypto.createHash('sha256').update(verifier).digest('base64url'), nonce: 'a nonce' });
    const value = spoil(seal({ iss: op.issuer, state, nonce: 'a nonce', verifier, back: '/page', until: Date.now() / 1000 + 600, ...more }, { purpose: 'sign-in', ...how }));
    const before = op.asked;
    const res = await h.get(`/_luafn/callback?code=${code}&state=${asked}&iss=${encodeURIComponent(op.issuer)}`, { cookie: `__Host-luafn-flow-${state.slice(0, 12)}=${value}` });
    const given = (res.headers['set-cookie'] ?? []).some((line) => /^__Host-luafn=[^;]/.test(line));
    assert.equal(given, res.status === 303);
    return [res.status, op.asked - before];
  };
  assert.deepEqual(await back(), [303, 1]);
  for (const more of [{ until: Date.now() / 1000 - 1 }, { until: undefined }, { until: 'later' }, { state: `${state.slice(0, -1)}x` }, { state: undefined }, { iss: 'https://evil.example/' }]) assert.deepEqual(await back(more), [400, 0], JSON.stringify(more));
  for (const how of [{ purpose: 'session' }, { purpose: 'renewal' }, { secret: `${SECRET}!` }, { asked: `${state.slice(0, -1)}x` }, { asked: state.slice(0, 12) }, { asked: '' }]) assert.deepEqual(await back({}, how), [400, 0], JSON.stringify(how));
  for (const more of [{ nonce: 'another' }, { nonce: undefined }, { verifier: 'another' }, { verifier: undefined }]) assert.deepEqual(await back(more), [403, 1], JSON.stringify(more));
  for (let i = 0; i < 250; i += 5) {
    assert.deepEqual(await back({}, { spoil: (value) => value.slice(0, i) + (value[i] === 'A' ? 'B' : 'A') + value.slice(i + 1) }), [400, 0], `byte ${i}`);
    assert.deepEqual(await back({}, { spoil: (value) => value.slice(0, i) }), [400, 0], `cut at ${i}`);
  }
  assert.deepEqual(await back(), [303, 1]);
});

test('tampering, tossing, large tokens, another secret', async (t) => {
  const { op, h, files } = await site(t, '', `secret = { "${SECRET}" }`);
  const { browser } = await signIn(h);
  const value = session(browser);
  const status = async (text) => (await h.get('/page', { cookie: text })).status;
  assert.equal(await status(`__Host-luafn=${value}`), 200);
  assert.equal(await status(`__Host-luafn=${value}; __Host-luafn=${value}`), 401, 'two of the name are two opinions');
  for (let i = 0; i < value.length; i += Math.ceil(value.length / 40)) {
    const other = value.slice(0, i) + (value[i] === 'A' ? 'B' : 'A') + value.slice(i + 1);
    assert.equal(await status(`__Host-luafn=${other}`), 401, String(i));
  }
  for (const text of ['', '1', '9', '0abc', value.slice(0, -1), `2${value.slice(1)}`]) assert.equal(await status(`__Host-luafn=${text}`), 401);
  assert.equal(await status(`luafn=${value}; __host-luafn=${value}`), 401, 'a name without the browser\'s promise');
  const begin = await h.get('/page', HTML);
  const flow = /=([^;]*)/.exec(begin.header('set-cookie'))[1];
  assert.equal(await status(`__Host-luafn=1${flow}`), 401, 'what is sealed for one thing is nothing else');
  op.access = { more: 'x'.repeat(5000) };
  const large = await signIn(h);
  assert.equal(large.browser.cookies.size, 1);
  assert.ok(session(large.browser).length < 2000, 'what is large is in the store');
  assert.equal((await large.browser.go(h.url('/page'))).status, 200);
  const copy = cookie(large.browser);
  await large.browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });
  assert.equal(await status(copy), 401);
  op.access = {};
  write(h.dir, { 'functions.lua': files['functions.lua'].replace(`{ "${SECRET}" }`, `{ "a new one of thirty-two bytes, or more", "${SECRET}" }`).replace('/token', '/moved') });
  h.kill('SIGHUP');
  await eventually(async () => (await h.get('/moved')).status === 401, 10, 'a reload');
  assert.equal(await status(`__Host-luafn=${value}`), 200, 'the old secret still opens');
});

test('CSRF: what changes something comes from a page of this origin', async (t) => {
  const { h } = await site(t);
  const { browser } = await signIn(h);
  const own = h.url('').replace(/\/$/, '');
  const post = async (headers, method = 'POST') => (await h.request({ method, path: '/page', headers: { cookie: cookie(browser), ...headers } }));
  for (const headers of [{ 'sec-fetch-site': 'same-origin' }, { 'sec-fetch-site': 'none' }, { origin: own }, { origin: own, 'sec-fetch-site': 'same-origin' }]) assert.equal((await post(headers)).status, 200, JSON.stringify(headers));
  for (const headers of [{}, { 'sec-fetch-site': 'cross-site' }, { 'sec-fetch-site': 'same-site' }, { origin: 'null' }, { origin: 'https://evil.example' }, { origin: `${own}0` }, { origin: own, 'sec-fetch-site': 'cross-site' }, { origin: 'https://evil.example', 'sec-fetch-site': 'same-origin' }]) {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const res = await post(headers, method);
      assert.deepEqual([res.status, res.json().error], [403, 'cross_site'], JSON.stringify(headers));
    }
  }
  assert.equal((await post({ 'sec-fetch-site': 'cross-site' }, 'GET')).status, 200, 'a link from elsewhere may be followed');
});

test('out: here and at the issuer, and a copy of the cookie is worth nothing', async (t) => {
  const { op, h } = await site(t);
  const { browser } = await signIn(h);
  const other = (await signIn(h)).browser;
  const copy = cookie(browser);
  assert.equal((await h.get('/page', { cookie: copy })).status, 200);
  assert.equal((await h.get('/_luafn/logout', { cookie: copy, 'sec-fetch-site': 'cross-site' })).status, 403);
  assert.equal((await h.get('/page', { cookie: copy })).status, 200);
  const out = await browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });
  assert.equal(out.status, 303);
  const there = new URL(out.headers.get('location'));
  assert.deepEqual([there.origin + there.pathname, there.searchParams.get('client_id'), there.searchParams.get('post_logout_redirect_uri')], [`${op.issuer}end`, 'host', h.url('/')]);
  assert.equal(session(browser), undefined);
  assert.equal((await h.get('/page', { cookie: copy })).status, 401);
  assert.equal((await other.go(h.url('/page'))).status, 200, 'that session alone');
  const now = Math.floor(Date.now() / 1000);
  const logout = token({ iss: op.issuer, aud: 'host', iat: now, exp: now + 120, jti: crypto.randomUUID(), sid: 'of-vera', events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }, { header: { typ: 'logout+jwt' } });
  const told = await h.request({ method: 'POST', path: '/hooks/logout', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `logout_token=${logout}` });
  assert.equal(told.status, 200, told.text);
  assert.equal((await other.go(h.url('/page'))).status, 401, 'ended by the issuer');
  assert.equal((await h.request({ method: 'DELETE', path: '/_luafn/logout' })).status, 405);
});

test('out: the issuer is told whose session it is, also of one that was renewed or lies in the store, unless it does not fit', async (t) => {
  const { op, h } = await site(t);
  for (const [what, access, id, given] of [['small', {}, {}, true], ['in the store', { more: 'x'.repeat(5000) }, {}, true], ['a cookie that is full without it', { more: 'x'.repeat(1000) }, { more: 'y'.repeat(1200) }, false]]) {
    for (const renewed of [false, true]) {
      Object.assign(op, { access, id, refresh: renewed ? 1e-9 : 3600 });
      const before = op.renewed;
      const { browser, res } = await signIn(h);
      assert.equal(res.status, 200);
      assert.equal(op.renewed > before, renewed);
      const hint = op.idToken;
      assert.ok(session(browser).length <= 3800);
      const out = await browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });
      const q = new URL(out.headers.get('location')).searchParams;
      assert.deepEqual([q.get('id_token_hint'), q.get('client_id')], [given ? hint : null, 'host'], what);
    }
  }
});

test('an issuer that cannot be asked is a 502; its endpoints are held against its name', async (t) => {
  const { op, h } = await site(t);
  op.document = { issuer: 'https://evil.example/' };
  assert.equal((await h.get('/page', HTML)).json().error, 'login_unavailable');
  op.document = { token_endpoint: 'http://elsewhere.example/token' };
  assert.equal((await h.get('/page', HTML)).status, 502);
  op.document = {};
  assert.equal((await signIn(h)).res.status, 200);
});

test('with `dev` nothing needs to be said', async (t) => {
  const h = await start(t, { command: 'dev', files: { 'functions.lua': config({ page: 'script = "echo.lua", auth = { login = true }, path = "/page"' }, '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },'), 'echo.lua': ECHO } });
  const browser = new Browser();
  const begun = await browser.go(h.url('/page?x=1'), { headers: HTML });
  assert.equal(begun.status, 302, await begun.text());
  const place = begun.headers.get('location');
  assert.equal((await browser.go(place)).status, 200);
  const chosen = await browser.go(place, { method: 'POST', body: 'user=auth0%7Cvera', headers: { 'content-type': 'application/x-www-form-urlencoded', origin: new URL(place).origin } });
  const back = await browser.go(new URL(chosen.headers.get('location'), place).href);
  assert.equal(back.headers.get('location'), '/page?x=1', await back.text());
  assert.equal((await (await browser.go(h.url('/page?x=1'))).json()).sub, 'auth0|vera');
});

test('faults of the configuration are named; check --diff, routes and audit know it', async (t) => {
  const world = (auth, login = `, login = { client_id = "host", secret = "${SECRET}" }`) => ({ 'functions.lua': config({ page: `script = "echo.lua", auth = ${auth}` }, `  auth = { issuer = "https://issuer.example/", audience = "x"${login} },`), 'echo.lua': ECHO });
  for (const [login, what] of [['', /lets browsers sign in, but functions\.lua does not say how/], [', login = { client_id = "host" }', /auth\.login\.secret: is missing/], [', login = { secret = "short", client_id = "x" }', /has 5 bytes/], [', login = { secret = env.NONE }', /client_id: is missing/], [`, login = { client_id = "x", secret = "${SECRET}", callback = "//x" }`, /must be a path/], ...['/x?y', '/a/*', '/:a', '/_luafn/live', '/_luafn/logout', 'x', '/', '/a/', '/%2F'].map((at) => [`, login = { client_id = "x", secret = "${SECRET}", callback = "${at}" }`, /auth\.login\.callback: must be a path/]),
    [`, revocation = { events = "/in" }, login = { client_id = "x", secret = "${SECRET}", callback = "/in" }`, /has the path of auth\.revocation/], [', login = "yes"', /auth\.login: must be a table, not a string/]]) {
    const out = await run(t, ['check'], { files: world('{ login = true }', login) });
    assert.notEqual(out.code, 0, login);
    assert.match(out.stderr, what);
  }
  for (const at of ['/_luafn/callback', '/_luafn/logout']) {
    const taken = await run(t, ['check'], { files: world(`{ login = true }, path = "${at}"`) });
    assert.match(taken.stderr, new RegExp(`functions\\.page\\.path: at '${at}' browsers sign in or out`));
  }
  const explained = await run(t, ['explain', token({ iss: 'https://issuer.example/', aud: 'x' }), '--route', 'page'], { files: world('{ login = true }') });
  assert.match(explained.stdout, /session .*a browser without a token signs in/);
  const dir = folder(t);
  write(path.join(dir, 'old'), world('true'));
  write(path.join(dir, 'now'), world('{ login = true }'));
  const told = await run(t, ['check', '--diff', '../old'], { dir: path.join(dir, 'now') });
  assert.match(told.stdout, /gained .* browsers that sign in/);
  assert.equal(told.code, 3);
  assert.match((await run(t, ['routes'], { dir: path.join(dir, 'now') })).stdout, / login /);
  assert.equal((await run(t, ['check', '--diff', '../now'], { dir: path.join(dir, 'now') })).code, 0);
});

test('renewed: once for all who ask, on all workers, whatever becomes of who asked first; refused, it is over', async (t) => {
  const { op, h } = await site(t, '', `secret = "${SECRET}"`, { workers: 2 });
  const world = async (more) => {
    op.refresh = 1e-9; // it is time to renew at the next request, within the same tick of a clock, too
    op.access = more;
    const { browser } = await signIn(h);
    op.refresh = 3600;
    return browser;
  };
  const get = (browser) => browser.go(h.url('/page'));
  for (const more of [{}, { more: 'x'.repeat(5000) }]) {
    const browser = await world(more);
    const old = cookie(browser), before = op.renewed;
    let open;
    op.hold = new Promise((resolve) => { open = resolve; });
    const asked = op.asked;
    const gone = http.get(h.url('/page'), { agent: false, headers: { cookie: old } });
    gone.on('error', () => {});
    await eventually(() => op.asked > asked, 10, 'the first one asks');
    gone.destroy();
    const all = Array.from({ length: 12 }, () => h.get('/page', { cookie: old }));
    open();
    for (const res of await Promise.all(all)) assert.equal(res.status, 200, res.text);
    assert.equal(op.renewed, before + 1);
    const late = await h.get('/page', { cookie: old });
    assert.equal(late.status, 200, 'the old cookie does for a while');
    if (more.more) {
      assert.equal(late.header('set-cookie'), undefined, 'what is in the store is new, under the same cookie');
    } else {
      assert.match(late.header('set-cookie'), /^__Host-luafn=[\w-]+; Path=\/; Secure; HttpOnly; SameSite=Lax$/);
      assert.equal(late.header('cache-control'), 'no-store');
    }
    await get(browser);
    const next = await h.get('/page', { cookie: cookie(browser) });
    assert.deepEqual([next.status, next.header('set-cookie')], [200, undefined]);
    assert.equal(op.renewed, before + 1);
    await browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } });
    assert.equal((await h.get('/page', { cookie: old })).status, 401, 'what was renewed ends as a whole');
  }
  op.hold = null;
  const away = await world({});
  op.down = true;
  const res = await h.get('/page', { cookie: cookie(away) });
  assert.deepEqual([res.status, res.json().error, res.header('retry-after')], [503, 'session_unavailable', '1'], 'nobody knows');
  op.down = false;
  await eventually(async () => (await get(away)).status === 200, 10, 'the issuer is back');
  const stolen = await world({});
  op.live.clear();
  const over = await h.get('/page', { cookie: cookie(stolen) });
  assert.equal(over.status, 401);
  assert.match(over.header('set-cookie'), /^__Host-luafn=;.*Max-Age=0$/);
  assert.equal((await h.get('/page', { ...HTML, cookie: cookie(stolen) })).status, 302);
  const metrics = (await h.admin('metrics')).text;
  assert.match(metrics, /luafn_sessions_renewed_total [1-9]/);
  assert.match(metrics, /luafn_sessions_begun_total 4/);
  assert.match(metrics, /luafn_sessions_ended_total 2/);
});

test('more renewals than a worker remembers: none is refused for it', async (t) => {
  const { op, h } = await site(t);
  op.refresh = 3600;
  const due = Array.from({ length: 1100 }, (_, i) => {
    op.live.add(`of-${i}`);
    return forge(op, { refresh: `of-${i}`, good: 0, renew: 0 });
  });
  const status = async (value) => (await h.get('/page', { cookie: `__Host-luafn=${value}` })).status;
  const left = [...due];
  await Promise.all(Array.from({ length: 8 }, async () => { for (let value; (value = left.pop());) assert.equal(await status(value), 200); }));
  assert.equal(op.renewed, due.length);
});

test('what is sealed, but is no session of this host: another purpose, issuer or secret, ended, without a name', async (t) => {
  const { op, h } = await site(t);
  const status = async (value) => (await h.get('/page', { cookie: `__Host-luafn=${value}` })).status;
  const now = Date.now() / 1000;
  assert.equal(await status(forge(op)), 200);
  for (const more of [{ until: now - 1 }, { until: 'later' }, { iss: 'https://evil.example/' }, { iss: 1 }, { iss: undefined }, { id: '' }, { id: undefined }, { id: 7 }, { token: 7 }, { token: 'x.y.z' }]) assert.equal(await status(forge(op, more)), 401, JSON.stringify(more));
  for (const how of [{ secret: `${SECRET}!` }, { purpose: 'sign-in' }, { purpose: 'renewal' }, { purpose: 'session in the store' }, { purpose: '' }]) assert.equal(await status(forge(op, {}, how)), 401, JSON.stringify(how));
  const value = forge(op, { token: 'x' });
  for (let i = 0; i < value.length; i += 7) assert.equal(await status(value.slice(0, i)), 401, 'cut');
});

test('neither scripts nor the journal see the secrets', async (t) => {
  const op = await provider(t);
  const h = await start(t, { files: {
    '.env': `SESSION_SECRET=${SECRET}\nCLIENT_SECRET=secret-of-the-client\nOPEN=yes\n`,
    'functions.lua': config({ env: 'script = "env.lua", path = "/env", auth = "public", env = { "*" }' }, `  auth = { issuer = "${op.issuer}", audience = "x", login = { client_id = "host", client_secret = env.CLIENT_SECRET, secret = { env.SESSION_SECRET } } },`),
    'env.lua': 'local all = {} for k, v in pairs(env) do all[k] = v end return function() return { statusCode = 200, body = json.encode { env.OPEN, env.SESSION_SECRET or "-", env.CLIENT_SECRET or "-", all.SESSION_SECRET or "-", all.OPEN } } end',
  } });
  assert.deepEqual((await h.get('/env')).json(), ['yes', '-', '-', '-', 'yes']);
});
