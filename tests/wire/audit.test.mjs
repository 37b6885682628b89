// luafn token, explain, audit: the commands for those who want to know.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { deployment, folder, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { jws, splitJws } from '../lib/jws.mjs';
import { later } from '../lib/later.mjs';

const now = () => Math.floor(Date.now() / 1000);
const K1 = ['RS256', keys.k1.privateKey];

// ---- token ----

const tokenOf = async (t, dir, ...args) => {
  const { code, stdout, stderr } = await run(t, ['token', ...args], { dir });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  return stdout.trim();
};

test('token: the dev issuer\'s, with the usual claims', async (t) => {
  const dir = folder(t);
  const begun = now();
  const tok = await tokenOf(t, dir);
  const { header, payload } = splitJws(tok);
  assert.equal(header.alg, 'RS256');
  const { iat, exp, jti, ...rest } = payload;
  assert.deepEqual(rest, { iss: 'http://localhost:8888/', aud: AUDIENCE, sub: 'auth0|dev', azp: 'luafn-demo' });
  assert.ok(iat >= begun && iat <= now() && exp === iat + 3600);
  assert.match(jti, /^\w{16,}$/);
  assert.notEqual(splitJws(await tokenOf(t, dir)).payload.jti, jti);
  assert.equal(fs.statSync(path.join(dir, '.luafn/dev-key.pem')).mode & 0o777, 0o600);
});

test('token: every option', async (t) => {
  const dir = folder(t, { '.env': 'JWT_ISSUER=http://127.0.0.1:1/\nJWT_AUDIENCE=urn:a\n' });
  const { payload } = splitJws(await tokenOf(t, dir, '--sub', 'me', '--scope', 'a b', '--expires', '-10m', '--claim', 'roles=["x"]', '--claim', 'n=null', '--claim', 'azp="other"'));
  assert.equal(payload.iss, 'http://127.0.0.1:1/');
  assert.equal(payload.aud, 'urn:a');
  assert.deepEqual([payload.sub, payload.scope, payload.azp, payload.n, payload.roles], ['me', 'a b', 'other', null, ['x']]);
  assert.equal(payload.exp, payload.iat - 600);
  const several = splitJws(await tokenOf(t, dir, '--aud', 'x', '--aud=y', '--issuer', 'https://i.example/', '--typ', 'at+jwt'));
  assert.deepEqual(several.payload.aud, ['x', 'y']);
  assert.equal(several.payload.iss, 'https://i.example/');
  assert.equal(several.header.typ, 'at+jwt');
});

test('token: every algorithm, as jose verifies it', async (t) => {
  const dir = folder(t);
  const tokens = [];
  for (const alg of ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']) tokens.push([alg, await tokenOf(t, dir, '--alg', alg)]);
  const { code, stdout } = await run(t, ['token', '--jwks'], { dir });
  assert.equal(code, 0);
  const jwks = JSON.parse(stdout);
  assert.equal(jwks.keys.length, tokens.length);
  assert.ok(jwks.keys.every((k) => !('d' in k)), 'public halves alone');
  for (const [alg, tok] of tokens) {
    const { protectedHeader } = await jwtVerify(tok, createLocalJWKSet(jwks), { algorithms: [alg] });
    assert.equal(protectedHeader.alg, alg);
  }
  const secret = 's'.repeat(64);
  for (const alg of ['HS256', 'HS384', 'HS512']) {
    await jwtVerify(await tokenOf(t, dir, '--alg', alg, '--secret', secret), Buffer.from(secret), { algorithms: [alg] });
  }
});

test('token: bad usage is exit 2 with one line', async (t) => {
  const dir = folder(t);
  const wrong = [['--alg', 'none'], ['--alg', 'rs256'], ['--alg', 'HS256'], ['--alg', 'HS512', '--secret', 's'.repeat(32)], ['--alg', 'HS256', '--secret', 'short'],
    ['--secret', 's'.repeat(64)], ['--expires', 'soon'], ['--claim', 'x'], ['--claim', 'x=y'], ['--claim', '=1'], ['--scope'], ['extra'], ['--nothing']];
  for (const args of wrong) {
    const { code, stdout, stderr } = await run(t, ['token', ...args], { dir });
    assert.equal(code, 2, `${args}: ${stderr}`);
    assert.equal(stdout, '');
    assert.equal(stderr.trim().split('\n').length, 1);
    assert.match(stderr, /luafn token/);
  }
});

test('token: what it prints, dev accepts; from the first start on', async (t) => {
  const dir = folder(t, deployment({ me: 'return function(_, context) return context.identityContext.claims.sub end' }, {
    fields: { me: 'auth = { scope = "read:shows" }' }, more: '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },',
  }));
  await tokenOf(t, dir); // makes the key
  const h = await start(t, { dir, command: 'dev' });
  const status = async (...args) => (await h.call('me', { headers: { Authorization: `Bearer ${await tokenOf(t, dir, '--issuer', h.url('/'), ...args)}` } })).status;
  assert.equal(await status('--scope', 'read:shows'), 200);
  assert.equal(await status(), 403);
  assert.equal(await status('--scope', 'read:shows', '--expires', '-1m'), 401);
  assert.equal(await status('--scope', 'read:shows', '--aud', 'other'), 401);
});

// ---- explain ----

const files = (issuer, more = '') => deployment({ me: 'return function() return "me" end', shows: 'return function() return "shows" end', open: 'return function() return "open" end', lua: 'return function() return "lua" end' }, {
  fields: { me: 'auth = true', shows: `auth = { scope = { all = { "read:shows", "x" } }, role = "admin", claims = { org = "a" }, namespace = "https://ns/" }`, open: 'auth = "public"' },
  more: `  auth = { issuer = ${lua(issuer)}, audience = ${lua(AUDIENCE)}${more} },\n`,
});

const failed = (stdout) => [...stdout.matchAll(/^FAIL +(\S+)/gm)].map(([, name]) => name);

async function explained(t, dir, tok, ...args) {
  const { code, stdout, stderr } = await run(t, ['explain', tok, ...args], { dir });
  const s = tok.split('.')[2];
  if (s?.length > 20) assert.ok(!`${stdout}${stderr}`.includes(s.slice(0, 20)), 'the signature is not printed');
  return { code, stdout, stderr, failed: failed(stdout) };
}

test('explain: each check by name, and the verdict of the host', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, files(issuer.issuer));
  const h = await start(t, { dir });
  await h.keys();
  const { h: head, p, s } = splitJws(issuer.token());
  const rows = [
    // [token, checks that fail]
    [issuer.token(), []],
    [issuer.token({ nbf: now() - 5, iat: now() + 300 }), []],
    [issuer.token({ exp: now() - 300 }), ['exp']],
    [issuer.token({ exp: undefined }), ['exp']],
    [issuer.token({ exp: 1e20 }), ['exp']],
    [issuer.token({ exp: 'x' }), ['exp']],
    [issuer.token({ nbf: now() + 300 }), ['nbf']],
    [issuer.token({ iss: 'https://other.example/' }), ['iss']],
    [issuer.token({ iss: issuer.base }), ['iss']],
    [issuer.token({ aud: 'other' }), ['aud']],
    [issuer.token({ aud: ['x', AUDIENCE] }), []],
    [issuer.token({}, { kid: 'nobody' }), ['kid']],
    [issuer.token({}, { by: 'k3' }), ['signature']],
    [issuer.token({}, { kid: 'k2' }), ['signature']],
    [jws({ alg: 'none' }, issuer.claims(), ''), ['alg', 'kid']],
    [jws({ alg: 'RS512', kid: 'k1' }, issuer.claims(), ['RS512', keys.k1.privateKey]), ['alg', 'key', 'signature']],
    [jws({ alg: 'RS256', kid: 'k1', crit: ['x'] }, issuer.claims(), K1), ['crit']],
    [jws({ alg: 'RS256', kid: 'k1', b64: true }, issuer.claims(), K1), ['b64']],
    [jws({ alg: 'RS256', kid: 'k1' }, '[]', K1), ['payload']],
    [jws({ alg: 'RS256', kid: 'k1' }, '{"a":1,"a":2}', K1), ['payload']],
    [jws('x', issuer.claims(), K1), ['header']],
    [`${head}.${p}.${s}=`, ['encoding']],
    [`${head}.${p}=.${s}`, ['payload']],
    [`${head}.${p}`, ['parts']],
    [`${head}.${p}.`, ['signature']],
    ['x'.repeat(9000), ['size', 'parts']],
  ];
  for (const [tok, wanted] of rows) {
    const got = await explained(t, dir, tok);
    assert.deepEqual(got.failed, wanted, got.stdout);
    assert.equal(got.code, wanted.length === 0 ? 0 : 1);
    const res = await h.call('me', { headers: { Authorization: `Bearer ${tok}` } });
    assert.equal(res.status === 200, got.code === 0);
    if (res.status === 200) assert.match(got.stdout, /^let through$/m);
    else assert.ok(got.stdout.includes(`refused: ${res.status} ${JSON.stringify(res.json())}`), `${got.stdout}\n${res.text}`);
  }
});

test('explain: seconds, slashes, kids, ages, stdin', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, files(issuer.issuer, ', clock_tolerance = 5'));
  assert.match((await explained(t, dir, issuer.token({ exp: now() - 300 }))).stdout, /exp .*give or take 5 s.*3\d\d s ago/);
  assert.match((await explained(t, dir, issuer.token({ nbf: now() + 300 }))).stdout, /nbf .* (300|2\d\d) s from now/);
  assert.match((await explained(t, dir, issuer.token({ iat: now() + 300 }))).stdout, /iat .*is a clock wrong/);
  assert.match((await explained(t, dir, issuer.token({ iss: issuer.base }))).stdout, /only the slash at the end differs/);
  const { stdout } = await explained(t, dir, issuer.token({}, { kid: 'nobody' }));
  assert.match(stdout, /kid +"k1", "k2" +"nobody"/);
  assert.match(stdout, /2 keys, fetched now/);
  assert.ok(!fs.existsSync(path.join(dir, '.luafn')), 'nothing is written where no host has run');
  const good = await run(t, ['explain', '-'], { dir, input: `Bearer ${issuer.token()}\n` });
  assert.equal(good.code, 0, good.stdout);
  const escape = await explained(t, dir, issuer.token({ iss: 'a\u001b[31mred\u202e' }));
  assert.doesNotMatch(escape.stdout, /[\u001b\u202e]/, 'no terminal obeys a token');
});

test('explain: keys of the last good copy on disk while the issuer is away', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, files(issuer.issuer));
  const h = await start(t, { dir });
  await h.keys();
  assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200);
  issuer.state = { oidc: { status: 500, body: '{}' }, jwks: { status: 500, body: '{}' } };
  const kept = await explained(t, dir, issuer.token());
  assert.equal(kept.code, 0, kept.stdout);
  assert.match(kept.stdout, /2 keys, kept on disk, \d+ s old/);
  fs.rmSync(path.join(dir, '.luafn/keys'), { recursive: true });
  const none = await explained(t, dir, issuer.token());
  assert.equal(none.code, 1);
  assert.match(none.stdout, /refused: 503 .*keys_unavailable/);
  assert.match(none.stdout, /key set .*500/);
});

test('explain --route: scopes, role, claims, namespace; open ones', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, files(issuer.issuer));
  const all = { scope: 'read:shows x', roles: ['admin'], org: 'a' };
  const rows = [
    [all, []], [{ ...all, roles: undefined, 'https://ns/roles': ['admin'] }, []], [{ ...all, scope: 'x' }, ['scope']], [{ ...all, scope: 'read:shows2' }, ['scope', 'scope']],
    [{ ...all, roles: ['user'] }, ['role']], [{ ...all, org: 'b' }, ['claim']], [{}, ['scope', 'role', 'claim']],
  ];
  for (const [claims, wanted] of rows) {
    const got = await explained(t, dir, issuer.token(claims), '--route', 'shows');
    assert.deepEqual(got.failed, wanted, got.stdout);
    assert.equal(got.code, wanted.length ? 1 : 0);
    if (wanted.length) assert.match(got.stdout, /refused: 403 .*access_denied/);
  }
  const open = await explained(t, dir, issuer.token({ exp: 5 }), '--route', 'open');
  assert.equal(open.code, 0);
  assert.match(open.stdout, /public/);
  const unset = await explained(t, dir, issuer.token({ exp: 5 }), '--route', 'lua');
  assert.equal(unset.code, 1);
  assert.match(unset.stdout, /has no `auth`/);
  for (const args of [['x', '--route', 'nobody'], [], ['x', 'y'], ['x', '--route']]) {
    const { code, stderr } = await run(t, ['explain', ...args], { dir });
    assert.equal(code, 2, stderr);
    assert.equal(stderr.trim().split('\n').length, 1);
  }
});

// ---- audit ----

test('audit: nothing gets through here', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, files(issuer.issuer));
  const h = await start(t, { dir });
  await h.keys();
  assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200);
  const plain = await run(t, ['audit', h.url('')], { dir });
  assert.equal(plain.code, 0, plain.stdout.split('\n').filter((l) => !l.startsWith('ok')).join('\n') + plain.stderr);
  for (const route of ['me', 'shows']) assert.match(plain.stdout, new RegExp(`^ok +no token +GET /.netlify/functions/${route} `, 'm'));
  assert.match(plain.stdout, /^ok +HS256, key: PEM +/m, 'keys from .luafn');
  assert.doesNotMatch(plain.stdout, /functions\/open/);
  assert.match(plain.stdout, /skipped: changes to a good token/);
  assert.match(plain.stdout, /\b0 let through, 0 faults$/m);
  const tok = issuer.token({ scope: 'read:shows x', roles: ['admin'], org: 'a' });
  const full = await run(t, ['audit', h.url('/'), '--token', tok], { dir });
  assert.equal(full.code, 0, full.stdout.split('\n').filter((l) => !l.startsWith('ok')).join('\n') + full.stderr);
  for (const name of ['the good token, bearer', 'two headers, good first', 'in the query alone', 'unused bits of the signature', 'payload: "sub":"admin" last']) {
    assert.ok(full.stdout.includes(name), name);
  }
  const one = await run(t, ['audit', h.url('/.netlify/functions/me'), '--token', tok, '--jwks', `${issuer.base}/.well-known/jwks.json`], { files: {} });
  assert.equal(one.code, 0, one.stdout);
  assert.match(one.stdout, /at 1 protected route\b/);
});

// Hosts that believe too much. judge(header, claims, token, auth) says whether to let in.
async function lax(t, judge, refusal = 401, answer = 200) {
  const server = http.createServer((req, res) => {
    let status = refusal;
    try {
      const [, token] = /^Bearer ([^.]+\.[^.]+\.[^.]*)$/.exec(req.headers.authorization) ?? [];
      if (req.rawHeaders.filter((x) => x.toLowerCase() === 'authorization').length > 1) throw new Error('which?');
      const { header, payload, raw } = splitJws(token);
      if (judge(header, payload, raw, token)) status = answer;
    } catch { /* refused */ }
    res.writeHead(status).end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}/api`;
}

const verify = (token, raw) => crypto.verify('sha256', Buffer.from(token.split('.').slice(0, 2).join('.')), keys.k1.publicKey, raw);
const good = (h, p, raw, token) => h.alg === 'RS256' && verify(token, raw);
const hmac = (token, secret) => crypto.createHmac('sha256', secret).update(token.split('.').slice(0, 2).join('.')).digest();

test('audit: finds what others let through', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t);
  const tok = issuer.token();
  const jwks = ['--jwks', `${issuer.base}/.well-known/jwks.json`];
  const pem = keys.k1.publicKey.export({ type: 'spki', format: 'pem' });
  const rows = [
    ['no check at all', () => true, ['another key, RS256', 'alg "none", no signature']],
    ['alg none', (h, p, raw, x) => String(h.alg).toLowerCase() === 'none' || good(h, p, raw, x), ['alg "none", no signature', 'alg "NONE", some signature']],
    ['none in another case', (h, p, raw, x) => (h.alg !== 'none' && /^none$/i.test(h.alg)) || good(h, p, raw, x), ['alg "nOnE", no signature']],
    ['the public key as a secret', (h, p, raw, x) => (h.alg === 'HS256' ? hmac(x, pem).equals(raw) : good(h, p, raw, x)), ['HS256, key: PEM']],
    ['the empty secret', (h, p, raw, x) => (h.alg === 'HS256' ? hmac(x, '').equals(raw) : good(h, p, raw, x)), ['HS256, key ""']],
    ['a weak secret', (h, p, raw, x) => (h.alg === 'HS256' ? hmac(x, 'secret').equals(raw) : good(h, p, raw, x)), ['HS256, key "secret"']],
    ['the key that it brings', (h, p, raw, x) => (h.jwk ? crypto.verify('sha256', Buffer.from(x.split('.').slice(0, 2).join('.')), crypto.createPublicKey({ key: h.jwk, format: 'jwk' }), raw) : good(h, p, raw, x)), ['its own jwk']],
    ['many spellings', (h, p, raw, x) => good(h, p, raw, x.replaceAll('=', '')), ['unused bits of the signature', 'signature padded']],
    ['an empty signature', (h, p, raw, x) => raw.length === 0 || good(h, p, raw, x), ['signature empty', 'no signature']],
  ];
  const { code, stdout } = await run(t, ['audit', await lax(t, good), '--token', tok, ...jwks], { dir });
  const loose = stdout.split('\n').filter((l) => l.startsWith('LET THROUGH') && !/unused bits|padded|Base64/.test(l));
  assert.deepEqual(loose, [], 'a fair check is let alone, but for what node decodes');
  assert.equal(code, 1);
  for (const [name, judge, wanted] of rows) {
    await t.test(name, async () => {
      const got = await run(t, ['audit', await lax(t, judge), '--token', tok, ...jwks], { dir });
      assert.equal(got.code, 1);
      for (const attack of wanted) assert.ok(got.stdout.split('\n').some((l) => l.startsWith(`LET THROUGH  ${attack} `)), `${attack}\n${got.stdout}`);
    });
  }
});

test('audit: a 404 of the handler\'s own was let in; the reason of a refusal is told', async (t) => {
  const dir = folder(t);
  const own = await run(t, ['audit', await lax(t, () => true, 401, 404)], { dir });
  assert.equal(own.code, 1);
  assert.match(own.stdout, /^LET THROUGH +alg "none", no signature .* 404$/m);
  assert.match(own.stdout, /^ok +no token .* 401$/m, 'the twin: what is refused is refused');
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, { files: deployment({ none: 'return function() return { statusCode = 404, body = "none" } end' }, { fields: { none: 'auth = true' }, more: `  auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" },` }) });
  const ours = await run(t, ['audit', h.url('/.netlify/functions/none')], { dir });
  assert.equal(ours.code, 0, ours.stdout);
  assert.match(ours.stdout, /^ok +no token .* 401  The Authorization header is missing or empty$/m);
});

test('audit: faults, hosts that are not there, refusals by 403', async (t) => {
  const dir = folder(t);
  const broken = await run(t, ['audit', await lax(t, () => false, 500)], { dir });
  assert.equal(broken.code, 1);
  assert.match(broken.stdout, /^FAULT +junk .* 500$/m);
  const forbidding = await run(t, ['audit', await lax(t, () => false, 403)], { dir });
  assert.equal(forbidding.code, 0, forbidding.stdout);
  const half = await run(t, ['audit', await lax(t, () => false), '--token', jws({ alg: 'RS256' }, { iss: 'x' }, K1)], { dir });
  assert.equal(half.code, 1, 'the good token is refused, so that the refusals prove nothing');
  assert.match(half.stdout, /^FAULT +the good token/m);
  const away = await run(t, ['audit', 'http://127.0.0.1:9/x'], { dir });
  assert.equal(away.code, 1);
  for (const args of [[], ['ftp://x/'], ['nonsense'], ['http://127.0.0.1:9/', 'extra'], ['http://127.0.0.1:9/', '--token']]) {
    const { code, stdout, stderr } = await run(t, ['audit', ...args], { dir });
    assert.equal(code, 2, stderr);
    assert.equal(stdout, '');
    assert.equal(stderr.trim().split('\n').length, 1);
  }
  const bad = await run(t, ['audit', 'http://127.0.0.1:9/x', '--token', 'junk'], { dir });
  assert.equal(bad.code, 2);
});
