// What `luafn dev` says to the person who started it: five lines, then what his own functions do.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, start, write } from '../lib/host.mjs';

const FILES = () => deployment(
  { hello: 'return function() return "hello" end', shows: 'return function() return "in" end', broken: 'return 5' },
  { fields: { shows: 'auth = { scope = "read:shows" }', hello: 'auth = "public"' }, more: '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },' },
);
// A host that has said all five: which of two processes is the first to say its own is open.
async function begun(t, options) {
  const h = await start(t, { command: 'dev', ...options });
  await h.says(/^dashboard .*\n/m);
  return h;
}

const byKind = (a, b) => a.startsWith('listening') - b.startsWith('listening');
const lines = (text) => text.split('\n').filter(Boolean);

test('five lines at the start; then nothing of its own', async (t) => {
  const files = FILES();
  delete files['scripts/broken.lua'];
  files['functions.lua'] = files['functions.lua'].replace(/ *\["broken"\].*\n/, '');
  const dir = folder(t, files);
  const h = await begun(t, { dir, args: ['--log', 'text'] });
  const token = fs.readFileSync(path.join(dir, '.luafn/dev-mcp-token'), 'utf8').trim();
  const [wrote, ...five] = lines(h.stderr);
  assert.match(wrote, /^wrote dev\/auth\.lua/, 'the first time only');
  assert.deepEqual(five.sort(byKind).map((line) => line.replaceAll(`http://127.0.0.1:${h.port}`, 'HERE').replace(token, 'TOKEN')), [
    'sign in as  Vera Viewer, Gus Guest; no password, from dev/auth.lua',
    'functions   hello (public), shows (scope read:shows)',
    'watching    functions.lua, its scripts and what they require, .env: what is saved is served',
    'dashboard   HERE/_luafn/dev/ (tools for whoever writes functions: HERE/_luafn/dev/mcp, Authorization: Bearer TOKEN)',
    'listening on HERE',
  ]);
  for (const own of ['/_luafn/dev/', '/_luafn/dev/style.css', '/_luafn/journal', '/_luafn/dev/api/users', '/.well-known/jwks.json', '/_luafn/dev/greeting']) assert.equal((await h.get(own)).status, 200, own);
  assert.ok(!(await h.get('/_luafn/dev/greeting')).text.includes(token), 'nobody is told the token over HTTP');
  assert.equal((await h.call('hello')).text, 'hello');
  assert.equal((await h.get('/nowhere')).status, 404);
  await eventually(() => lines(h.stdout).length >= 2, 10, 'two lines of the access log');
  assert.deepEqual(lines(h.stdout).map((line) => /(GET \S+ \d+)/.exec(line)[1]), ['GET /.netlify/functions/hello 200', 'GET /nowhere 404']);
  assert.equal(lines(h.stderr).length, 6, h.stderr);
  write(dir, { 'scripts/hello.lua': 'return function() return "again" end' });
  await h.says(/function loaded.*hello/);
  await eventually(async () => (await h.call('hello')).text === 'again', 10, 'the new one');
});

test('many functions and users do not make it longer; a script that does not load is told', async (t) => {
  const files = FILES();
  for (let i = 0; i < 12; i++) files[`scripts/more${i}.lua`] = 'return function() return "" end';
  files['functions.lua'] = files['functions.lua'].replace('functions = {', `functions = { ${Array.from({ length: 12 }, (_, i) => `a${i} = { script = "scripts/more${i}.lua" }`).join(', ')},`);
  files['dev/auth.lua'] = `return { applications = {}, apis = {}, roles = {}, users = { ${Array.from({ length: 20 }, (_, i) => `{ sub = "auth0|${i}", name = "User ${i}" }`).join(', ')}, { sub = "x", name = "Locked Out", blocked = true } } }`;
  const h = await begun(t, { files });
  assert.match(h.stderr, /^sign in as {2}User 0, .*User 7, and 12 more: dev\/auth\.lua; no password/m);
  assert.doesNotMatch(h.stderr, /Locked Out/);
  assert.match(h.stderr, /^functions {3}.*, and 7 more: luafn routes$/m);
  const bad = await begun(t, { files: { ...FILES(), 'dev/auth.lua': 'return { users = 5 }' } });
  assert.match(bad.stderr, /^sign in as {2}nobody: dev\/auth\.lua:1: [^\n]*\nfunctions .*\nwatching .*\ndashboard /m);
  const few = await begun(t, { files: FILES() });
  assert.match(few.stderr, /^functions .*broken \(does not load\)/m);
  const none = await begun(t, { files: { 'functions.lua': 'return { functions = {} }' } });
  assert.match(none.stderr, /^functions {3}none yet: luafn new NAME writes one$/m);
});
