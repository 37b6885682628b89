// luafn check --diff: who may call what that could not before. What it says is held against two hosts that run.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { config, deployment, folder, lua, PERF, run, start, write } from '../lib/host.mjs';
import { requestText } from '../lib/wire.mjs';

const SECRET = 'a secret of thirty-two bytes, or more';
const ISSUER = 'https://issuer.example/';
const OPEN = 'return function() return "in" end';
const b64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const sign = (claims) => {
  const input = `${b64({ alg: 'HS256' })}.${b64({ iss: ISSUER, exp: Math.floor(Date.now() / 1000) + 3600, ...claims })}`;
  return `${input}.${crypto.createHmac('sha256', SECRET).update(input).digest('base64url')}`;
};
const AUTH = (more = '') => `  auth = { issuer = ${lua(ISSUER)}, audience = "x", secret = ${lua(SECRET)}${more} },`;

// A deployment of these functions { name: fields as Lua text }, all of one script.
const world = (functions, more = AUTH()) => ({
  'functions.lua': config(Object.fromEntries(Object.entries(functions).map(([name, fields]) => [name, `script = "f.lua", ${fields}`])), more), 'f.lua': OPEN,
});

// { code, rows: [[gained or lost, call, function, who]...] }
async function diff(t, before, now, args = []) {
  const dir = folder(t);
  write(path.join(dir, 'old'), before);
  write(path.join(dir, 'now'), now);
  const out = await run(t, ['check', '--diff', '../old', ...args], { dir: path.join(dir, 'now') });
  const rows = out.stdout.split('\n').filter((line) => /^(gained|lost)/.test(line)).map((line) => line.split(/ {2,}/).map((cell) => cell.trim()));
  return { ...out, rows, dir };
}

test('each condition that is not asked for any more, for whom; and the other way round', async (t) => {
  const me = (auth, fields = '') => ({ me: `auth = ${auth}${fields}` });
  const rows = [
    ['true', '"public"', 'everybody'], ['{ scope = "a" }', 'true', "without scope 'a'"], ['{ scope = { "a", "b" } }', '{ scope = "a" }', "without scope 'b'"],
    ['{ scope = "a" }', '{ scope = { any = { "a", "b" } } }', "without scope 'a'"], ['{ scope = { any = { "a", "b" } } }', '{ scope = { any = { "b", "c" } } }', "without a scope of 'a', 'b'"],
    ['{ role = "admin" }', 'true', "without role 'admin'"], ['{ role = "admin" }', '{ role = "admin", role_path = "realm.roles" }', "without role 'admin'"],
    ['{ claims = { tier = "gold" } }', '{ claims = { tier = { "gold", "free" } } }', "without the claim 'tier' that was asked for"], ['{ acr = "mfa" }', '{ acr = { "mfa", "pwd" } }', "with acr 'pwd'"],
    ['{ max_age = 60 }', '{ max_age = 300 }', 'whose users signed in longer than 60 s ago'], ['{ mtls = true }', 'true', 'that are bound to no certificate'],
    ['true', '{ mtls = false }', 'without the certificate that they are bound to'], ['{ dpop = true }', '{ dpop = "optional" }', 'without a proof of possession'],
    ['{ dpop = "optional" }', 'true', 'without a proof by the key that they are bound to'],
    ['{ role = "admin" }', '{ role = "admin", namespace = "https://n/" }', "without role 'admin'"],
  ];
  for (const [before, now, who] of rows) {
    const { code, rows: told, stderr } = await diff(t, world(me(before)), world(me(now)));
    assert.equal(code, 3, `${before} -> ${now}: ${stderr}`);
    const gained = told.filter(([kind]) => kind === 'gained');
    assert.ok(gained.some((row) => row[3].endsWith(who)), `${before} -> ${now}: ${JSON.stringify(told)}`);
    assert.deepEqual(gained[0].slice(1, 3), ['any method /.netlify/functions/me', 'me']);
    assert.equal(gained.length, 1, JSON.stringify(told));
  }
  for (const [before, now] of [['"public"', 'true'], ['true', '{ scope = "a" }'], ['{ scope = { any = { "a", "b" } } }', '{ scope = { "a", "b" } }'], ['{ claims = { tier = { "a", "b" } } }', '{ claims = { tier = "a" } }'], ['{ max_age = 300 }', '{ max_age = 60, role = "r" }']]) {
    const { code, rows: told } = await diff(t, world(me(before)), world(me(now)));
    assert.equal(code, 0, JSON.stringify(told));
    assert.ok(told.length > 0 && told.every(([kind]) => kind === 'lost'), JSON.stringify(told));
  }
});

test('issuers, audiences, algorithms, keys, times, opaque tokens', async (t) => {
  const functions = { me: 'auth = true' };
  const rsa = (more) => `  auth = { issuer = "https://a.example/", audience = "x"${more} },`;
  const two = (second) => `  auth = { { issuer = "https://a.example/", audience = "x" }, { issuer = "https://b.example/", audience = "x"${second} } },`;
  const rows = [
    [AUTH(), AUTH().replace('audience = "x"', 'audience = { "x", "y" }'), /for 'y'$/], [AUTH(), AUTH(', require_exp = false'), /without exp$/], [AUTH(), AUTH(', clock_tolerance = 30'), /that expired up to 30 s ago$/],
    [AUTH(), AUTH().replace('a secret', 'A secret'), /signed with other keys$/], [rsa(''), rsa(', algorithms = { "RS256", "ES256" }'), /signed by ES256$/], [rsa(', profile = "at+jwt"'), rsa(''), /that are no at\+jwt$/],
    [rsa(''), two(''), /^tokens of https:\/\/b\.example\/ \(token\)$/], [rsa(''), rsa(', jwks_uri = "https://c.example/keys"'), /signed with other keys$/],
    [rsa(''), rsa(', introspection = { url = "https://a.example/ask", client_id = "i", client_secret = "s" }'), /^tokens that are no JWTs and that https:\/\/a\.example\/ask finds good$/],
    [rsa(', audience_claim = "client_id"'), rsa(''), /for 'x'$/],
  ];
  for (const [before, now, who] of rows) {
    const { code, rows: told, stderr } = await diff(t, world(functions, before), world(functions, now));
    assert.equal(code, 3, `${now}: ${stderr} ${JSON.stringify(told)}`);
    assert.ok(told.some((row) => row[0] === 'gained' && who.test(row[3])), `${now}: ${JSON.stringify(told)}`);
  }
  assert.ok(!(await diff(t, world(functions, AUTH()), world(functions, AUTH().replace('a secret', 'A secret')))).stdout.includes('secret of thirty'));
});

test('webhooks: who signs, with which secret, how late', async (t) => {
  const hook = (scheme, secret = '"one"', more = '') => `{ webhook = ${scheme}, secret = ${secret}${more} }`;
  const told = async (before, now) => (await diff(t, world({ hook: `auth = ${before}` }), world({ hook: `auth = ${now}` }))).rows.map(([kind, , , who]) => `${kind}: ${who}`).sort();
  const github = hook('"github"');
  assert.deepEqual(await told(github, github), []);
  assert.deepEqual(await told(github, hook('"github"', '{ "two", "one" }')), ['gained: senders of webhooks (github) with another secret']);
  assert.deepEqual(await told(hook('"github"', '{ "two", "one" }'), github), ['lost: senders of webhooks (github) with another secret']);
  assert.deepEqual(await told(github, hook('"slack"')), ['gained: senders of webhooks (slack)', 'lost: senders of webhooks (github)']);
  assert.deepEqual(await told(hook('"slack"'), hook('"slack"', '"one"', ', tolerance = 600')), ['gained: senders of webhooks (slack) up to 600 s late']);
  assert.deepEqual(await told(github, '"public"'), ['gained: everybody']);
  assert.deepEqual(await told(github, 'true'), [`gained: tokens of ${ISSUER} (token)`, 'lost: senders of webhooks (github)']);
  assert.deepEqual(await told('true', github), ['gained: senders of webhooks (github)', `lost: tokens of ${ISSUER} (token)`]);
});

test('paths, methods, names: what stands there now, whoever stood there before', async (t) => {
  const admin = 'auth = { role = "admin" }';
  const told = async (before, now) => (await diff(t, world(before), world(now))).rows.map((row) => row.join('|'));
  assert.deepEqual(await told({ a: `${admin}, path = "/a"` }, { b: `${admin}, path = "/a"` }), [], 'another name, the same address');
  assert.deepEqual(await told({ a: `${admin}, path = "/a", methods = { "GET" }` }, { a: `${admin}, path = "/a", methods = { "GET", "POST" }` }), [`gained|POST /a|a|tokens of ${ISSUER} (role admin)`]);
  assert.deepEqual(await told({ a: `${admin}, path = "/x/:id"` }, { a: `${admin}, path = "/x/:id"`, b: 'auth = "public", path = "/x/new"' }), ['gained|any method /x/new|b|everybody']);
  assert.deepEqual(await told({ a: `${admin}, path = "/x/*"` }, { a: `${admin}, path = { "/x/*", "/y/*" }` }), [`gained|any method /y/*|a|tokens of ${ISSUER} (role admin)`]);
  assert.deepEqual(await told({ a: `${admin}, path = "/:a/one/:b"`, b: `${admin}, path = "/two/*"` }, { a: `${admin}, path = "/:a/one/:b"`, b: 'auth = "public", path = "/two/*"' }).then((r) => r.sort()), ['gained|any method /two/*|b|everybody']);
  assert.deepEqual(await told({ a: 'auth = true' }, {}), [`lost|any method /.netlify/functions/a|a|tokens of ${ISSUER} (token)`]);
});

test('a tool by its name, whatever its policy was', async (t) => {
  const tool = (auth, more = '') => ({ ask: `auth = ${auth}, tool = { description = "Asks." , input = { type = "object" } }${more}` });
  const told = async (before, now) => (await diff(t, world(before), world(now))).rows.map((row) => row.join('|'));
  assert.deepEqual(await told(tool('{ scope = "a" }'), tool('true')), [`gained|tool ask|ask|tokens of ${ISSUER} without scope 'a'`]);
  assert.deepEqual(await told(tool('true'), tool('{ scope = "a" }')), [`lost|tool ask|ask|tokens of ${ISSUER} without scope 'a'`]);
  assert.deepEqual(await told({ ask: 'auth = true, path = "/a"' }, tool('true', ', path = "/a"')), [`gained|tool ask|ask|tokens of ${ISSUER} (token)`]);
});

test('a script\'s own policy; a revision of git; exit statuses', async (t) => {
  const dir = folder(t, { 'app/functions.lua': config({ me: 'script = "me.lua"' }, `  auth = { issuer = env.ISSUER, audience = "x" },`), 'app/me.lua': 'return { auth = { scope = "a" }, handler = function() return "x" end }', '.gitignore': '.env\n' });
  const git = (...args) => execFileSync('git', ['-C', dir, '-c', 'user.name=t', '-c', 'user.email=t@example.com', ...args], { stdio: 'ignore' });
  git('init', '-q');
  git('add', '.');
  git('commit', '-qm', 'one');
  write(dir, { 'app/.env': 'ISSUER=https://a.example/\n', 'app/me.lua': 'return { auth = true, handler = function() return "x" end }' });
  const app = path.join(dir, 'app');
  const env = { TMPDIR: folder(t) };
  const out = await run(t, ['check', '--diff', 'HEAD'], { dir: app, env });
  assert.equal(out.code, 3, out.stderr);
  assert.match(out.stdout, /^gained .* me +tokens of https:\/\/a\.example\/ without scope 'a'$/m);
  const rows = [[['--diff', 'HEAD', '--allow'], 0, /gained/, /^/], [['--diff', '.'], 0, /^nobody gained, nobody lost\n$/, /^/], [['--diff', 'functions.lua'], 0, /^nobody gained/, /^/], [['--diff', 'no-such'], 1, /^$/, /'no-such' is no folder, and no revision that git knows/],
    [['--diff', '-x'], 2, /^$/, /check/], [['--allow'], 2, /^$/, /--allow is about --diff/], [['--diff', '../app/none/..'], 1, /^$/, /./]];
  for (const [args, code, stdout, stderr] of rows) {
    const res = await run(t, ['check', ...args], { dir: app, env });
    assert.equal(res.code, code, `${args}: ${res.stdout} ${res.stderr}`);
    assert.match(res.stdout, stdout, args.join(' '));
    assert.match(res.stderr, stderr, args.join(' '));
  }
  write(dir, { 'bad/functions.lua': 'return {' });
  const bad = await run(t, ['check', '--diff', '../bad'], { dir: app });
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /'\.\.\/bad' does not load, so there is nothing to compare with/);
  assert.deepEqual(fs.readdirSync(env.TMPDIR), [], 'what was unpacked is gone');
});

// The same numbers in every run.
let seed = 20;
const below = (n) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % n; };
const one = (list) => list[below(list.length)];

// Who holds a key of his own, and who a certificate.
const KEY = crypto.generateKeyPairSync('ed25519');
const JWK = KEY.publicKey.export({ format: 'jwk' });
const JKT = crypto.createHash('sha256').update(JSON.stringify({ crv: JWK.crv, kty: JWK.kty, x: JWK.x })).digest('base64url');
const CERT = Buffer.from('the bytes of a certificate');
const X5T = crypto.createHash('sha256').update(CERT).digest('base64url');
const prove = (method, url, token) => {
  const input = `${b64({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: JWK })}.${b64({ jti: crypto.randomUUID(), htm: method, htu: url, iat: Math.floor(Date.now() / 1000), ath: crypto.createHash('sha256').update(token).digest('base64url') })}`;
  return `${input}.${crypto.sign(null, Buffer.from(input), KEY.privateKey).toString('base64url')}`;
};

// Who comes with a token of those that the policies below can tell apart, with or without what it is bound to, and who
// has none.
const CALLERS = [null];
for (const aud of ['x', 'y']) {
  for (const scope of ['', 'a', 'b', 'a b']) {
    for (const more of [{}, { roles: ['admin'] }, { tier: 'gold' }, { tier: 'free', roles: ['admin'] }, { tier: 'gold', roles: ['admin'] }]) {
      for (const sign_in of [{}, { acr: 'mfa' }, { auth_time: Math.floor(Date.now() / 1000) - 10 }, { acr: 'mfa', auth_time: Math.floor(Date.now() / 1000) - 10 }]) {
        for (const cnf of [undefined, { jkt: JKT }, { 'x5t#S256': X5T }, { jkt: JKT, 'x5t#S256': X5T }]) {
          const text = sign({ aud, scope, ...more, ...sign_in, ...(cnf ? { cnf } : {}) });
          for (const key of cnf?.jkt ? [false, true] : [false]) for (const cert of cnf?.['x5t#S256'] ? [false, true] : [false]) CALLERS.push({ text, key, cert });
        }
      }
    }
  }
}
// Each way in which he can show it.
const ways = (caller, method, url) => {
  if (caller === null) return [[]];
  const cert = caller.cert ? [['Client-Cert', `:${CERT.toString('base64')}:`]] : [];
  const bearer = [['Authorization', `Bearer ${caller.text}`], ...cert];
  return caller.key ? [bearer, [['Authorization', `DPoP ${caller.text}`], ['DPoP', prove(method, url, caller.text)], ...cert]] : [bearer];
};

const somePolicy = () => {
  if (below(8) === 0) return '"public"';
  const parts = [one(['', 'scope = "a"', 'scope = { "a", "b" }', 'scope = { any = { "a", "b" } }', 'scope = "b"']), one(['', '', 'role = "admin"']), one(['', '', 'claims = { tier = "gold" }', 'claims = { tier = { "gold", "free" } }']),
    one(['', '', '', 'acr = "mfa"', 'max_age = 3600', 'acr = { "mfa", "phr" }, max_age = 3600']), one(['', '', 'dpop = true', 'dpop = "optional"', 'dpop = false']), one(['', '', '', 'mtls = true', 'mtls = false'])].filter(Boolean);
  return parts.length === 0 ? 'true' : `{ ${parts.join(', ')} }`;
};
const PLACES = ['/p/one', '/p/two', '/p/two/more'];
const SITE = ['/s/one', '/s/two'];
const somePair = () => {
  const names = ['f', 'g', 'h'];
  const make = () => Object.fromEntries(names.map((name, i) => [name, `auth = ${somePolicy()}, path = ${lua(one([PLACES[i], '/p/:x', `/p/${name}`, '/p/*', `${PLACES[i]}/:y?`]))}, methods = ${one(['{ "GET" }', '{ "GET", "POST" }', '{ "POST" }'])}`]));
  const rule = (at) => `{ path = ${lua(at)}, auth = ${somePolicy()} }`;
  const more = () => `${AUTH(one(['', '', ', dpop = true', ', dpop = "optional"', ', mtls = true'])).replace('audience = "x"', `audience = ${one(['"x"', '{ "x", "y" }'])}`)}
  proxies = { from = "127.0.0.1", client_cert_header = "client-cert" },
  protect = { ${[one(SITE), one(['/s/:x', '/s/*', ...SITE])].filter((at, i, all) => all.indexOf(at) === i).slice(0, below(3)).map(rule).join(', ')} },`;
  return [world(make(), more()), world(make(), more())];
};

// Does the call of a row, as "GET, POST /p/:x", mean this one?
const means = (call, method, at) => {
  const [, methods, pattern] = /^(.*) (\/\S*)$/.exec(call);
  const text = pattern.split('/').slice(1).map((part, i, all) => (part === '*' ? (i === all.length - 1 ? '(/.*)?' : '/[^/]+') : part.endsWith('?') ? '(/[^/]+)?' : part.startsWith(':') ? '/[^/]+' : `/${part}`)).join('');
  return (methods === 'any method' || methods.split(', ').includes(method)) && new RegExp(`^${text}$`).test(at);
};

// Whom this host lets through, one after the other on one connection, many under way.
async function letIn(h, wire, method, at, callers) {
  const asked = callers.flatMap((caller, i) => ways(caller, method, h.url(at)).map((headers) => [i, headers]));
  const passed = new Set();
  for (let first = 0; first < asked.length; first += 64) {
    const some = asked.slice(first, first + 64);
    wire.send(Buffer.concat(some.map(([, headers]) => requestText({ method, path: at, headers, host: h.url('').slice(7), close: false }))));
    for (const [i] of some) {
      const { status } = await wire.response();
      assert.ok([200, 401, 403, 404, 405].includes(status), `${status}`);
      if (status === 200 || (status === 404 && at.startsWith('/s'))) passed.add(i); // nothing is there, and he may know
    }
  }
  return passed;
}

test('what it says of random pairs is what two hosts do with every caller', async (t) => {
  let pairs = 0, cases = 0;
  const sides = { gained: 0, lost: 0 };
  for (; pairs < (PERF ? 8 : 5);) {
    const [before, now] = somePair();
    const told = await diff(t, before, now, ['--allow']);
    if (told.code !== 0) { // two functions at one address
      assert.match(told.stderr, /path|does not load/);
      continue;
    }
    pairs += 1;
    const callers = PERF ? CALLERS : CALLERS.filter((_, i) => i === 0 || below(16) === 0);
    const hosts = await Promise.all(['old', 'now'].map((name) => start(t, { dir: path.join(told.dir, name) })));
    const wires = await Promise.all(hosts.map((h) => h.connect()));
    const where = `${before['functions.lua']}\n${now['functions.lua']}\n${told.stdout}`;
    for (const at of [...PLACES, '/p/f', '/p/g', '/p/h', '/p/any', '/p', '/p/two/more/most', ...SITE, '/s', '/s/other', '/s/one/more']) {
      for (const method of ['GET', 'POST']) {
        const [was, is] = await Promise.all(hosts.map((h, i) => letIn(h, wires[i], method, at, callers)));
        cases += callers.length;
        for (const [kind, some] of [['gained', [...is].filter((i) => !was.has(i))], ['lost', [...was].filter((i) => !is.has(i))]]) {
          const rows = told.rows.filter((row) => row[0] === kind && means(row[1], method, at));
          if (some.length > 0) assert.ok(rows.length > 0, `${kind} ${method} ${at} ${JSON.stringify(callers[some[0]])}\n${where}`);
          if (some.length > 0) for (const row of rows) row.seen = true;
          sides[kind] += some.length;
        }
      }
    }
    if (PERF) for (const row of told.rows) assert.ok(row.seen, `nobody ${row.join(' ')}\n${where}`);
    for (const wire of wires) wire.close();
    for (const h of hosts) await h.stop();
  }
  t.diagnostic(`${pairs} pairs, ${cases} cases: ${sides.gained} gained, ${sides.lost} lost`);
  assert.ok(sides.gained > 0 && sides.lost > 0);
});
