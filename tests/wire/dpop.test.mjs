// Proofs of possession (RFC 9449), made by jose: what lets a bound token in, and everything that
// does not. Each refusal differs from a good request in one thing.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import test from 'node:test';
import * as jose from 'jose';
import { deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { jws } from '../lib/jws.mjs';
import { client, hash, now, proof } from '../lib/proof.mjs';

const SUB = 'return function(e, c) return json.encode(c.identityContext or {}) end';
async function world(t, { dpop = 'true', fields, more = '' } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const all = fields ?? { me: 'auth = true', shows: 'auth = { scope = "admin" }', open: 'auth = "public"', loose: 'auth = { dpop = "optional" }', off: 'auth = { dpop = false }' };
  const h = await start(t, {
    files: deployment({ ...Object.fromEntries(Object.keys(all).map((n) => [n, SUB])), inlua: `return jwt.require_auth(${SUB.slice(7)})` }, {
      fields: all, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, dpop = ${dpop} },${more}`,
    }),
  });
  await h.keys();
  const who = await client();
  const bound = (w = who) => issuer.token({ cnf: { jkt: w.jkt } });
  const url = (name) => h.url(`/.netlify/functions/${name}`);
  const send = (name, token, proofs, { scheme = 'DPoP', method = 'GET', suffix } = {}) => h.call(name, {
    method, suffix, headers: [['Authorization', `${scheme} ${token}`], ...[proofs].flat().filter((p) => p !== undefined).map((p) => ['DPoP', p])],
  });
  return { h, issuer, who, bound, url, send };
}

const challenges = (res) => res.lines.filter((l) => /^www-authenticate:/i.test(l)).map((l) => l.replace(/^[^:]*: */, '').replace(/, resource_metadata="[^"]+"$/, ''));
const ALGS = 'algs="ES256 ES384 ES512 EdDSA PS256 PS384 PS512 RS256 RS384 RS512"';

test('a bound token with a proof passes, by every algorithm; the scheme in any case', async (t) => {
  const { who, bound, url, send } = await world(t);
  const token = bound();
  const good = await send('me', token, await proof(who, { url: url('me'), token }));
  assert.equal(good.status, 200, good.text);
  assert.equal(good.json().token, token);
  assert.equal(good.json().claims.cnf.jkt, who.jkt);
  for (const scheme of ['dpop', 'DPOP']) assert.equal((await send('me', token, await proof(who, { url: url('me'), token }), { scheme })).status, 200);
  for (const alg of ['ES384', 'ES512', 'EdDSA', 'PS256', 'RS256', 'RS512']) {
    const other = await client(alg);
    const its = bound(other);
    const res = await send('me', its, await proof(other, { url: url('me'), token: its }));
    assert.equal(res.status, 200, `${alg} ${res.text}`);
  }
  const post = await send('me', token, await proof(who, { url: url('me'), token, method: 'POST' }), { method: 'POST' });
  assert.equal(post.status, 200);
  const query = await send('me', token, await proof(who, { url: `${url('me')}?x=1#y`, token }), { suffix: '?a=b' });
  assert.equal(query.status, 200, 'query and fragment do not count');
  const upper = await send('me', token, await proof(who, { url: url('me').replace('http:', 'HTTP:'), token }));
  assert.equal(upper.status, 200, 'a scheme has no case');
  const denied = await send('shows', token, await proof(who, { url: url('shows'), token }));
  assert.equal(denied.status, 403);
  assert.deepEqual(challenges(denied), [`DPoP realm="luafn", error="insufficient_scope", ${ALGS}, scope="admin"`]);
});

test('a proof that was used before an upgrade is refused after it', async (t) => {
  const { h, who, bound, url, send } = await world(t);
  const token = bound();
  const used = await proof(who, { url: url('me'), token });
  const later = await proof(who, { url: url('me'), token });
  assert.equal((await send('me', token, used)).status, 200);
  assert.equal((await send('me', token, used)).status, 401);
  const [before] = h.workers();
  h.kill('SIGUSR2');
  await eventually(() => h.stderr.includes('the new program serves') && !fs.existsSync(`/proc/${before}`), 20, 'an upgrade');
  assert.equal((await send('me', token, used)).status, 401);
  assert.equal((await send('me', token, later)).status, 200, 'its twin, which was not used');
});

test('what makes a proof none', async (t) => {
  const { who, bound, url, send } = await world(t);
  const token = bound();
  const other = await client();
  const rsa = await client('RS256');
  const make = (more) => proof(who, { url: url('me'), token, ...more });
  const secret = crypto.randomBytes(32);
  const hs = (alg, jwk) => jws({ alg, typ: 'dpop+jwt', jwk }, { jti: 'h', htm: 'GET', htu: url('me'), iat: now(), ath: hash(token) }, alg === 'none' ? '' : ['HS256', secret]);
  const good = await make({});
  const cut = good.split('.');
  const used = await make({});
  assert.equal((await send('me', token, used)).status, 200);
  const rows = {
    none: [], 'two of them': [await make({}), await make({})], 'no JWT': 'abc', 'used before': used,
    'a typ of another kind': await make({ header: { typ: 'JWT' } }), 'no typ': await make({ header: { typ: undefined } }),
    'no jwk': await make({ header: { jwk: undefined } }), 'a private jwk': await make({ header: { jwk: who.all } }),
    "another's jwk": await make({ header: { jwk: other.jwk } }), 'signed by another': await make({ key: other.privateKey }),
    'alg none': hs('none', who.jwk), 'a secret': hs('HS256', { kty: 'oct', k: secret.toString('base64url') }), 'a secret under a public key': hs('HS256', who.jwk),
    'an alg that is not the key\'s': await make({ header: { jwk: rsa.jwk } }),
    'no signature': `${cut[0]}.${cut[1]}.`, 'a flipped signature': `${cut[0]}.${cut[1]}.${cut[2][0] === 'A' ? 'B' : 'A'}${cut[2].slice(1)}`,
    'another method': await make({ claims: { htm: 'POST' } }), 'a method in small letters': await make({ claims: { htm: 'get' } }), 'no method': await make({ claims: { htm: undefined } }),
    'another path': await make({ claims: { htu: url('shows') } }), 'a longer path': await make({ claims: { htu: `${url('me')}/` } }),
    'another host': await make({ claims: { htu: 'http://evil.example/.netlify/functions/me' } }), 'another scheme': await make({ claims: { htu: url('me').replace('http:', 'https:') } }),
    'another port': await make({ claims: { htu: 'http://127.0.0.1/.netlify/functions/me' } }), 'no URL': await make({ claims: { htu: undefined } }), 'a path alone': await make({ claims: { htu: '/.netlify/functions/me' } }),
    'userinfo before the host': await make({ claims: { htu: url('me').replace('//', '//x@') } }), 'a URL that is none': await make({ claims: { htu: 5 } }),
    'too old': await make({ claims: { iat: now() - 70 } }), 'too young': await make({ claims: { iat: now() + 3600 } }), 'no iat': await make({ claims: { iat: undefined } }), 'iat as text': await make({ claims: { iat: `${now()}` } }),
    'no jti': await make({ claims: { jti: undefined } }), 'an empty jti': await make({ claims: { jti: '' } }), 'a long jti': await make({ claims: { jti: 'x'.repeat(257) } }), 'a number as jti': await make({ claims: { jti: 5 } }),
    'no ath': await make({ claims: { ath: undefined } }), "another token's ath": await make({ claims: { ath: hash(`${token}x`) } }), 'a padded ath': await make({ claims: { ath: `${hash(token)}=` } }),
    crit: jws({ alg: 'ES256', typ: 'dpop+jwt', jwk: who.jwk, crit: ['x'], x: 1 }, { jti: 'c', htm: 'GET', htu: url('me'), iat: now(), ath: hash(token) }, ['ES256', crypto.createPrivateKey({ key: who.all, format: 'jwk' })]),
    'over the limit': await make({ claims: { pad: 'x'.repeat(8192) } }),
  };
  for (const [name, p] of Object.entries(rows)) {
    await t.test(name, async () => {
      const res = await send('me', token, p);
      assert.equal(res.status, 401, res.text);
      assert.equal(res.json().error, 'invalid_dpop_proof', res.text);
      assert.deepEqual(challenges(res), [`DPoP realm="luafn", error="invalid_dpop_proof", ${ALGS}`]);
      assert.equal((await send('me', token, await make({}))).status, 200, 'a good one passes still');
    });
  }
});

test('a token of another key, or of none', async (t) => {
  const { issuer, who, bound, url, send } = await world(t);
  const other = await client();
  for (const token of [bound(other), issuer.token(), issuer.token({ cnf: {} }), issuer.token({ cnf: { jkt: 5 } }), issuer.token({ cnf: who.jkt })]) {
    const res = await send('me', token, await proof(who, { url: url('me'), token }));
    assert.equal(res.status, 401);
    assert.equal(res.json().error, 'jwt_invalid');
    assert.deepEqual(challenges(res), [`DPoP realm="luafn", error="invalid_token", ${ALGS}`]);
  }
  const token = bound();
  assert.equal((await send('me', token, await proof(who, { url: url('me'), token }))).status, 200);
  const forged = issuer.token({ cnf: { jkt: who.jkt } }, { by: 'k3' });
  assert.equal((await send('me', forged, await proof(who, { url: url('me'), token: forged }))).json().error_description, 'invalid signature');
});

test('bearer tokens: never where proofs are required; unbound ones where they are optional', async (t) => {
  const { h, issuer, who, bound, url, send } = await world(t);
  const token = bound();
  const plain = issuer.token();
  const status = async (name, tok, p, options) => (await send(name, tok, p, options)).status;
  const bearer = { scheme: 'Bearer' };
  const none = await h.call('me');
  assert.equal(none.status, 401);
  assert.deepEqual(challenges(none), [`DPoP realm="luafn", ${ALGS}`]);
  assert.equal(await status('me', plain, undefined, bearer), 401);
  assert.equal(await status('me', token, await proof(who, { url: url('me'), token }), bearer), 401, 'a proof beside a bearer token');
  assert.equal(await status('loose', plain, undefined, bearer), 200);
  assert.equal(await status('loose', token, undefined, bearer), 401);
  assert.equal(await status('loose', token, await proof(who, { url: url('loose'), token })), 200);
  assert.deepEqual(challenges(await h.call('loose')), ['Bearer realm="luafn"', `DPoP realm="luafn", ${ALGS}`]);
  assert.equal(await status('off', plain, undefined, bearer), 200);
  assert.equal(await status('off', token, undefined, bearer), 200, 'where it is off, cnf means nothing');
  assert.equal(await status('off', token, await proof(who, { url: url('off'), token })), 401);
  for (const tok of [token, plain]) assert.deepEqual((await send('open', tok, undefined, bearer)).json(), {}, 'no identity without its proof');
  assert.equal(await status('inlua', plain, undefined, bearer), 401, 'nor past a check in Lua');
});

test('without the option nothing changes: DPoP is no scheme, cnf is a claim', async (t) => {
  const { who, bound, url, send } = await world(t, { dpop: 'false', fields: { me: 'auth = true' } });
  const token = bound();
  const res = await send('me', token, await proof(who, { url: url('me'), token }));
  assert.equal(res.json().error, 'invalid_header');
  assert.deepEqual(challenges(res), ['Bearer realm="luafn"']);
  assert.equal((await send('me', token, undefined, { scheme: 'Bearer' })).status, 200);
});

test('behind a proxy: the origin that clients see; once in all workers', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    workers: 2,
    files: deployment({ me: SUB }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, dpop = { origin = "https://api.example" } },` }),
  });
  await h.keys();
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt } });
  const send = (p) => h.call('me', { headers: { Authorization: `DPoP ${token}`, DPoP: p } });
  const path = '/.netlify/functions/me';
  for (const url of [`https://api.example${path}`, `https://API.example:443${path}`]) assert.equal((await send(await proof(who, { url, token }))).status, 200, url);
  for (const url of [h.url(path), `http://api.example${path}`, `https://api.example:8443${path}`]) assert.equal((await send(await proof(who, { url, token }))).status, 401, url);
  for (let i = 0; i < 20; i++) {
    const p = await proof(who, { url: `https://api.example${path}`, token });
    const answers = await Promise.all([send(p), send(p), send(p)]);
    assert.deepEqual(answers.map((a) => a.status).sort(), [200, 401, 401], 'the same proof three times at once');
  }
});

test('options that are none', async (t) => {
  for (const dpop of ['5', '"yes"', '{ optinal = true }', '{ origin = "api.example" }', '{ optional = 1 }']) {
    const r = await run(t, ['check'], { files: deployment({ me: SUB }, { fields: { me: `auth = { dpop = ${dpop} }` }, more: '  auth = { issuer = "https://x/", audience = "a" },' }) });
    assert.equal(r.code, 1, dpop);
    assert.match(r.stderr + r.stdout, /functions\.lua:3: functions\.me\.auth\.dpop/);
  }
  const r = await run(t, ['routes'], { files: deployment({ me: SUB }, { fields: { me: 'auth = { dpop = true, role = "a" }' }, more: '  auth = { issuer = "https://x/", audience = "a" },' }) });
  assert.match(r.stdout, /role a, dpop required/);
});
