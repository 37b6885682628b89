// Nonces of ours in proofs of possession (RFC 9449 section 8): asked for, told, accepted for a while, by all who have the secret.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { deployment, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { client, now, proof } from '../lib/proof.mjs';

const SECRET = 'a secret that several machines have';
const STEP = 60;
// The nonce of so many steps ago, as whoever has the secret makes it.
const nonceOf = (ago, secret = SECRET) => {
  const time = Buffer.alloc(8);
  time.writeBigUInt64BE(BigInt(Math.floor(now() / STEP) - ago));
  return Buffer.concat([time, crypto.createHmac('sha256', secret).update('luafn dpop nonce\0').update(time).digest().subarray(0, 16)]).toString('base64url');
};
const SCRIPT = 'return function() return { statusCode = 200, body = "in", headers = { ["Cache-Control"] = "public, max-age=60" } } end';

async function world(t, { dpop = '{ nonce = true }', fields = { me: 'auth = true', off: 'auth = { dpop = { nonce = false } }', bearer: 'auth = { dpop = false }' }, more = '', ...rest } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, { files: deployment(Object.fromEntries(Object.keys(fields).map((name) => [name, SCRIPT])), { fields, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, dpop = ${dpop} },${more}` }), ...rest });
  await h.keys();
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt } });
  const ask = async (nonce, { name = 'me', headers = {}, ...changes } = {}) => h.call(name, {
    headers: { Authorization: `DPoP ${token}`, DPoP: await proof(who, { url: h.url(`/.netlify/functions/${name}`), token, claims: { nonce, ...changes.claims }, ...(changes.key ? { key: changes.key } : {}) }), ...headers },
  });
  return { h, issuer, who, token, ask };
}

const isAsked = (res, what) => {
  assert.equal(res.status, 401, `${what}: ${res.text}`);
  assert.equal(res.json().error, 'use_dpop_nonce', what);
  assert.match(res.header('www-authenticate'), /^DPoP realm="luafn", error="use_dpop_nonce", algs="ES256 /, what);
  assert.equal(res.headers['www-authenticate'].length, 1, 'no Bearer where every token needs a proof');
  assert.equal(res.headers['dpop-nonce'].length, 1, what);
  assert.match(res.header('dpop-nonce'), /^[\x21\x23-\x5b\x5d-\x7e]+$/, what);
  assert.equal(res.header('cache-control'), 'no-store', what);
  return res.header('dpop-nonce');
};

test('it is asked for, told, and good in all workers, often, and after an upgrade', async (t) => {
  const { h, ask } = await world(t, { workers: 2 });
  const nonce = isAsked(await ask(undefined), 'none');
  for (let i = 0; i < 8; i += 1) assert.equal((await ask(nonce)).status, 200);
  for (const odd of ['', 'x', nonce.slice(1), `${nonce}A`, nonceOf(0), 5, null, [nonce]]) isAsked(await ask(odd), JSON.stringify(odd));
  h.kill('SIGUSR2');
  await h.says(/the new program serves/);
  assert.equal((await ask(nonce)).status, 200);
  assert.equal((await ask(undefined, { name: 'off' })).status, 200, 'a function that asks for none');
});

test('an older one is accepted for five minutes, and its answer brings the newest; who knows the secret makes them', async (t) => {
  const { ask, h } = await world(t, { dpop: `{ nonce = ${lua(SECRET)} }`, more: ' cors = { origins = { "https://app.example" } },' });
  for (const ago of [1, 3]) {
    const res = await ask(nonceOf(ago), { headers: { Origin: 'https://app.example' } });
    assert.equal(res.status, 200, res.text);
    const [given, newest] = [res.header('dpop-nonce'), [nonceOf(0), nonceOf(1)]];
    assert.ok(newest.includes(given), 'of this step, or of the one that has just ended');
    assert.deepEqual(res.headers['cache-control'], ['no-store'], "in place of the script's own");
    assert.match(res.headers['access-control-expose-headers'].join(), /DPoP-Nonce, WWW-Authenticate/);
    assert.equal((await ask(given)).status, 200);
  }
  const newest = await ask(nonceOf(-1));
  assert.equal(newest.status, 200, 'of a machine whose clock is ahead');
  assert.deepEqual([newest.header('dpop-nonce'), newest.header('cache-control')], [undefined, 'public, max-age=60']);
  for (const ago of [6, 100, -3, -1000]) isAsked(await ask(nonceOf(ago)), `${ago} steps`);
  isAsked(await ask(nonceOf(0, 'another secret of as many letters.....')), 'another secret');
  assert.equal(Number(/token_checks_total\{code="use_dpop_nonce"\} (\d+)/.exec((await h.admin('metrics')).text)[1]), 5);
});

test('what else is wrong with a proof is said first; one that was told to come again was not used', async (t) => {
  const { ask, token, h, who } = await world(t, { dpop: `{ nonce = ${lua(SECRET)} }` });
  const stranger = await client();
  for (const [changes, what] of [[{ key: stranger.privateKey }, 'another key'], [{ claims: { htm: 'POST' } }, 'htm'], [{ claims: { ath: 'x' } }, 'ath']]) {
    const res = await ask(undefined, changes);
    assert.equal(res.status, 401);
    assert.equal(res.json().error, 'invalid_dpop_proof', what);
    assert.equal(res.header('dpop-nonce'), undefined, what);
  }
  const jti = crypto.randomUUID();
  isAsked(await ask(undefined, { claims: { jti } }), 'none');
  assert.equal((await ask(nonceOf(0), { claims: { jti } })).status, 200);
  assert.equal((await ask(nonceOf(0), { claims: { jti } })).json().error, 'invalid_dpop_proof', 'a nonce does not make it new');
  const bare = await h.call('me', { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(bare.json().error, 'jwt_invalid');
  assert.ok(who.jkt);
  assert.match((await h.admin('metrics')).text, /token_checks_total\{code="invalid_dpop_proof"\} 4\n/);
});

test('what is no secret is told at load; explain names the nonce', async (t) => {
  const files = (nonce) => deployment({ me: SCRIPT }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = "https://a.example/", audience = "b", dpop = { nonce = ${nonce} } },` });
  for (const [nonce, message] of [['"short"', 'nonce: has 5 bytes; a secret for several machines has 32 at least'], ['5', 'nonce: must be true or false'], ['""', 'nonce: has 0 bytes']]) {
    const out = await run(t, ['check'], { files: files(nonce) });
    assert.equal(out.code, 1, nonce);
    assert.match(out.stderr, new RegExp(`functions\\.lua:\\d+: auth\\.dpop\\.${message}`), nonce);
  }
  const { h, token } = await world(t);
  const out = await run(t, ['explain', token, '--route', 'me'], { dir: h.dir });
  assert.match(out.stdout, /PASS +dpop +bound to a key \(cnf\.jkt\), which signs a proof with a nonce/);
});
