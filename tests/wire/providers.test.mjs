// Providers whose tokens are not laid out as Auth0's: roles in nested claims, no `aud`.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, lua, run, sleep, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const ME = 'return function(e, c) return json.encode(c.identityContext.claims) end';
const IN_LUA = 'return jwt.require_role("admin", function() return "in" end)';
const verify = (more) => `return function(e) local c, f = jwt.verify(e.body, { issuer = env.ISSUER, audience = "app-1", audience_claim = "client_id"${more} }) return json.encode(c or f) end`;

const keycloak = (over) => ({ aud: AUDIENCE, realm_access: { roles: ['admin', 'x'] }, resource_access: { 'my.app': { roles: ['writer'] } }, ...over });

test('roles and claims at a path with dots', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const dir = deployment({ realm: ME, client: ME, own: ME, plain: ME, inlua: IN_LUA }, {
    fields: {
      realm: 'auth = { claims = { ["realm_access.roles"] = "admin" } }', client: 'auth = { claims = { ["resource_access.my.app.roles"] = { "reader", "writer" } } }',
      own: 'auth = { role = "writer", role_path = "resource_access.my.app.roles" }', plain: 'auth = { role = "admin" }',
    },
    more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, role_path = "realm_access.roles" },`,
  });
  const h = await start(t, { files: dir });
  await h.keys();
  const ask = async (name, claims) => (await h.call(name, { headers: issuer.bearer(keycloak(claims)) })).status;
  for (const [name, bad] of Object.entries({
    realm: [{ realm_access: { roles: ['adm'] } }, { realm_access: ['admin'] }, { realm_access: undefined }, { realm_access: undefined, roles: ['admin'] }, { 'realm_access.roles': ['x'] }],
    client: [{ resource_access: { 'my.app': { roles: [] } } }, { resource_access: { my: { app: { roles: ['other'] } } } }],
    own: [{ resource_access: {} }, { resource_access: undefined, roles: ['writer'] }],
    plain: [{ realm_access: undefined, roles: ['admin'] }, { realm_access: { roles: [['admin']] } }],
    inlua: [{ realm_access: undefined, roles: ['admin'] }, { realm_access: { roles: 'administrator' } }],
  })) {
    assert.equal(await ask(name), 200, name);
    for (const claims of bad) assert.equal(await ask(name, claims), 403, `${name} ${JSON.stringify(claims)}`);
  }
  assert.equal(await ask('realm', { realm_access: undefined, 'realm_access.roles': 'admin' }), 200, 'a member of that very name');
  assert.equal(await ask('plain', { realm_access: { roles: 'x admin' } }), 200, 'as a text');
  const rows = async (name, claims) => (await run(t, ['explain', issuer.token(keycloak(claims)), '--route', name], { dir: h.dir })).stdout;
  assert.match(await rows('realm'), /PASS {2}claim +realm_access\.roles: "admin" +\["admin","x"\]/);
  assert.match(await rows('realm', { realm_access: 5 }), /FAIL {2}claim +realm_access\.roles: "admin" +none/);
  assert.match(await rows('own'), /PASS {2}role +"writer" in "resource_access\.my\.app\.roles" +\["writer"\]/);
  assert.match(await rows('plain', { realm_access: {} }), /FAIL {2}role +"admin" in "realm_access\.roles" +none/);
});

test('tokens without aud, where another claim says whom they are for', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const auth = (more) => `  auth = { issuer = ${lua(issuer.issuer)}, audience = { "app-1", "app-2" }${more} },`;
  const scripts = { me: ME, verify: verify(''), strict: verify('').replace(', audience_claim = "client_id"', '') };
  const files = deployment(scripts, { fields: { me: 'auth = true', verify: 'auth = "public", env = { "ISSUER" }', strict: 'auth = "public", env = { "ISSUER" }' }, more: auth(', audience_claim = "client_id"') });
  const h = await start(t, { files, env: { ISSUER: issuer.issuer } });
  await h.keys();
  const body = (claims) => ({ method: 'POST', body: issuer.token(claims), headers: { 'Content-Type': 'text/plain' } });
  const rows = [
    [{ aud: undefined, client_id: 'app-1' }, true], [{ aud: 'elsewhere', client_id: 'app-1' }, true],
    [{ aud: 'app-1', client_id: 'app-9' }, false], [{ aud: 'app-1' }, false], [{ aud: undefined }, false], [{ aud: undefined, client_id: '' }, false],
  ];
  for (const [claims, good] of rows) {
    const res = await h.call('me', { headers: issuer.bearer(claims) });
    assert.equal(res.status, good ? 200 : 401, JSON.stringify(claims));
    if (!good) assert.equal(res.json().error_description, `Invalid audience (client_id) provided, got '${claims.client_id ?? ''}'`);
    const inLua = (await h.call('verify', body(claims))).json();
    assert.equal(inLua.iss, good ? issuer.issuer : undefined, JSON.stringify(inLua));
    const strict = (await h.call('strict', body(claims))).json();
    assert.equal(strict.iss, claims.aud === 'app-1' ? issuer.issuer : undefined, 'and by default aud alone');
  }
  const explain = async (claims) => (await run(t, ['explain', issuer.token(claims), '--route', 'me'], { dir: h.dir, env: { ISSUER: issuer.issuer } })).stdout;
  assert.match(await explain({ aud: undefined, client_id: 'app-2' }), /PASS {2}aud +"app-1" or "app-2" in "client_id" +"app-2"/);
  assert.match(await explain({ aud: 'app-1' }), /FAIL {2}aud +"app-1" or "app-2" in "client_id" +none/);
  const { code, stdout } = await run(t, ['invoke', 'me', '--as', 'auth0|1'], { dir: h.dir, env: { ISSUER: issuer.issuer } });
  assert.equal(code, 0);
  assert.equal(JSON.parse(stdout).client_id, 'app-1');
});

test('an issuer that hangs at a cold start: 503 while it is still being asked, and nobody else waits', async (t) => {
  const good = (await Issuer.start(t)).tenant();
  let asked = 0;
  let ended = 0; // questions that the host has given up
  const server = http.createServer((req) => { asked += 1; req.socket.on('close', () => { ended += 1; }); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const hanging = Object.assign(new Issuer(), { port: server.address().port }).tenant();
  const h = await start(t, { files: deployment({ me: ME, inlua: 'return jwt.require_auth(function() return "in" end)' }, {
    fields: { me: 'auth = true' }, more: `  auth = { ${[hanging, good].map(({ issuer }) => `{ issuer = ${lua(issuer)}, audience = ${lua(AUDIENCE)} }`).join(', ')} },`,
  }) });
  const ask = (tenant, name = 'me') => h.call(name, { headers: tenant.bearer() });
  await eventually(async () => (await ask(good)).status === 200, 10, "the other's keys");
  const first = [...Array(5).keys()].map((i) => ask(hanging, i % 2 ? 'inlua' : 'me'));
  let answered = false;
  Promise.all(first).then(() => { answered = true; });
  while (!answered) { assert.equal((await ask(good)).status, 200, 'meanwhile'); await sleep(0.05); }
  for (const res of [...await Promise.all(first), await ask(hanging), await ask(hanging, 'inlua')]) {
    assert.equal(res.status, 503);
    assert.equal(res.json().error, 'keys_unavailable');
    assert.ok(Number(res.header('retry-after')) > 0);
  }
  assert.deepEqual([asked, ended], [1, 0], 'one question, which is still open');
  const ready = await h.admin('ready');
  assert.equal(ready.status, 503);
  assert.deepEqual(ready.json().faults, [`issuer ${hanging.issuer}: no answer for 3 s`]);
});
