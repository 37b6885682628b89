// Browsers that sign in at a provider which is told what to do, right or wrong.
import crypto from 'node:crypto';
import http from 'node:http';
import { Visitor } from './cookies.mjs';
import { AUDIENCE, keys, token } from './issuer.mjs';
import { later } from './later.mjs';

export const HTML = { accept: 'text/html,application/xhtml+xml' };
export const SECRET = 'a secret of thirty-two bytes, or more';

// A provider that gives a code to everybody. What `id`, `access`, `answer` and `document` have goes into the next ones.
export async function provider(t) {
  // `secrets`: all that was told or given, with what it is. `refresh`: seconds that an access token lives, with one that renews it; null: none is given.
  const op = { codes: new Map(), asked: 0, access: {}, id: {}, answer: {}, document: {}, refresh: null, live: new Set(), renewed: 0, hold: null, down: false, clientSecret: 'secret', secrets: new Map() };
  const keep = (what, value) => { if (value) op.secrets.set(value, what); return value; };
  const server = http.createServer(async (req, res) => {
    const url = new URL(req.url, op.issuer);
    const send = (status, value) => { res.writeHead(status, { 'content-type': 'application/json' }); res.end(JSON.stringify(value)); };
    if (url.pathname === '/.well-known/openid-configuration') {
      return send(200, {
        issuer: op.issuer, jwks_uri: `${op.issuer}keys`, authorization_endpoint: `${op.issuer}authorize`, token_endpoint: `${op.issuer}token`,
        end_session_endpoint: `${op.issuer}end`, authorization_response_iss_parameter_supported: true, ...op.document,
      });
    }
    if (url.pathname === '/keys') return send(200, { keys: [keys.k1.jwk] });
    if (url.pathname === '/authorize') {
      const q = Object.fromEntries(url.searchParams);
      const code = keep('code', crypto.randomUUID());
      for (const name of ['state', 'nonce']) keep(name, q[name]);
      op.codes.set(code, q);
      const back = new URL(q.redirect_uri);
      for (const [name, value] of Object.entries({ code, state: q.state, iss: op.issuer, ...op.answer })) if (value !== undefined) back.searchParams.set(name, value);
      res.writeHead(302, { location: back.href });
      return res.end();
    }
    let body = '';
    for await (const piece of req) body += piece;
    const form = Object.fromEntries(new URLSearchParams(body));
    keep('verifier', form.code_verifier);
    const q = op.codes.get(form.code);
    op.asked += 1;
    op.codes.delete(form.code);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: op.issuer, sub: 'vera', iat: now, exp: now + 3600 };
    const give = (more) => {
      const refresh = keep('refresh token', crypto.randomUUID());
      if (op.refresh !== null) op.live.add(refresh);
      return send(200, {
        token_type: 'Bearer', expires_in: op.refresh ?? 3600, ...(op.refresh !== null ? { refresh_token: refresh } : {}),
        access_token: keep('access token', token({ ...claims, aud: AUDIENCE, roles: ['user'], n: op.renewed, ...op.access })), ...more,
      });
    };
    const basic = `Basic ${Buffer.from(`host:${op.clientSecret}`).toString('base64')}`;
    if (form.grant_type === 'refresh_token') {
      await op.hold;
      if (op.down) return send(503, { error: 'temporarily_unavailable' });
      if (req.headers.authorization !== basic) return send(401, { error: 'invalid_client' });
      if (!op.live.delete(form.refresh_token)) { op.live.clear(); return send(400, { error: 'invalid_grant' }); } // used twice: all end
      op.renewed += 1;
      return give({});
    }
    const challenge = crypto.createHash('sha256').update(form.code_verifier ?? '').digest('base64url');
    if (!q || form.redirect_uri !== q.redirect_uri || challenge !== q.code_challenge || req.headers.authorization !== basic) return send(400, { error: 'invalid_grant' });
    op.idToken = keep('ID token', token({ ...claims, aud: 'host', nonce: q.nonce, sid: 'of-vera', ...op.id }));
    return give({ id_token: op.idToken });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  op.issuer = `http://127.0.0.1:${server.address().port}/`;
  return op;
}

// Signs in by that page: the browser, its last answer, and all addresses on the way.
export async function signIn(h, at = '/page', browser = new Visitor()) {
  let url = h.url(at), res;
  const way = [];
  for (let i = 0; i < 6; i++) {
    way.push(url);
    res = await browser.go(url, { headers: HTML });
    if (!res.headers.get('location')) break;
    url = new URL(res.headers.get('location'), url).href;
  }
  return { browser, res, way };
}
export const session = (browser) => browser.cookies.get('__Host-luafn');
export const cookie = (browser) => [...browser.cookies].map(([k, v]) => `${k}=${v}`).join('; ');

// What a host seals that has this secret.
export function seal(value, { secret = SECRET, purpose = 'session' } = {}) {
  const nonce = crypto.randomBytes(12);
  const cipher = crypto.createCipheriv('aes-256-gcm', crypto.createHmac('sha256', secret).update(purpose).digest(), nonce);
  return Buffer.concat([nonce, cipher.update(JSON.stringify(value)), cipher.final(), cipher.getAuthTag()]).toString('base64url');
}

// The cookie of a session, with `more` in it.
export function forge(op, more = {}, how = {}) {
  const now = Date.now() / 1000;
  const claims = { iss: op.issuer, sub: 'vera', aud: AUDIENCE, iat: Math.floor(now), exp: Math.floor(now) + 3600 };
  return seal({ iss: op.issuer, id: crypto.randomUUID(), sid: '', sub: 'vera', hint: '', token: token(claims), refresh: '', endpoint: `${op.issuer}token`, since: now, until: now + 3600, good: now + 3600, renew: now + 3500, ...more }, how);
}
