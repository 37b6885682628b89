// The host as a protected resource (RFC 9728): whoever is refused finds out where tokens come from,
// and a token may be for a function's own address. The identifier in a document is the one that the
// address of the document was made from (3.3), so a client can hold the two against each other.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { client, proof } from '../lib/proof.mjs';
import { request } from '../lib/wire.mjs';

const OK = 'return function() return "ok" end';
const WELL_KNOWN = '/.well-known/oauth-protected-resource';

const FIELDS = {
  me: 'auth = true',
  shows: 'path = { "/shows/:id?", "/tv/*" }, auth = { scope = { "read:shows", "read:all" } }',
  write: 'path = "/shows", methods = "POST", auth = { scope = "write:shows" }',
  proof: 'path = "/proof", auth = { dpop = true }',
  inlua: 'path = "/in/lua"',
  pub: 'path = "/pub", auth = "public"',
};

async function world(t, { audience = AUDIENCE, more = '', fields = FIELDS, files = {} } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const scripts = Object.fromEntries(Object.keys(fields).map((name) => [name, OK]));
  const h = await start(t, {
    files: {
      ...deployment({ ...scripts, inlua: 'return jwt.require_scope("in:lua", function() return "ok" end)' }, {
        fields, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(audience)}${more} },`,
      }),
      ...files,
    },
  });
  await h.keys();
  return { issuer, h, get: (path, options = {}) => request(h, { path, ...options }) };
}

const challenges = (res) => res.lines.filter((l) => /^www-authenticate:/i.test(l)).map((l) => l.replace(/^[^:]*: */, ''));
const metadata = (challenge) => /, resource_metadata="([^"]+)"$/.exec(challenge)?.[1];

test('every refusal leads to a document about the address that was refused', async (t) => {
  const { h, get, issuer } = await world(t);
  const rows = [
    ['/.netlify/functions/me', undefined, '/.netlify/functions/me'],
    ['/.netlify/functions/me/below?x=1', undefined, '/.netlify/functions/me'],
    ['/shows', 'read:shows read:all', '/shows'], ['/shows/7', 'read:shows read:all', '/shows'], ['/tv/a/b', 'read:shows read:all', '/tv'],
    ['/in/lua', 'in:lua', '/in/lua'],
  ];
  for (const [path, scope, resource] of rows) {
    const res = await get(path);
    assert.equal(res.status, 401, path);
    const [challenge] = challenges(res);
    assert.equal(challenge, `Bearer realm="luafn"${scope ? `, scope="${scope}"` : ''}, resource_metadata="${h.url(WELL_KNOWN + resource)}"`);
    const doc = (await get(WELL_KNOWN + resource)).json();
    assert.equal(doc.resource, h.url(resource), 'the identifier is what the address was made from');
    assert.deepEqual(doc.authorization_servers, [issuer.issuer]);
    assert.deepEqual(doc.bearer_methods_supported, ['header']);
    const bad = await get(path, { headers: { Authorization: 'Bearer a.b.c' } });
    assert.match(challenges(bad)[0], /^Bearer realm="luafn", error="invalid_token".*resource_metadata="/);
    assert.equal(metadata(challenges(bad)[0]), metadata(challenge));
    const more = await get(path, { headers: issuer.bearer({ scope: scope ?? 'none', exp: 1 }) });
    assert.equal(more.status, 401);
  }
  const denied = await get('/shows', { headers: issuer.bearer({ scope: 'read:all' }) });
  assert.equal(denied.status, 403);
  assert.deepEqual(challenges(denied), [`Bearer realm="luafn", error="insufficient_scope", scope="read:shows read:all", resource_metadata="${h.url(`${WELL_KNOWN}/shows`)}"`]);
  const inLua = await get('/in/lua', { headers: issuer.bearer() });
  assert.deepEqual(challenges(inLua), [`Bearer realm="luafn", error="insufficient_scope", scope="in:lua", resource_metadata="${h.url(`${WELL_KNOWN}/in/lua`)}"`]);
  for (const good of ['/shows/7', '/in/lua']) assert.equal((await get(good, { headers: issuer.bearer({ scope: 'read:shows read:all in:lua' }) })).status, 200);
});

test('each scheme that would do has the address, Bearer first', async (t) => {
  const fields = { both: 'path = "/both", auth = { dpop = "optional", scope = "a" }', proof: FIELDS.proof };
  const { h, issuer, get } = await world(t, { fields });
  const [bearer, dpop, ...none] = challenges(await get('/both'));
  assert.equal(none.length, 0);
  assert.match(bearer, /^Bearer realm="luafn", scope="a", resource_metadata="/);
  assert.match(dpop, /^DPoP realm="luafn", algs="[^"]+", scope="a", resource_metadata="/);
  assert.equal(metadata(bearer), metadata(dpop));
  // The error is that of the scheme which the token came by.
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt }, scope: 'b' });
  const proven = { Authorization: `DPoP ${token}`, DPoP: await proof(who, { url: h.url('/both'), token }) };
  for (const [headers, own, other] of [[issuer.bearer({ scope: 'b' }), /^Bearer /, /^DPoP /], [proven, /^DPoP /, /^Bearer /]]) {
    const res = await get('/both', { headers });
    assert.equal(res.status, 403, res.text);
    const lines = challenges(res);
    assert.equal(lines.length, 2);
    assert.match(lines[0], /^Bearer /);
    assert.match(lines.find((line) => own.test(line)), /error="insufficient_scope".*scope="a", resource_metadata="/);
    const plain = lines.find((line) => other.test(line));
    assert.doesNotMatch(plain, /error=/);
    assert.match(plain, /scope="a", resource_metadata="/);
  }
  const doc = (await get(`${WELL_KNOWN}/proof`)).json();
  assert.equal(doc.dpop_bound_access_tokens_required, true);
  assert.ok(doc.dpop_signing_alg_values_supported.includes('ES256'));
  const loose = (await get(`${WELL_KNOWN}/both`)).json();
  assert.equal(loose.dpop_bound_access_tokens_required, undefined);
  assert.ok(loose.dpop_signing_alg_values_supported.includes('ES256'));
});

test('what is one address is one resource; the host is one as a whole', async (t) => {
  const { h, get } = await world(t);
  const shows = (await get(`${WELL_KNOWN}/shows`)).json();
  assert.deepEqual(shows.scopes_supported.sort(), ['read:all', 'read:shows', 'write:shows']);
  for (const root of [WELL_KNOWN, `${WELL_KNOWN}/`]) {
    const all = (await get(root)).json();
    assert.equal(all.resource, h.url(''));
    assert.deepEqual(all.scopes_supported.sort(), ['read:all', 'read:shows', 'write:shows']);
    assert.equal(all.dpop_bound_access_tokens_required, undefined, 'not all of them ask for a proof');
  }
  assert.ok(!('scopes_supported' in (await get(`${WELL_KNOWN}/proof`)).json()), 'a list that is empty is left out');
  for (const none of ['/pub', '/nowhere', '/shows/7', '/show', '/shows/', 'x']) assert.equal((await get(WELL_KNOWN + none)).status, 404, none);
  assert.equal((await get(WELL_KNOWN, { method: 'POST' })).status, 404);
  assert.deepEqual(challenges(await get('/pub')), []);
});

test('any page may read it, with the headers of its protocol; HEAD has no body', async (t) => {
  const { h, get } = await world(t);
  const origin = { Origin: 'https://elsewhere.example' };
  const doc = await get(WELL_KNOWN, { headers: origin });
  assert.match(doc.header('content-type'), /^application\/json/);
  assert.equal(doc.header('access-control-allow-origin'), '*');
  const preflight = await get(WELL_KNOWN, { method: 'OPTIONS', headers: { ...origin, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'mcp-protocol-version' } });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.header('access-control-allow-origin'), '*');
  assert.equal(preflight.header('access-control-allow-headers'), '*');
  const head = await get(WELL_KNOWN, { method: 'HEAD' });
  assert.equal(head.status, 200);
  assert.equal(head.text, '');
});

test('a configured address is taken byte by byte, whatever the request calls the host', async (t) => {
  const { h, get } = await world(t, { more: ', resource = "https://API.example/v1/"' });
  const [challenge] = challenges(await get('/shows', { headers: { Host: '127.0.0.1' } }));
  assert.equal(metadata(challenge), `https://API.example${WELL_KNOWN}/v1/shows`);
  for (const path of [`${WELL_KNOWN}/v1/shows`, `${WELL_KNOWN}/shows`]) assert.equal((await get(path)).json().resource, 'https://API.example/v1/shows');
  for (const path of [`${WELL_KNOWN}/v1`, WELL_KNOWN]) assert.equal((await get(path)).json().resource, 'https://API.example/v1');
});

test('audience = "resource": a token is for this function or for the whole host, and for no other', async (t) => {
  const base = 'https://api.example';
  const { h, get, issuer } = await world(t, { audience: 'resource', more: `, resource = ${lua(base)}` });
  const scope = 'read:shows read:all in:lua';
  const ask = async (path, aud) => (await get(path, { headers: issuer.bearer({ aud, scope }) })).status;
  for (const [path, own] of [['/.netlify/functions/me', '/.netlify/functions/me'], ['/shows/7', '/shows'], ['/shows/7', '/tv'], ['/in/lua', '/in/lua']]) {
    for (const aud of [base, base + own, ['https://else.example', base + own]]) assert.equal(await ask(path, aud), 200, `${path} ${aud}`);
    for (const aud of ['resource', `${base}/`, `${base + own}/`, `${base}/pub`, `${base}/in`, base.toUpperCase(), 'https://else.example', undefined]) assert.equal(await ask(path, aud), 401, `${path} ${aud}`);
  }
});

test('what cannot be an address is refused with what to write', async (t) => {
  const issuer = 'https://issuer.example/';
  const check = async (more, audience = '"a"') => (await run(t, ['check'], {
    files: deployment({ me: OK }, { fields: { me: 'auth = true' }, more: `  auth = { issuer = ${lua(issuer)}, audience = ${audience}${more} },` }),
  }));
  for (const bad of ['api.example', 'https://', 'https:///', 'https://a.example?x', 'https://a.example/#f', 'https://a .example', 'ftp://a.example', '']) {
    const { code, stderr } = await check(`, resource = ${lua(bad)}`);
    assert.equal(code, 1, bad);
    assert.match(stderr, /functions\.lua:\d+: auth\.resource: must be the address that clients use, as "https:\/\/api\.example"/, bad);
  }
  for (const [bad, message] of [
    ['acr = ""', "auth.acr: '': a class has a name without blanks"], ['acr = "a b"', "auth.acr: 'a b': a class has a name without blanks"],
    ['acr = 5', 'auth.acr: '], ['max_age = 0', 'auth.max_age: '], ['max_age = "x"', 'auth.max_age: '],
  ]) {
    const { code, stderr } = await run(t, ['check'], {
      files: deployment({ me: OK }, { fields: { me: `auth = { ${bad} }` }, more: `  auth = { issuer = ${lua(issuer)}, audience = "a" },` }),
    });
    assert.equal(code, 1, bad);
    assert.match(stderr, new RegExp(`functions\\.lua:\\d+: functions\\.me\\.${message.replaceAll('.', '\\.')}`));
  }
  const { code, stderr } = await check('', '"resource"');
  assert.equal(code, 1);
  assert.match(stderr, /functions\.lua:\d+: auth\.audience: `audience` is "resource", so functions\.lua has to say which that is/);
  assert.equal((await check(', resource = "https://a.example/x"', '"resource"')).code, 0);
});

test('a sign-in that will not do is told what to bring, once for all of it (RFC 9470)', async (t) => {
  const fields = {
    strong: 'path = "/strong", auth = { acr = { "mfa", "phr" }, max_age = 300, scope = "pay" }',
    recent: 'path = "/recent", auth = { max_age = 60, dpop = "optional" }',
    spaced: 'path = "/spaced", auth = { acr = "mfa", namespace = "https://ns/" }',
    plain: 'path = "/plain", auth = true',
  };
  const { h, issuer, get } = await world(t, { fields });
  const now = Math.floor(Date.now() / 1000);
  const ask = (path, claims) => get(path, { headers: issuer.bearer({ scope: 'pay', ...claims }) });
  const good = { acr: 'phr', auth_time: now - 200 };
  assert.equal((await ask('/strong', good)).status, 200);
  assert.equal((await ask('/strong', { ...good, acr: 'mfa' })).status, 200);
  assert.equal((await ask('/plain', { acr: 5, auth_time: 'x' })).status, 200);
  const rows = [
    [{ ...good, acr: undefined }, 'The user has to sign in another way'], [{ ...good, acr: 'MFA' }, 'The user has to sign in another way'],
    [{ ...good, acr: 'mfa phr' }, 'The user has to sign in another way'], [{ ...good, acr: ['mfa'] }, 'The user has to sign in another way'],
    [{ ...good, auth_time: now - 3600 }, 'The user signed in too long ago'], [{ ...good, auth_time: undefined }, 'The user signed in too long ago'],
    [{ ...good, auth_time: String(now) }, 'The user signed in too long ago'], [{ ...good, auth_time: now + 3600 }, 'The user signed in too long ago'],
    [{ ...good, acr: undefined, scope: 'other' }, 'The user has to sign in another way'],
  ];
  for (const [claims, error_description] of rows) {
    const res = await ask('/strong', claims);
    assert.equal(res.status, 401, JSON.stringify(claims));
    assert.deepEqual(res.json(), { error: 'insufficient_user_authentication', error_description });
    assert.deepEqual(challenges(res), [`Bearer realm="luafn", error="insufficient_user_authentication", acr_values="mfa phr", max_age="300", scope="pay", resource_metadata="${h.url(`${WELL_KNOWN}/strong`)}"`]);
  }
  assert.equal((await ask('/strong', { ...good, scope: 'other' })).status, 403, 'a good sign-in without the scope');
  assert.equal((await ask('/strong', { ...good, exp: 1 })).json().error, 'jwt_expired', 'a bad token comes first');
  const counted = (await h.admin('metrics')).text;
  assert.match(counted, new RegExp(`token_checks_total\\{code="insufficient_user_authentication"\\} ${rows.length}\\n`));
  const both = challenges(await ask('/recent', { auth_time: now - 3600 }));
  assert.match(both[0], /^Bearer realm="luafn", error="insufficient_user_authentication", max_age="60", resource_metadata=/);
  assert.match(both[1], /^DPoP realm="luafn", algs="[^"]+", max_age="60", resource_metadata=/);
  assert.equal((await ask('/spaced', { 'https://ns/acr': 'mfa' })).status, 200);
  const explain = async (claims) => (await run(t, ['explain', issuer.token({ scope: 'pay', ...claims }), '--route', 'strong'], { dir: h.dir })).stdout;
  assert.match(await explain(good), /PASS {2}acr +"mfa" or "phr" +"phr"\n *PASS {2}auth_time +at most 300 s ago/);
  assert.match(await explain({ ...good, acr: 'low' }), /FAIL {2}acr +"mfa" or "phr" +"low"/);
  const routes = (await run(t, ['routes'], { dir: h.dir })).stdout;
  assert.match(routes, /scope pay, acr mfa, or phr, signed in 300 s ago at most/);
});
