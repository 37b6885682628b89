// Who may call what: policies as data, the library in Lua, and the answers to those who may not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, folder, launch, lua, SLOW, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys, token } from '../lib/issuer.mjs';
import { cpuMs } from '../lib/process.mjs';
import { request } from '../lib/wire.mjs';

const SUB = 'return function(event, context) return context.identityContext and context.identityContext.claims.sub or "nobody" end';
const OK = 'return function() return "ok" end';

const auth = (issuer, more = '') => `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}${more} },\n`;

async function guarded(t, fields, { more = '', authMore = '', scripts = {}, cold = false, ...rest } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const all = Object.fromEntries(Object.keys(fields).map((name) => [name, scripts[name] ?? OK]));
  const h = await start(t, { files: deployment({ ...all, ...scripts }, { fields, more: auth(issuer, authMore) + more }), ...rest });
  if (!cold) await h.keys();
  return { h, issuer };
}

const challenge = (res) => res.header('www-authenticate') ?? '';

for (const backend of ['openssl', 'libjwt']) {
  const authMore = `, backend = ${lua(backend)}`;

  test(`${backend}: auth = true`, async (t) => {
    const { h, issuer } = await guarded(t, { me: 'auth = true' }, { scripts: { me: SUB }, authMore });
    const good = await h.call('me', { headers: issuer.bearer() });
    assert.equal(good.status, 200, good.text);
    assert.equal(good.text, 'auth0|1');

    const none = await h.call('me');
    assert.equal(none.status, 401);
    assert.match(none.header('content-type'), /^application\/json/);
    assert.deepEqual(none.json(), { error: 'invalid_header', error_description: 'The Authorization header is missing or empty' });
    assert.match(challenge(none), /^Bearer realm="[^"]*", resource_metadata="[^"]*"$/, 'no error attribute where no token was sent');

    const t0 = issuer.token();
    const [head, , sig] = t0.split('.');
    const other = Buffer.from(JSON.stringify(issuer.claims({ sub: 'auth0|2' }))).toString('base64url');
    for (const bad of [`${head}.${other}.${sig}`, 'a.b.c', 'x', t0.slice(0, -8), issuer.token({}, { by: 'k3' })]) {
      const res = await h.call('me', { headers: { Authorization: `Bearer ${bad}` } });
      assert.equal(res.status, 401, bad);
      assert.equal(res.json().error, 'jwt_invalid');
      assert.match(challenge(res), /^Bearer realm="[^"]*".*error="invalid_token"/);
      assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200, 'the good one still passes');
    }
    const expired = await h.call('me', { headers: issuer.bearer({ exp: 1595000000 }) });
    assert.equal(expired.json().error, 'jwt_expired');
    assert.equal(expired.json().error_description, "The provided token expired at '2020-07-17T15:33:20.000Z'");
  });

  test(`${backend}: scopes`, async (t) => {
    const { h, issuer } = await guarded(t, {
      one: 'auth = { scope = "read:shows" }',
      any: 'auth = { scope = { any = { "read:shows", "admin" } } }',
      all: 'auth = { scope = { all = { "read:shows", "write:shows" } } }',
    }, { authMore });
    const rows = [
      // scope claims, then whether one, any, all let it pass
      [{ scope: 'read:shows' }, 1, 1, 0],
      [{ scope: 'openid read:shows write:shows' }, 1, 1, 1],
      [{ scope: 'write:shows  read:shows' }, 1, 1, 1],
      [{ scope: 'admin' }, 0, 1, 0],
      [{ scope: ['read:shows', 'write:shows'] }, 1, 1, 1],
      [{ scope: undefined, scp: 'read:shows' }, 1, 1, 0],
      [{ scope: undefined, scp: ['read:shows', 'write:shows'] }, 1, 1, 1],
      [{ scope: 'openid', permissions: ['read:shows'] }, 1, 1, 0],
      [{ scope: 'read:shows', permissions: ['write:shows'] }, 1, 1, 1],
      [{ scope: 'read:shows2' }, 0, 0, 0],
      [{ scope: 'xread:shows' }, 0, 0, 0],
      [{ scope: 'READ:SHOWS' }, 0, 0, 0],
      [{ scope: 'openid\tread:shows' }, 0, 0, 0],
      [{ scope: 'openid,read:shows' }, 0, 0, 0],
      [{ scope: 'openid\nread:shows' }, 0, 0, 0],
      [{ scope: ['openid read:shows'] }, 0, 0, 0],
      [{ scope: 5 }, 0, 0, 0], [{ scope: null }, 0, 0, 0], [{ scope: {} }, 0, 0, 0], [{ scope: undefined }, 0, 0, 0],
    ];
    for (const [claims, ...wanted] of rows) {
      for (const [i, name] of ['one', 'any', 'all'].entries()) {
        const res = await h.call(name, { headers: issuer.bearer(claims) });
        assert.equal(res.status, wanted[i] ? 200 : 403, `${name} ${JSON.stringify(claims)}: ${res.text}`);
      }
    }
    const res = await h.call('one', { headers: issuer.bearer({ scope: 'openid' }) });
    assert.deepEqual(res.json(), { error: 'access_denied', error_description: "Token does not contain the required 'read:shows' scope" });
    assert.match(challenge(res), /^Bearer .*error="insufficient_scope"/);
    assert.match(challenge(res), /scope="read:shows"/);
    assert.equal((await h.call('one')).status, 401, 'no token: 401, not 403');
  });

  for (const place of ['of the deployment', 'of the function']) test(`${backend}: roles, claims, namespace ${place}`, async (t) => {
    const namespace = 'namespace = "https://ns.example/"';
    const everywhere = place === 'of the deployment';
    const { h, issuer } = await guarded(t, {
      admin: `auth = { role = "admin"${everywhere ? '' : `, ${namespace}`} }`,
      org: 'auth = { claims = { org_id = "org_1" } }',
      some: 'auth = { claims = { org_id = { "org_1", "org_2" }, level = 3.0, tested = true } }',
    }, { authMore: `${authMore}${everywhere ? `, ${namespace}` : ''}` });
    const get = async (name, claims) => (await h.call(name, { headers: issuer.bearer(claims) })).status;
    assert.equal(await get('admin', { roles: ['user', 'admin'] }), 200);
    assert.equal(await get('admin', { 'https://ns.example/roles': ['admin'] }), 200);
    assert.equal(await get('admin', { roles: ['administrator'] }), 403);
    assert.equal(await get('admin', {}), 403);
    const res = await h.call('admin', { headers: issuer.bearer() });
    assert.deepEqual(res.json(), { error: 'access_denied', error_description: "User does not have the 'admin' role" });
    assert.equal(await get('org', { org_id: 'org_1' }), 200);
    assert.equal(await get('org', { org_id: 'org_2' }), 403);
    assert.equal(await get('org', { org_id: ['org_2', 'org_1'] }), 200);
    const some = { org_id: 'org_2', level: 3, tested: true };
    for (const over of [{}, { org_id: 'org_1' }, { org_id: ['x', 'org_1'] }, { level: [1, 3] }]) assert.equal(await get('some', { ...some, ...over }), 200);
    for (const over of [{ org_id: 'org_3' }, { org_id: undefined }, { org_id: [['org_1']] }, { org_id: { org_1: 1 } }, { level: '3' }, { level: 4 }, { level: 3.5 }, { tested: 'true' }, { tested: 1 }, { tested: null }]) {
      assert.equal(await get('some', { ...some, ...over }), 403, JSON.stringify(over));
    }
    // A namespaced copy never takes the place of what was verified.
    const shadow = await h.call('admin', { headers: issuer.bearer({ 'https://ns.example/exp': 5, 'https://ns.example/iss': 'x', roles: ['admin'] }) });
    assert.equal(shadow.status, 200);
  });

  test(`${backend}: algorithms by allow-list`, async (t) => {
    const { h, issuer } = await guarded(t, { me: 'auth = true' }, { scripts: { me: SUB }, authMore });
    for (const alg of ['RS384', 'RS512', 'PS256', 'none', 'HS256']) {
      const by = alg === 'none' ? 'absent' : alg === 'HS256' ? 'hmac-sha256 keyed with the PKCS#1 PEM text of k1' : `k1 by ${alg}`;
      const res = await h.call('me', { headers: { Authorization: `Bearer ${token(issuer.claims(), { header: { alg }, by })}` } });
      assert.equal(res.status, 401, alg);
      assert.equal(res.json().error_description, `Invalid 'alg' provided, got '${alg}'`);
    }
  });

  test(`${backend}: RS512 when it is on the list`, async (t) => {
    const { h, issuer } = await guarded(t, { me: 'auth = true' }, { authMore: `${authMore}, algorithms = { "RS256", "RS512" }` });
    const status = async (alg, by) => (await h.call('me', { headers: { Authorization: `Bearer ${issuer.token({}, { header: { alg }, by })}` } })).status;
    assert.equal(await status('RS256', 'k1'), 200);
    assert.equal(await status('RS384', 'k1 by RS384'), 401);
    assert.equal(await status('RS512', 'k1 by RS384'), 401);
  });
}

test('the scheme in any case; two headers, schemes and forms that are not one bearer token', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' });
  const tok = issuer.token();
  for (const scheme of ['Bearer', 'bearer', 'BEARER', 'bEaReR']) {
    assert.equal((await h.call('me', { headers: { Authorization: `${scheme} ${tok}` } })).status, 200, scheme);
  }
  const bad = [
    [['Authorization', `Bearer ${tok}`], ['Authorization', `Bearer ${tok}`]],
    [['Authorization', `Bearer ${tok}`], ['authorization', 'Bearer x']],
    [['Authorization', `Basic ${tok}`]],
    [['Authorization', 'Bearer']],
    [['Authorization', `Bearer ${tok} x`]],
    [['Authorization', `Bearer  ${tok}`]],
    [['Authorization', `Bearer,${tok}`]],
    [['Authorization', tok]],
    [['X-Authorization', `Bearer ${tok}`]],
    [['Cookie', `access_token=${tok}`]],
  ];
  for (const headers of bad) {
    const res = await h.call('me', { headers });
    assert.equal(res.status, 401, JSON.stringify(headers).slice(0, 60));
    assert.equal(res.json().error, 'invalid_header');
  }
});

test('a token in the query or the body is not looked at', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' });
  const tok = issuer.token();
  assert.equal((await h.call('me', { suffix: `?access_token=${tok}` })).status, 401);
  const posted = await h.call('me', { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: `access_token=${tok}` });
  assert.equal(posted.status, 401);
  const both = await h.call('me', { suffix: `?access_token=${tok}x`, headers: { Authorization: `Bearer ${tok}` } });
  assert.equal(both.status, 200);
});

test('public and open functions: called without a token; a bad one never gives an identity', async (t) => {
  const { h, issuer } = await guarded(t, { open: '', public: 'auth = "public"' }, { scripts: { open: SUB, public: SUB } });
  for (const name of ['open', 'public']) {
    assert.equal((await h.call(name)).text, 'nobody');
    assert.equal((await h.call(name, { headers: issuer.bearer({}, { by: 'k3' }) })).text, 'nobody');
    assert.equal((await h.call(name, { headers: { Authorization: 'Bearer x' } })).status, 200);
  }
});

test('identityContext and clientContext.user carry the verified claims', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' }, {
    scripts: { me: 'return function(event, context) return json.encode({ identity = context.identityContext, user = context.clientContext.user }) end' },
  });
  const claims = issuer.claims({ big: 'x', list: [], none: null, nested: { a: [1, 2] } });
  const tok = token(claims);
  const got = (await h.call('me', { headers: { Authorization: `Bearer ${tok}` } })).json();
  assert.equal(got.identity.token, tok);
  assert.deepEqual(got.identity.claims, claims);
  assert.deepEqual(got.user, claims);
});

test('in Lua: require_scope, require_role, verify, has_scope', async (t) => {
  const { h, issuer } = await guarded(t, {}, {
    scripts: {
      scope: 'return jwt.require_scope("read:shows", function() return "ok" end)',
      role: 'return jwt.require_role("admin", function() return "ok" end)',
      verify: `return function(event)
        local claims, fault = jwt.verify(event.body)
        return json.encode({ sub = claims and claims.sub, code = fault and fault.code, message = fault and fault.message,
          has = claims and jwt.has_scope(claims, "read:shows"), hasnt = claims and jwt.has_scope(claims, "read:show") })
      end`,
    },
  });
  const status = async (name, claims) => (await h.call(name, { headers: claims ? issuer.bearer(claims) : {} })).status;
  assert.deepEqual([await status('scope', {}), await status('scope', { scope: 'x' }), await status('scope')], [200, 403, 401]);
  assert.deepEqual([await status('role', { roles: ['admin'] }), await status('role', {}), await status('role')], [200, 403, 401]);
  const denied = await h.call('scope', { headers: issuer.bearer({ scope: 'x' }) });
  assert.deepEqual(denied.json(), { error: 'access_denied', error_description: "Token does not contain the required 'read:shows' scope" });
  assert.match(challenge(denied), /error="insufficient_scope"/);
  const verify = async (body) => (await h.call('verify', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body })).json();
  assert.deepEqual(await verify(issuer.token()), { sub: 'auth0|1', has: true, hasnt: false });
  assert.deepEqual(await verify('a.b.c'), { code: 'jwt_invalid', message: 'Invalid token provided' });
});

test('keys that cannot be had: 503, and 200 as soon as they can', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' });
  const fixture = await Issuer.start(t);
  const away = fixture.tenant('away');
  away.state = { oidc: { status: 500, body: '{}' } };
  const host = await start(t, { files: deployment({ me: OK }, { fields: { me: 'auth = true' }, more: auth(away) }) });
  const res = await host.call('me', { headers: away.bearer() });
  assert.equal(res.status, 503);
  assert.equal(res.json().error, 'keys_unavailable');
  assert.ok(Number(res.header('retry-after')) > 0);
  assert.doesNotMatch(res.text, /127\.0\.0\.1|well-known/);
  assert.equal((await host.call('me', { headers: { Authorization: 'Bearer a.b.c' } })).status, 401, 'what needs no key is judged without');
  away.state = {};
  await eventually(async () => (await host.call('me', { headers: away.bearer() })).status === 200, Number(res.header('retry-after')) + 1, 'it is asked again');
  assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200);
});

test('a restart while the issuer is down: 200 from the keys on disk, ready at once', async (t) => {
  const tenant = (await Issuer.start(t)).tenant();
  const dir = folder(t, deployment({ me: OK }, { fields: { me: 'auth = true' }, more: auth(tenant) }));
  const once = async (expected, asked) => {
    const host = launch(dir, { workers: 2 });
    await host.listening;
    if (asked) await host.keys(); // else they are there from the start
    for (let i = 0; i < 8; i++) assert.equal((await host.call('me', { headers: tenant.bearer({ sub: `s${i}` }) })).status, expected);
    assert.equal((await host.call('me', { headers: tenant.bearer({}, { by: 'k3' }) })).status, expected === 200 ? 401 : 503);
    await host.stop();
  };
  tenant.state = { oidc: { status: 503, body: '{}' } };
  await once(503);
  tenant.state = {};
  await once(200, true);
  tenant.state = { oidc: { close: true }, jwks: { close: true } };
  await once(200);
  assert.deepEqual(tenant.hits.jwks > 0, true);
});

test('a slow issuer holds up nobody but those who wait for its keys', async (t) => {
  const fixture = await Issuer.start(t);
  const slow = fixture.tenant('slow');
  let open;
  slow.state = { gate: new Promise((resolve) => { open = resolve; }) };
  const h = await start(t, { files: deployment({ me: OK, open: OK }, { fields: { me: 'auth = true' }, more: auth(slow) }) });
  const waiting = h.call('me', { headers: slow.bearer() }).then((res) => res.status);
  await eventually(() => slow.hits.oidc === 1, 10, 'it is asked');
  assert.equal((await h.call('open')).status, 200, 'before the one that waits');
  open();
  slow.state = {};
  // Who has waited for three seconds is sent away.
  const status = await waiting;
  if (status !== 200) await eventually(async () => (await h.call('me', { headers: slow.bearer() })).status === 200, 20, `the keys, after ${status}`);
});

test('a fetch for each need: cold, parallel, warm, rotated', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' }, { cold: true });
  const first = (headers) => h.patiently(() => h.call('me', { headers }));
  const all = await Promise.all(Array.from({ length: 20 }, () => first(issuer.bearer())));
  assert.ok(all.every((r) => r.status === 200));
  assert.deepEqual(issuer.hits, { oidc: 1, jwks: 1 });
  for (let i = 0; i < 5; i++) await h.call('me', { headers: issuer.bearer({ sub: `s${i}` }) });
  assert.deepEqual(issuer.hits, { oidc: 1, jwks: 1 }, 'the same key costs nothing');
  issuer.state = { keys: [keys.k3.jwk] };
  assert.equal((await first(issuer.bearer({}, { kid: 'k3', by: 'k3' }))).status, 200, 'a new key is picked up');
  assert.equal(issuer.hits.jwks, 2);
  for (let i = 0; i < 30; i++) {
    const res = await first(issuer.bearer({}, { kid: `u${i}` }));
    assert.equal(res.status, 401);
  }
  // LIMIT_KEYS_STRAYS: one at once, others where they come slowly (on a busy machine all do).
  assert.ok(issuer.hits.jwks <= 2 + 3, `unknown kids made ${issuer.hits.jwks - 2} fetches`);
  assert.equal((await h.call('me', { headers: issuer.bearer({}, { kid: 'k3', by: 'k3' }) })).status, 200);
});

test('cross-origin: preflight before authentication, headers on every error', async (t) => {
  const origin = 'https://app.example';
  const { h, issuer } = await guarded(t, { me: 'auth = true', scope: 'auth = { scope = "admin" }', bad: '' }, {
    scripts: { bad: 'return function() error("x") end' },
    more: `  cors = { origins = { ${lua(origin)} } },\n`,
  });
  const preflight = (from) => h.call('me', {
    method: 'OPTIONS',
    headers: { Origin: from, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' },
  });
  const pre = await preflight(origin);
  assert.ok([200, 204].includes(pre.status), `preflight without a token: ${pre.status}`);
  assert.equal(pre.header('access-control-allow-origin'), origin);
  assert.match(pre.header('access-control-allow-headers') ?? '', /authorization/i);
  assert.match(pre.header('access-control-allow-methods') ?? '', /GET/);
  assert.equal((await preflight('https://evil.example')).header('access-control-allow-origin'), undefined);

  const rows = [['me', {}, 401], ['me', issuer.bearer(), 200], ['scope', issuer.bearer(), 403], ['bad', {}, 502], ['missing', {}, 404]];
  for (const [name, headers, status] of rows) {
    const res = await h.call(name, { headers: { ...headers, Origin: origin } });
    assert.equal(res.status, status, name);
    assert.equal(res.header('access-control-allow-origin'), origin, `${name} ${status}`);
    assert.match(res.header('vary') ?? '', /origin/i);
    const foreign = await h.call(name, { headers: { ...headers, Origin: 'https://evil.example' } });
    assert.equal(foreign.header('access-control-allow-origin'), undefined);
  }
});

test('64 connections, interleaved tokens: nobody gets another one\'s answer', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' }, { scripts: { me: SUB } });
  const jobs = Array.from({ length: 256 }, (_, i) => async () => {
    const bad = i % 5 === 4;
    const res = await request(h, { path: '/.netlify/functions/me', headers: issuer.bearer({ sub: `user ${i}` }, { by: bad ? 'k3' : 'k1' }) });
    assert.equal(res.status, bad ? 401 : 200);
    if (!bad) assert.equal(res.text, `user ${i}`);
  });
  for (let i = 0; i < jobs.length; i += 64) await Promise.all(jobs.slice(i, i + 64).map((job) => job()));
});

test('tokens: size and structure at the limits, quickly', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' });
  const [worker] = h.workers();
  const sized = (bytes) => {
    const grown = (n) => issuer.token({ pad: 'x'.repeat(n) });
    let n = bytes - issuer.token().length;
    n = Math.floor(n * 0.75) - 20;
    while (grown(n).length < bytes) n += 1;
    return grown(n);
  };
  const status = async (tok) => {
    const before = cpuMs(worker);
    const res = await h.call('me', { headers: { Authorization: `Bearer ${tok}` } });
    assert.ok(cpuMs(worker) - before < 500 * SLOW, 'without much work');
    return res.status;
  };
  assert.equal(await status(sized(8100)), 200);
  assert.equal(await status(sized(8300)), 401);
  assert.equal(await status('.'.repeat(10000)), 401);
  const deep = (n) => issuer.token({ deep: JSON.parse('['.repeat(n) + ']'.repeat(n)) });
  assert.equal(await status(deep(5)), 200);
  assert.equal(await status(deep(1000)), 401);
  const raw = JSON.stringify(issuer.claims());
  const twin = raw.replace('"sub":', '"extra":1,"sub":');
  assert.equal(await status(token(twin)), 200);
  assert.equal(await status(token(raw.replace('"sub":', '"sub":"x","sub":'))), 401, 'duplicate member');
  assert.equal(await status(token(raw.replace('"sub":', '"n":1e400,"sub":'))), 401);
});

test('a token of another issuer or audience is refused whatever its signature', async (t) => {
  const { h, issuer } = await guarded(t, { me: 'auth = true' });
  const status = async (claims) => (await h.call('me', { headers: issuer.bearer(claims) })).status;
  assert.equal(await status({}), 200);
  assert.equal(await status({ iss: issuer.base }), 401);
  assert.equal(await status({ iss: `${issuer.issuer}/` }), 401);
  assert.equal(await status({ aud: `${AUDIENCE}2` }), 401);
  assert.equal(await status({ aud: [AUDIENCE, 'other'] }), 200);
  assert.equal(await status({ aud: undefined }), 401);
  assert.equal(await status({ exp: undefined }), 401);
});
