// A host whose pages browsers sign in to at oidc-provider, which knows it as a client.
import http from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';
import { config, start } from './host.mjs';
import { later } from './later.mjs';

const AUDIENCE = 'https://api/pages';

// It tells at length what a production set-up would want.
console.warn = () => {};
console.info = () => {};

// Knows the host as its client, once there is one.
async function provider(t) {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const key = { ...(await exportJWK(privateKey)), kid: 'k', use: 'sig', alg: 'RS256' };
  const idp = { grants: [], refused: 0, told: 0, life: 3 };
  let callback;
  const server = http.createServer((req, res) => callback(req, res));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  idp.issuer = `http://127.0.0.1:${server.address().port}/`;
  idp.use = (h) => {
    const op = new Provider(idp.issuer, {
      clients: [{
        client_id: 'host', client_secret: 'a secret of the client', redirect_uris: [h.url('/_luafn/callback')], post_logout_redirect_uris: [h.url('/')],
        grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], backchannel_logout_uri: h.url('/hooks/logout'), backchannel_logout_session_required: true,
      }],
      jwks: { keys: [key] },
      cookies: { keys: ['of this test'] },
      scopes: ['openid', 'profile'],
      ttl: { AccessToken: () => idp.life, IdToken: 600, Grant: 600, Session: 600, Interaction: 600, RefreshToken: 600 },
      // What it says of a token is when to renew it; it is good for longer, however long this process stands still meanwhile.
      formats: { customizers: { jwt: (ctx, token, jwt) => { jwt.payload.exp += 600; } } },
      rotateRefreshToken: () => true,
      issueRefreshToken: () => true,
      fetch: (url, { dispatcher, signal, ...options }) => fetch(url, options), // its own refuses loopback, and waits for 2.5 s
      features: {
        devInteractions: { enabled: true }, backchannelLogout: { enabled: true }, rpInitiatedLogout: { enabled: true },
        resourceIndicators: { enabled: true, defaultResource: () => AUDIENCE, useGrantedResource: () => true, getResourceServerInfo: () => ({ scope: '', audience: AUDIENCE, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } }) },
      },
      findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    });
    op.on('grant.success', (ctx) => idp.grants.push(ctx.oidc.params.grant_type));
    op.on('grant.error', () => { idp.refused += 1; });
    op.on('backchannel.success', () => { idp.told += 1; });
    op.on('backchannel.error', (ctx, error) => { idp.error = error; });
    callback = op.callback();
  };
  idp.use({ url: (at) => `http://127.0.0.1:1${at}` });
  return idp;
}

export async function site(t, page = 'return function(event, context) return context.identityContext.claims.sub end') {
  const idp = await provider(t);
  const h = await start(t, { workers: 2, files: {
    'functions.lua': config({ page: 'script = "page.lua", auth = { login = true }, path = "/page"' }, `  auth = { issuer = "${idp.issuer}", audience = "${AUDIENCE}", revocation = { backchannel_logout = "/hooks/logout", client_id = "host" },
    login = { client_id = "host", client_secret = "a secret of the client", secret = "thirty-two bytes that nobody can guess" } },`),
    'page.lua': page,
  } });
  idp.use(h);
  await h.keys();
  return { idp, h };
}
