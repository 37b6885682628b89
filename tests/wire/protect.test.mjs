// `protect`: policies before files of `publish`, redirects and rewrites.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import path from 'node:path';
import test from 'node:test';
import zlib from 'node:zlib';
import { config, eventually, folder, run, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { answer, rawUpstream } from '../lib/upstream.mjs';

const OPEN = 'return function() return "in" end';

async function guarded(t, rules, more = '', files = {}) {
  const issuer = await Issuer.start(t);
  const tenant = issuer.tenant();
  const h = await start(t, {
    files: {
      'functions.lua': config({
        form: 'script = "f.lua", auth = "public", path = "/admin/form", methods = { "POST" }',
        open: 'script = "f.lua", auth = "public"',
      }, `  auth = { issuer = "${tenant.issuer}", audience = "${AUDIENCE}" },\n  publish = "web",\n  protect = { ${rules} },\n${more}`),
      'f.lua': OPEN,
      'web/index.html': 'home',
      'web/404.html': 'lost',
      'web/admin/index.html': 'secret',
      'web/admin/a.html': 'secret',
      'web/admin/form.html': 'secret',
      'web/admin/login.html': 'login',
      'web/one.html': 'secret',
      ...files,
    },
  });
  await h.keys();
  return { h, tenant };
}

const ADMIN = '{ path = "/admin/login", auth = "public" }, { path = "/admin/*", auth = { role = "admin" } }, { path = "/one.html", auth = true }';

test('a file is seen by whom its rule lets in, under each of its addresses', async (t) => {
  const { h, tenant } = await guarded(t, ADMIN, '', { 'web/one.html.gz': zlib.gzipSync('secret') });
  const admin = tenant.bearer({ roles: ['admin'] }), user = tenant.bearer();
  for (const at of ['/admin', '/admin/', '/admin/index.html', '/admin/index', '/admin/a', '/admin/a.html', '/%61dmin/a', '/x/../admin/a', '/x/%2e%2e/admin/a', '/admin/form', '/admin/login.html', '/admin/./login.html']) {
    const none = await h.get(at);
    assert.equal(none.status, 401, at);
    assert.match(none.header('www-authenticate'), /^Bearer realm=/, at);
    const low = await h.get(at, user);
    assert.deepEqual([low.status, low.json().error_description], [403, "User does not have the 'admin' role"], at);
    const res = await h.get(at, admin);
    assert.deepEqual([res.status, res.text === 'secret' || res.text === 'login'], [200, true], at);
    assert.equal(res.header('cache-control'), 'private, max-age=0, must-revalidate', at);
  }
  for (const at of ['/one', '/one.html', '/one/', '/one.html.gz', '/One.html']) assert.equal((await h.get(at)).status, 401, at);
  for (const at of ['/one', '/one.html', '/one.html.gz']) assert.equal((await h.get(at, user)).status, 200, at);
  const open = await h.get('/admin/login');
  assert.deepEqual([open.text, open.header('cache-control')], ['login', 'public, max-age=0, must-revalidate'], 'the first that matches');
  assert.equal((await h.get('/')).text, 'home');
  assert.equal((await h.get('/nothing')).text, 'lost');
  assert.equal((await h.get('/admin/nothing')).status, 401, 'who may not look does not learn what is there');
  assert.equal((await h.get('/admin/nothing', admin)).status, 404);
  assert.equal((await h.request({ method: 'POST', path: '/admin/form' })).text, 'in', 'a function has its own policy');
  assert.equal((await h.get('//admin/a')).status, 401);
  assert.equal((await h.get('/admin%2Fa')).status, 400);
  for (const method of ['HEAD', 'POST', 'DELETE']) assert.equal((await h.request({ method, path: '/admin/a' })).status, 401, method);
  const first = await h.get('/admin/a', admin);
  const tag = { 'If-None-Match': first.header('etag') };
  assert.equal((await h.get('/admin/a', { ...admin, ...tag })).status, 304);
  assert.equal((await h.get('/admin/a', tag)).status, 401);
  assert.equal((await h.get('/admin/a', tenant.bearer({ roles: ['admin'], exp: 1 }))).json().error, 'jwt_expired');
});

test('no way around a rule: forms of the target, methods, parts, HTTP/2', async (t) => {
  const more = `  limits = { h2c = true },
  redirects = { { from = "/admin/old", to = "/admin/a" }, { from = "/far/*", to = "/admin/:splat", status = 200 },
    { from = "/in/*", to = "/.netlify/functions/open", status = 200 }, { from = "/ap/*", to = "/one.html", status = 200 } },`;
  const { h, tenant } = await guarded(t, `${ADMIN}, { path = "/in/*", auth = true }`, more);
  const admin = tenant.bearer({ roles: ['admin'] });
  const targets = ['/admin/a', '/ADMIN/a', '/%41dmin/%61', '/admin//a', '//admin//a', '/admin/x/%2e%2E/a', '/admin/./a', '/admin/a/', '/admin/a/?x=/admin/login', '/admin/a?', '/admin/login/../a', '/admin/login/%2e%2e/a.html', '/admin/old', '/far/a', '/in/x', '/Admin/', '/admin?/admin/login'];
  const session = http2.connect(h.url(''));
  later(t, () => session.destroy());
  const over2 = (at, headers) => new Promise((resolve, reject) => {
    const stream = session.request({ ':path': at, ...headers });
    stream.end();
    let status, text = '';
    stream.on('response', (got) => { status = got[':status']; });
    stream.on('data', (piece) => { text += piece; }).on('error', reject).on('close', () => resolve({ status, text }));
  });
  for (const at of targets) {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'DELETE', 'PATCH']) {
      assert.equal((await h.request({ method, path: at })).status, 401, `${method} ${at}`);
      assert.equal((await over2(at, { ':method': method })).status, 401, `${method} ${at} over HTTP/2`);
      const passed = await h.request({ method, path: at, headers: admin });
      assert.ok(![400, 401, 403].includes(passed.status), `the twin: ${method} ${at} ${passed.status}`);
    }
    assert.equal((await h.get(h.url(at))).status, 401, `absolute form of ${at}`);
    const part = await h.get(at, { Range: 'bytes=0-2' });
    assert.deepEqual([part.status, part.header('content-range')], [401, undefined], at);
  }
  for (const at of ['/admin%5Ca', '/admin%2fa', '/admin/..%2fadmin%2fa', '/%2fadmin/a']) {
    assert.equal((await h.get(at)).status, 400, at);
    assert.equal((await over2(at)).status, 400, at);
  }
  for (const at of ['/%2561dmin/a', '/admin%00/a', '/admin;/a', '/admin./a', '/admin%20/a', '/adminx/a']) assert.doesNotMatch((await h.get(at)).text, /secret/, at);
  assert.deepEqual((await h.get('/admin/a', { ...admin, Range: 'bytes=0-2' })).text, 'sec');
  assert.deepEqual(await over2('/admin/a', { authorization: admin.Authorization }), { status: 200, text: 'secret' });
  assert.equal((await h.get('/in/x', tenant.bearer())).text, 'in');
  assert.equal((await h.get('/ap/x')).status, 401, 'where it leads to');
  assert.equal((await h.get('/ap/x', tenant.bearer())).text, 'secret');
  assert.equal((await over2('/', {})).text, 'home', 'the rest is open');
});

test('a refusal leads to a document about the rule, and a token may be for it alone', async (t) => {
  const BASE = 'https://api.example/v1';
  const { h, tenant } = await guarded(t, '{ path = "/admin/*", auth = { scope = "admin" } }, { path = "/reports/:year", auth = { scope = "read" } }, { path = "/open/*", auth = "public" }');
  const known = '/.well-known/oauth-protected-resource';
  const none = await h.get('/admin/a'), low = await h.get('/admin/a', tenant.bearer());
  const link = `resource_metadata="${h.url(`${known}/admin`)}"`;
  assert.equal(none.header('www-authenticate'), `Bearer realm="luafn", scope="admin", ${link}`);
  assert.equal(low.header('www-authenticate'), `Bearer realm="luafn", error="insufficient_scope", scope="admin", ${link}`);
  assert.deepEqual((await h.get(`${known}/admin`)).json(), { resource: h.url('/admin'), authorization_servers: [tenant.issuer], scopes_supported: ['admin'], bearer_methods_supported: ['header'] });
  assert.equal((await h.get(`${known}/reports`)).json().resource, h.url('/reports'));
  assert.deepEqual((await h.get(known)).json().scopes_supported, ['admin', 'read']);
  for (const at of ['/open', '/reports/1', '/none']) assert.equal((await h.get(known + at)).status, 404, at);
  write(h.dir, { 'functions.lua': config({}, `  auth = { issuer = "${tenant.issuer}", audience = "resource", resource = "${BASE}" },\n  publish = "web",
  protect = { { path = "/admin/*", auth = true }, { path = "/one", auth = true } },`) });
  h.kill('SIGHUP');
  const bearer = (aud) => ({ Authorization: `Bearer ${tenant.token({ aud })}` });
  await eventually(async () => (await h.get('/admin/a', bearer(`${BASE}/admin`))).status === 200, 5, 'the new configuration');
  assert.equal((await h.get('/admin/a')).header('www-authenticate'), `Bearer realm="luafn", resource_metadata="https://api.example${known}/v1/admin"`);
  assert.equal((await h.get('/admin/a', bearer(BASE))).status, 200);
  for (const aud of [`${BASE}/one`, `${BASE}/admin/a`, 'resource', h.url('/admin'), AUDIENCE]) assert.equal((await h.get('/admin/a', bearer(aud))).status, 401, aud);
  assert.equal((await h.get('/one', bearer(`${BASE}/one`))).status, 200);
});

test('explain says what is judged at a path', async (t) => {
  const { h, tenant } = await guarded(t, ADMIN, '  redirects = { { from = "/x", to = "/y" } },');
  const admin = tenant.token({ roles: ['admin'] }), user = tenant.token();
  for (const [token, at, code, said] of [
    [admin, '/admin/a', 0, /PASS +role +"admin"[^]*\nlet through\n$/], [user, '/admin/a', 1, /FAIL +role[^]*refused: 403/], [user, '/%61DMIN/x/../a', 1, /FAIL +role/],
    [user, '/one', 0, /let through\n$/], [user, '/admin/login', 0, /protect \/admin\/login is public: everybody is let through/], [user, '/', 0, /what no rule of `protect` covers is public/],
    [user, '/.netlify/functions/open', 0, /the function open is public/], [user, '/admin/form', 1, /FAIL +role/], ['junk', '/admin/a', 1, /refused: 401/],
  ]) {
    const out = await run(t, ['explain', token, '--route', at], { dir: h.dir });
    assert.match(out.stdout, said, `${at} ${out.stderr}`);
    assert.equal(out.code, code, at);
  }
  for (const at of ['/admin%2Fa', '/../x', '/%zz']) {
    const out = await run(t, ['explain', user, '--route', at], { dir: h.dir });
    assert.deepEqual([out.code, out.stderr.trim().split('\n').length], [2, 1], at);
  }
});

test('rewrites are judged where they are, and where they lead', async (t) => {
  const up = await rawUpstream(t, (request, conn) => conn.send(answer('far')));
  const { h, tenant } = await guarded(t, '{ path = "/far/*", auth = true }, { path = "/admin/*", auth = { role = "admin" } }', `  redirects = {
    { from = "/far/old", to = "/far/new" }, { from = "/far/*", to = "${up.url}/:splat", status = 200 },
    { from = "/way/*", to = "/admin/:splat", status = 200 }, { from = "/admin/go", to = "/.netlify/functions/open", status = 200 },
    { from = "/all/*", to = "${up.url}/:splat", status = 200 } },
  cors = { origins = { "https://app.example" } },`);
  const admin = tenant.bearer({ roles: ['admin'] }), user = tenant.bearer();
  for (const at of ['/far/x', '/far/old', '//far/x', '/far//x', '/way/a', '/admin/go']) assert.equal((await h.get(at)).status, 401, at);
  assert.equal(up.requests.length, 0);
  assert.equal((await h.get('/far/x', user)).text, 'far');
  assert.equal((await h.get('/far/old', user)).status, 301);
  assert.equal((await h.get('/way/a', user)).status, 403);
  assert.equal((await h.get('/way/a', admin)).text, 'secret');
  assert.equal((await h.get('/admin/go', user)).status, 403);
  assert.equal((await h.get('/admin/go', admin)).text, 'in');
  assert.equal((await h.get('/all/x%2Fy')).status, 400);
  assert.equal((await h.get('/all/x')).text, 'far');
  const preflight = await h.request({ method: 'OPTIONS', path: '/far/x', headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' } });
  assert.equal(preflight.status, 204);
});

test('keys that cannot be had are a 503, and are waited for', async (t) => {
  const { h, tenant } = await guarded(t, ADMIN);
  const admin = tenant.bearer({ roles: ['admin'] });
  const before = tenant.hits.jwks;
  assert.equal((await h.get('/admin/a', tenant.bearer({ roles: ['admin'] }, { kid: 'k3', by: 'k3' }))).status, 401);
  assert.ok(tenant.hits.jwks > before, 'an unknown key is asked for');
  assert.equal((await h.get('/admin/a', admin)).text, 'secret');
});

test('routes show the rules, audit attacks them, check --diff compares them', async (t) => {
  const { h, tenant } = await guarded(t, ADMIN);
  const shown = await run(t, ['routes'], { dir: h.dir });
  assert.match(shown.stdout, /^\* +\/admin\/\* +- +- +role admin/m);
  const audit = await run(t, ['audit', h.url(), '--config', path.join(h.dir, 'functions.lua')], { dir: h.dir });
  for (const name of ['no token', 'no token, as //admin', 'no token, as /ADMIN', 'no token, as /%61dmin', 'no token, HEAD']) assert.match(audit.stdout, new RegExp(`^ok +${name} +GET /admin `, 'm'));
  assert.equal(audit.code, 0, audit.stdout + audit.stderr);
  const full = await run(t, ['audit', h.url(), '--config', path.join(h.dir, 'functions.lua'), '--token', tenant.token({ roles: ['admin'] })], { dir: h.dir });
  assert.equal(full.code, 0, full.stdout.split('\n').filter((l) => !l.startsWith('ok')).join('\n') + full.stderr);
  const dir = folder(t);
  const world = (rules) => ({ 'functions.lua': config({}, `  auth = { issuer = "${tenant.issuer}", audience = "x" },\n  protect = { ${rules} },`) });
  const diff = async (before, now) => {
    write(path.join(dir, 'old'), world(before));
    write(path.join(dir, 'now'), world(now));
    return run(t, ['check', '--diff', '../old'], { dir: path.join(dir, 'now') });
  };
  const cases = [
    ['{ path = "/a/*", auth = { role = "r" } }', '{ path = "/a/*", auth = true }', /gained +any method \/a\/\* +- +tokens of .* without role 'r'/],
    ['{ path = "/a/*", auth = true }', '', /gained +any method \/a\/\* +- +everybody/],
    ['{ path = "/a/*", auth = true }', '{ path = "/a/b", auth = "public" }, { path = "/a/*", auth = true }', /gained +any method \/a\/b +- +everybody/],
    ['{ path = "/a/:x", auth = true }, { path = "/:y/b", auth = { role = "r" } }', '{ path = "/a/:x", auth = true }, { path = "/:y/b", auth = true }', /gained +any method \/:y\/b +- .* without role 'r'/],
    ['{ path = "/:y/b", auth = { role = "r" } }, { path = "/a/:x", auth = true }', '{ path = "/a/:x", auth = true }, { path = "/:y/b", auth = { role = "r" } }', /gained +any method \/a\/b +- .* without role 'r'/],
  ];
  for (const [before, now, told] of cases) {
    const out = await diff(before, now);
    assert.match(out.stdout, told, before);
    assert.equal(out.code, 3);
    if (now !== '') assert.doesNotMatch((await diff(now, now)).stdout, /^(gained|lost) /m);
  }
  assert.equal((await diff('', '{ path = "/a/*", auth = true }')).code, 0);
});

test('what is no rule is named', async (t) => {
  for (const [rules, what] of [
    ['{ path = "/a" }', /protect\[1\]: has no `auth`/], ['{ auth = true }', /protect\[1\]: has no `path`/], ['{ path = "a", auth = true }', /protect\[1\]\.path: 'a': a path begins with '\/'/],
    ['{ path = "/a*", auth = true }', /'\*' must be the whole last segment/], ['{ path = "/a/:b?", auth = true }', /write one rule for each/], ['{ paht = "/a", auth = true }', /paht/],
    ['{ path = "/a", auth = { webhook = "github", secret = "x" } }', /protect\[1\]\.auth/], ['{ path = "/a", auth = true }', /protect\[1\]\.auth: asks for a token, but functions.lua has no issuer/],
  ]) {
    const out = await run(t, ['check'], { files: { 'functions.lua': config({}, `  protect = { ${rules} },`) } });
    assert.notEqual(out.code, 0, rules);
    assert.match(out.stderr, what, rules);
  }
  const good = await run(t, ['check'], { files: { 'functions.lua': config({}, '  protect = { { path = "/a", auth = "public" } },') } });
  assert.equal(good.code, 0, good.stderr);
});
