// Proofs of possession (RFC 9449), made by jose.
import crypto from 'node:crypto';
import * as jose from 'jose';

export const now = () => Math.floor(Date.now() / 1000);
export const hash = (token) => crypto.createHash('sha256').update(token).digest('base64url');

// Who has a key of its own.
export async function client(alg = 'ES256') {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const jwk = await jose.exportJWK(publicKey);
  return { alg, jwk, privateKey, jkt: await jose.calculateJwkThumbprint(jwk), all: await jose.exportJWK(privateKey) };
}

// A proof; `header` and `claims` change the good ones, undefined leaves a member out.
export async function proof(who, { method = 'GET', url, token, header = {}, claims = {}, key = who.privateKey }) {
  const h = { alg: who.alg, typ: 'dpop+jwt', jwk: who.jwk, ...header };
  const c = { jti: crypto.randomUUID(), htm: method, htu: url, iat: now(), ath: hash(token), ...claims };
  for (const o of [h, c]) for (const k of Object.keys(o)) if (o[k] === undefined) delete o[k];
  return new jose.SignJWT(c).setProtectedHeader(h).sign(key);
}
