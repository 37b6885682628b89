// `protect`: policies before files of `publish`, redirects and rewrites.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import zlib from 'node:zlib';
import { config, folder, run, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
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
  assert.match(audit.stdout, /\/admin/);
  assert.equal(audit.code, 0, audit.stdout + audit.stderr);
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
