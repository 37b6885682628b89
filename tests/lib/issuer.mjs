// An OpenID provider made of nothing but discovery and a key set, which a test can set at will.
// Every tenant is an issuer of its own under one port, with its own counters.
import crypto from 'node:crypto';
import http from 'node:http';
import { later } from './later.mjs';

export const AUDIENCE = 'https://api/tv-shows';

const b64 = (v) => Buffer.from(v).toString('base64url');

function rsa(kid) {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const { n, e } = publicKey.export({ format: 'jwk' });
  return { kid, privateKey, publicKey, jwk: { kty: 'RSA', n, e, kid, use: 'sig', alg: 'RS256' } };
}

// Made once a run; k3 is never in the default set.
export const keys = { k1: rsa('k1'), k2: rsa('k2'), k3: rsa('k3') };
let p256;

// signedBy, in the words of the case file, over `text`: the third part of a token.
export function sign(text, by = 'k1') {
  const m = /^(k\d)(?: by (\w+))?$/.exec(by);
  const data = Buffer.from(text);
  if (m) {
    const key = keys[m[1]].privateKey;
    const alg = m[2] ?? 'RS256';
    const hash = `sha${alg.slice(2)}`;
    const how = alg.startsWith('PS')
      ? { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST }
      : { key };
    return b64(crypto.sign(hash, data, how));
  }
  if (by === 'absent') return '';
  if (by === 'any P-256 key by ES256') {
    p256 ??= crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
    return b64(crypto.sign('sha256', data, { key: p256.privateKey, dsaEncoding: 'ieee-p1363' }));
  }
  if (by === 'hmac-sha256 keyed with the PKCS#1 PEM text of k1') {
    const pem = keys.k1.publicKey.export({ type: 'pkcs1', format: 'pem' });
    return b64(crypto.createHmac('sha256', pem).update(data).digest());
  }
  throw new Error(`signed by whom? ${by}`);
}

// A compact token; header and claims are values or the exact text.
export function token(claims, { header = {}, kid = 'k1', by = 'k1' } = {}) {
  const h = typeof header === 'string' ? header : JSON.stringify({ alg: 'RS256', typ: 'JWT', kid, ...header });
  const text = `${b64(h)}.${b64(typeof claims === 'string' ? claims : JSON.stringify(claims))}`;
  return `${text}.${sign(text, by)}`;
}

export class Tenant {
  constructor(base) {
    this.base = base; // without a slash at the end
    this.issuer = `${base}/`;
    this.hits = { oidc: 0, jwks: 0 };
    this.state = {};
  }

  // Claims that are right in every way, changed by `over`; undefined removes one.
  claims(over = {}) {
    const now = Math.floor(Date.now() / 1000);
    const all = {
      iss: this.issuer, aud: AUDIENCE, sub: 'auth0|1', azp: 'cid', iat: now - 10, exp: now + 3600,
      scope: 'openid profile read:shows', ...over,
    };
    for (const k of Object.keys(all)) if (all[k] === undefined) delete all[k];
    return all;
  }

  token(over, options) { return token(this.claims(over), options); }
  bearer(over, options) { return { Authorization: `Bearer ${this.token(over, options)}` }; }

  // Placeholders of the case file in text that the issuer serves.
  fill(text) {
    return text.replaceAll('$ISS', this.base)
      .replace(/"?<n of (k\d)>"?/g, (_, k) => JSON.stringify(keys[k].jwk.n))
      .replace(/"?<(k\d)>"?/g, (_, k) => JSON.stringify(keys[k].jwk));
  }

  answer(pathname) {
    const { state } = this;
    if (pathname === '/.well-known/openid-configuration') {
      this.hits.oidc += 1;
      return state.oidc ?? {
        status: 200,
        body: JSON.stringify({ issuer: this.issuer, jwks_uri: `${this.base}/.well-known/jwks.json` }),
      };
    }
    if (pathname === '/.well-known/jwks.json') {
      this.hits.jwks += 1;
      return state.jwks ?? {
        status: 200,
        body: JSON.stringify({ keys: state.keys ?? [keys.k1.jwk, keys.k2.jwk] }),
      };
    }
    const then = state.jwks?.then ?? state.oidc?.then;
    return then && then.path === pathname ? then : { status: 404, body: '{}' };
  }
}

export class Issuer {
  static async start(t) {
    const issuer = new Issuer();
    issuer.server = http.createServer((req, res) => issuer.#serve(req, res));
    await new Promise((resolve) => issuer.server.listen(0, '127.0.0.1', resolve));
    issuer.port = issuer.server.address().port;
    later(t, () => {
      issuer.server.close();
      issuer.server.closeAllConnections();
    });
    return issuer;
  }

  constructor() { this.tenants = new Map(); }

  tenant(name = 'main') {
    if (!this.tenants.has(name)) {
      this.tenants.set(name, new Tenant(`http://127.0.0.1:${this.port}/${name}`));
    }
    return this.tenants.get(name);
  }

  async #serve(req, res) {
    const [, name, rest] = /^\/([^/?]*)([^?]*)/.exec(req.url) ?? [];
    const tenant = this.tenants.get(name);
    const answer = tenant?.answer(rest) ?? { status: 404, body: '{}' };
    if (tenant?.state.gate) await tenant.state.gate; // a promise: the answer waits for it
    if (tenant?.state.delay) await new Promise((r) => setTimeout(r, tenant.state.delay * 1000));
    if (answer.close) return res.destroy();
    const headers = { 'Content-Type': 'application/json' };
    for (const [k, v] of Object.entries(answer.headers ?? {})) headers[k] = tenant.fill(v);
    res.writeHead(answer.status, headers);
    return res.end(tenant ? tenant.fill(answer.body) : answer.body);
  }
}
