// oauth2-mock-server with the paths of Auth0: client credentials, then the same checks.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';
import { demo, tampered, WANTED } from '../lib/demo.mjs';
import { later } from '../lib/later.mjs';

const AUDIENCE = 'urn:tv-shows';
const bearer = (token) => ({ Authorization: `Bearer ${token}` });

async function running(t) {
  const issuer = new OAuth2Issuer(true); // the URL ends with a slash, as Auth0's does
  await issuer.keys.generate('RS256', { kid: 'first' });
  const service = new OAuth2Service(issuer, {
    token: '/oauth/token', jwks: '/.well-known/jwks.json', authorize: '/authorize', endSession: '/v2/logout', revoke: '/oauth/revoke',
  });
  const hits = { oidc: 0, jwks: 0 };
  const server = http.createServer((req, res) => {
    if (req.url === '/.well-known/openid-configuration') hits.oidc += 1;
    if (req.url === '/.well-known/jwks.json') hits.jwks += 1;
    service.requestHandler(req, res);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  issuer.url = `http://127.0.0.1:${server.address().port}`;
  let scope;
  service.on('beforeTokenSigning', (token) => {
    Object.assign(token.payload, { aud: AUDIENCE, scope, sub: 'machine@clients', azp: 'machine' });
  });
  const grant = async (wanted) => {
    scope = wanted;
    const res = await fetch(`${issuer.url}oauth/token`, {
      method: 'POST', body: new URLSearchParams({ grant_type: 'client_credentials', client_id: 'machine', client_secret: 'x' }),
    });
    assert.equal(res.status, 200);
    return (await res.json()).access_token;
  };
  return { issuer: issuer.url, keys: issuer.keys, hits, grant };
}

const kid = (token) => JSON.parse(Buffer.from(token.split('.')[0], 'base64url')).kid;

test('oauth2-mock-server: client credentials, then me and shows', async (t) => {
  const idp = await running(t);
  const full = await idp.grant('read:shows');
  const plain = await idp.grant('other');
  const h = await demo(t, { issuer: idp.issuer, audience: AUDIENCE });

  const me = await h.call('me', { headers: bearer(full) });
  assert.equal(me.status, 200, me.text);
  assert.equal(me.json().claims.sub, 'machine@clients');
  assert.deepEqual(me.json().claims.scope, ['read:shows']);

  const shows = await h.call('shows', { headers: bearer(full) });
  assert.equal(shows.status, 200, shows.text);
  assert.deepEqual(shows.json(), WANTED);
  assert.equal((await h.call('shows', { headers: bearer(plain) })).status, 403);
  assert.equal((await h.call('data', { headers: bearer(full) })).status, 200);
  assert.equal((await h.call('data', { headers: bearer(plain) })).status, 403);

  const bad = await h.call('me', { headers: bearer(tampered(full)) });
  assert.equal(bad.status, 401);
  assert.equal(bad.json().error_description, 'invalid signature');

  await idp.keys.generate('RS256', { kid: 'second' });
  let fresh = full;
  while (kid(fresh) !== 'second') fresh = await idp.grant('read:shows'); // each of its keys in turn
  assert.equal((await h.patiently(() => h.call('me', { headers: bearer(fresh) }))).status, 200, 'the new key is picked up');
  assert.equal((await h.call('me', { headers: bearer(full) })).status, 200);
  assert.deepEqual(idp.hits, { oidc: 1, jwks: 2 });
});

test('oauth2-mock-server: 20 parallel cold requests cost one discovery and one key set', async (t) => {
  const idp = await running(t);
  const token = await idp.grant('read:shows');
  const h = await demo(t, { issuer: idp.issuer, audience: AUDIENCE, backend: 'libjwt', cold: true });
  const all = await Promise.all(Array.from({ length: 20 }, () => h.patiently(() => h.call('me', { headers: bearer(token) }))));
  for (const res of all) assert.equal(res.status, 200, res.text);
  assert.deepEqual(idp.hits, { oidc: 1, jwks: 1 });
});
