// The dev issuer as a tenant of Auth0: dev/auth.lua, its answers, and what it refuses.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { createLocalJWKSet, importX509, jwtVerify } from 'jose';
import { deployment, eventually, folder, lua, start } from '../lib/host.mjs';

const AUDIENCE = 'https://api/tv-shows';
const NAMESPACE = 'http://schemas.sandrino.dev/';
const FORM = { 'Content-Type': 'application/x-www-form-urlencoded' };
const JSON_TYPE = { 'Content-Type': 'application/json' };
const AUTH = {
  applications: {
    'luafn-demo': { type: 'spa' },
    listed: { type: 'spa', callbacks: ['http://localhost:3000/back'], logout_urls: ['http://localhost:3000/out'] },
    asking: { type: 'spa', name: 'Asking <b>', consent: true },
    server: { type: 'web', secret: 'of the server' },
    program: { type: 'm2m', secret: 'of the program', grants: { [AUDIENCE]: ['read:shows'] } },
  },
  apis: {
    [AUDIENCE]: { scopes: ['read:shows', 'create:shows'], rbac: true, add_permissions: true, token_lifetime: 600, browser_lifetime: 300 },
    other: { scopes: ['all'], dialect: 'rfc9068_profile' },
  },
  roles: { viewer: { [AUDIENCE]: ['read:shows'] } },
  roles_claim: `${NAMESPACE}roles`,
  users: [
    { sub: 'auth0|ann', name: 'Ann <i>', email: 'ann@example.com', roles: ['viewer'], claims: { [`${NAMESPACE}plan`]: 'gold' } },
    { sub: 'auth0|bob', name: 'Bob', permissions: { [AUDIENCE]: ['create:shows'] } },
    { sub: 'auth0|eve', name: 'Eve', blocked: true },
  ],
};

const text = (auth) => `return ${lua(auth)}\n`;

const renew = (h, token, client_id = 'luafn-demo') => post(h, '/oauth/token', { grant_type: 'refresh_token', client_id, refresh_token: token });

const dev = (t, auth = text(AUTH), dir = folder(t, { ...deployment({ hello: 'return function() return "hello" end' }), 'dev/auth.lua': auth })) => (
  start(t, { command: 'dev', dir }));

const decode = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
const headerOf = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url'));

const post = (h, pathname, fields, headers = {}) => h.request({
  method: 'POST', path: pathname, headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(fields),
});

// Query of /authorize with its verifier.
function asked(h, more = {}) {
  const verifier = crypto.randomBytes(32).toString('base64url');
  const query = {
    client_id: 'luafn-demo', response_type: 'code', redirect_uri: `http://localhost:${h.port}`, scope: 'openid profile email read:shows create:shows',
    audience: AUDIENCE, state: 's', nonce: 'n', code_challenge_method: 'S256',
    code_challenge: crypto.createHash('sha256').update(verifier).digest('base64url'), ...more,
  };
  for (const [name, value] of Object.entries(query)) if (value === undefined) delete query[name];
  return { verifier, query, target: `/authorize?${new URLSearchParams(query)}` };
}

const choose = (h, target, fields, headers = {}) => h.request({
  method: 'POST', path: target, headers: { ...FORM, ...headers }, body: new URLSearchParams(fields).toString(),
});

const paramsOf = (res) => Object.fromEntries(new URL(res.header('location')).searchParams);

function exchange(h, { query, verifier }, code, more = {}) {
  return post(h, '/oauth/token', {
    grant_type: 'authorization_code', client_id: query.client_id, code, redirect_uri: query.redirect_uri, code_verifier: verifier, ...more,
  });
}

async function signIn(h, user, more, secret) {
  const request = asked(h, more);
  const chosen = await choose(h, request.target, { user });
  assert.equal(chosen.status, 302, chosen.text);
  const res = await exchange(h, request, paramsOf(chosen).code, secret);
  assert.equal(res.status, 200, res.text);
  return { ...res.json(), cookie: chosen.header('set-cookie').split(';')[0] };
}

test('dev writes dev/auth.lua once, and does without where it cannot', async (t) => {
  const dir = folder(t, deployment({ hello: 'return function() return "hello" end' }));
  const h = await start(t, { command: 'dev', dir });
  const file = path.join(dir, 'dev/auth.lua');
  assert.match(fs.readFileSync(file, 'utf8'), /TV Shows Viewer/);
  await h.says(/wrote dev\/auth\.lua/);
  await h.stop();
  fs.appendFileSync(file, '-- mine\n');
  const again = await start(t, { command: 'dev', dir });
  assert.match(fs.readFileSync(file, 'utf8'), /-- mine/);
  assert.doesNotMatch(again.stderr, /wrote/);
  fs.rmSync(path.join(dir, 'dev'), { recursive: true });
  fs.writeFileSync(path.join(dir, 'dev'), 'no folder');
  const without = await start(t, { command: 'dev', dir });
  assert.deepEqual((await without.get('/_luafn/dev/api/users')).json().users.map(({ name }) => name), ['Vera Viewer', 'Gus Guest']);
});

test('tokens: RBAC, permissions, claims, lifetimes, audiences', async (t) => {
  const h = await dev(t);
  const ann = await signIn(h, 'auth0|ann');
  const claims = decode(ann.access_token);
  assert.equal(claims.scope, 'openid profile email read:shows');
  assert.deepEqual(claims.permissions, ['read:shows']);
  assert.deepEqual(claims.aud, [AUDIENCE, `${claims.iss}userinfo`]);
  assert.equal(claims[`${NAMESPACE}plan`], 'gold');
  assert.deepEqual(claims[`${NAMESPACE}roles`], ['viewer']);
  assert.equal(claims.exp - claims.iat, 300);
  assert.equal(ann.expires_in, 300);
  assert.equal(decode(ann.id_token).nickname, 'ann');
  assert.deepEqual(decode((await signIn(h, 'auth0|bob')).access_token).permissions, ['create:shows']);

  for (const name of ['add_permissions', 'rbac']) {
    assert.equal((await post(h, '/_luafn/dev/api/rbac', { audience: AUDIENCE, name, on: false })).status, 200);
  }
  const free = decode((await signIn(h, 'auth0|bob', { scope: 'read:shows create:shows' })).access_token);
  assert.equal(free.scope, 'read:shows create:shows');
  assert.equal(free.permissions, undefined);
  assert.equal(free.aud, AUDIENCE, 'a text where openid was not asked for');

  const profiled = (await signIn(h, 'auth0|ann', { audience: 'other', scope: 'all' })).access_token;
  assert.equal(headerOf(profiled).typ, 'at+jwt');
  assert.equal(decode(profiled).client_id, 'luafn-demo');
  assert.ok(decode(profiled).jti);

  const opaque = await signIn(h, 'auth0|ann', { audience: undefined });
  assert.equal(opaque.access_token.split('.').length, 1);
  const profile = await h.get('/userinfo', { Authorization: `Bearer ${opaque.access_token}` });
  assert.equal(profile.json().email, 'ann@example.com');
  assert.equal((await h.get('/userinfo', { Authorization: 'Bearer made-up' })).status, 401);
});

test('client credentials', async (t) => {
  const h = await dev(t);
  const ask = (fields) => post(h, '/oauth/token', {
    grant_type: 'client_credentials', client_id: 'program', client_secret: 'of the program', audience: AUDIENCE, ...fields,
  });
  const { access_token: token, ...rest } = (await ask({})).json();
  assert.deepEqual(rest, { scope: 'read:shows', expires_in: 600, token_type: 'Bearer' });
  const { sub, aud, azp, gty } = decode(token);
  assert.deepEqual({ sub, aud, azp, gty }, { sub: 'program@clients', aud: AUDIENCE, azp: 'program', gty: 'client-credentials' });
  const refusals = [
    [{ client_secret: 'wrong' }, 401, 'access_denied', /^Unauthorized$/],
    [{ client_id: 'nobody' }, 401, 'access_denied', /^Unauthorized$/],
    [{ audience: 'nothing' }, 403, 'access_denied', /^Service not enabled within domain: nothing$/],
    [{ audience: 'other' }, 403, 'access_denied', /^Client is not authorized to access "other"\. You might probably want to create a "client-grant"/],
    [{ grant_type: 'password' }, 403, 'unauthorized_client', /^Grant type 'password' not allowed for the client\.$/],
    [{ client_id: 'luafn-demo' }, 403, 'unauthorized_client', /^Grant type 'client_credentials' not allowed/],
  ];
  for (const [fields, status, error, description] of refusals) {
    const res = await ask(fields);
    assert.equal(res.status, status, JSON.stringify(fields));
    assert.equal(res.json().error, error);
    assert.match(res.json().error_description, description);
  }
});

test('/authorize: what is refused, and where that is said', async (t) => {
  const h = await dev(t);
  const rows = [
    [{ audience: 'nothing' }, 'access_denied', 'Service not found: nothing'],
    [{ prompt: 'none' }, 'login_required', 'Login required'],
    [{ response_type: 'token' }, 'unsupported_response_type', 'The response_type must be code'],
    [{ code_challenge_method: 'plain' }, 'invalid_request', 'A code_challenge with the code_challenge_method S256 is required'],
  ];
  for (const [more, error, description] of rows) {
    assert.deepEqual(paramsOf(await h.get(asked(h, more).target)), { error, error_description: description, state: 's' });
  }
  const blocked = await choose(h, asked(h).target, { user: 'auth0|eve' });
  assert.equal(paramsOf(blocked).error_description, 'user is blocked');
  for (const redirect_uri of ['http://localhost:3000/', 'http://localhost:3000/back?x', 'https://evil.example/']) {
    const res = await h.get(asked(h, { client_id: 'listed', redirect_uri }).target);
    assert.equal(res.status, 403, redirect_uri);
    assert.match(res.text, /Callback URL mismatch/);
    assert.equal(res.header('location'), undefined);
  }
  assert.equal((await h.get(asked(h, { client_id: 'listed', redirect_uri: 'http://localhost:3000/back' }).target)).status, 200);
  const out = (returnTo) => h.get(`/v2/logout?${new URLSearchParams({ client_id: 'listed', returnTo })}`);
  assert.equal((await out('http://localhost:3000/')).status, 400);
  assert.equal((await out('http://localhost:3000/out')).header('location'), 'http://localhost:3000/out');
  const page = await h.get(asked(h).target);
  assert.ok(page.text.includes('Ann &lt;i&gt;') && !page.text.includes('<i>'), 'names are escaped');
});

test('consent: asked once, silently refused before, declined', async (t) => {
  const h = await dev(t);
  const request = asked(h, { client_id: 'asking' });
  const page = await choose(h, request.target, { user: 'auth0|ann' });
  assert.equal(page.status, 200);
  assert.ok(page.text.includes('Asking &lt;b&gt;') && page.text.includes('create:shows'));
  const Cookie = page.header('set-cookie').split(';')[0];
  const silent = asked(h, { client_id: 'asking', prompt: 'none', response_mode: 'web_message' });
  const before = await h.get(silent.target, { Cookie });
  assert.match(before.text, /"consent_required"/);
  assert.match(before.header('content-security-policy'), new RegExp(`frame-ancestors http://localhost:${h.port}$`));
  assert.equal(paramsOf(await choose(h, request.target, { consent: 'decline' }, { Cookie })).error, 'access_denied');
  assert.ok(paramsOf(await choose(h, request.target, { consent: 'accept' }, { Cookie })).code);
  assert.match((await h.get(silent.target, { Cookie })).text, /"code":/);
});

test('forms and switches from pages elsewhere are refused', async (t) => {
  const h = await dev(t);
  const own = { Origin: `http://127.0.0.1:${h.port}`, 'Sec-Fetch-Site': 'same-origin' };
  const elsewhere = [{ Origin: 'http://localhost:3000' }, { Origin: 'null' }, { 'Sec-Fetch-Site': 'same-site' }, { 'Sec-Fetch-Site': 'cross-site' }];
  const change = { sub: 'auth0|bob', role: 'viewer', on: true };
  for (const headers of elsewhere) {
    assert.equal((await choose(h, asked(h).target, { user: 'auth0|ann' }, headers)).status, 403, JSON.stringify(headers));
    assert.equal((await post(h, '/_luafn/dev/api/users', change, headers)).status, 403);
    assert.equal((await post(h, '/_luafn/dev/api/rotate', { rotate: true }, headers)).status, 403);
  }
  assert.equal((await choose(h, asked(h).target, { user: 'auth0|ann' }, own)).status, 302);
  assert.equal((await post(h, '/_luafn/dev/api/users', change, own)).status, 200);
});

test('a web application needs its secret', async (t) => {
  const h = await dev(t);
  assert.ok((await signIn(h, 'auth0|ann', { client_id: 'server' }, { client_secret: 'of the server' })).access_token);
  const request = asked(h, { client_id: 'server' });
  const { code } = paramsOf(await choose(h, request.target, { user: 'auth0|ann' }));
  assert.equal((await exchange(h, request, code)).status, 401);
});

test('refresh tokens rotate over restarts; reuse and revocation end the family', async (t) => {
  const dir = folder(t, { ...deployment({ hello: 'return function() return "hello" end' }), 'dev/auth.lua': text(AUTH) });
  const h = await dev(t, null, dir);
  const first = await signIn(h, 'auth0|ann', { scope: 'openid offline_access' });
  assert.equal((await renew(h, first.refresh_token, 'listed')).status, 403, 'of another application');
  await h.stop();

  const again = await dev(t, null, dir);
  assert.ok(paramsOf(await again.get(asked(again).target, { Cookie: first.cookie })).code, 'still signed in');
  const second = (await renew(again, first.refresh_token)).json();
  assert.ok(second.refresh_token && second.refresh_token !== first.refresh_token);
  const reuse = await renew(again, first.refresh_token);
  assert.equal(reuse.status, 403);
  assert.deepEqual(reuse.json(), { error: 'invalid_grant', error_description: 'Unknown or invalid refresh token.' });
  assert.equal((await renew(again, second.refresh_token)).status, 403);

  const other = await signIn(again, 'auth0|ann', { scope: 'openid offline_access' });
  assert.equal((await post(again, '/oauth/revoke', { client_id: 'luafn-demo', token: other.refresh_token })).status, 200);
  assert.equal((await renew(again, other.refresh_token)).status, 403);
});

test('refresh tokens are kept in memory while the server of KV_URL is away', async (t) => {
  const h = await start(t, { command: 'dev', env: { KV_URL: 'redis://127.0.0.1:1' },
    files: { ...deployment({ hello: 'return function() return "hello" end' }), 'dev/auth.lua': text(AUTH) } });
  const first = await signIn(h, 'auth0|ann', { scope: 'openid offline_access' });
  const second = await renew(h, first.refresh_token);
  assert.equal(second.status, 200, second.text);
  assert.equal((await renew(h, first.refresh_token)).status, 403, 'used');
  await h.says(/the store at 127\.0\.0\.1:1 cannot be reached/);
});

test('two keys are published, with certificates; the next one takes over', async (t) => {
  const h = await dev(t);
  const set = async () => (await h.get('/.well-known/jwks.json')).json();
  const { keys } = await set();
  assert.equal(keys.length, 2);
  for (const { alg, use, x5c, x5t, n } of keys) {
    assert.deepEqual([alg, use, x5c.length], ['RS256', 'sig', 1]);
    const der = Buffer.from(x5c[0], 'base64');
    assert.equal(x5t, crypto.createHash('sha1').update(der).digest('base64url'));
    const cert = new crypto.X509Certificate(der);
    assert.ok(cert.verify(cert.publicKey));
    assert.equal(cert.publicKey.export({ format: 'jwk' }).n, n);
  }
  const before = (await signIn(h, 'auth0|ann')).access_token;
  assert.equal(headerOf(before).kid, keys[0].kid);
  assert.equal((await post(h, '/_luafn/dev/api/rotate', {})).status, 400);
  assert.equal((await post(h, '/_luafn/dev/api/rotate', { rotate: true })).status, 200);
  const after = (await signIn(h, 'auth0|ann')).access_token;
  assert.equal(headerOf(after).kid, keys[1].kid);
  for (const token of [before, after]) await jwtVerify(token, createLocalJWKSet(await set()), { audience: AUDIENCE });
  const pem = `-----BEGIN CERTIFICATE-----\n${keys[1].x5c[0]}\n-----END CERTIFICATE-----`;
  await jwtVerify(after, await importX509(pem, 'RS256'), { audience: AUDIENCE });
});

test('switches outlive a restart, and give way to a changed file', async (t) => {
  const dir = folder(t, { ...deployment({ hello: 'return function() return "hello" end' }), 'dev/auth.lua': text(AUTH) });
  const h = await dev(t, null, dir);
  const roles = async (host) => (await host.get('/_luafn/dev/api/users')).json().users.map((user) => user.roles.length);
  assert.deepEqual(await roles(h), [1, 0, 0]);
  await post(h, '/_luafn/dev/api/users', { sub: 'auth0|bob', role: 'viewer', on: true });
  await h.stop();
  const again = await dev(t, null, dir);
  assert.deepEqual(await roles(again), [1, 1, 0]);
  const users = [...AUTH.users, { sub: 'auth0|kim', name: 'Kim', roles: ['viewer'] }];
  fs.writeFileSync(path.join(dir, 'dev/auth.lua'), text({ ...AUTH, users }));
  await eventually(async () => (await roles(again)).length === 4, 5, 'the new user is known');
  assert.deepEqual(await roles(again), [1, 0, 0, 1]);
  fs.writeFileSync(path.join(dir, 'dev/auth.lua'), 'return {');
  await eventually(() => /dev\/auth\.lua:\d+: /.test(again.stderr), 5, 'the fault is told with its line');
  assert.equal((await roles(again)).length, 4, 'what was good goes on');
});

test('faults in dev/auth.lua: the line, the place, and what was meant', async (t) => {
  const api = 'apis = { a = {\n  scopes = { "read:shows" },\n} },\n';
  const rows = [
    [`return {\n  aplications = {},\n}`, /dev\/auth\.lua:2: aplications: unknown key \(did you mean 'applications'\?\)/],
    [`return {\napplications = {}, ${api}roles = {}, users = {\n{ sub = "a", name = "A",\nroles = { "x" } } } }`, /dev\/auth\.lua:7: users\[1\]\.roles\[1\]: no such role/],
    [`return {\napplications = {}, ${api}roles = {\nviewer = { a = { "read:show" } } }, users = {} }`, /dev\/auth\.lua:6: roles\.viewer\.a\[1\]: no such scope \(did you mean 'read:shows'\?\)/],
    [`return {\napplications = {\n\n app = { type = "spa", callbacks = {\n"https://evil.example/" } } }, ${api}roles = {}, users = {} }`, /dev\/auth\.lua:5: applications\.app\.callbacks\[1\]: only addresses of this machine/],
    [`return {\napplications = {\n app = { type = "spa", secret = "x" } }, ${api}roles = {}, users = {} }`, /dev\/auth\.lua:3: applications\.app: a page cannot keep a secret/],
    [`return {\napplications = {},\napis = { a = {\n  rbac = "yes" } }, roles = {}, users = {} }`, /dev\/auth\.lua:4: apis\.a\.rbac: expected a boolean, got string/],
    ['return 7', /dev\/auth\.lua:1: .*expected a table, got number/],
  ];
  const h = await dev(t);
  for (const [source, wanted] of rows) {
    const seen = h.stderr.length;
    fs.writeFileSync(path.join(h.dir, 'dev/auth.lua'), source);
    await eventually(() => wanted.test(h.stderr.slice(seen)), 5, String(wanted));
  }
});
