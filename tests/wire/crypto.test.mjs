// Signatures and keys of passwords as another implementation makes and reads them.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { deployment, lua, start } from '../lib/host.mjs';

const SALT = Buffer.from('000102fe', 'hex'), LUA_SALT = '"\\x00\\x01\\x02\\xfe"';

test('keys of passwords are those of others, and others are served meanwhile', async (t) => {
  const rows = {
    pbkdf2: [`crypto.pbkdf2("sha256", "pässword", ${LUA_SALT}, 5000, 40)`, crypto.pbkdf2Sync('pässword', SALT, 5000, 40, 'sha256')],
    pbkdf2_512: [`crypto.pbkdf2("sha512", "", ${LUA_SALT}, 1, 1024)`, crypto.pbkdf2Sync('', SALT, 1, 1024, 'sha512')],
    scrypt: [`crypto.scrypt("pässword", ${LUA_SALT}, { n = 1024, r = 8, p = 2, length = 64 })`, crypto.scryptSync('pässword', SALT, 64, { N: 1024, r: 8, p: 2 })],
    scrypt_default: [`crypto.scrypt("a", ${LUA_SALT})`, crypto.scryptSync('a', SALT, 32, { N: 16384, r: 8, p: 1 })],
    hkdf: [`crypto.hkdf("sha384", "secret", ${LUA_SALT}, "info", 100)`, Buffer.from(crypto.hkdfSync('sha384', 'secret', SALT, 'info', 100))],
  };
  const scripts = Object.fromEntries(Object.entries(rows).map(([name, [code]]) => [name, `return function() return base64.encode(${code}) end`]));
  scripts.parallel = 'return function() local a, b = parallel(function() return crypto.scrypt("a", "b") end, function() return crypto.scrypt("a", "b") end) return tostring(a == b) end';
  scripts.large = 'return function() return crypto.scrypt("a", "b", { n = 1 << 17 }) end';
  scripts.slow = 'return function() return #crypto.pbkdf2("sha512", "a", "b", 1000000, 64) end';
  scripts.hello = 'return function() return "hello" end';
  const h = await start(t, { files: deployment(scripts, { fields: { slow: 'timeout = 0.1' } }) });
  for (const [name, [, wanted]] of Object.entries(rows)) assert.equal((await h.call(name)).text, wanted.toString('base64'), name);
  assert.equal((await h.call('parallel')).text, 'true');
  const large = await h.call('large');
  assert.match(large.json().errorMessage, /n and r need 128 MB, more than the function's `memory` has/);
  const slow = h.call('slow'); // its thread goes on after the answer; nobody waits for it
  assert.equal((await h.call('hello')).text, 'hello');
  assert.equal((await slow).status, 504);
  assert.equal((await h.call('hello')).text, 'hello');
});

const KINDS = {
  RS256: ['rsa', { modulusLength: 2048 }, 'sha256', {}],
  PS384: ['rsa', { modulusLength: 2048 }, 'sha384', { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST }],
  ES256: ['ec', { namedCurve: 'P-256' }, 'sha256', { dsaEncoding: 'ieee-p1363' }],
  ES512: ['ec', { namedCurve: 'P-521' }, 'sha512', { dsaEncoding: 'ieee-p1363' }],
  EdDSA: ['ed25519', {}, null, {}],
};

test('signatures go both ways', async (t) => {
  const scripts = {}, pairs = {};
  for (const [alg, [type, options]] of Object.entries(KINDS)) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync(type, options);
    pairs[alg] = { privateKey, publicKey };
    const [secret, open] = [privateKey.export({ type: 'pkcs8', format: 'pem' }), publicKey.export({ type: 'spki', format: 'pem' })];
    scripts[alg] = `local SECRET, OPEN = ${lua(secret)}, ${lua(open)}
      return function(event)
        if not event.body then return base64.encode(crypto.sign("${alg}", SECRET, "a text")) end
        local signature = base64.decode(event.body)
        return json.encode { crypto.verify("${alg}", OPEN, "a text", signature), crypto.verify("${alg}", OPEN, "a texT", signature),
          crypto.verify("${alg}", SECRET, "a text", signature), (crypto.sign("${alg}", OPEN, "a text")) or "public" }
      end`;
  }
  scripts.other = `return function() return json.encode { crypto.verify("ES256", ${lua(pairs.RS256.publicKey.export({ type: 'spki', format: 'pem' }))}, "t", "s") == nil } end`;
  const h = await start(t, { files: deployment(scripts) });
  for (const [alg, [, , hash, how]] of Object.entries(KINDS)) {
    const theirs = Buffer.from((await h.call(alg)).text, 'base64');
    assert.ok(crypto.verify(hash, Buffer.from('a text'), { key: pairs[alg].publicKey, ...how }, theirs), alg);
    assert.ok(!crypto.verify(hash, Buffer.from('a texT'), { key: pairs[alg].publicKey, ...how }, theirs), alg);
    const ours = crypto.sign(hash, Buffer.from('a text'), { key: pairs[alg].privateKey, ...how });
    const res = await h.call(alg, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: ours.toString('base64') });
    assert.deepEqual(res.json(), [true, false, true, 'public'], alg);
    ours[5] ^= 1;
    const bad = await h.call(alg, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: ours.toString('base64') });
    assert.deepEqual(bad.json(), [false, false, false, 'public'], alg);
  }
  assert.deepEqual((await h.call('other')).json(), [true]);
});
