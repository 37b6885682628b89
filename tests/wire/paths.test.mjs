// Paths of one's own: literal, with parameters, with methods, beside files and each other; the custom
// path cases of netlify-cli's own integration tests are among them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, start } from '../lib/host.mjs';

const NAME = 'return function(event, context) return context.functionName .. " " .. json.encode(event.params) .. " " .. tostring(event.route) end';

async function site(t, fields, more = {}) {
  const scripts = Object.fromEntries(Object.keys(fields).map((name) => [name, NAME]));
  const open = Object.fromEntries(Object.entries(fields).map(([k, v]) => [k, `auth = "public", ${v}`]));
  const host = await start(t, {
    files: deployment(scripts, {
      fields: open, more: '  publish = "web",', files: { 'web/page.html': 'page', 'web/favicon.ico': 'icon', 'web/form.html': 'form', ...more },
    }),
  });
  return async (path, method = 'GET') => {
    const res = await host.request({ path, method });
    return `${res.status} ${res.text}`;
  };
}

test('literal, parameters, methods; the default address is gone', async (t) => {
  const ask = await site(t, {
    lit: 'path = "/products"', sku: 'path = "/products/:sku", methods = "DELETE"', put: 'path = "/products/:sku", methods = "PUT"',
    icon: 'path = "/favicon.ico"', two: 'path = { "/one", "/two/:x" }',
  });
  assert.equal(await ask('/products'), '200 lit {} /products');
  assert.equal(await ask('/products/'), '200 lit {} /products');
  assert.equal(await ask('/products/a%20b', 'DELETE'), '200 sku {"sku":"a b"} /products/:sku');
  assert.equal(await ask('/products/7', 'PUT'), '200 put {"sku":"7"} /products/:sku');
  assert.match(await ask('/products/7'), /^405 .*method_not_allowed/);
  assert.equal(await ask('/favicon.ico'), '200 icon {} /favicon.ico', 'the function, not the file');
  assert.equal(await ask('/one'), '200 two {} /one');
  assert.equal(await ask('/two/b'), '200 two {"x":"b"} /two/:x');
  for (const name of ['lit', 'sku', 'icon', 'two']) assert.match(await ask(`/.netlify/functions/${name}`), /^404 .*not_found/);
});

test('a catch-all with paths that it excludes: another function, a file, nothing', async (t) => {
  const ask = await site(t, {
    all: 'path = "/*", excludedPath = { "/page", "/api/*", "/jobs/:id", "/.netlify/*" }', api: 'path = "/api/:rest"', plain: '',
  });
  assert.equal(await ask('/'), '200 all {"splat":""} /*');
  assert.equal(await ask('/x/y'), '200 all {"splat":"x/y"} /*');
  assert.equal(await ask('/page'), '200 page');
  assert.equal(await ask('/page.html'), '200 all {"splat":"page.html"} /*');
  assert.equal(await ask('/api/7'), '200 api {"rest":"7"} /api/:rest');
  assert.match(await ask('/api/7/8'), /^404 /);
  assert.match(await ask('/jobs/3'), /^404 /);
  assert.equal(await ask('/jobs/3/4'), '200 all {"splat":"jobs/3/4"} /*');
  assert.equal(await ask('/.netlify/functions/plain'), '200 plain {} nil');
});

test('preferStatic: a file first, the function where there is none', async (t) => {
  const ask = await site(t, { all: 'path = "/*", preferStatic = true', icon: 'path = "/favicon.ico", preferStatic = true' });
  assert.equal(await ask('/page'), '200 page');
  assert.equal(await ask('/favicon.ico'), '200 icon');
  assert.equal(await ask('/none'), '200 all {"splat":"none"} /*');
  assert.equal(await ask('/page', 'POST'), '200 all {"splat":"page"} /*', 'files answer GET and HEAD only');
});

test('a page and the function that its form posts to may share a path', async (t) => {
  const ask = await site(t, { form: 'path = "/form", methods = "POST"', other: 'path = "/other", methods = "POST"' });
  assert.equal(await ask('/form'), '200 form');
  assert.equal(await ask('/form', 'HEAD'), '200 ');
  assert.equal(await ask('/form', 'POST'), '200 form {} /form');
  assert.match(await ask('/form', 'PUT'), /^405 /);
  assert.match(await ask('/other'), /^405 /);
});

test('a script says it itself; functions.lua wins', async (t) => {
  const says = (more) => `return { path = "/all/*", auth = "public", excludedPath = "/all/no", ${more}\n  handler = function(event, context) return context.functionName end }`;
  const host = await start(t, { files: deployment({ all: says('') }) });
  assert.equal((await host.get('/all/yes')).text, 'all');
  assert.equal((await host.get('/all/no')).status, 404);
  const other = await start(t, { files: deployment({ all: says('') }, { fields: { all: 'excludedPath = "/all/yes"' } }) });
  assert.equal((await other.get('/all/yes')).status, 404);
  assert.equal((await other.get('/all/no')).text, 'all');
});

test('a path is handed on as it was sent: %2F, a slash at the end of a splat, empty segments', async (t) => {
  const seen = 'return function(event) return event.path .. " " .. json.encode(event.params) end';
  const host = await start(t, {
    files: deployment({ seen, all: seen }, {
      fields: { seen: 'auth = "public"', all: 'auth = "public", path = "/all/*"' },
      more: '  publish = "web", redirects = { { from = "/old/*", to = "/new/:splat" }, { from = "/id/:id", to = "/i/:id" }, { from = "/in/*", to = "/all/:splat", status = 200 } },',
      files: { 'web/x.html': 'x' },
    }),
  });
  const text = async (path) => (await host.get(path)).text;
  assert.equal(await text('/.netlify/functions/seen/a%2Fb'), '/.netlify/functions/seen/a%2Fb {"splat":"a/b"}');
  assert.equal(await text('/all/a%2Fb/'), '/all/a%2Fb/ {"splat":"a/b/"}');
  assert.equal(await text('/all/a'), '/all/a {"splat":"a"}');
  assert.equal(await text('/all/'), '/all/ {"splat":""}');
  assert.equal(await text('/all//a//b/'), '/all//a//b/ {"splat":"/a//b/"}');
  assert.equal(await text('/in/a%5cb/'), '/in/a%5cb/ {"splat":"a\\\\b/"}');
  for (const [path, location] of [['/old/a/', '/new/a/'], ['/old/a%2Fb', '/new/a%2Fb'], ['/old/a//b/', '/new/a//b/'], ['/old', '/new/'], ['/id/7/', '/i/7'], ['/id/a%2Fb', '/i/a%2Fb']]) {
    assert.equal((await host.get(path)).headers.location[0], location, path);
  }
  for (const path of ['/x%2Ehtml', '/x.html']) assert.equal((await host.get(path)).status, 200, path);
  for (const path of ['/..%2Fscripts%2Fseen.lua', '/x.html%2F', '/%5cx.html', '/none%2Fat-all']) assert.equal((await host.get(path)).status, 400, path);
});

test('rules of one host come first, and are for that host alone', async (t) => {
  const host = await start(t, {
    args: ['--config', 'netlify.toml'],
    files: {
      'netlify.toml': '[build]\n  publish = "web"\n[[redirects]]\n  from = "http://testing.example/*"\n  to = "/testing.html"\n  status = 200\n  force = true\n',
      'web/_redirects': 'http://blog.example/* https://www.example/blog/:splat 301!\nhttps://blog.example/* /never.html 200!\n/* /index.html 200\n',
      'web/index.html': 'index', 'web/testing.html': 'testing', 'web/never.html': 'never',
    },
  });
  const ask = (name, path) => host.request({ path, headers: { Host: name } });
  assert.equal((await ask('blog.example', '/y/z/')).headers.location[0], 'https://www.example/blog/y/z/');
  assert.equal((await ask('BLOG.example:81', '/y')).headers.location[0], 'https://www.example/blog/y');
  assert.equal((await ask('testing.example', '/y')).text, 'testing');
  for (const name of ['other.example', 'my.blog.example', 'localhost']) assert.equal((await ask(name, '/y')).text, 'index', name);
});
