// Tokens by hand: any header text over any payload text, signed by whatever key, or by none.
import crypto from 'node:crypto';

export const b64 = (v) => Buffer.from(v).toString('base64url');
const text = (v) => (typeof v === 'string' || Buffer.isBuffer(v) ? v : JSON.stringify(v));

const HASH = { 256: 'sha256', 384: 'sha384', 512: 'sha512' };

// The raw signature of `input`; key is a KeyObject, or bytes for HS.
export function signature(input, alg, key) {
  const data = Buffer.from(input);
  const hash = HASH[alg.slice(2)];
  switch (alg.slice(0, 2)) {
    case 'HS': return crypto.createHmac(hash, key).update(data).digest();
    case 'RS': return crypto.sign(hash, data, key);
    case 'PS': return crypto.sign(hash, data, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST });
    case 'ES': return crypto.sign(hash, data, { key, dsaEncoding: 'ieee-p1363' });
    case 'Ed': return crypto.sign(null, data, key);
    default: throw new Error(`alg ${alg}?`);
  }
}

// header.payload.signature; header and payload are values, or the exact text or bytes. `by` says
// how it is signed, whatever the header claims: [alg, key], bytes or text of a signature, or ''.
export function jws(header, payload, by) {
  const input = `${b64(text(header))}.${b64(text(payload))}`;
  if (typeof by === 'string') return `${input}.${by}`;
  return `${input}.${b64(Buffer.isBuffer(by) ? by : signature(input, ...by))}`;
}

export function splitJws(token) {
  const [h, p, s] = token.split('.');
  return { h, p, s, header: JSON.parse(Buffer.from(h, 'base64url')), payload: JSON.parse(Buffer.from(p, 'base64url')), raw: Buffer.from(s, 'base64url') };
}

const CURVE = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

// A new key pair for that algorithm: { alg, kid, privateKey, publicKey, jwk }.
export function newKey(alg, kid = alg, { curve } = {}) {
  let pair;
  if (alg.startsWith('ES')) pair = crypto.generateKeyPairSync('ec', { namedCurve: curve ?? CURVE[alg] });
  else if (alg === 'EdDSA') pair = crypto.generateKeyPairSync(curve ?? 'ed25519');
  else pair = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg };
  return { alg, kid, ...pair, jwk };
}
