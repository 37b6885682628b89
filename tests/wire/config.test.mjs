// Bad input to the host itself: what is wrong, where, what to write; and nothing starts.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { config, deployment, folder, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE } from '../lib/issuer.mjs';

const OK = 'return function() return "ok" end';
const SCRIPT = { 'scripts/me.lua': OK };
const good = (more = '') => ({ ...SCRIPT, 'functions.lua': config({ me: 'script = "scripts/me.lua"' }, more) });

// [name, functions.lua, what stderr must match]
const bad = [
  ['syntax', 'return {\n  functions = {\n', /functions\.lua:\d+:.*expected/],
  ['not a table', 'return 5\n', /functions\.lua:\d+.*table/],
  ['nothing returned', '-- nothing\n', /functions\.lua.*table/],
  ['raises', 'local x = nil\nreturn { prefix = x.y }\n', /functions\.lua:2:/],
  ['unknown key at the top', 'return {\n  functions = { me = { script = "scripts/me.lua" } },\n  redirect = {},\n}\n', /functions\.lua:3:.*redirect.*redirects/],
  ['unknown key of a function', 'return {\n  functions = {\n    me = {\n      script = "scripts/me.lua",\n      timout = 5,\n    },\n  },\n}\n', /functions\.lua:5:.*timout.*timeout/],
  ['unknown key of auth', 'return {\n  functions = { me = { script = "scripts/me.lua" } },\n  auth = {\n    isuer = "https://x/",\n    audience = "a",\n  },\n}\n', /functions\.lua:4:.*isuer.*issuer/],
  ['unknown key of limits', 'return {\n  functions = { me = { script = "scripts/me.lua" } },\n  limits = {\n    bodi = 5,\n  },\n}\n', /functions\.lua:4:.*bodi.*body/],
  ['wrong type', 'return {\n  functions = {\n    me = {\n      script = "scripts/me.lua",\n      timeout = "soon",\n    },\n  },\n}\n', /functions\.lua:5:.*timeout/],
  ['negative time', 'return {\n  functions = {\n    me = {\n      script = "scripts/me.lua",\n      timeout = -1,\n    },\n  },\n}\n', /functions\.lua:5:.*timeout/],
  ['bad size', 'return {\n  functions = {\n    me = {\n      script = "scripts/me.lua",\n      memory = "32 bananas",\n    },\n  },\n}\n', /functions\.lua:5:.*memory/],
  ['bad method', 'return {\n  functions = {\n    me = {\n      script = "scripts/me.lua",\n      methods = { "GTE" },\n    },\n  },\n}\n', /functions\.lua:5:.*GTE/],
  ['missing script', 'return {\n  functions = {\n    me = { script = "scripts/nowhere.lua" },\n  },\n}\n', /functions\.lua:3:.*scripts\/nowhere\.lua/],
  ['two functions on one path', 'return {\n  functions = {\n    a = { script = "scripts/me.lua", path = "/x" },\n    b = { script = "scripts/me.lua", path = "/x" },\n  },\n}\n', /functions\.lua:[34]:.*\/x/],
  ['missing JWT_ISSUER', 'return {\n  functions = {\n    me = { script = "scripts/me.lua", auth = true },\n  },\n  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n}\n', /functions\.lua:\d+:.*JWT_ISSUER/],
  ['auth without an issuer', 'return {\n  functions = {\n    me = { script = "scripts/me.lua", auth = true },\n  },\n}\n', /functions\.lua:\d+:.*issuer/],
  ['http issuer that is not loopback', 'return {\n  functions = {\n    me = { script = "scripts/me.lua", auth = true },\n  },\n  auth = { issuer = "http://auth.example/", audience = "a" },\n}\n', /functions\.lua:\d+:.*http/],
  ['unknown backend', 'return {\n  functions = {\n    me = { script = "scripts/me.lua", auth = true },\n  },\n  auth = { issuer = "https://auth.example/", audience = "a", backend = "opnssl" },\n}\n', /functions\.lua:5:.*backend.*openssl/],
  ['loop', 'while true do end\n', /functions\.lua/],
  ['no reach outside', 'return { prefix = io.open("/etc/passwd"):read("a") }\n', /functions\.lua:1:/],
];

test('functions.lua: each fault with its place, exit 1, nothing starts', async (t) => {
  const fine = await run(t, ['check'], { files: good() });
  assert.equal(fine.code, 0, fine.stderr);
  for (const [name, text, wanted] of bad) {
    await t.test(name, async () => {
      const files = { ...SCRIPT, 'functions.lua': text };
      for (const args of [['check'], ['serve', '--workers', '1', '--listen', '127.0.0.1:0']]) {
        const { code, signal, stdout, stderr } = await run(t, args, { files });
        assert.equal(signal, null, `${args[0]} must end by itself`);
        assert.notEqual(code, 0);
        if (args[0] === 'check') assert.equal(code, 1);
        assert.match(`${stdout}${stderr}`, wanted);
        assert.doesNotMatch(stderr, /listening on/);
      }
    });
  }
});

test('functions.lua: all faults at once, each with its line', async (t) => {
  const text = `return {
  functons = {},
  functions = {
    a = { script = "scripts/me.lua", timout = 1 },
    b = { script = "scripts/gone.lua" },
    me = { script = "scripts/me.lua" },
  },
  auth = { issuer = env.JWT_ISSUER, audience = "a" },
  limits = { body = "much" },
}
`;
  const { code, stderr } = await run(t, ['check'], { files: { ...SCRIPT, 'functions.lua': text } });
  assert.equal(code, 1);
  assert.deepEqual(stderr.match(/^functions\.lua:\d+: [\w.]+/gm), ['functions.lua:2: functons', 'functions.lua:8: auth.issuer', 'functions.lua:9: limits.body',
    'functions.lua:4: functions.a.timout', 'functions.lua:5: functions.b.script']);
  assert.match(stderr, /^not set: JWT_ISSUER \(put it into \.env/m);
  const many = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`f${i}`, 'script = "scripts/me.lua", timout = 1']));
  const cut = await run(t, ['check'], { files: { ...SCRIPT, 'functions.lua': config(many) } });
  assert.equal(cut.code, 1);
  assert.ok(cut.stderr.match(/did you mean `timeout`/g).length >= 5, cut.stderr);
  assert.ok(cut.stderr.split('\n').every((line) => line === '' || line.endsWith('`?')), 'whole lines only');
});

test('scripts: one that does not load stops serve and is reported by check', async (t) => {
  const scripts = {
    syntax: ['local x = \nreturn x +', /scripts\/syntax\.lua:\d+:/],
    raises: ['local a\nlocal b = a.c\nreturn function() end', /scripts\/raises\.lua:2:/],
    nothing: ['local x = 1\n', /scripts\/nothing\.lua.*(function|handler)/],
    number: ['return 5\n', /scripts\/number\.lua.*(function|handler)/],
    unknown: ['return { handler = function() end, methds = { "GET" } }\n', /scripts\/unknown\.lua.*methds.*methods/],
    missing: ['local m = require "lib.nowhere"\nreturn function() end', /scripts\/missing\.lua:1:.*lib\.nowhere/],
    loop: ['while true do end\n', /scripts\/loop\.lua/],
    bytecode: ['\x1bLua\x54\x00', /scripts\/bytecode\.lua/],
  };
  for (const [name, [text, wanted]] of Object.entries(scripts)) {
    await t.test(name, async () => {
      const files = deployment({ [name]: text, fine: OK });
      for (const args of [['check'], ['serve', '--workers', '1', '--listen', '127.0.0.1:0']]) {
        const { code, signal, stdout, stderr } = await run(t, args, { files });
        assert.equal(signal, null, `${args[0]} must end by itself:\n${stderr.slice(0, 500)}`);
        assert.notEqual(code, 0, args[0]);
        assert.match(`${stdout}${stderr}`, wanted);
      }
    });
  }
});

test('scripts: one that waits while it loads is judged alike by check and serve', async (t) => {
  const files = deployment({ waits: 'sleep(0.01)\nreturn function() return "ok" end' });
  const checked = await run(t, ['check'], { files });
  const served = await start(t, { files }).then((h) => h.call('waits').then((r) => r.text), () => 'not served');
  assert.equal(served, checked.code === 0 ? 'ok' : 'not served', `${checked.stdout}${checked.stderr}`);
});

test('check reports every fault, not only the first', async (t) => {
  const { code, stdout, stderr } = await run(t, ['check'], {
    files: deployment({ a: 'return 5', b: 'local x = \n', fine: OK }),
  });
  assert.equal(code, 1);
  assert.match(`${stdout}${stderr}`, /a\.lua/);
  assert.match(`${stdout}${stderr}`, /b\.lua:\d+:/);
});

test('no configuration: says which file it wants', async (t) => {
  const { code, stderr } = await run(t, ['serve', '--listen', '127.0.0.1:0'], { files: {} });
  assert.notEqual(code, 0);
  assert.match(stderr, /functions\.lua/);
});

test('--config FILE: paths are relative to that file', async (t) => {
  const dir = folder(t, { 'site/my.lua': config({ me: 'script = "scripts/me.lua"' }), 'site/scripts/me.lua': OK, 'site/.env': 'A=b\n' });
  const h = await start(t, { dir, args: ['--config', 'site/my.lua'] });
  assert.equal((await h.call('me')).text, 'ok');
});

test('functions = "folder": NAME.lua, NAME/NAME.lua, NAME/index.lua', async (t) => {
  const say = (text) => `return function() return ${lua(text)} end`;
  const h = await start(t, {
    files: {
      'functions.lua': 'return { functions = "scripts" }\n', 'scripts/one.lua': say('one'), 'scripts/two/two.lua': say('two'),
      'scripts/three/index.lua': say('three'), 'scripts/lib/helper.lua': 'return {}', 'scripts/notes.txt': 'x',
      'scripts/node_modules/index.lua': say('no'), 'scripts/two.lua': say('the folder wins'), 'scripts/one_test.lua': say('no'), 'scripts/.four.lua': say('no'),
    },
  });
  for (const name of ['one', 'two', 'three']) assert.equal((await h.call(name)).text, name);
  for (const name of ['helper', 'notes', 'lib', 'node_modules', 'one_test', '.four']) assert.equal((await h.call(name)).status, 404, name);
});

test('a script\'s own keys; functions.lua wins', async (t) => {
  const h = await start(t, {
    files: deployment({
      own: 'return { path = "/own", methods = { "GET" }, handler = function() return "own" end }',
      over: 'return { path = "/there", methods = { "POST" }, handler = function() return "over" end }',
    }, { fields: { over: 'path = "/here", methods = { "GET" }' } }),
  });
  assert.equal((await h.get('/own')).text, 'own');
  assert.equal((await h.request({ method: 'POST', path: '/own', body: '' })).status, 405);
  assert.equal((await h.get('/here')).text, 'over');
  assert.equal((await h.get('/there')).status, 404);
});

test('prefix', async (t) => {
  const h = await start(t, { files: { ...SCRIPT, 'functions.lua': config({ me: 'script = "scripts/me.lua"' }, '  prefix = "/fn",') } });
  assert.equal((await h.get('/fn/me')).text, 'ok');
  assert.equal((await h.call('me')).status, 404);
});

const ENV = 'return function() return json.encode({ A = env.A, B = env.B, C = env.C, D = env.D, E = env.E }) end';
const DOTENV = {
  '.env': 'A=env\nB=env\nC=env\nD=env\nE=env\n',
  '.env.development': 'A=dev\nB=dev\nC=dev\n',
  '.env.local': 'A=local\nB=local\n',
  '.env.development.local': 'A=devlocal\n',
};
const envFiles = () => deployment({ e: ENV }, { fields: { e: 'env = { "*" }' }, files: DOTENV });

test('.env: precedence in serve', async (t) => {
  const h = await start(t, { files: envFiles(), env: { E: 'process' } });
  assert.deepEqual((await h.call('e')).json(), { A: 'local', B: 'local', C: 'env', D: 'env', E: 'process' });
});

test('.env: precedence in dev', async (t) => {
  const h = await start(t, { files: envFiles(), command: 'dev', env: { E: 'process' } });
  assert.deepEqual((await h.call('e')).json(), { A: 'devlocal', B: 'local', C: 'dev', D: 'env', E: 'process' });
});

test('.env: syntax', async (t) => {
  const text = '# comment\n\nA=plain # comment\nB="two\\nlines # kept"\nexport C=\'single $A\'\n  D = spaced  \nE=\n';
  const h = await start(t, { files: deployment({ e: ENV }, { files: { '.env': text } }) });
  assert.deepEqual((await h.call('e')).json(), { A: 'plain', B: 'two\nlines # kept', C: 'single $A', D: 'spaced', E: '' });
});

// What dotenv 16 makes of the same lines.
test('.env: values are those of dotenv', async (t) => {
  const cases = [
    ['A=1\nA=2\n', { A: '2' }],
    ['A="1"\nB=x\nA=\n', { A: '', B: 'x' }],
    ['A=word#rest\nB=#\nC=a # b # c', { A: 'word', B: '', C: 'a' }],
    ['A="a\\tb\\$c\\"d\\\\e"', { A: 'a\\tb\\$c\\"d\\\\e' }],
    ['A="a\\nb\\rc"\nB=\'a\\nb\'\nC=a\\nb', { A: 'a\nb\rc', B: 'a\\nb', C: 'a\\nb' }],
    ['A="one\r\ntwo" # c\r\nB=x\r\n', { A: 'one\ntwo', B: 'x' }],
    ['A="C:\\dir\\"\nB="x"', { A: 'C:\\dir\\', B: 'x' }],
    ['A=`say "it\'s"`#c', { A: 'say "it\'s"' }],
    ['A="{"a": 1}"\nB=\'it\'s\' # c', { A: '{"a": 1}', B: "it's" }],
    ['A: 1\nexport\tB=2\n  export   C =3', { A: '1', B: '2', C: '3' }],
    ['\ufeffA=1', { A: '1' }],
  ];
  for (const [text, want] of cases) {
    const dir = folder(t, deployment({ e: ENV }, { fields: { e: 'env = { "*" }' }, files: { '.env': text } }));
    const { code, stdout, stderr } = await run(t, ['invoke', 'e'], { dir });
    assert.equal(code, 0, `${text}: ${stderr}`);
    assert.deepEqual(JSON.parse(stdout), want, text);
  }
  for (const [text, place] of [['A="x" y', 1], ['A=1\nB="x\n\n', 2], ['A=1\n\nB', 3], ['A:1', 1]]) {
    const { code, stderr } = await run(t, ['check'], { files: { ...good(), '.env': text } });
    assert.equal(code, 1, text);
    assert.match(stderr, new RegExp(`\\.env:${place}: `), text);
  }
});

test('.env: functions.lua sees it', async (t) => {
  const files = {
    ...SCRIPT, '.env': `JWT_ISSUER=https://you.auth0.example/\nJWT_AUDIENCE=${AUDIENCE}\n`,
    'functions.lua': config({ me: 'script = "scripts/me.lua", auth = true' }, '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },'),
  };
  const { code, stderr } = await run(t, ['check'], { files });
  assert.equal(code, 0, stderr);
});

test('.env: broken or unreadable is a fault with its place', async (t) => {
  const broken = await run(t, ['check'], { files: { ...good(), '.env': 'A=1\nthis is no assignment\n' } });
  assert.equal(broken.code, 1);
  assert.match(`${broken.stdout}${broken.stderr}`, /\.env:2:/);
  const folderInstead = folder(t, good());
  fs.mkdirSync(path.join(folderInstead, '.env'));
  const unreadable = await run(t, ['check'], { dir: folderInstead });
  assert.equal(unreadable.code, 1, 'a folder in its place cannot be read, not even by root');
  assert.match(`${unreadable.stdout}${unreadable.stderr}`, /\.env/);
});

test('.env: no permission', { skip: process.getuid() === 0 && 'root reads everything' }, async (t) => {
  const dir = folder(t, { ...good(), '.env': 'A=1\n' });
  fs.chmodSync(path.join(dir, '.env'), 0);
  const { code, stderr } = await run(t, ['check'], { dir });
  assert.equal(code, 1);
  assert.match(stderr, /\.env/);
});

test('publish, redirects and headers', async (t) => {
  const more = `  publish = "web",
  redirects = { { from = "/api/*", to = "/.netlify/functions/:splat", status = 200 }, { from = "/old", to = "/new", status = 301 } },
  headers = { { ["for"] = "/*", values = { ["X-Frame-Options"] = "DENY" } } },`;
  const h = await start(t, { files: { ...good(more), 'web/index.html': '<h1>hi</h1>', 'web/a.css': 'b{}', '.env': 'SECRET=1\n' } });
  const index = await h.get('/');
  assert.equal(index.status, 200);
  assert.equal(index.text, '<h1>hi</h1>');
  assert.match(index.header('content-type'), /^text\/html/);
  assert.equal(index.header('x-frame-options'), 'DENY');
  assert.match((await h.get('/a.css')).header('content-type'), /^text\/css/);
  assert.equal((await h.get('/api/me')).text, 'ok');
  const moved = await h.get('/old');
  assert.equal(moved.status, 301);
  assert.equal(moved.header('location'), '/new');
  for (const p of ['/../.env', '/%2e%2e/.env', '/..%2f.env', '/.env', '/a.css/../../.env', '/%2e%2e%2f.env', '/..\\.env']) {
    const res = await h.get(p);
    assert.ok([400, 404].includes(res.status), `${p}: ${res.status}`);
    assert.doesNotMatch(res.text, /SECRET/);
  }
});
