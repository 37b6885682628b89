// What is one over all hosts of a KV_URL: proofs of possession, the secret of their nonces, logout tokens.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { client, now, proof } from '../lib/proof.mjs';
import { Redis } from '../lib/redis.mjs';
import { request } from '../lib/wire.mjs';

const ORIGIN = 'https://api.example';
const OK = 'return function() return "ok" end';
const BCL = 'http://schemas.openid.net/event/backchannel-logout';

async function fleet(t, dpop = '') {
  const redis = await Redis.start(t);
  const issuer = (await Issuer.start(t)).tenant();
  const own = `revocation = { backchannel_logout = "/logout", client_id = "cid" }`;
  const files = deployment({ me: OK, open: OK }, {
    fields: { me: 'auth = true' },
    more: `  publish = "site", protect = { { path = "/inside/*", auth = true } },
  auth = { { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, ${own}, dpop = { origin = ${lua(ORIGIN)}${dpop} } } },`,
    files: { 'site/inside/page.txt': 'ok' },
  });
  const hosts = await Promise.all([1, 2].map(() => start(t, { files, env: { KV_URL: redis.url }, workers: 2 })));
  await Promise.all(hosts.map((h) => h.keys()));
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt } });
  const make = (path, claims) => proof(who, { url: `${ORIGIN}${path}`, token, claims });
  const send = (h, path, used) => request(h, { path, headers: { Authorization: `DPoP ${token}`, DPoP: used } });
  return { redis, issuer, hosts, make, send };
}

const ME = '/.netlify/functions/me';

test('a proof of possession passes once over all hosts; without the store once on each', async (t) => {
  const { redis, hosts: [a, b], make, send } = await fleet(t);
  for (const path of [ME, '/inside/page.txt']) {
    const used = await make(path);
    assert.equal((await send(a, path, used)).text, 'ok', path);
    const again = await send(b, path, used);
    assert.equal(again.status, 401, path);
    assert.match(again.header('www-authenticate'), /error="invalid_dpop_proof"/);
    assert.match(again.text, /used before/);
    assert.equal((await send(b, path, await make(path))).status, 200, 'a twin that was not used');
  }
  const proofs = await Promise.all(Array.from({ length: 20 }, () => make(ME)));
  const passed = await Promise.all(proofs.map(async (used) => {
    const answers = await Promise.all([a, b, a, b].map((h) => send(h, ME, used)));
    return answers.filter((res) => res.status === 200).length;
  }));
  assert.deepEqual(passed, proofs.map(() => 1));
  const [key] = (await redis.ask('--raw', 'keys', 'luafn:once:*')).split('\n');
  assert.ok(key.length > 0);
  const left = Number(await redis.ask('eval', "return redis.call('PTTL', redis.call('KEYS', 'luafn:once:*')[1])", '0'));
  assert.ok(left > 0 && left <= 400000, `${left} ms: as long as a proof may be young`);
  await redis.stop();
  const late = await make(ME);
  assert.deepEqual([(await send(a, ME, late)).status, (await send(b, ME, late)).status, (await send(a, ME, late)).status], [200, 200, 401]);
});

test('a client that leaves while other hosts are asked takes nothing with it', async (t) => {
  const { redis, hosts: [a], make, send } = await fleet(t);
  assert.equal((await send(a, ME, await make(ME))).status, 200);
  redis.process.kill('SIGSTOP');
  const left = await make(ME);
  const leaving = send(a, ME, left).catch(() => {});
  assert.equal((await request(a, { path: '/.netlify/functions/open' })).text, 'ok', 'who needs no store is served');
  redis.process.kill('SIGCONT');
  await leaving;
  await eventually(async () => (await send(a, ME, await make(ME))).status === 200, 10, 'it goes on');
});

test('a nonce of one host is good at the others, and stays so when the server loses what it had', async (t) => {
  const { redis, hosts: [a, b], make, send } = await fleet(t, ', nonce = true');
  const nonceOf = async (h) => (await send(h, ME, await make(ME))).header('dpop-nonce');
  const isGood = async (h, nonce) => (await send(h, ME, await make(ME, { nonce }))).status === 200;
  await eventually(async () => await isGood(b, await nonceOf(a)) && await isGood(a, await nonceOf(b)), 10, 'they have one secret');
  const nonce = await nonceOf(a);
  for (let i = 0; i < 8; i++) assert.ok(await isGood(i % 2 ? a : b, nonce));
  assert.equal((await redis.ask('--raw', 'strlen', 'luafn:secret:nonce')), '32');
  await redis.ask('flushall');
  assert.ok(await isGood(b, nonce));
});

test('a logout token is good once over all hosts', async (t) => {
  const { redis, issuer, hosts: [a, b] } = await fleet(t);
  const make = () => issuer.token({
    sub: undefined, azp: undefined, scope: undefined, iss: issuer.issuer, aud: 'cid', iat: now(), exp: now() + 120,
    jti: crypto.randomUUID(), events: { [BCL]: {} }, sid: crypto.randomUUID(),
  }, { header: { typ: 'logout+jwt' } });
  const send = (h, token) => request(h, {
    path: '/logout', method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: `logout_token=${token}`,
  });
  const token = make();
  assert.equal((await send(a, token)).status, 200);
  const again = await send(b, token);
  assert.equal(again.status, 400);
  assert.match(again.text, /was here before/);
  assert.equal((await send(b, make())).status, 200);
  const raced = make();
  const answers = await Promise.all([a, b, a, b].map((h) => send(h, raced)));
  assert.deepEqual(answers.map((res) => res.status).sort(), [200, 400, 400, 400]);
  await redis.stop();
  assert.equal((await send(a, make())).status, 400, 'it cannot be kept');
});
