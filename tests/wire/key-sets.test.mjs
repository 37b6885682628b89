// Key sets as providers publish them: an odd key costs none of the others, and is named.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';

const { k1: { jwk: K1 }, k2: { jwk: K2 } } = keys;
const EC = { ...crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' }), kid: 'k1', alg: 'ES256' };
const ED = { ...crypto.generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }), kid: 'k1' };
const OCT = { kty: 'oct', kid: 'k1', k: 'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8' };
const standard = (text) => `${text.replaceAll('-', '+').replaceAll('_', '/')}==`;

// A name, the key set, the status of a token by k1 as RS256, and which keys are named as left out.
const SETS = {
  good: [[K1, K2], 200],
  manyalgs: [['RS512', 'RS256', 'PS256'].map((alg) => ({ ...K1, alg })), 200],
  twice: [[K1, K1], 200],
  kinds: [[EC, ED, OCT, { ...K1, alg: undefined }], 200, /^'k1': a shared secret among public keys/],
  rivals: [[K1, { ...K2, kid: 'k1' }, K2], 401, /^'k1': another key has the same kid and algorithm/],
  padded: [[{ ...K1, n: standard(K1.n), e: standard(K1.e) }], 200],
  xnull: [[{ ...K1, x5c: null }], 200], xempty: [[{ ...K1, x5c: '' }], 200], xtext: [[{ ...K1, x5c: 'MIIB' }], 200], xlist: [[{ ...K1, x5c: [null, 'AAAA'] }], 200],
  broken: [[{ ...K2, n: undefined }, 5, null, K1], 200, /^'k2': the member n is missing/],
  enc: [[{ ...K2, kid: 'k1', use: 'enc', alg: 'RSA-OAEP' }, K1], 200],
  future: [[{ kty: 'AKP', kid: 'pq', alg: 'ML-DSA-44', pub: 'x' }, K1], 200, /^'pq': its alg ML-DSA-44 is not supported/],
  small: [[{ ...K1, n: K1.n.slice(0, 172) }, K2], 401, /^'k1': the RSA key has \d+ bits/],
  nothing: [[{ ...K1, e: 'AQ' }], 503],
};

test('one odd key costs none of the others, and is named in log, ready and explain', async (t) => {
  const server = await Issuer.start(t);
  const tenants = Object.fromEntries(Object.entries(SETS).map(([name, [set]]) => {
    const tenant = server.tenant(name);
    tenant.state.jwks = { status: 200, body: JSON.stringify({ keys: set, ignored: 1e21 }).replace('1e+21', '99999999999999999999,"x":1e400') };
    return [name, tenant];
  }));
  const files = deployment({ me: 'return function() return "in" end' }, {
    fields: { me: 'auth = true' },
    more: `  auth = { ${Object.values(tenants).map((tenant) => `{ issuer = ${lua(tenant.issuer)}, audience = ${lua(AUDIENCE)} }`).join(', ')} },`,
  });
  const h = await start(t, { files });
  for (const [name, tenant] of Object.entries(tenants)) {
    let res; // who has waited for keys for three seconds is sent away, and may ask again
    await eventually(async () => { res = await h.call('me', { headers: tenant.bearer() }); return res.status !== 503 || name === 'nothing'; }, 20, `keys of ${name}`);
    assert.equal(res.status, SETS[name][1], `${name}: ${res.text}`);
  }
  // Who asked for the keys of `nothing` may have been sent away before they came.
  let ready;
  await eventually(async () => { ready = await h.admin('ready'); return ready.json().faults.some((text) => text.includes('any usable keys')); }, 10, 'that one has no key');
  const { faults } = ready.json();
  assert.equal(ready.status, 503, 'one issuer has no key at all');
  for (const [name, [, , left]] of Object.entries(SETS)) {
    const of = faults.filter((text) => text.startsWith(`issuer ${tenants[name].issuer}: `)).map((text) => text.slice(`issuer ${tenants[name].issuer}: `.length));
    if (name === 'nothing') assert.match(of[0], /^Unable to find key any usable keys .*: 'k1': the RSA exponent must be odd/);
    else assert.equal(of.length > 0, left !== undefined, `${name}: ${of}`);
    if (left) assert.match(of[0].replace('a key is left out: ', ''), left, name);
    if (left) await eventually(() => h.stderr.split('\n').some((l) => l.endsWith('}') && l.includes('a key of the issuer is left out') && l.includes(tenants[name].issuer) && left.test(JSON.parse(l).error)), 10, name);
  }
  for (const name of ['broken', 'good', 'nothing']) {
    const { stdout } = await run(t, ['explain', tenants[name].token(), '--route', 'me'], { dir: h.dir });
    const rows = stdout.split('\n').filter((l) => /key set|left out/.test(l)).join('\n');
    assert.match(rows, name === 'nothing' ? /none: .*'k1': the RSA exponent/ : /(old|fetched now): "k1"/, stdout);
    assert.equal(/left out/.test(rows), name === 'broken', rows);
    if (name === 'broken') assert.match(rows, /'k2': the member n is missing or empty/);
  }
});
