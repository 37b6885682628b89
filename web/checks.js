// What the host looks at in a request, in its order, worked out here a second time: expected beside
// found. The verdict is the host's; this page only shows which check it was about.
import { bytesOf, parse } from './jwt.js';

const ALGORITHM = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

async function isSignedBy(token, jwk) {
  const { kty, n, e } = jwk;
  const key = await crypto.subtle.importKey('jwk', { kty, n, e }, ALGORITHM, false, ['verify']);
  const [head, payload, signature] = token.split('.');
  const data = new TextEncoder().encode(`${head}.${payload}`);
  return crypto.subtle.verify(ALGORITHM.name, key, bytesOf(signature), data);
}

async function signature(token, { kid }, keys) {
  const jwk = keys.find((key) => key.kid === kid);
  if (!jwk) return { want: 'a key of the issuer', got: `kid ${kid}: not among them`, ok: false };
  const ok = await isSignedBy(token, jwk);
  const got = ok ? `fits, by key ${kid}` : 'does not fit';
  return { want: `by key ${kid}`, got, ok };
}

function expiry({ exp }) {
  const seconds = Math.round(exp - Date.now() / 1000);
  const minutes = Math.max(1, Math.round(Math.abs(seconds) / 60));
  const got = seconds > 0 ? `in ${minutes} min` : `${minutes} min ago`;
  return { want: 'in the future', got, ok: seconds > 0 };
}

// What a token opens: what was asked for and granted, and what the user may do anyway.
export function scopesOf({ scope = '', permissions = [] }) {
  return [...new Set([...scope.split(' ').filter(Boolean), ...permissions])];
}

function* claimChecks(header, claims, expected) {
  const audiences = [claims.aud].flat();
  yield { name: 'Algorithm', want: 'RS256', got: header.alg, ok: header.alg === 'RS256' };
  yield { name: 'Issuer', want: expected.issuer, got: claims.iss, ok: claims.iss === expected.issuer };
  yield {
    name: 'Audience', want: expected.audience, got: audiences.join(', '),
    ok: audiences.includes(expected.audience),
  };
}

async function* run(token, expected) {
  yield { name: 'Header', want: 'Authorization: Bearer …', got: token ? 'Authorization: Bearer …' : 'none', ok: Boolean(token) };
  const { header, claims } = parse(token);
  yield* claimChecks(header, claims, expected);
  yield { name: 'Signature', ...await signature(token, header, expected.keys) };
  yield { name: 'Expiry', ...expiry(claims) };
  if (expected.scope) {
    const scopes = scopesOf(claims);
    yield { name: 'Scope', want: expected.scope, got: scopes.join(', '), ok: scopes.includes(expected.scope) };
  }
}

// The checks as far as the first that fails. `expected`: issuer, audience, keys (JWKs) and, where
// the function wants one, scope.
export async function examine(token, expected) {
  const done = [];
  for await (const check of run(token, expected)) {
    done.push(check);
    if (!check.ok) break;
  }
  return done;
}

// The names of all checks, in order.
export function checkNames(scope) {
  const names = ['Header', 'Algorithm', 'Issuer', 'Audience', 'Signature', 'Expiry'];
  return scope ? [...names, 'Scope'] : names;
}
