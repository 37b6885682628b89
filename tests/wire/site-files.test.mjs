// The files of a Netlify site: _redirects and _headers, what they change and what is said about bad
// lines; rules by role, and rewrites to another host.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { config, eventually, folder, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const ECHO = 'return function(event) return { statusCode = 200, headers = { ["X-Own"] = "mine" }, body = json.encode { path = event.path, query = event.rawQuery } } end';

const site = (files = {}, more = '') => ({
  'functions.lua': config({ echo: 'script = "scripts/echo.lua", auth = "public"' }, `  publish = "web",\n${more}`),
  'scripts/echo.lua': ECHO,
  'web/index.html': 'home',
  'web/there.html': 'there',
  'web/404.html': 'lost',
  ...files,
});

test('_redirects: publish folder before root, functions.lua before both, first match wins', async (t) => {
  const host = await start(t, {
    files: site({
      'web/_redirects': '# comment\n/a /from-publish\n/c /c-publish 302\n/news/* /blog/:splat\n/api/* /.netlify/functions/:splat 200 # inline\n/store id=:id /blog/:id 301\n/there /x 302\n/there2/* /there 200!\n/gone /404.html 404\n',
      _redirects: '/a /from-root\n/b /from-root 307\n/c /c-root\n',
    }, '  redirects = { { from = "/c", to = "/c-lua" } },\n'),
  });
  const leads = async (from, status, to) => {
    const res = await host.get(from);
    assert.deepEqual([res.status, res.headers.location?.[0]], [status, to], from);
  };
  await leads('/a', 301, '/from-publish');
  await leads('/b', 307, '/from-root');
  await leads('/c', 301, '/c-lua');
  await leads('/news/x/y?q=1', 301, '/blog/x/y?q=1');
  await leads('/store?id=5&z=1', 301, '/blog/5');
  assert.equal((await host.get('/store')).status, 404);
  assert.equal((await host.get('/there')).body.toString(), 'there', 'a file is in the way');
  assert.equal((await host.get('/there2/z')).body.toString(), 'there', 'forced');
  const gone = await host.get('/gone');
  assert.deepEqual([gone.status, gone.body.toString()], [404, 'lost']);
  const echo = JSON.parse((await host.get('/api/echo/x?ding=dong')).body);
  assert.deepEqual(echo, { path: '/api/echo/x', query: 'ding=dong' });
});

test('an application in one page: its rule for everything is not for functions', async (t) => {
  const host = await start(t, { files: site({ _redirects: '/* /index.html 200\n' }) });
  for (const at of ['/', '/some/where', '/.netlify', '/.netlify/other']) assert.equal((await host.get(at)).text, 'home', at);
  assert.equal((await host.call('echo')).status, 200);
  for (const at of ['nobody', 'nobody/below', '']) {
    const res = await host.get(`/.netlify/functions/${at}`);
    assert.deepEqual([res.status, res.json().error], [404, 'not_found'], at);
  }
  const own = await start(t, { files: site({}, '  prefix = "/api",\n  redirects = { { from = "/*", to = "/index.html", status = 200 }, { from = "/api/v1/*", to = "/api/:splat", status = 200 } },\n') });
  assert.equal((await own.get('/api/echo')).status, 200);
  assert.equal((await own.get('/api/v1/echo')).status, 200, 'a rule of its own');
  assert.equal((await own.get('/api/nobody')).status, 404);
  assert.equal((await own.get('/.netlify/functions/echo')).text, 'home');
});

test('conditions and header values may be lists', async (t) => {
  const host = await start(t, { files: site({}, `  redirects = { { from = "/l", to = "/yes", conditions = { Language = { "de", "fr" }, Cookie = "a" } } },
  headers = { { ["for"] = "/there", values = { ["X-List"] = { "a", "b" } } } },\n`) });
  const l = async (language, cookie) => (await host.get('/l', { 'Accept-Language': language, Cookie: cookie })).status;
  assert.deepEqual([await l('fr', 'a=1'), await l('de-AT', 'a=1'), await l('en', 'a=1'), await l('fr', 'b=1')], [301, 301, 404, 404]);
  assert.equal((await host.get('/there')).headers['x-list'][0], 'a, b');
});

test('the files themselves are not served', async (t) => {
  const host = await start(t, { files: site({ 'web/_redirects': '/a /b\n', 'web/_headers': '/*\n  X-A: b\n', 'web/netlify.toml': '', 'web/_other': 'seen' }) });
  for (const name of ['_redirects', '_headers', 'netlify.toml', '%5Fredirects']) {
    assert.equal((await host.get(`/${name}`)).status, 404, name);
  }
  assert.equal((await host.get('/_other')).status, 200);
});

test('bad lines: each told once with its place, the others count; check ends with 1', async (t) => {
  const files = site({
    _redirects: '/ok /fine\n/only\n/x nowhere\n/.netlify/x /y\n/y /z 999\n/ok2 /fine2\n/q a b /z\n/r /s 301 Planet=mars\n',
    _headers: 'X-Early: 1\n/x\n  X-Good: yes\n  Bad Name: 1\n  X-Empty:\n  nothing\n',
  });
  const wanted = [
    /^_redirects:2: the target is missing/m, /^_redirects:3: the target must begin/m,
    /^_redirects:4: 'from' must not begin with '\/\.netlify'/m, /^_redirects:5: 'status' must be 200/m,
    /^_redirects:7: expected name=value/m, /^_redirects:8: a condition is Language/m,
    /^_headers:1: a field needs a path above it/m, /^_headers:4: this cannot be sent/m,
    /^_headers:5: the field's value is missing/m, /^_headers:6: expected a path/m,
  ];
  const { code, stderr } = await run(t, ['check'], { files });
  assert.equal(code, 1);
  for (const one of wanted) assert.match(stderr, one);
  assert.equal(stderr.trim().split('\n').length, wanted.length);

  const host = await start(t, { files, workers: 2 });
  assert.equal((await host.get('/ok')).headers.location?.[0], '/fine');
  assert.equal((await host.get('/ok2')).headers.location?.[0], '/fine2');
  assert.equal((await host.get('/x')).headers['x-good']?.[0], 'yes');
  await host.says(/_redirects:2:/);
  const told = host.stderr.split('\n').filter((l) => /_redirects:2:/.test(l));
  assert.equal(told.length, 1, 'two workers, one word');

  const good = await run(t, ['check'], { files: site({ _redirects: '/ok /fine\n' }) });
  assert.equal(good.code, 0, good.stderr);
});

test('_headers: blocks merge, later ones win, functions.lua last; a function keeps its own', async (t) => {
  const host = await start(t, {
    files: site({
      'web/_headers': '/*\n  X-All: publish\n  X-List: a\n  X-List: b:c\n  X-Own: rule\n/there\n  X-One: 1\n',
      _headers: '/*\n  X-All: root\n  X-Root: 1\n',
    }, '  headers = { { ["for"] = "/*", values = { ["X-Root"] = "lua" } } },\n'),
  });
  const page = await host.get('/there');
  assert.equal(page.headers['x-all']?.[0], 'root');
  assert.equal(page.headers['x-list']?.[0], 'a, b:c');
  assert.equal(page.headers['x-one']?.[0], '1');
  assert.equal(page.headers['x-root']?.[0], 'lua');
  assert.equal((await host.get('/')).headers['x-one']?.[0], undefined);
  const own = await host.call('echo');
  assert.equal(own.headers['x-own']?.[0], 'mine');
  assert.equal(own.headers['x-all']?.[0], 'root');
});

test('dev takes up changed, new and removed files within a second', async (t) => {
  const dir = folder(t, site());
  const host = await start(t, { dir, command: 'dev' });
  const leads = async (to) => (await host.get('/moved')).headers.location?.[0] === to;
  assert.ok(await leads(undefined));
  const put = async (file, text, to) => {
    const at = Date.now();
    if (text === null) fs.rmSync(path.join(dir, file));
    else fs.writeFileSync(path.join(dir, file), text);
    await eventually(() => leads(to), 1, `${file}: ${text}`);
    t.diagnostic(`${file}: ${Date.now() - at} ms`);
  };
  await put('_redirects', '/moved /one\n', '/one');
  await put('_redirects', '/moved /two\n', '/two');
  await put('web/_redirects', '/moved /three\n', '/three');
  await put('web/_redirects', null, '/two');
  fs.writeFileSync(path.join(dir, '_headers'), '/*\n  X-New: 1\n');
  await eventually(async () => (await host.get('/')).headers['x-new']?.[0] === '1', 1, '_headers');
});

test('Role: by verified tokens only, from the header or the cookie', async (t) => {
  const issuer = await Issuer.start(t);
  const tenant = issuer.tenant();
  const host = await start(t, {
    files: site({
      'web/adm/index.html': 'secret',
      'web/login.html': 'please',
      _redirects: '/adm/* 200! Role=admin,editor\n/adm/* /login 401!\n/adm/* /login.html 302!\n',
    }, `  auth = { issuer = "${tenant.issuer}", audience = "${AUDIENCE}", namespace = "https://x/" },\n`),
  });
  const verdict = async (headers) => (await host.get('/adm/', headers)).status;
  const role = { app_metadata: { authorization: { roles: ['admin'] } } };
  assert.equal(await verdict({}), 302);
  assert.equal(await verdict(tenant.bearer(role)), 200, 'the first one waits for the keys');
  assert.equal(await verdict({ Cookie: `a=b; nf_jwt=${tenant.token(role)}` }), 200);
  assert.equal(await verdict(tenant.bearer({ 'https://x/roles': ['editor'] })), 200);
  assert.equal(await verdict(tenant.bearer({ roles: 'admin' })), 200);
  assert.equal(await verdict(tenant.bearer({ roles: ['viewer'] })), 302);
  assert.equal(await verdict(tenant.bearer({ roles: ['administrator'] })), 302);
  assert.equal(await verdict(tenant.bearer({ ...role, exp: 1 })), 302, 'expired');
  assert.equal(await verdict(tenant.bearer(role, { by: 'k2' })), 302, 'signed by another key');
  assert.equal(await verdict({ Cookie: `nf_jwt=${tenant.token(role).replace(/\.[^.]*$/, '.')}` }), 302);
  assert.equal(await verdict({ ...tenant.bearer({ roles: [] }), Cookie: `nf_jwt=${tenant.token(role)}` }), 302, 'the header counts');
  const page = await host.get('/adm/', tenant.bearer(role));
  assert.equal(page.body.toString(), 'secret');
});

async function upstream(t) {
  const seen = [];
  const server = http.createServer((req, res) => {
    const parts = [];
    req.on('data', (d) => parts.push(d));
    req.on('end', () => {
      seen.push({ method: req.method, url: req.url, headers: req.headers, body: Buffer.concat(parts).toString() });
      if (req.url === '/base/moved') return res.writeHead(302, { Location: 'http://elsewhere.example/' }).end();
      if (req.url === '/base/hang') return undefined;
      return res.writeHead(203, { 'Set-Cookie': ['a=1', 'b=2'], 'Content-Type': 'text/x', Connection: 'close' }).end(`got ${req.url}`);
    });
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return { seen, server, port: server.address().port };
}

test('a rewrite to another host: request and answer pass, redirects are passed on', async (t) => {
  const { seen, server, port } = await upstream(t);
  const host = await start(t, {
    files: site({ _redirects: `/proxy/* http://127.0.0.1:${port}/base/:splat 200\n/down http://127.0.0.1:1/ 200\n` }),
  });
  const res = await host.request({ method: 'POST', path: '/proxy/a/b?c=d', headers: { 'X-Some': 'thing', 'X-Forwarded-For': '6.6.6.6', 'Content-Type': 'text/plain' }, body: 'hello' });
  assert.equal(res.status, 203);
  assert.equal(res.body.toString(), 'got /base/a/b?c=d');
  assert.equal(res.headers['content-type']?.[0], 'text/x');
  assert.deepEqual(res.headers['set-cookie'], ['a=1', 'b=2']);
  const [got] = seen;
  assert.deepEqual([got.method, got.url, got.body], ['POST', '/base/a/b?c=d', 'hello']);
  assert.equal(got.headers.host, `127.0.0.1:${port}`, 'changeOrigin');
  assert.equal(got.headers['x-some'], 'thing');
  assert.equal(got.headers['x-forwarded-for'], '127.0.0.1', 'what the client claims does not count');
  assert.equal(got.headers['x-forwarded-host'], `${host.address}:${host.port}`);
  const moved = await host.get('/proxy/moved');
  assert.deepEqual([moved.status, moved.headers.location?.[0]], [302, 'http://elsewhere.example/']);
  const down = await host.get('/down');
  assert.equal(down.status, 502);
  assert.deepEqual(Object.keys(JSON.parse(down.body)), ['error', 'error_description']);
  assert.doesNotMatch(down.body.toString(), /127\.0\.0\.1/);

  const wire = await host.connect();
  wire.send('GET /proxy/hang HTTP/1.1\r\nHost: x\r\n\r\n');
  const there = new Promise((r) => server.on('request', r));
  await there.then((req) => new Promise((r) => { req.socket.on('close', r); wire.socket.resetAndDestroy(); }));
});

test('a rewrite to another host never goes where the request says', async (t) => {
  const { seen, port } = await upstream(t);
  const host = await start(t, { files: site({ _redirects: `/p/* http://127.0.0.1:${port}/:splat 200\n/q/* http://:splat/ 200\n` }) });
  for (const target of ['/p/@evil.example/', '/p//evil.example/', '/p/http://evil.example/', '/p/?@evil.example']) {
    await host.get(target);
  }
  for (const one of seen) assert.equal(one.headers.host, `127.0.0.1:${port}`);
  assert.equal(seen.length, 4);
  assert.equal((await host.get('/q/evil.example')).status, 404);
  await host.says(/_redirects:2: .*host/);
});
