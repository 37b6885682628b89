// luafn token and explain beside a running `dev`, and without one; explain of tokens that are no
// JWTs, and of those that are bound to a key.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { deployment, folder, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const NAME = 'return function(e, c) return c.identityContext and c.identityContext.claims.sub or "nobody" end';
const FROM_ENV = '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n';
const files = () => deployment({ me: NAME, shows: NAME }, { fields: { me: 'auth = true', shows: 'auth = { scope = "read:shows" }' }, more: FROM_ENV });
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
const failed = (stdout) => [...stdout.matchAll(/^FAIL +(\S+)/gm)].map(([, name]) => name);

async function out(t, dir, ...args) {
  const { code, stdout, stderr } = await run(t, args, { dir });
  assert.equal(code, 0, stdout + stderr);
  return stdout.trim();
}

test('dev on any port: token, explain, invoke and routes speak of that issuer', async (t) => {
  const dir = folder(t, files());
  const h = await start(t, { command: 'dev', dir, args: ['--log', 'none'] });
  const token = await out(t, dir, 'token', '--sub', 'me', '--scope', 'read:shows');
  const got = await h.call('shows', { headers: bearer(token) });
  assert.equal(got.text, 'me', `${got.status} ${got.text}`);
  assert.equal((await h.call('shows', { headers: bearer(await out(t, dir, 'token')) })).status, 403);
  assert.match(await out(t, dir, 'explain', token, '--route', 'shows'), /2 keys, [^]*let through$/);
  assert.equal(await out(t, dir, 'invoke', 'me', '--as', 'ann'), 'ann');
  const elsewhere = await run(t, ['token', '--config', path.join(dir, 'functions.lua')], { files: {} });
  assert.equal((await h.call('me', { headers: bearer(elsewhere.stdout.trim()) })).status, 200, 'found by --config');
  fs.writeFileSync(path.join(dir, '.env'), 'JWT_ISSUER=https://other.example/\nJWT_AUDIENCE=x\n');
  const { iss } = JSON.parse(Buffer.from((await out(t, dir, 'token')).split('.')[1], 'base64url'));
  assert.equal(iss, 'https://other.example/', '.env says more');
});

test('the place of dev is taken from its file only as an origin', async (t) => {
  const dir = folder(t, { '.luafn/dev-issuer': '' });
  const issuerOf = async () => JSON.parse(Buffer.from((await out(t, dir, 'token')).split('.')[1], 'base64url')).iss;
  for (const [text, wanted] of [
    ['http://127.0.0.1:9000/', 'http://127.0.0.1:9000/'], ['https://localhost:9000/', 'https://localhost:9000/'],
    ...['', 'x', 'http://127.0.0.1:9000', 'ftp://a/', 'http://a b/', 'http://a/\n', `http://${'a'.repeat(300)}/`].map((bad) => [bad, 'http://localhost:8888/']),
  ]) {
    fs.writeFileSync(path.join(dir, '.luafn/dev-issuer'), text);
    assert.equal(await issuerOf(), wanted, JSON.stringify(text));
  }
});

test('explain without a running dev: its keys are in .luafn, the next one too', async (t) => {
  const dir = folder(t, files());
  const token = await out(t, dir, 'token', '--scope', 'read:shows');
  const got = await out(t, dir, 'explain', token, '--route', 'shows');
  assert.match(got, /key set .*from \.luafn: it is not running[^]*PASS +signature[^]*let through$/);
  const es = await run(t, ['explain', await out(t, dir, 'token', '--alg', 'ES256')], { dir });
  assert.equal(es.code, 1);
  assert.deepEqual(failed(es.stdout), ['alg']);
  const other = await run(t, ['explain', await out(t, folder(t), 'token')], { dir });
  assert.deepEqual(failed(other.stdout), ['kid'], 'signed by the dev key of another folder');
  assert.match(other.stdout, /refused: 401 .*Unable to find key/);

  // What the dev issuer signs after a rotation.
  const h = await start(t, { command: 'dev', dir, args: ['--log', 'none'] });
  const post = (to, body) => h.request({ method: 'POST', path: to, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const mint = async () => (await post('/_luafn/dev/api/token', { sub: 'auth0|vera', fault: 'audience' })).json().access_token;
  const before = await mint();
  assert.equal((await post('/_luafn/dev/api/rotate', { rotate: true })).status, 200);
  const after = await mint();
  const kid = (tok) => JSON.parse(Buffer.from(tok.split('.')[0], 'base64url')).kid;
  assert.notEqual(kid(before), kid(after));
  await h.stop();
  fs.rmSync(path.join(dir, '.luafn/keys'), { recursive: true });
  for (const tok of [before, after]) {
    const { stdout } = await run(t, ['explain', tok], { dir });
    assert.match(stdout, /it is not running[^]*PASS +signature/);
    assert.deepEqual(failed(stdout), ['aud']);
  }
});

const guarded = (issuer, more) => deployment({ me: NAME, shows: NAME, proof: NAME }, {
  fields: { me: 'auth = true', shows: 'auth = { scope = "read:shows" }', proof: 'auth = { dpop = true }' },
  more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, ${more} },\n`,
});

test('explain: a token that is no JWT is asked about, its claims are judged', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const answers = {
    good: { active: true, scope: 'read:shows', iss: issuer.issuer, aud: AUDIENCE, exp: Math.floor(Date.now() / 1000) + 3600 },
    bare: { active: true }, late: { active: true, exp: 5 }, other: { active: true, aud: 'x' }, foreign: { active: true, iss: 'https://x/' },
  };
  let status = 200;
  const server = http.createServer(async (req, res) => {
    let body = '';
    for await (const piece of req) body += piece;
    res.writeHead(status).end(JSON.stringify(answers[new URLSearchParams(body).get('token')] ?? { active: false }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const dir = folder(t, guarded(issuer, `introspection = { url = "http://127.0.0.1:${server.address().port}/", client_id = "a", client_secret = "b" }`));
  for (const [token, route, wanted, answer] of [
    ['good', 'shows', [], 0], ['bare', 'me', [], 0], ['bare', 'shows', ['scope'], 403], ['late', 'me', ['exp'], 401],
    ['other', 'me', ['aud'], 401], ['foreign', 'me', ['iss'], 401], ['nobody', 'me', ['provider'], 401],
  ]) {
    const { code, stdout } = await run(t, ['explain', token, '--route', route], { dir });
    assert.deepEqual(failed(stdout), wanted, `${token} ${stdout}`);
    assert.equal(code, wanted.length === 0 ? 0 : 1);
    assert.match(stdout, answer ? new RegExp(`^refused: ${answer} `, 'm') : /^let through$/m);
  }
  const jwt = await run(t, ['explain', issuer.token()], { dir });
  assert.equal(jwt.code, 0, jwt.stdout);
  assert.match(jwt.stdout, /PASS +signature/, 'a JWT is judged here');
  for (const [answered, said] of [[500, 'status 500 without a plain answer'], [401, 'status 401 without a plain answer; are client_id and client_secret right\\?'], [204, 'status 204 without']]) {
    status = answered;
    const away = await run(t, ['explain', 'good'], { dir });
    assert.match(away.stdout, new RegExp(`FAIL +provider .*cannot be asked at the moment: ${said}[^]*refused: 503 .*keys_unavailable`));
  }
});

test('explain: a token bound to a key needs a proof, and the rest is judged', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = folder(t, guarded(issuer, 'dpop = "optional"'));
  const bound = issuer.token({ cnf: { jkt: 'abc' } });
  const explain = async (token, route) => (await run(t, ['explain', token, '--route', route], { dir })).stdout;
  assert.match(await explain(bound, 'me'), /PASS +dpop .*"abc"\nlet through, with a DPoP proof for the request$/m);
  assert.match(await explain(bound, 'shows'), /PASS +dpop[^]*let through, with a DPoP proof/);
  assert.match(await explain(issuer.token({ cnf: { jkt: 'abc' }, scope: 'x' }), 'shows'), /PASS +dpop[^]*FAIL +scope[^]*refused: 403/);
  assert.match(await explain(issuer.token(), 'me'), / {6}dpop +a proof where it is bound[^]*\nlet through$/m);
  assert.match(await explain(issuer.token(), 'proof'), /FAIL +dpop[^]*refused: 401 .*needs a proof of possession/);
});
