// `luafn dev` by itself: the page, the issuer on the same origin, me and shows behind it.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { folder, ROOT, start } from '../lib/host.mjs';

const CLIENT = 'luafn-demo';
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

// The repository's own deployment, in a folder of its own.
function deployment(t) {
  const dir = folder(t);
  fs.copyFileSync(path.join(ROOT, 'functions.lua'), path.join(dir, 'functions.lua'));
  fs.cpSync(path.join(ROOT, 'scripts'), path.join(dir, 'scripts'), { recursive: true, filter: (f) => !f.includes('/scripts/dev') });
  return dir;
}

const dev = (t, dir = deployment(t)) => start(t, { command: 'dev', dir });

async function signIn(h, user, { audience, resource = [], scope = 'openid profile read:shows', tamper } = {}) {
  const verifier = crypto.randomBytes(32).toString('base64url');
  const origin = `http://localhost:${h.port}`;
  const query = new URLSearchParams({
    client_id: CLIENT, response_type: 'code', redirect_uri: origin, scope, state: 'st', ...(audience ? { audience } : {}),
    code_challenge: crypto.createHash('sha256').update(verifier).digest('base64url'), code_challenge_method: 'S256',
  });
  for (const one of [resource].flat()) query.append('resource', one);
  const headers = { Host: `localhost:${h.port}` };
  const page = await h.request({ path: `/authorize?${query}`, headers });
  assert.equal(page.status, 200, page.text);
  assert.match(page.header('content-type'), /^text\/html/);
  for (const name of ['vera', 'gus']) assert.ok(page.text.toLowerCase().includes(name), `the login page lists ${name}`);
  const chosen = await h.request({
    method: 'POST', path: `/authorize?${query}`, body: new URLSearchParams({ user }).toString(),
    headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded', Origin: origin },
  });
  assert.equal(chosen.status, 302, chosen.text);
  const back = new URL(chosen.header('location'));
  assert.equal(back.origin, origin);
  assert.equal(back.searchParams.get('state'), 'st');
  const form = {
    grant_type: 'authorization_code', client_id: CLIENT, code: back.searchParams.get('code'), redirect_uri: origin, code_verifier: verifier, ...tamper,
  };
  const res = await h.request({
    method: 'POST', path: '/oauth/token', headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams(form).toString(),
  });
  return { status: res.status, ...res.json(), cookie: chosen.header('set-cookie'), form };
}

const discovery = async (h) => (await h.request({ path: '/.well-known/openid-configuration', headers: { Host: `localhost:${h.port}` } })).json();
const users = async (h) => (await h.get('/_luafn/dev/api/users')).json();

test('the page, without a build step', async (t) => {
  const h = await dev(t);
  const page = await h.get('/_luafn/dev/try.html');
  assert.equal(page.status, 200);
  assert.match(page.header('content-type'), /^text\/html/);
  assert.match(page.text, /<html/i);
  for (const name of ['/_luafn/dev/', '/_luafn/dev/try.html', '/_luafn/dev/issuer.html']) assert.match((await h.get(name)).text, /<main[^>]*>\s*<noscript>/, `${name}: without scripts a notice, on top`);
  assert.match(page.text, /<link rel="icon" href="\/[^"]*\.svg"/);
  const parts = [...page.text.matchAll(/(?:src|href)="(\/?[\w./-]+\.(?:js|css|svg))"/g)].map((m) => m[1]);
  assert.ok(parts.length > 0, 'it has scripts and styles');
  for (const part of parts) {
    const res = await h.get(`/${part.replace(/^\//, '')}`);
    assert.equal(res.status, 200, part);
    assert.match(res.header('content-type'), part.endsWith('.js') ? /javascript/ : part.endsWith('.css') ? /css/ : /svg/);
  }
  assert.equal((await h.call('me')).status, 401);
  assert.equal((await h.call('shows')).status, 401);
});

test('sign in with PKCE: me and shows for one with the role, 403 for one without', async (t) => {
  const h = await dev(t);
  const { audience } = await users(h);
  const vera = await signIn(h, 'auth0|vera', { audience });
  assert.equal(vera.status, 200);
  assert.equal(vera.token_type, 'Bearer');
  const me = await h.call('me', { headers: bearer(vera.access_token) });
  assert.equal(me.status, 200, me.text);
  assert.equal(me.json().claims.sub, 'auth0|vera');
  assert.ok(me.json().claims.scope.includes('read:shows'));
  const shows = await h.call('shows', { headers: bearer(vera.access_token) });
  assert.equal(shows.status, 200, shows.text);
  assert.deepEqual(Object.keys(shows.json()[0]).sort(), ['id', 'name', 'url']);

  const gus = await signIn(h, 'auth0|gus', { audience });
  assert.equal((await h.call('me', { headers: bearer(gus.access_token) })).status, 200);
  const denied = await h.call('shows', { headers: bearer(gus.access_token) });
  assert.equal(denied.status, 403);
  assert.equal(denied.json().error_description, "Token does not contain the required 'read:shows' scope");
});

test('a role is switched on and off', async (t) => {
  const h = await dev(t);
  const { audience } = await users(h);
  const set = (on, type = 'application/json') => h.request({
    method: 'POST', path: '/_luafn/dev/api/users', headers: { 'Content-Type': type }, body: JSON.stringify({ sub: 'auth0|gus', role: 'TV Shows Viewer', on }),
  });
  const shows = async () => (await h.call('shows', { headers: bearer((await signIn(h, 'auth0|gus', { audience })).access_token) })).status;
  assert.equal((await set(true)).status, 200);
  assert.equal(await shows(), 200);
  assert.equal((await set(false)).status, 200);
  assert.equal(await shows(), 403);
  assert.equal((await set(true, 'text/plain')).status, 400, 'what a form of another page could send is refused');
});

test('tokens of the issuer, checked by jose; the key outlives a restart', async (t) => {
  const dir = deployment(t);
  const h = await dev(t, dir);
  const { audience } = await users(h);
  const document = await discovery(h);
  assert.match(document.issuer, /^http:\/\/(localhost|127\.0\.0\.1):\d+\/$/);
  const vera = await signIn(h, 'auth0|vera', { audience });
  const keys = createRemoteJWKSet(new URL(document.jwks_uri.replace('localhost', '127.0.0.1')));
  const { payload } = await jwtVerify(vera.access_token, keys, { issuer: document.issuer, audience, algorithms: ['RS256'] });
  assert.equal(payload.sub, 'auth0|vera');
  assert.equal(payload.azp, CLIENT);
  const id = await jwtVerify(vera.id_token, keys, { issuer: document.issuer, audience: CLIENT, algorithms: ['RS256'] });
  assert.equal(id.payload.sub, 'auth0|vera');
  const jwks = (await h.get('/.well-known/jwks.json')).json();
  assert.deepEqual(Object.keys(jwks.keys[0]).filter((k) => ['d', 'p', 'q', 'dp', 'dq', 'qi'].includes(k)), [], 'nothing private');
  await h.stop();
  const again = await dev(t, dir);
  assert.deepEqual((await again.get('/.well-known/jwks.json')).json(), jwks);
});

test('PKCE and codes are enforced', async (t) => {
  const h = await dev(t);
  const { audience } = await users(h);
  const rows = [{ code_verifier: 'x'.repeat(43) }, { code_verifier: '' }, { code: 'made-up' }, { redirect_uri: 'http://localhost:1/' }, { client_id: 'other' }];
  for (const tamper of rows) {
    const got = await signIn(h, 'auth0|vera', { audience, tamper });
    assert.ok([400, 401, 403].includes(got.status), `${JSON.stringify(tamper)}: ${got.status}`);
    assert.equal(got.access_token, undefined);
  }
  const good = await signIn(h, 'auth0|vera', { audience });
  const twice = await h.request({
    method: 'POST', path: '/oauth/token', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams(good.form).toString(),
  });
  assert.ok([400, 403].includes(twice.status), 'a code works once');
  for (const target of ['https://evil.example/', 'http://localhost.evil.example/', 'http://localhost@evil.example/']) {
    const query = new URLSearchParams({ client_id: CLIENT, response_type: 'code', redirect_uri: target, code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' });
    const res = await h.get(`/authorize?${query}`);
    assert.equal(res.header('location'), undefined, target);
    assert.ok(res.status >= 400);
  }
});

test('pages that give this machine a name of their own get nothing', async (t) => {
  const h = await dev(t);
  const ask = (host) => h.request({ path: '/_luafn/dev/api/users', headers: { Host: host } });
  for (const host of ['evil.example', `evil.example:${h.port}`, 'localhost.evil.example', '127.0.0.1.evil.example', 'localhost@evil.example']) {
    assert.ok((await ask(host)).status >= 400, host);
  }
  for (const host of [`localhost:${h.port}`, `127.0.0.1:${h.port}`, `[::1]:${h.port}`]) assert.equal((await ask(host)).status, 200, host);
});

test('a token made wrong on request is refused, and no other can be had that way', async (t) => {
  const h = await dev(t);
  const make = (fields, type = 'application/json') => h.request({
    method: 'POST', path: '/_luafn/dev/api/token', headers: { 'Content-Type': type }, body: JSON.stringify(fields),
  });
  for (const fault of ['expired', 'audience']) {
    const got = await make({ sub: 'auth0|vera', fault });
    assert.equal(got.status, 200);
    assert.equal((await h.call('me', { headers: bearer(got.json().access_token) })).status, 401, fault);
  }
  for (const fields of [{ sub: 'auth0|vera' }, { sub: 'auth0|vera', fault: 'none' }, { sub: 'auth0|vera', fault: 7 }, { fault: 'expired' }]) {
    assert.equal((await make(fields)).status, 400, JSON.stringify(fields));
  }
  assert.equal((await make({ sub: 'auth0|vera', fault: 'expired' }, 'text/plain')).status, 400);
});

test('logout leads back and ends the session', async (t) => {
  const h = await dev(t);
  const { audience } = await users(h);
  const { cookie } = await signIn(h, 'auth0|vera', { audience });
  const Cookie = cookie.split(';')[0];
  const query = new URLSearchParams({
    client_id: CLIENT, response_type: 'code', redirect_uri: `http://localhost:${h.port}`, prompt: 'none', state: 's',
    code_challenge: 'x'.repeat(43), code_challenge_method: 'S256',
  });
  const silent = () => h.get(`/authorize?${query}`, { Cookie });
  assert.match((await silent()).header('location'), /[?&]code=/);
  const out = await h.get(`/v2/logout?${new URLSearchParams({ client_id: CLIENT, returnTo: `http://localhost:${h.port}` })}`, { Cookie });
  assert.equal(out.status, 302);
  assert.equal(out.header('location'), `http://localhost:${h.port}`);
  assert.match((await silent()).header('location'), /error=login_required/);
  const evil = await h.get(`/v2/logout?${new URLSearchParams({ returnTo: 'https://evil.example/' })}`);
  assert.equal(evil.header('location'), undefined);
});

test('serve knows no issuer', async (t) => {
  const dir = deployment(t);
  fs.writeFileSync(path.join(dir, '.env'), 'JWT_ISSUER=http://127.0.0.1:1/\nJWT_AUDIENCE=https://api/tv-shows\n');
  const h = await start(t, { dir });
  for (const p of ['/authorize', '/oauth/token', '/.well-known/openid-configuration', '/.well-known/jwks.json', '/_luafn/dev/api/users', '/']) {
    assert.equal((await h.get(p)).status, 404, p);
  }
});

test('a token may be asked for by resource: an API, or an address of the host', async (t) => {
  const h = await dev(t);
  const aud = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).aud;
  const own = `http://127.0.0.1:${h.port}/mcp`;
  assert.deepEqual(aud((await signIn(h, 'auth0|vera', { resource: 'https://api/tv-shows', scope: 'read:shows' })).access_token), 'https://api/tv-shows');
  const here = await signIn(h, 'auth0|vera', { resource: own, scope: 'openid read:shows', tamper: { resource: own } });
  assert.deepEqual(aud(here.access_token), ['https://api/tv-shows', own, `${(await discovery(h)).issuer}userinfo`]);
  assert.equal((await h.request({ path: '/.netlify/functions/shows', headers: bearer(here.access_token) })).status, 200);
  const other = await signIn(h, 'auth0|vera', { resource: own, tamper: { resource: `http://127.0.0.1:${h.port}/other` } });
  assert.deepEqual([other.status, other.error], [400, 'invalid_target']);
  for (const resource of ['https://api.example/mcp', `http://127.0.0.1:${h.port + 1}/mcp`, `${own}#x`, 'mcp']) {
    const query = new URLSearchParams({
      client_id: CLIENT, response_type: 'code', redirect_uri: 'http://localhost:1/x', code_challenge: 'a'.repeat(43), code_challenge_method: 'S256', resource,
    });
    const res = await h.request({ path: `/authorize?${query}`, headers: { Host: `localhost:${h.port}` } });
    assert.match(res.header('location') ?? '', /[?&]error=invalid_target/, resource);
  }
});

test('a program introduces itself, with addresses of this machine alone', async (t) => {
  const h = await dev(t);
  const register = (body, type = 'application/json') => h.request({
    method: 'POST', path: '/oidc/register', body: typeof body === 'string' ? body : JSON.stringify(body), headers: { 'Content-Type': type, Host: `localhost:${h.port}` },
  });
  assert.equal((await discovery(h)).registration_endpoint, `${(await discovery(h)).issuer}oidc/register`);
  const res = await register({ client_name: 'An agent', redirect_uris: ['https://evil.example/cb', 'http://127.0.0.1:3000/cb', 'http://localhost:3000/#x', 7] });
  assert.equal(res.status, 201);
  const client = res.json();
  assert.deepEqual([client.redirect_uris, client.token_endpoint_auth_method, client.client_secret], [['http://127.0.0.1:3000/cb'], 'none', undefined]);
  const ask = async (redirect_uri) => (await h.request({
    path: `/authorize?${new URLSearchParams({ client_id: client.client_id, response_type: 'code', redirect_uri, code_challenge: 'a'.repeat(43), code_challenge_method: 'S256' })}`,
    headers: { Host: `localhost:${h.port}` },
  })).status;
  assert.equal(await ask('http://127.0.0.1:3000/cb'), 200, 'the sign-in page');
  for (const wrong of ['http://127.0.0.1:3000/other', 'https://evil.example/cb', 'http://127.0.0.1:3001/cb']) assert.equal(await ask(wrong), 403, wrong);
  for (const [body, type] of [[{}, undefined], [{ redirect_uris: [] }], [{ redirect_uris: ['https://evil.example/cb'] }], [{ redirect_uris: 'http://localhost/' }], ['[]'], ['x'], ['redirect_uris=http://localhost/', 'application/x-www-form-urlencoded']]) {
    assert.equal((await register(body, type)).status, 400, JSON.stringify(body));
  }
});
