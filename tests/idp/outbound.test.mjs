// oidc-provider as the token endpoint of `outbound`: client credentials by secret and by key, token exchange.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { createLocalJWKSet, exportJWK, exportPKCS8, generateKeyPair, jwtVerify, SignJWT } from 'jose';
import { errors, Provider } from 'oidc-provider';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const API = 'https://crm.example/api';
const OWN = 'https://api/of-the-host';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS = 'urn:ietf:params:oauth:token-type:access_token';
const SECRET = 'a secret of gw: with %20 and / and +';

console.warn = () => {};
console.info = () => {};

async function listen(t, onRequest) {
  const server = http.createServer(onRequest);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}`;
}

function provider(issuer, keys, client) {
  const it = new Provider(issuer, {
    clients: [
      { client_id: 'gw', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_basic', grant_types: ['client_credentials', EXCHANGE], response_types: [], redirect_uris: [] },
      { client_id: 'gw-post', client_secret: SECRET, token_endpoint_auth_method: 'client_secret_post', grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
      { client_id: 'gw-key', token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [client] }, grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
    ],
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    jwks: { keys }, cookies: { keys: ['of this test'] }, scopes: ['read', 'write'],
    features: {
      devInteractions: { enabled: false }, clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true, useGrantedResource: () => true,
        defaultResource: () => undefined,
        getResourceServerInfo: (ctx, resource) => {
          if (resource !== API) throw new errors.InvalidTarget();
          return { scope: 'read', audience: API, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };
        },
      },
    },
    formats: { customizers: { jwt: (ctx, token, jwt) => { if (ctx?.exchanged) Object.assign(jwt.payload, ctx.exchanged); } } },
  });
  const own = createLocalJWKSet({ keys: keys.map(({ d, p, q, dp, dq, qi, ...rest }) => rest) });
  it.registerGrantType(EXCHANGE, async (ctx) => {
    const { subject_token: subject, subject_token_type: type, resource, scope } = ctx.oidc.params;
    if (type !== ACCESS) throw new errors.InvalidRequest('subject_token_type');
    const { payload } = await jwtVerify(subject, own, { issuer, audience: OWN }).catch(() => { throw new errors.InvalidGrant('subject_token'); });
    if (payload.sub === 'mallory') throw new errors.InvalidGrant('not for this one');
    const token = new it.ClientCredentials({ client: ctx.oidc.client, scope });
    token.resourceServer = new it.ResourceServer(resource, { scope: 'read', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } });
    ctx.exchanged = { sub: payload.sub, act: { sub: ctx.oidc.client.clientId } };
    const value = await token.save();
    ctx.body = { access_token: value, issued_token_type: ACCESS, token_type: 'Bearer', expires_in: token.expiration, scope };
  }, ['subject_token', 'subject_token_type', 'resource', 'audience', 'scope'], []);
  return it.callback();
}

test('client credentials, keys and exchange at oidc-provider', async (t) => {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const signing = { ...(await exportJWK(privateKey)), kid: 'k1', use: 'sig', alg: 'RS256' };
  const pair = await generateKeyPair('ES256', { extractable: true });
  const pem = await exportPKCS8(pair.privateKey);
  let callback, tokens = 0;
  const base = await listen(t, (req, res) => { tokens += req.url === '/token'; callback(req, res); });
  const issuer = `${base}/`;
  callback = provider(issuer, [signing], { ...(await exportJWK(pair.publicKey)), kid: 'c1', use: 'sig', alg: 'ES256' });
  const keys = createLocalJWKSet({ keys: [{ kty: signing.kty, n: signing.n, e: signing.e, kid: 'k1', alg: 'RS256', use: 'sig' }] });

  const calls = [], revoked = new Set();
  const api = await listen(t, async (req, res) => {
    const token = req.headers.authorization?.replace(/^Bearer /, '');
    try {
      const { payload } = await jwtVerify(token, keys, { issuer, audience: API, typ: 'at+jwt' });
      if (revoked.has(token)) throw new Error('revoked');
      calls.push({ payload, token });
      res.end(JSON.stringify({ sub: payload.sub, scope: payload.scope }));
    } catch { res.writeHead(401).end(); }
  });

  const identity = (name, more) => `    ${name} = { hosts = { ${lua(api.slice(7))} }, token_url = "${base}/token", ${more} },`;
  const secret = `client_secret = env.GW_SECRET, resource = "${API}"`;
  const h = await start(t, {
    env: { GW_SECRET: SECRET, GW_KEY: pem },
    files: deployment({ call: `return function(e)
      local runs = {}
      for i = 1, tonumber(e.queryStringParameters.n or "1") do
        runs[i] = function()
          local ok, res = pcall(fetch, "${api}/x", { as = e.queryStringParameters.as })
          return ok and { status = res.status, body = res.status == 200 and res:json() } or { error = tostring(res) }
        end
      end
      return json.encode({ parallel(table.unpack(runs)) })
    end` }, {
      fields: { call: 'auth = "public"' },
      more: `  auth = { issuer = "${issuer}", audience = "${OWN}" },\n  outbound = {\n${[
        identity('basic', `client_id = "gw", ${secret}, scope = "read"`),
        identity('post', `client_id = "gw-post", client_auth = "post", ${secret}`),
        identity('key', `client_id = "gw-key", private_key = env.GW_KEY, key_id = "c1", resource = "${API}"`),
        identity('key_for_issuer', `client_id = "gw-key", private_key = env.GW_KEY, key_id = "c1", assertion_audience = "${issuer}", resource = "${API}"`),
        identity('wrong', `client_id = "gw", client_secret = "wrong", resource = "${API}"`),
        identity('dropped', `client_id = "gw", ${secret}, scope = "read write"`),
        identity('nowhere', 'client_id = "gw", client_secret = env.GW_SECRET, resource = "https://nowhere.example"'),
        identity('caller', `client_id = "gw", ${secret}, grant = "token_exchange", scope = "read"`),
      ].join('\n')}\n  },` }),
  });
  const call = async (as, n = 1, headers = {}) => (await h.call('call', { suffix: `?as=${as}&n=${n}`, headers })).json();

  const many = await Promise.all([call('basic', 32), ...Array.from({ length: 32 }, () => call('basic'))]);
  assert.deepEqual(many.flat(), Array(64).fill({ status: 200, body: { sub: 'gw', scope: 'read' } }));
  assert.equal(tokens, 1, 'one token request for 64 calls');
  for (const [as, sub] of [['post', 'gw-post'], ['key', 'gw-key'], ['key_for_issuer', 'gw-key']]) assert.deepEqual((await call(as))[0], { status: 200, body: { sub } }, as);
  assert.match((await call('wrong'))[0].error, /outbound 'wrong': the token endpoint refuses: invalid_client \(status 401\)/);
  assert.match((await call('dropped'))[0].error, /did not grant the scope 'write'/);
  assert.match((await call('nowhere'))[0].error, /refuses: invalid_target \(status 400\)/);

  revoked.add(calls.find((c) => c.payload.sub === 'gw').token);
  const before = tokens;
  assert.deepEqual((await call('basic', 10)).map((r) => r.status), Array(10).fill(200));
  assert.equal(tokens, before + 1, 'renewed once');

  const caller = (sub) => new SignJWT({ scope: 'x' }).setProtectedHeader({ alg: 'RS256', kid: 'k1', typ: 'at+jwt' })
    .setIssuer(issuer).setAudience(OWN).setSubject(sub).setIssuedAt().setExpirationTime('5m').sign(privateKey);
  const bearer = async (sub) => ({ Authorization: `Bearer ${await caller(sub)}` });
  const ada = await bearer('ada'), bob = await bearer('bob');
  await eventually(async () => (await call('caller', 1, ada))[0].status === 200, 10, 'the keys of the issuer');
  for (const [sub, headers] of [['ada', ada], ['bob', bob], ['ada', ada]]) {
    assert.equal((await call('caller', 4, headers))[3].body.sub, sub);
    assert.deepEqual(calls.at(-1).payload.act, { sub: 'gw' });
    assert.equal(calls.at(-1).payload.aud, API);
  }
  assert.match((await call('caller', 1, await bearer('mallory')))[0].error, /outbound 'caller': the token endpoint refuses: invalid_grant/);
  assert.match((await call('caller'))[0].error, /no token of a caller was verified/);
  const all = h.stdout + h.stderr;
  for (const word of [SECRET, ...calls.map((c) => c.token), pem.split('\n')[1]]) assert.ok(!all.includes(word));
});
