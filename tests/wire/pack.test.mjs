// A deployment and the program in one file: what goes into it, what it is where nothing else is, who may change it.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, eventually, folder, launch, ROOT, run, SLOW, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const FILES = deployment({
  hello: `local words = require "lib.words"
return function()
  kv.set("asked", (kv.get("asked") or 0) + 1)
  return json.encode({ words.hello, require("late").word, env.WORD or "", env.SECRET or "", read_file("texts/a.txt") or "", kv.get("asked") })
end`,
  rows: `return function(event)
  local db = sql.open(env.DATABASE_URL)
  db:query("insert into rows (text) values ($1)", event.queryStringParameters.text)
  return json.encode(db:query("select text from rows order by text"))
end`,
}, {
  fields: { hello: 'files = { "texts/*" }, env = { "WORD", "SECRET" }', rows: 'sql = { "DATABASE_URL" }, env = { "DATABASE_URL" }' },
  more: '  publish = "web",',
  files: {
    'lib/words.lua': 'return { hello = "one" }',
    'scripts/late.lua': 'return { word = "late" }', // which no load has read
    'scripts/hello_test.lua': 'error("a test")',
    'texts/a.txt': 'a text',
    'texts/b.html': 'another',
    'other/c.txt': 'nobody asks for it',
    'migrations/001_rows.sql': 'create table rows (text text);',
    'web/index.html': '<p>page</p>',
    'web/.well-known/x.txt': 'known',
    'web/.hidden': 'hidden',
    'web/node_modules/x/index.js': '1',
    '.env': 'SECRET=not for others\nDATABASE_URL=sqlite:data.db\n',
    '.git/config': 'x',
  },
});
const PACKED = ['functions.lua', 'lib/words.lua', 'migrations/001_rows.sql', 'scripts/hello.lua', 'scripts/late.lua', 'scripts/rows.lua', 'texts/a.txt', 'texts/b.html', 'web/.well-known/x.txt', 'web/index.html'];

const names = (stdout) => stdout.split('\n').filter(Boolean).map((line) => line.slice(12));

async function pack(t, { files = FILES, dir = folder(t, files), args = [], env } = {}) {
  const file = path.join(dir, 'app.run');
  const done = await run(t, ['pack', '-o', file, ...args], { dir, env });
  assert.equal(done.code, 0, done.stderr);
  return { dir, file, said: done.stderr };
}

// The file alone, in a folder that has nothing but what it is given.
function place(t, file, files = {}) {
  const dir = folder(t, files);
  const tmp = folder(t);
  fs.copyFileSync(file, path.join(dir, 'shop'));
  const env = { TMPDIR: tmp };
  const unpacked = () => fs.readdirSync(tmp).filter((name) => name.startsWith('luafn-packed-'));
  const ask = (args, more = {}) => {
    const child = spawnSync(path.join(dir, 'shop'), args, { cwd: dir, env: { PATH: process.env.PATH, ...env, ...more }, encoding: 'utf8', timeout: 60000 * SLOW });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  };
  const serve = async ({ args = [], workers = 1, ...options } = {}) => {
    const h = launch(dir, { bin: path.join(dir, 'shop'), command: '--workers', listen: null, args: [String(workers), '--listen', '127.0.0.1:0', ...args], ...options, env: { ...env, ...options.env } });
    later(t, () => h.ended ?? h.stop());
    await h.listening;
    return h;
  };
  return { dir, tmp, unpacked, ask, serve };
}

const words = async (h) => JSON.parse((await h.call('hello')).text);

test('one file is all that it takes', async (t) => {
  const { dir, file, said } = await pack(t);
  assert.match(said, /^left out: \.env; --env takes such files along$/m);
  assert.match(said, /app\.run: 10 files of 0\.0 MB, signed by [\w-]{43}$/m);
  assert.deepEqual(names((await run(t, ['pack', '--verify', file], { dir })).stdout), PACKED);
  assert.ok(!fs.readFileSync(file).includes('not for others'));
  const p = place(t, file, { '.env': 'WORD=of the place\nDATABASE_URL=sqlite:data.db\n' });
  fs.rmSync(dir, { recursive: true });

  assert.equal(p.ask(['migrate']).stdout, 'DATABASE_URL: applied migrations/001_rows.sql\n');
  assert.deepEqual(p.unpacked(), [], 'it goes with the process');
  const h = await p.serve({ workers: 2 });
  assert.deepEqual(await words(h), ['one', 'late', 'of the place', '', 'a text', 1]);
  assert.equal((await h.call('rows', { suffix: '?text=b' })).text, '[{"text":"b"}]');
  assert.match((await h.get('/')).text, /page/);
  assert.equal((await h.get('/.well-known/x.txt')).text, 'known');
  assert.equal((await h.get('/.hidden')).status, 404);
  const changed = (await h.get('/')).headers['last-modified'];
  assert.equal(p.unpacked().length, 1);
  assert.equal(fs.statSync(path.join(p.tmp, p.unpacked()[0])).mode & 0o777, 0o700);
  assert.ok(fs.existsSync(path.join(p.dir, '.luafn')) && fs.existsSync(path.join(p.dir, 'data.db')), 'what lasts is beside it');

  // There is nothing to be reloaded but the place's own .env; a new file is taken up by an upgrade.
  fs.writeFileSync(path.join(p.dir, '.env'), 'WORD=another\nDATABASE_URL=sqlite:data.db\n');
  h.kill('SIGHUP');
  await eventually(async () => (await words(h))[2] === 'another', 10, 'the .env of the place');
  await h.stop();
  assert.deepEqual(p.unpacked(), []);
  const again = await p.serve();
  assert.ok((await words(again))[5] > 1, 'kv has outlived it');
  assert.deepEqual((await again.get('/')).headers['last-modified'], changed, 'a file is as old as it was');
});

test('another file in its place is taken up without a failed request; what was killed is cleaned up', async (t) => {
  const one = await pack(t);
  const two = await pack(t, { files: { ...FILES, 'lib/words.lua': 'return { hello = "two" }' } });
  const p = place(t, one.file);
  const h = await p.serve();
  assert.equal((await words(h))[0], 'one');
  fs.copyFileSync(two.file, path.join(p.dir, 'new'));
  fs.renameSync(path.join(p.dir, 'new'), path.join(p.dir, 'shop'));
  h.kill('SIGUSR2');
  await eventually(async () => (await words(h))[0] === 'two', 20, 'the new one');
  await h.stop();
  await eventually(() => p.unpacked().length === 0, 10, 'both are gone');

  const killed = await p.serve();
  assert.equal(p.unpacked().length, 1);
  killed.kill('SIGKILL');
  await killed.exit;
  const [left] = p.unpacked();
  assert.ok(left, 'nobody could remove it');
  const next = await p.serve();
  await eventually(() => { p.ask(['routes']); return !p.unpacked().includes(left); }, 20, 'the next start does, when its workers have ended');
  assert.equal(p.unpacked().length, 1, 'not that of one which runs');
  assert.equal((await words(next))[0], 'two');
});

test('what was changed is not served, and said by name', async (t) => {
  const { dir, file } = await pack(t);
  const good = fs.readFileSync(file);
  const at = (text) => good.lastIndexOf(text);
  const changed = (where) => { const bytes = Buffer.from(good); bytes[where] ^= 1; return bytes; };
  const p = place(t, file);
  const cases = [
    ['a script', changed(at('"one"') + 1), /lib\/words\.lua, which is packed in it, was changed/],
    ['the list', changed(at('scripts/late.lua')), /was changed: the list of its files does not have the signature/],
    ['the signature', changed(good.length - 3), /was changed: the list of its files/],
    ['the key', changed(good.length - 80), /was changed: the list of its files/],
    ['the size of the list', changed(good.length - 101), /its sizes do not fit together/],
    ['the size of the program', changed(good.length - 111), /was changed|cannot be read/],
  ];
  assert.equal(p.ask(['routes']).code, 0, 'as it is it is served');
  for (const [what, bytes, expected] of cases) {
    fs.rmSync(path.join(p.dir, 'shop'));
    fs.writeFileSync(path.join(p.dir, 'shop'), bytes, { mode: 0o755 });
    for (const args of [[], ['routes']]) {
      const r = p.ask(args);
      assert.equal(r.code, 1, what);
      assert.match(r.stderr, /^this file is not served: /, what);
      assert.match(r.stderr, expected, what);
    }
    fs.writeFileSync(file, bytes);
    const r = await run(t, ['pack', '--verify', file], { dir });
    assert.deepEqual([r.code, r.stdout], [1, '']);
    assert.match(r.stderr, expected, what);
  }
  assert.deepEqual(p.unpacked(), []);
  // The program says nothing of itself; who verifies does.
  fs.writeFileSync(file, changed(at('lib/words.lua') - 100000));
  const r = await run(t, ['pack', '--verify', file], { dir });
  assert.equal(r.code, 1);
  assert.match(r.stderr, /app\.run: the program in it was changed/);
});

test('whose signature it is', async (t) => {
  const keys = folder(t);
  for (const [name, type] of [['ours', 'ed25519'], ['theirs', 'ed25519'], ['ed448', 'ed448'], ['rsa', 'rsa']]) {
    const { privateKey, publicKey } = crypto.generateKeyPairSync(type, { modulusLength: 2048, publicKeyEncoding: { type: 'spki', format: 'pem' }, privateKeyEncoding: { type: 'pkcs8', format: 'pem' } });
    write(keys, { [`${name}.pem`]: privateKey, [`${name}.pub.pem`]: publicKey });
  }
  const key = (name) => path.join(keys, `${name}.pem`);
  const { dir, file } = await pack(t, { args: ['--key', key('ours')] });
  assert.ok(!fs.existsSync(path.join(dir, '.luafn/pack-key.pem')), 'none is made');
  const verify = (...args) => run(t, ['pack', '--verify', file, ...args], { dir: folder(t) });
  for (const name of ['ours', 'ours.pub']) {
    const r = await verify('--key', key(name));
    assert.equal(r.code, 0, r.stderr);
    assert.match(r.stderr, /as it was signed by [\w-]{43}$/m);
  }
  for (const [args, expected] of [
    [['--key', key('theirs.pub')], /is signed by [\w-]{43}, not by [\w-]{43}$/m],
    [['--key', key('ed448')], /an Ed25519 key is wanted/],
    [['--key', key('none')], /none\.pem: No such file/],
    [[], /pack-key\.pem: No such file/],
  ]) {
    const r = await verify(...args);
    assert.equal(r.code, 1);
    assert.match(r.stderr, expected);
    assert.equal(r.stdout, '');
  }
  for (const [name, expected] of [['rsa', /an Ed25519 key is wanted/], ['theirs.pub', /a private Ed25519 key is wanted/]]) {
    const r = await run(t, ['pack', '-o', 'x', '--key', key(name)], { dir });
    assert.equal(r.code, 1);
    assert.match(r.stderr, expected);
  }
  assert.ok(!fs.readdirSync(dir).some((name) => name.startsWith('x')), 'nothing is left of it');
  const plain = await run(t, ['pack', '--verify', BIN, '--key', key('ours')]);
  assert.match(plain.stderr, /there is no deployment packed in it/);

  const before = fs.readFileSync(file);
  await pack(t, { dir, args: ['--key', key('ours')] });
  assert.ok(fs.readFileSync(file).equals(before), 'the same from the same');
});

test('secrets stay out; --env takes them along, and the place comes first', async (t) => {
  const pem = crypto.generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' });
  const files = { ...FILES, 'texts/key.pem': pem, 'texts/about-keys.txt': `it begins with ${pem}`, '.env.local': 'WORD=local\n' };
  const without = await pack(t, { files });
  assert.match(without.said, /^left out: \.env\.local, \.env, texts\/key\.pem; /m);
  assert.equal(fs.statSync(without.file).mode & 0o777, 0o755);
  const { dir, file, said } = await pack(t, { files, args: ['--env'] });
  assert.doesNotMatch(said, /left out/);
  assert.equal(fs.statSync(file).mode & 0o777, 0o700);
  const inside = names((await run(t, ['pack', '--verify', file], { dir })).stdout);
  assert.deepEqual(inside.filter((name) => !PACKED.includes(name)), ['.env', '.env.local', 'texts/about-keys.txt', 'texts/key.pem']);
  const p = place(t, file);
  const h = await p.serve();
  assert.deepEqual((await words(h)).slice(2, 4), ['local', 'not for others']);
  await h.stop();
  fs.writeFileSync(path.join(p.dir, '.env'), 'WORD=of the place\n');
  assert.deepEqual((await words(await p.serve())).slice(2, 4), ['of the place', 'not for others']);
});

test('what cannot be packed', async (t) => {
  const outside = folder(t, { 'x.lua': 'return function() return "x" end' });
  const cases = [
    ['a script elsewhere', { 'functions.lua': `return { functions = { x = { script = "${outside}/x.lua" } } }` }, /x\.lua lies outside of the folder of functions\.lua/],
    ['pages elsewhere', { 'site/functions.lua': 'return { functions = {}, publish = "../web" }', 'web/index.html': 'x' }, /web lies outside of the folder of functions\.lua/],
    ['a script by an absolute path', (dir) => ({ 'functions.lua': `return { functions = { x = { script = "${dir}/scripts/x.lua" } } }`, 'scripts/x.lua': 'return function() end' }), /\/scripts\/x\.lua is an absolute path, which leads past what is packed: write "scripts\/x\.lua"$/m],
    ['scripts in such a folder', (dir) => ({ 'functions.lua': `return { functions = "${dir}/scripts" }`, 'scripts/x.lua': 'return function() end' }), /\/scripts is an absolute path, which leads past what is packed: write "scripts"$/m],
    ['pages in such a folder', (dir) => ({ 'functions.lua': `return { functions = {}, publish = "${dir}/web" }`, 'web/index.html': 'x' }), /\/web is an absolute path, which leads past what is packed: write "web"$/m],
    ['what does not load', deployment({ x: 'return function(' }), /scripts\/x\.lua:1: /],
    ['a name of two lines', { 'functions.lua': 'return { functions = {}, publish = "web" }', 'web/a\nb': 'x' }, /a file of such a name cannot be packed/],
    ['folders in a circle', { 'functions.lua': 'return { functions = {}, publish = "web" }', 'web/a.txt': 'x' }, /more than 32 folders in each other/, (dir) => fs.symlinkSync('.', path.join(dir, 'web/again'))],
    ['over a folder', deployment({ x: 'return function() end' }), /app: is no file; -o names another/, (dir) => fs.mkdirSync(path.join(dir, 'app'))],
  ];
  for (const [what, files, expected, prepare] of cases) {
    const dir = folder(t, typeof files === 'function' ? {} : files);
    if (typeof files === 'function') write(dir, files(dir));
    prepare?.(dir);
    const config = files['site/functions.lua'] ? 'site/functions.lua' : 'functions.lua';
    const r = await run(t, ['pack', '-o', 'app', '--config', config], { dir });
    assert.equal(r.code, 1, what);
    assert.match(r.stderr, expected, what);
    assert.ok(!fs.existsSync(path.join(dir, 'app')) || fs.statSync(path.join(dir, 'app')).isDirectory(), what);
  }
  assert.equal((await run(t, ['pack', '--verify', 'x', '--env'])).code, 2);
  // Links to files and folders are followed; the name is that of the folder.
  const dir = folder(t, deployment({ x: 'return function() return require "linked" end' }));
  fs.symlinkSync(outside, path.join(dir, 'lib'));
  assert.equal((await run(t, ['pack'], { dir })).code, 0);
  const file = path.join(dir, path.basename(dir));
  assert.deepEqual(names((await run(t, ['pack', '--verify', file], { dir })).stdout), ['functions.lua', 'lib/x.lua', 'scripts/x.lua']);
});

test('commands of a packed file, and what it has no place for', async (t) => {
  const { file } = await pack(t);
  const p = place(t, file);
  assert.equal(p.ask(['invoke', 'rows', '--help']).code, 0);
  assert.match(p.ask(['--version']).stdout, /^luafn \d/);
  assert.match(p.ask(['routes']).stdout, /scripts\/hello\.lua/);
  assert.equal(JSON.parse(p.ask(['invoke', 'hello'], { WORD: 'given' }).stdout)[2], 'given');
  for (const args of [['--config', 'functions.lua'], ['check', '--config=x'], ['new', 'x'], ['dev'], ['pack'], ['--nonsense'], ['nonsense']]) {
    const r = p.ask(args);
    assert.equal(r.code, 2, args.join(' '));
    assert.notEqual(r.stderr, '');
  }
  assert.deepEqual(p.unpacked(), []);
  const none = p.ask(['routes'], { TMPDIR: path.join(p.dir, 'none') });
  assert.equal(none.code, 1);
  assert.match(none.stderr, /none: No such file or directory; TMPDIR names the folder/);
});

test('as root for another user, behind the wall', { skip: process.getuid() !== 0 && 'wants root' }, async (t) => {
  const { file } = await pack(t);
  const p = place(t, file, { '.env': 'WORD=of the place\n' });
  for (const dir of [p.dir, p.tmp]) { fs.chmodSync(dir, 0o1777); }
  fs.chmodSync(path.dirname(p.dir), fs.statSync(path.dirname(p.dir)).mode | 0o011);
  const h = await p.serve({ args: ['--user', 'nobody', '--sandbox'] });
  assert.deepEqual(await words(h), ['one', 'late', 'of the place', '', 'a text', 1]);
  assert.match((await h.get('/')).text, /page/);
  await h.stop();
  assert.deepEqual(p.unpacked(), []);
});

test('the demo', async (t) => {
  const file = path.join(folder(t), 'demo');
  execFileSync(BIN, ['pack', '-o', file, '--key', path.join(folder(t, { 'key.pem': crypto.generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) }), 'key.pem')], { cwd: ROOT, stdio: 'pipe' });
  const p = place(t, file, { '.env': 'JWT_ISSUER=https://issuer.example/\nJWT_AUDIENCE=demo\n' });
  const h = await p.serve();
  assert.equal((await h.call('me')).status, 401);
  assert.equal((await h.call('none')).status, 404);
});
