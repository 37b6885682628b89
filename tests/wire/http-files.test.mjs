// Paths and files: one normal form, nothing outside `publish`, conditions and ranges by RFC 9110.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, folder, start } from '../lib/host.mjs';
import { requestText } from '../lib/wire.mjs';

const SECRET = 'not to be seen';
const PAGE = 'abcdefghijklmnopqrstuvwxyz';
const SHOW = 'return function(e) return json.encode { path = e.path, params = e.params, raw = e.rawUrl } end';

async function site(t) {
  const dir = folder(t, deployment({ show: SHOW, hello: 'return function() return "hello" end' }, {
    fields: { show: 'path = { "/api/show/:id", "/api/show" }' },
    more: '  publish = "web", redirects = { { from = "/old/*", to = "/new/:splat", status = 301 }, { from = "/in/*", to = "/:splat", status = 200 } },',
    files: {
      'web/index.html': 'index', 'web/page.txt': PAGE, 'web/empty.txt': '', 'web/a b.txt': 'blank', 'web/é.txt': 'accent',
      'web/sub/index.html': 'sub', 'web/.hidden': SECRET, 'web/sub/.env': SECRET, 'web/.git/config': SECRET,
      'web/%2e%2e/x.txt': 'literal', 'secret.txt': SECRET, 'webber/x.txt': SECRET, '.env': `A=${SECRET}\n`,
    },
  }));
  const web = path.join(dir, 'web');
  fs.symlinkSync('page.txt', path.join(web, 'inside.txt'));
  fs.symlinkSync('../secret.txt', path.join(web, 'outside.txt'));
  fs.symlinkSync('/etc', path.join(web, 'etc'));
  fs.symlinkSync('..', path.join(web, 'up'));
  fs.symlinkSync('/proc/self/environ', path.join(web, 'proc.txt'));
  fs.symlinkSync('loop.txt', path.join(web, 'loop.txt'));
  const quiet = new Date('1994-11-06T08:49:37Z');
  fs.utimesSync(path.join(web, 'page.txt'), quiet, quiet); // nobody has written it just now
  return start(t, { dir });
}

test('paths: what is no path of ours is 400, and the connection goes on', async (t) => {
  const h = await site(t);
  const wire = await h.connect();
  const ask = async (target) => {
    wire.send(requestText({ path: target, close: false }));
    return wire.response();
  };
  for (const target of ['/page%00.txt', '/%00', '/a%2fb', '/a%2Fb', '/..%2fsecret.txt', '/a%5cb', '/..%5csecret.txt', '/a\\b', '/..\\secret.txt',
    '/../secret.txt', '/..', '/sub/../../secret.txt', '/%2e%2e/secret.txt', '/.%2e/secret.txt', '/%2E./secret.txt', '/sub/%2e%2e/%2e%2e/secret.txt',
    '/%c0%ae%c0%ae/secret.txt', '/%c0%af', '/%e0%80%ae%e0%80%ae/secret.txt', '/%f0%80%80%af', '/%fc%80%80%80%80%af', '/%ff', '/%c3', '/%ed%a0%80',
    '/100%', '/%', '/%4', '/%zz', '/%u002e%u002e/secret.txt', '/page.txt%', '/api/show/%00']) {
    const res = await ask(target);
    assert.equal(res.status, 400, target);
    assert.equal(res.json().error, 'bad_request', target);
  }
  for (const [target, text] of [['/', 'index'], ['/page.txt', PAGE], ['/./page.txt', PAGE], ['/sub/../page.txt', PAGE], ['/sub/%2e%2e/page.txt', PAGE], ['/%70age.txt', PAGE],
    ['/a%20b.txt', 'blank'], ['/%c3%a9.txt', 'accent'], ['/sub', 'sub'], ['/sub/', 'sub'], ['/page.txt?x=../../', PAGE], ['/page.txt?%00\\', PAGE], ['/in/page.txt', PAGE]]) {
    const res = await ask(target);
    assert.deepEqual([res.status, res.text], [200, text], target);
  }
  wire.close();
});

test('functions see one path, whatever its spelling', async (t) => {
  const h = await site(t);
  for (const [target, id] of [['/api/show/a', 'a'], ['/api/./show/a', 'a'], ['/x/../api/show/a', 'a'], ['/api/show/%61', 'a'], ['/api/show/a%20b', 'a b'], ['/api/show/%252e%252e', '%2e%2e'],
    ['/api/show/%25', '%'], ['/api/show/%C3%A9', 'é'], ['/api/show/a+b', 'a+b'], ['/api/show/a;b=c', 'a;b=c'], ['/api/show/a%2fb', 'a/b'], ['/api/show/a%5Cb', 'a\\b']]) {
    const res = await h.get(target);
    assert.equal(res.status, 200, target);
    assert.equal(res.json().params.id, id, target);
  }
  for (const target of ['//api/show/a', '/api//show/a', '/API/show/a', '/api/show/a/b', '/api/sho%77x']) assert.notEqual((await h.get(target)).status, 200, target);
});

test('nothing outside the published folder, nothing hidden', async (t) => {
  const h = await site(t);
  assert.equal((await h.get('/inside.txt')).text, PAGE, 'a link that stays inside');
  const steps = ['..', '%2e%2e', '%252e%252e', '..;', '...', '....', '.%00.', '..%00', '%2e%2e%2f..', '..%5c', '.\\.', '%c0%ae%c0%ae', '%uff0e%uff0e', '. .', '..%20', '..%09', '%ef%bc%8e%ef%bc%8e', 'sub/..', './..'];
  const targets = ['/outside.txt', '/etc/passwd', '/etc/hostname', '/up/secret.txt', '/up/web/page.txt/../../secret.txt', '/proc.txt', '/loop.txt', '/.hidden', '/%2ehidden', '/sub/.env', '/sub/%2eenv', '/.git/config', '/./.hidden',
    '/../webber/x.txt', '/ber/x.txt', '/.env', '/../.env', '/functions.lua', '/scripts/show.lua', '//etc/passwd', '///etc/passwd', '/page.txt/', '/page.txt/x', '/file:///etc/passwd', '/c:/secret.txt', '/page.txt::$DATA', '/page.txt%20', '/page.txt.'];
  for (const step of steps) for (const n of [1, 2, 5]) for (const tail of ['secret.txt', 'etc/passwd', '.env']) targets.push(`/${`${step}/`.repeat(n)}${tail}`, `/in/${`${step}/`.repeat(n)}${tail}`, `/sub/${`${step}/`.repeat(n)}${tail}`);
  for (const target of targets) {
    const wire = await h.connect();
    wire.send(requestText({ path: target }));
    const res = await wire.response();
    wire.close();
    assert.ok([400, 404].includes(res.status), `${target}: ${res.status} ${res.text.slice(0, 60)}`);
    assert.doesNotMatch(res.text, /not to be seen|root:/, target);
  }
});

test('a redirect carries nothing into the head of the answer', async (t) => {
  const h = await site(t);
  assert.equal((await h.get('/old/a/b')).header('location'), '/new/a/b');
  for (const splat of ['%0d%0aX-Evil:%20y', 'a%0d%0a%0d%0aHTTP/1.1%20200', '%0aSet-Cookie:a=b', '%E5%98%8A%E5%98%8DX-Evil:y']) {
    const res = await h.get(`/old/${splat}`);
    assert.equal(res.header('x-evil'), undefined);
    assert.equal(res.header('set-cookie'), undefined);
    if (res.status === 301) assert.match(res.header('location'), /^[\x21-\x7e]*$/);
  }
  const away = await h.get('/old//evil.example/x');
  assert.doesNotMatch(away.header('location') ?? '/', /^\/\/|^\w+:/, 'stays here');
});

test('ranges', async (t) => {
  const h = await site(t);
  const whole = [200, PAGE, undefined];
  const bad = (size) => [416, 'Range Not Satisfiable', `bytes */${size}`];
  const rows = {
    'bytes=0-0': [206, 'a', 'bytes 0-0/26'], 'bytes=0-3': [206, 'abcd', 'bytes 0-3/26'], 'bytes=24-': [206, 'yz', 'bytes 24-25/26'], 'bytes=-2': [206, 'yz', 'bytes 24-25/26'], 'bytes=20-99': [206, 'uvwxyz', 'bytes 20-25/26'],
    'bytes=0-25': [206, PAGE, 'bytes 0-25/26'], 'bytes=-26': [206, PAGE, 'bytes 0-25/26'], 'bytes=-99': [206, PAGE, 'bytes 0-25/26'], 'bytes=25-25': [206, 'z', 'bytes 25-25/26'], 'bytes=0-18446744073709551615': [206, PAGE, 'bytes 0-25/26'],
    'bytes=26-': bad(26), 'bytes=26-30': bad(26), 'bytes=999999-': bad(26), 'bytes=-0': bad(26), 'bytes=18446744073709551615-': bad(26), 'bytes=9223372036854775807-9223372036854775807': bad(26),
    'bytes=5-2': whole, 'bytes=': whole, 'bytes=-': whole, 'bytes=a-b': whole, 'bytes=0': whole, 'bytes=0-3,5-6': whole, 'bytes=0-,0-,0-': whole, 'bytes=-1-2': whole, 'bytes=+0-3': whole, 'bytes=0x0-3': whole, 'bytes=0--1': whole, 'items=0-3': whole, '0-3': whole,
    'bytes=18446744073709551616-': whole, 'bytes=-18446744073709551616': whole, 'bytes=0-18446744073709551616': whole, 'bytes 0-3': whole, 'bytes=0-3;x': whole, [`bytes=${'0-,'.repeat(1000)}0-`]: whole, [`bytes=${'9'.repeat(400)}-`]: whole,
  };
  for (const [range, [status, text, content]] of Object.entries(rows)) {
    const res = await h.get('/page.txt', { Range: range });
    assert.deepEqual([res.status, res.text, res.header('content-range')], [status, text, content], range.slice(0, 60));
    assert.equal(res.header('content-length'), String(text.length));
  }
  const head = await h.request({ method: 'HEAD', path: '/page.txt', headers: { Range: 'bytes=0-3' } });
  assert.deepEqual([head.status, head.header('content-length')], [200, '26'], 'for GET only');
  const tag = (await h.get('/page.txt')).header('etag');
  for (const validator of [`W/${tag}`, '"other"', 'Thu, 01 Jan 1970 00:00:00 GMT', 'Sun, 06 Nov 1994 08:49:38 GMT', 'x', '*']) assert.equal((await h.get('/page.txt', { Range: 'bytes=0-3', 'If-Range': validator })).status, 200, validator);
  for (const validator of [tag, 'Sun, 06 Nov 1994 08:49:37 GMT']) assert.equal((await h.get('/page.txt', { Range: 'bytes=0-3', 'If-Range': validator })).status, 206, validator);
  assert.equal((await h.get('/page.txt', { Range: 'bytes=0-3', 'If-None-Match': tag })).status, 304, 'first the condition');
  assert.equal((await h.get('/empty.txt', { Range: 'bytes=0-0' })).status, 416);
  assert.equal((await h.get('/empty.txt')).text, '');
});

test('conditions', async (t) => {
  const h = await site(t);
  const first = await h.get('/page.txt');
  const tag = first.header('etag');
  assert.match(tag, /^"[0-9a-f-]+"$/);
  const weak = `W/${tag}`;
  for (const value of [tag, weak, '*', `"a", ${tag}`, `${tag},"b"`, `"a",${weak} , "b"`, `"a,b", ${tag}`]) {
    for (const method of ['GET', 'HEAD']) {
      const wire = await h.connect();
      wire.send(requestText({ method, path: '/page.txt', headers: { 'If-None-Match': value }, close: false }), requestText({ path: '/page.txt' }));
      const res = await wire.response();
      assert.deepEqual([res.status, res.header('etag'), res.header('transfer-encoding')], [304, tag, undefined], value);
      assert.equal((await wire.response()).text, PAGE, 'in step');
      wire.close();
    }
  }
  for (const value of ['"other"', 'W/"other"', tag.replaceAll('"', ''), tag.toUpperCase(), `w/${tag}`, '', '"', `${tag}x`, '"*"']) {
    assert.equal((await h.get('/page.txt', { 'If-None-Match': value })).status, 200, value);
    assert.equal((await h.get('/page.txt', { 'If-None-Match': value, 'If-Modified-Since': 'Fri, 31 Dec 2099 23:59:59 GMT' })).status, 200, 'the tag decides');
  }
  const date = 'Sun, 06 Nov 1994 08:49:37 GMT';
  assert.equal(first.header('last-modified'), date);
  for (const [value, since, until] of [[date, 304, 200], ['Sunday, 06-Nov-94 08:49:37 GMT', 304, 200], ['Sun Nov  6 08:49:37 1994', 304, 200], ['Fri, 31 Dec 2099 23:59:59 GMT', 304, 200],
    ['Sun, 06 Nov 1994 08:49:36 GMT', 200, 412], ['Sun, 06 Nov 1994 08:49:37', 200, 200], ['yesterday', 200, 200], ['', 200, 200]]) {
    assert.equal((await h.get('/page.txt', { 'If-Modified-Since': value })).status, since, value);
    assert.equal((await h.get('/page.txt', { 'If-Unmodified-Since': value })).status, until, value);
  }
  for (const value of ['*', tag, `"x", ${tag}`]) assert.equal((await h.get('/page.txt', { 'If-Match': value })).status, 200, value);
  for (const value of ['"other"', weak, '']) assert.equal((await h.get('/page.txt', { 'If-Match': value })).status, 412, value);
  fs.writeFileSync(path.join(h.dir, 'web/page.txt'), 'changed');
  const changed = await h.get('/page.txt', { 'If-None-Match': tag });
  assert.deepEqual([changed.status, changed.text], [200, 'changed']);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) assert.deepEqual([(await h.request({ method, path: '/page.txt', body: 'x' })).status, (await h.request({ method, path: '/page.txt', body: 'x' })).header('allow')], [405, 'GET, HEAD']);
});
