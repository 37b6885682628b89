// A strict provider: authorization code with PKCE through its login form, JWT access tokens.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import test from 'node:test';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { Browser } from '../lib/cookies.mjs';
import { demo, tampered, WANTED } from '../lib/demo.mjs';
import { deployment, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const AUDIENCE = 'https://api/tv-shows';
const CLIENT = 'tv-app';
const CALLBACK = 'http://127.0.0.1:1/callback';

// It tells at length what a production set-up would want.
console.warn = () => {};
console.info = () => {};

async function signingKey(kid) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid, use: 'sig', alg: 'RS256' };
}

// `client`, `more`: members beside these; `features`, too.
function provider(issuer, keys, { client = {}, features = {}, ...more } = {}) {
  return new Provider(issuer, {
    clients: [{
      client_id: CLIENT, token_endpoint_auth_method: 'none', redirect_uris: [CALLBACK],
      grant_types: ['authorization_code'], response_types: ['code'], ...client,
    }],
    jwks: { keys },
    cookies: { keys: ['of this test'] },
    scopes: ['openid', 'profile', 'read:shows'],
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => AUDIENCE,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'read:shows', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
      ...features,
    },
    ...more,
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
}

// A provider whose keys can be replaced while it runs; counts what is asked of it.
async function running(t) {
  const hits = { oidc: 0, jwks: 0 };
  let callback;
  const server = http.createServer((req, res) => {
    if (req.url.startsWith('/.well-known/openid-configuration')) hits.oidc += 1;
    if (req.url.startsWith('/jwks')) hits.jwks += 1;
    callback(req, res);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const issuer = `http://127.0.0.1:${server.address().port}/`;
  return { issuer, hits, use: (keys, more) => { callback = provider(issuer, keys, more).callback(); } };
}

// Signs in as a person would, with a browser that comes from nowhere else, and returns an access token.
async function signIn(issuer, login, scope) {
  return (await signInBy(new Browser(), issuer, login, scope)).access_token;
}

async function signInBy(browser, issuer, login, scope) {
  const verifier = crypto.randomBytes(32).toString('base64url');
  const challenge = crypto.createHash('sha256').update(verifier).digest('base64url');
  const query = new URLSearchParams({
    client_id: CLIENT, response_type: 'code', redirect_uri: CALLBACK, scope, state: 's',
    code_challenge: challenge, code_challenge_method: 'S256', resource: AUDIENCE,
  });
  const back = await browser.signIn(`${issuer}auth?${query}`, CALLBACK, login);
  assert.ok(back.get('code'), String(back));
  const res = await fetch(`${issuer}token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'authorization_code', client_id: CLIENT, code: back.get('code'), redirect_uri: CALLBACK, code_verifier: verifier,
    }),
  });
  const body = await res.json();
  assert.equal(res.status, 200, JSON.stringify(body));
  return body;
}

const bearer = (token) => ({ Authorization: `Bearer ${token}` });

for (const backend of ['openssl', 'libjwt']) {
  test(`oidc-provider, ${backend}: code + PKCE, then me and shows`, async (t) => {
    const idp = await running(t);
    const key1 = await signingKey('first');
    idp.use([key1]);
    const full = await signIn(idp.issuer, 'ann', 'openid profile read:shows');
    const plain = await signIn(idp.issuer, 'bob', 'openid profile');
    idp.hits.oidc = 0;
    idp.hits.jwks = 0;
    const h = await demo(t, { issuer: idp.issuer, audience: AUDIENCE, backend, cold: true });

    await t.test('20 parallel cold requests: one discovery, one key set', async () => {
      const all = await Promise.all(Array.from({ length: 20 }, () => h.patiently(() => h.call('me', { headers: bearer(full) }))));
      for (const res of all) assert.equal(res.status, 200, res.text);
      assert.deepEqual(idp.hits, { oidc: 1, jwks: 1 });
      await h.call('me', { headers: bearer(plain) });
      assert.deepEqual(idp.hits, { oidc: 1, jwks: 1 }, 'the same key costs none');
    });

    await t.test('me: the claims', async () => {
      const res = await h.call('me', { headers: bearer(full) });
      const { claims } = res.json();
      assert.equal(claims.sub, 'ann');
      assert.equal(claims.iss, idp.issuer);
      assert.equal(claims.aud, AUDIENCE);
      assert.deepEqual(claims.scope, ['read:shows']);
      assert.deepEqual(claims.roles, []);
      assert.equal((await h.call('me')).status, 401);
    });

    await t.test('shows: 200 with the scope, 403 without', async () => {
      const res = await h.call('shows', { headers: bearer(full) });
      assert.equal(res.status, 200, res.text);
      assert.deepEqual(res.json(), WANTED);
      const denied = await h.call('shows', { headers: bearer(plain) });
      assert.equal(denied.status, 403);
      assert.equal(denied.json().error, 'access_denied');
      assert.equal((await h.call('data', { headers: bearer(full) })).status, 200, 'the same as data');
      assert.equal((await h.call('data', { headers: bearer(plain) })).status, 403);
    });

    await t.test('a tampered token: 401', async () => {
      const res = await h.call('me', { headers: bearer(tampered(full)) });
      assert.equal(res.status, 401);
      assert.deepEqual(res.json(), { error: 'jwt_invalid', error_description: 'invalid signature' });
    });

    await t.test('rotated keys are picked up', async () => {
      const before = { ...idp.hits };
      idp.use([await signingKey('second'), key1]);
      const fresh = await signIn(idp.issuer, 'ann', 'openid read:shows');
      idp.hits.jwks = before.jwks;
      const res = await h.patiently(() => h.call('me', { headers: bearer(fresh) }));
      assert.equal(res.status, 200, res.text);
      assert.equal(idp.hits.jwks, before.jwks + 1);
      assert.equal((await h.call('me', { headers: bearer(full) })).status, 200, 'the old one still passes');
    });
  });
}

test('oidc-provider: the first token costs one discovery and one key set', async (t) => {
  const idp = await running(t);
  idp.use([await signingKey('only')]);
  const token = await signIn(idp.issuer, 'ann', 'openid read:shows');
  idp.hits.oidc = 0;
  idp.hits.jwks = 0;
  const h = await demo(t, { issuer: idp.issuer, audience: AUDIENCE, cold: true });
  assert.equal((await h.patiently(() => h.call('me', { headers: bearer(token) }))).status, 200);
  assert.deepEqual(idp.hits, { oidc: 1, jwks: 1 });
});

// Leaves as a person would, by the provider's page. By when it answers it has told all who want to know.
async function signOut(browser, issuer, idToken) {
  const page = await browser.go(`${issuer}session/end?${new URLSearchParams({ id_token_hint: idToken })}`);
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(await page.text())?.[1];
  assert.ok(xsrf, 'a page that asks');
  const res = await browser.go(`${issuer}session/end/confirm`, {
    method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ xsrf, logout: 'yes' }).toString(),
  });
  assert.ok(res.status < 400, `${res.status}`);
}

for (const bySession of [true, false]) {
  test(`oidc-provider: back-channel logout ${bySession ? 'of a session' : 'of a user'}`, async (t) => {
    const idp = await running(t), keys = [await signingKey('only')];
    idp.use(keys); // the host asks for them as it starts, and the provider has to know the host
    const h = await start(t, {
      workers: 2,
      files: deployment({ me: 'return function() return "ok" end' }, {
        fields: { me: 'auth = true' },
        more: `  auth = { issuer = ${lua(idp.issuer)}, audience = ${lua(AUDIENCE)},
          revocation = { backchannel_logout = "/hooks/logout", client_id = ${lua(CLIENT)} } },`,
      }),
    });
    await h.keys();
    const told = [];
    idp.use(keys, {
      client: { backchannel_logout_uri: h.url('/hooks/logout'), backchannel_logout_session_required: bySession },
      features: { backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true } },
      extraTokenClaims: (ctx, token) => ({ sid: token.sid }),
      fetch: async (url, { dispatcher, signal, ...options }) => { // its own refuses loopback, and waits for 2.5 s
        options.headers.set('connection', 'close'); // one that is kept is waited for when the host ends
        const res = await fetch(url, options);
        told.push([res.status, await res.clone().text()]);
        return res;
      },
    });
    const [one, two, other] = [new Browser(), new Browser(), new Browser()];
    const first = await signInBy(one, idp.issuer, 'ann', 'openid read:shows');
    const second = await signInBy(two, idp.issuer, 'ann', 'openid read:shows');
    const others = await signInBy(other, idp.issuer, 'bob', 'openid read:shows');
    const statuses = async () => {
      const all = await Promise.all([first, second, others].flatMap(({ access_token: token }) => [0, 1, 2, 3]
        .map(() => h.call('me', { headers: bearer(token) }))));
      return all.map((res) => res.status);
    };
    const each = (...list) => list.flatMap((status) => Array(4).fill(status));
    assert.deepEqual(await statuses(), each(200, 200, 200));
    await signOut(one, idp.issuer, first.id_token);
    assert.deepEqual(told, [[200, '']]);
    assert.deepEqual(await statuses(), each(401, bySession ? 200 : 401, 200));
  });
}
