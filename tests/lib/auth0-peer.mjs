// oidc-provider on Auth0's paths: what @auth0/auth0-spa-js asks of a tenant, from a strict provider.
// There are two users, vera with the scope read:shows and gus without it.
import http from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { later } from './later.mjs';

export const AUDIENCE = 'https://api/tv-shows';
export const CLIENT = 'luafn-demo';
const NAMES = { vera: 'Vera Viewer', gus: 'Gus Guest' };

// It tells at length what a production set-up would want.
console.warn = () => {};
console.info = () => {};

async function signingKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), kid: 'peer', use: 'sig', alg: 'RS256' };
}

// What was asked for is granted without a question, but for the scope that gus may not have.
async function loadExistingGrant({ oidc }) {
  const { accountId } = oidc.session;
  const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId });
  grant.addOIDCScope('openid profile email');
  if (accountId === 'vera') grant.addResourceScope(AUDIENCE, 'read:shows');
  else grant.rejectResourceScope(AUDIENCE, 'read:shows');
  await grant.save();
  return grant;
}

function provider(issuer, origin, key) {
  return new Provider(issuer, {
    clients: [{
      client_id: CLIENT, token_endpoint_auth_method: 'none', redirect_uris: [origin],
      grant_types: ['authorization_code'], response_types: ['code'],
    }],
    jwks: { keys: [key] },
    cookies: { keys: ['of this test'] },
    routes: { authorization: '/authorize', token: '/oauth/token', jwks: '/.well-known/jwks.json', userinfo: '/userinfo' },
    scopes: ['openid', 'profile', 'email'],
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    conformIdTokenClaims: false,
    clientBasedCORS: () => true,
    extraParams: ['audience'],
    loadExistingGrant,
    features: {
      devInteractions: { enabled: true },
      webMessageResponseMode: { enabled: true, ack: 'individual-draft-01' },
      resourceIndicators: {
        enabled: true,
        defaultResource: ({ oidc }) => oidc.params?.audience,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'read:shows', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: NAMES[id], email: `${id}@example.com` }) }),
  });
}

// Auth0's logout: no session afterwards, and back to the page.
function logout(req, res) {
  const { searchParams } = new URL(req.url, 'http://localhost');
  const gone = ['_session', '_session.sig', '_session.legacy', '_session.legacy.sig'];
  res.writeHead(302, {
    Location: searchParams.get('returnTo'),
    'Set-Cookie': gone.map((name) => `${name}=; Path=/; Max-Age=0`),
  }).end();
}

// The issuer's name; `serve(origin)` says where the application is that it is for.
export async function auth0Peer(t) {
  let answer;
  const key = await signingKey();
  const server = http.createServer((req, res) => {
    if (req.url === '/favicon.ico') res.writeHead(204).end();
    else if (req.url.startsWith('/v2/logout')) logout(req, res);
    else answer(req, res);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const issuer = `http://127.0.0.1:${server.address().port}/`;
  const serve = (origin) => { answer = provider(issuer, origin, key).callback(); };
  serve('http://127.0.0.1:1'); // a host asks for its keys before it is known where that listens
  return { issuer, serve };
}
