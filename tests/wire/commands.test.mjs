// The commands that work on functions without a host: new, invoke, test, completion.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, eventually, folder, ROOT, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const TEMPLATES = ['hello', 'protected', 'scope', 'fetch', 'background', 'scheduled', 'webhook', 'tool'];
const AUTH = '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },';

test('every command has help with an example', async (t) => {
  const { stdout } = await run(t, ['help']);
  const names = [...stdout.matchAll(/^ {2}([a-z]+) +\S/gm)].map((m) => m[1]);
  for (const name of ['new', 'invoke', 'test', 'completion', 'serve', 'dev']) assert.ok(names.includes(name), name);
  for (const name of names) {
    const help = await run(t, ['help', name]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /\nExample:\n {2}\S/, name);
  }
});

// ---- new ----

test('new: every template loads, and its test passes', async (t) => {
  const dir = folder(t);
  for (const name of TEMPLATES) {
    const made = await run(t, ['new', `my-${name}`, '--template', name], { dir });
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, new RegExp(`wrote scripts/my-${name}\\.lua\nwrote scripts/my-${name}_test\\.lua`));
  }
  assert.ok(fs.existsSync(path.join(dir, '.env.example')));
  assert.ok(fs.existsSync(path.join(dir, 'scripts/lib/auth.lua')));
  write(dir, { '.env': 'JWT_ISSUER=https://you.auth0.example/\nJWT_AUDIENCE=urn:x\nWEBHOOK_SECRET=x\n' });
  const check = await run(t, ['check'], { dir });
  assert.equal(check.code, 0, check.stderr);
  assert.equal(check.stderr, '');
  const tested = await run(t, ['test'], { dir });
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
  assert.match(tested.stdout, /# \d\d passed, 0 failed/);
});

test('new: the first function makes functions.lua, and it runs', async (t) => {
  const dir = folder(t);
  for (const [name, template] of [['hi', 'hello'], ['me', 'protected']]) {
    const one = folder(t);
    const made = await run(t, ['new', name, '--template', template], { dir: one });
    assert.match(made.stdout, /wrote functions\.lua\nnext: luafn test, luafn dev\n$/);
    assert.match(fs.readFileSync(path.join(one, 'functions.lua'), 'utf8'), new RegExp(`^ {4}${name} = \\{ script = "scripts/${name}\\.lua" \\},$`, 'm'));
    const called = await run(t, ['invoke', name, '--as', 'ada'], { dir: one });
    assert.equal(called.code, 0, called.stderr);
  }
  // A protected function beside a public one: the issuer that was a comment is switched on, and said so.
  await run(t, ['new', 'open'], { dir });
  assert.match(fs.readFileSync(path.join(dir, 'functions.lua'), 'utf8'), /^ {2}-- auth = /m);
  const second = await run(t, ['new', 'closed', '--template', 'scope'], { dir });
  assert.match(second.stdout, /added closed, and the issuer, to functions\.lua\nnext:/);
  assert.match(fs.readFileSync(path.join(dir, 'functions.lua'), 'utf8'), /^ {2}auth = \{ issuer = env\.JWT_ISSUER/m);
  const both = await run(t, ['test'], { dir });
  assert.equal(both.code, 0, both.stdout + both.stderr);
  fs.mkdirSync(path.join(dir, 'app'));
  const below = await run(t, ['new', 'hi', '--config', 'app/functions.lua'], { dir });
  assert.match(below.stdout, /wrote app\/scripts\/hi\.lua\n/);
  assert.match(below.stdout, /next: luafn test --config app\/functions\.lua/);
});

test('new: says what it does not do, and overwrites nothing', async (t) => {
  const hello = deployment({ me: 'return function() return "me" end' });
  const cases = [
    [['new'], {}, 2, /a name is missing; usage: luafn new NAME/],
    [['new', 'a b'], {}, 2, /'a b' is no name: use letters, digits/],
    [['new', 'x_test'], {}, 2, /is no name.*no _test at the end/],
    [['new', 'x', '--template', 'helo'], {}, 2, /'helo' is not one of hello, protected, scope, fetch/],
    [['new', 'x', '--config', `${'a'.repeat(4001)}`], {}, 2, /the name of --config is too long/],
    [['new', 'me'], hello, 1, /functions\.lua has a function me already/],
    [['new', 'x'], { ...hello, 'scripts/x.lua': 'mine' }, 1, /scripts\/x\.lua exists already: it is left as it is/],
    [['new', 'x'], { ...hello, 'scripts/x_test.lua': 'mine' }, 1, /scripts\/x_test\.lua exists already/],
    [['new', 'x'], { 'functions.lua': 'return { functoins = {} }' }, 1, /functions\.lua:1: functoins: unknown key; did you mean `functions`/],
    [['new', 'x'], { scripts: 'a file' }, 1, /scripts\/x\.lua cannot be written: Not a directory/],
  ];
  for (const [args, files, code, expected] of cases) {
    const dir = folder(t, files);
    const r = await run(t, args, { dir });
    assert.equal(r.code, code, r.stderr);
    assert.match(r.stderr, expected);
    for (const [name, text] of Object.entries(files)) assert.equal(fs.readFileSync(path.join(dir, name), 'utf8'), text);
  }
});

test('new: where functions.lua cannot be edited, it says what to add', async (t) => {
  const text = 'local list = {}\nreturn { functions = list }\n';
  const odd = await run(t, ['new', 'x'], { files: { 'functions.lua': text } });
  assert.equal(odd.code, 0, odd.stderr);
  assert.match(odd.stdout, /add this to `functions` in functions\.lua:\n {4}x = \{ script = "scripts\/x\.lua" \},\n/);
  assert.equal(fs.readFileSync(path.join(odd.dir, 'functions.lua'), 'utf8'), text);
  assert.deepEqual(fs.readdirSync(odd.dir).sort(), ['.env.example', '.gitignore', '.luarc.json', '.vscode', 'functions.lua', 'scripts']);
  const byFolder = await run(t, ['new', 'x'], { files: { 'functions.lua': 'return {\n  functions = "api",\n}\n', 'api/a.lua': 'return function() end' } });
  assert.match(byFolder.stdout, /wrote api\/x\.lua\n(?:wrote .*\n)+every script of api\/ is a function: nothing is to be added/);
  const routes = await run(t, ['routes'], { dir: byFolder.dir });
  assert.match(routes.stdout, /functions\/x /);
  assert.doesNotMatch(routes.stdout, /x_test/, 'a test is no function');
  const noIssuer = await run(t, ['new', 'x', '--template', 'scope'], { files: { 'functions.lua': 'return {\n  functions = {\n  },\n}\n' } });
  assert.match(noIssuer.stdout, /added x to functions\.lua\nfunctions\.lua names no issuer: add auth = \{ issuer = env\.JWT_ISSUER/);
});

test('new: what is there goes on, whatever form the configuration has', async (t) => {
  const old = 'return function() return "old" end';
  for (const files of [
    { 'netlify.toml': '[build]\n', 'netlify/functions/old.lua': old },
    { 'netlify.toml': '[functions]\n  directory = "api/"\n', 'api/old.lua': old },
    { 'functions.lua': 'return { functions = "./api" }', 'api/old.lua': old },
    { 'functions.lua': 'return { functions = "api/", auth = { issuer = env.JWT_ISSUER, audience = "x" } }', 'api/old.lua': old },
  ]) {
    const dir = folder(t, files);
    const made = await run(t, ['new', 'fresh'], { dir });
    assert.match(made.stdout, /\nevery script of (api|netlify\/functions)\/ is a function/, made.stderr);
    assert.equal(fs.existsSync(path.join(dir, 'functions.lua')), 'functions.lua' in files);
    for (const [name, text] of [['old', 'old'], ['fresh', '{"hello":"world"}']]) assert.equal((await run(t, ['invoke', name], { dir })).stdout.trim(), text);
  }
  const empty = folder(t, { 'netlify.toml': '' });
  assert.match((await run(t, ['new', 'fresh'], { dir: empty })).stdout, /wrote netlify\/functions\/fresh\.lua\n/);
  assert.equal((await run(t, ['invoke', 'fresh'], { dir: empty })).code, 0);
});

test('new: a protected function is checked as it will run, in dev and with an issuer of the environment; roles work', async (t) => {
  const dir = folder(t);
  await run(t, ['new', 'me', '--template', 'protected'], { dir });
  const bare = await run(t, ['check'], { dir });
  assert.equal(bare.code, 1);
  assert.match(bare.stderr, /not set: JWT_ISSUER, JWT_AUDIENCE .*`luafn check --dev`/);
  const dev = await run(t, ['check', '--dev'], { dir });
  assert.deepEqual([dev.code, dev.stdout, dev.stderr], [0, 'functions.lua: 1 function, no faults\n', '']);
  const served = await run(t, ['check'], { dir, env: { JWT_ISSUER: 'https://you.example/', JWT_AUDIENCE: 'urn:x' } });
  assert.deepEqual([served.code, served.stderr], [0, '']);
  write(dir, { 'scripts/me.lua': 'return { auth = { role = "TV Shows Viewer" }, handler = function() return "in" end }' });
  const h = await start(t, { dir, command: 'dev' });
  const token = async (...claims) => (await run(t, ['token', '--sub', 'a', ...claims], { dir })).stdout.trim();
  const ask = async (...claims) => (await h.call('me', { headers: { Authorization: `Bearer ${await token(...claims)}` } })).status;
  assert.equal(await ask('--claim', 'http://schemas.sandrino.dev/roles=["TV Shows Viewer"]'), 200);
  assert.equal(await ask(), 403);
});

test('test: a folder with a functions.lua of its own is tested by itself', async (t) => {
  const [good, bad] = [true, false].map((ok) => `test("one", function(t) t.ok(${ok}) end)`);
  const dir = folder(t, { 'functions.lua': 'return { functions = {} }', 'a/one_test.lua': good, 'other/functions.lua': 'return { functions = {} }', 'other/in/bad_test.lua': bad });
  const all = await run(t, ['test'], { dir });
  assert.match(all.stdout, /# 1 passed, 0 failed/);
  const named = await run(t, ['test', 'other'], { dir });
  assert.match(named.stdout, /# 0 passed, 1 failed/);
});

test('new: the checkout itself passes luafn test', async (t) => {
  const tested = await run(t, ['test', '--config', path.join(ROOT, 'functions.lua')]);
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
});

// ---- invoke ----

const SCRIPTS = {
  echo: 'return function(e, c) print("seen", e.httpMethod) return json.encode({ method = e.httpMethod, path = e.path, query = e.queryStringParameters, body = e.body, x = e.headers["x-y"], type = e.headers["content-type"] }) end',
  me: 'return { auth = true, handler = function(_, c) return c.identityContext.claims.sub .. " " .. tostring(c.identityContext.claims.scope) end }',
  item: 'return { path = "/api/items/:id", methods = { "PUT" }, handler = function(e) return e.params.id end }',
  list: 'return { path = "/api/list/:id?", methods = { "POST" }, handler = function(e) return e.path end }',
  bad: 'return function() error("boom") end',
  gone: 'return function() return { statusCode = 404, body = "none" } end',
  later: 'return function() after_response(function() sleep(0.2) print("afterwards") end) return "now" end',
  nightly: 'return { schedule = "@daily", handler = function(e) return e.httpMethod .. e.body .. e.headers["x-nf-event"] end }',
  'work-background': 'return function(e) sleep(0.1) return { statusCode = 200, body = "worked on " .. e.body } end',
  es: 'return { auth = { scope = "a", issuer = "https://es.example/", audience = "urn:es", algorithms = { "ES256" } }, handler = function() return "es" end }',
  hs: 'return { auth = { issuer = "https://hs.example/", audience = "urn:hs", secret = "0123456789abcdef0123456789abcdef" }, handler = function(_, c) return c.identityContext.claims.iss end }',
};

test('invoke: runs a function as a request would', async (t) => {
  const warns = 'log.warn("while it loads") return function() return "x" end';
  const dir = folder(t, { ...deployment({ ...SCRIPTS, warns }, { more: AUTH }), 'body.json': '{"from":"file"}' });
  const call = (...args) => run(t, ['invoke', ...args], { dir, input: 'from stdin' });
  const ok = async (args, expected) => {
    const r = await call(...args);
    assert.equal(r.code, 0, r.stderr);
    if (typeof expected === 'string') assert.equal(r.stdout, expected);
    else assert.deepEqual(JSON.parse(r.stdout), expected);
    assert.match(r.stderr, /^2\d\d \w+$/m);
    return r;
  };
  const plain = await ok(['echo'], { method: 'GET', path: '/.netlify/functions/echo', query: {} });
  assert.match(plain.stderr, /seen\tGET/, 'what it prints');
  assert.match((await ok(['warns'], 'x')).stderr, /^\d\d:\d\d:\d\d\.\d{3} warn  while it loads function=warns$/m);
  await ok(['echo', '--payload', '{"a":1}'], { method: 'POST', path: '/.netlify/functions/echo', query: {}, body: '{"a":1}', type: 'application/json' });
  await ok(['echo', '--payload', '@body.json', '--method', 'PUT', '--header', 'X-Y: z', '--path', '/.netlify/functions/echo/more?a=1&b=2'],
    { method: 'PUT', path: '/.netlify/functions/echo/more', query: { a: '1', b: '2' }, body: '{"from":"file"}', x: 'z', type: 'application/json' });
  await ok(['echo', '--payload', '@-', '--header', 'Content-Type: text/x'], { method: 'POST', path: '/.netlify/functions/echo', query: {}, body: 'from stdin', type: 'text/x' });
  await ok(['me', '--as', 'ada', '--scope', 'a b'], 'ada a b');
  await ok(['me', '--scope', 'a'], 'auth0|dev a');
  await ok(['es', '--scope', 'a'], 'es');
  await ok(['hs', '--as', 'ada'], 'https://hs.example/');
  await ok(['item', '--path', '/api/items/7'], '7');
  await ok(['list'], '/api/list');
  assert.match((await call('nightly')).stdout, /^POST\{"next_run":"\d{4}-\d\d-\d\dT00:00:00\.000Z"\}schedule$/);
  await ok(['work-background', '--payload', 'it'], 'worked on it');
  assert.match((await ok(['later'], 'now')).stderr, /afterwards/);
  // A token that this machine did not make is judged, too.
  const refused = await call('me');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^401 Unauthorized$/m);
  assert.equal(JSON.parse(refused.stdout).error, 'invalid_header');
  const scope = await call('es', '--scope', 'b');
  assert.equal(scope.code, 1);
  assert.match(scope.stderr, /^403 Forbidden$/m);
  for (const [name, status] of [['bad', '502 Bad Gateway'], ['gone', '404 Not Found']]) {
    const r = await call(name);
    assert.equal(r.code, 1);
    assert.match(r.stderr, new RegExp(`^${status}$`, 'm'));
  }
  const wrong = await call('item', '--method', 'GET', '--path', '/api/items/7');
  assert.match(wrong.stderr, /^405 Method Not Allowed$/m);
});

test('invoke: what it refuses', async (t) => {
  const pem = '-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n';
  const dir = folder(t, {
    ...deployment({
      ...SCRIPTS, broken: 'return function( end', large: 'return { body = "7MB", handler = function() return "" end }',
      own: `return { auth = { issuer = "https://own.example/", audience = "urn:x", public_key = "${pem}", algorithms = { "EdDSA" } }, handler = function() return "" end }`,
    }, { more: AUTH }),
    big: 'x'.repeat(6 * 1024 * 1024 + 1),
  });
  const cases = [
    [[], 2, /a function's name is missing; `luafn routes` lists them; usage/],
    [['eco'], 2, /there is no function 'eco'; did you mean echo\?/],
    [['zzzzzzzz'], 2, /there is no function 'zzzzzzzz'; `luafn routes` lists them/],
    [['echo', '--header', 'nonsense'], 2, /--header is 'NAME: VALUE', not 'nonsense'/],
    [['echo', '--header', 'a b: c'], 2, /'a b' is no header's name/],
    [['echo', '--header', 'a: b\nc'], 2, /the value of the header 'a' cannot be sent/],
    [['echo', '--payload', '@missing'], 1, /--payload: missing cannot be read: No such file/],
    [['echo', '--payload', '@.'], 1, /--payload: \. cannot be read/],
    [['echo', '--method', 'FETCH'], 2, /'FETCH' is not one of GET HEAD POST/],
    [['echo', '--path', 'x'], 2, /the path 'x' does not begin with '\/'/],
    [['echo', '--path', '/a b'], 2, /the path '\/a b' has a character that must be written %20/],
    [['echo', '--path', '/../..'], 2, /the path '\/\.\.\/\.\.' cannot be resolved/],
    [['echo', '--path', '/other'], 2, /the path '\/other' does not lead to echo, which is at \/\.netlify\/functions\/echo/],
    [['list', '--path', '/other'], 2, /does not lead to list, which is at \/api\/list\/:id\?/],
    [['item'], 2, /item is at \/api\/items\/:id: say which path is meant/],
    [['broken'], 1, /^scripts\/broken\.lua:1: .*near 'end'/m],
    [['own', '--as', 'ada'], 1, /no token can be made: the issuer https:\/\/own\.example\/ has a `public_key` of its own/],
    [['echo', 'more'], 2, /'more' is one word too many/],
    [['echo', '--config', 'missing.lua'], 1, /missing\.lua/],
  ];
  for (const [args, code, expected] of cases) {
    const r = await run(t, ['invoke', ...args], { dir });
    assert.equal(r.code, code, `${args}: ${r.stderr}`);
    assert.match(r.stderr, expected);
    assert.equal(r.stdout, '');
  }
  for (const [name, code, said] of [['echo', 1, /^413 Content Too Large$/m], ['large', 0, /^200 OK$/m]]) {
    const r = await run(t, ['invoke', name, '--payload', '@big'], { dir });
    assert.equal(r.code, code, `${name}: a body may be as long as its function says`);
    assert.match(r.stderr, said);
  }
});

// ---- test ----

const tested = (text, scripts = SCRIPTS) => ({ ...deployment(scripts, { more: AUTH }), 'scripts/some_test.lua': text });

// With a limit that nothing here comes near: what has ended is not waited for.
test('test: what t can do', async (t) => {
  const scripts = {
    ...SCRIPTS,
    asks: 'return function(e) local res = fetch("https://api.example/x?y=1", { method = "POST", headers = { A = "b" }, body = "hi" }) return json.encode({ status = res.status, ok = res.ok, h = res.headers["x-h"], text = res:text() }) end',
    clock: 'return function() local a = time.now() sleep(3600) return json.encode({ a, os.time(), os.date("!%Y") }) end',
    count: 'local n = 0 return function() n = n + 1 return tostring(n) end',
    store: 'return function() return tostring(kv.incr("n")) end',
    form: 'return function(e) local f = e:form { lists = true } for _, all in pairs(f) do for _, one in ipairs(all) do if type(one) == "table" then one.data = base64.encode(one.data) end end end return json.encode({ f, e.headers["content-type"]:match("^[^;]+") }, { sort_keys = true }) end',
  };
  const { code, stdout, stderr } = await run(t, ['test', '--timeout', '600s'], { files: tested(`
    test("by name", function(t)
      local res = t.invoke("echo", { method = "POST", query = { q = "a b" }, headers = { ["X-Y"] = "z" }, body = { list = { 1, 2 } } })
      t.equal(res.status, 200)
      t.match(res.headers["content-type"], "^application/json")
      t.equal(res.json().body, '{"list":[1,2]}')
      t.equal(res:json().query, { q = "a b" })
      t.equal(t.invoke("item", { method = "PUT", path = "/api/items/9" }).body, "9")
      t.equal(t.invoke("bad").status, 502)
      t.equal(t.invoke("nightly").status, 200)
      t.equal(t.invoke("work-background", { body = "it" }).body, "worked on it")
    end)
    test("forms", function(t)
      local plain = t.invoke("form", { form = { a = "x y", n = 5, list = { "b", "c&d" } } }).json()
      t.equal(plain, { { a = { "x y" }, n = { "5" }, list = { "b", "c&d" } }, "application/x-www-form-urlencoded" })
      local file = { filename = 'a"b.bin', type = "image/png", data = "\\0\\r\\n--\\xff" }
      local got = t.invoke("form", { form = { a = { "x", "ö" }, file = file } }).json()
      t.equal(got, { { a = { "x", "ö" }, file = { { filename = "a%22b.bin", type = "image/png", size = 6, data = base64.encode(file.data) } } }, "multipart/form-data" })
      t.raises(function() t.invoke("form", { form = { a = 1 }, body = "x" }) end, "form is a table of fields, in place of a body")
    end)
    test("tokens", function(t)
      t.equal(t.invoke("me").status, 401)
      t.equal(t.invoke("me", { as = "ada", scope = "a" }).body, "ada a")
      t.equal(t.invoke("me", { claims = { sub = "bob" } }).body, "bob nil")
      t.equal(t.invoke("me", { headers = { Authorization = "Bearer " .. t.token { sub = "eve" } } }).body, "eve nil")
      t.equal(t.invoke("es", { scope = "b" }).status, 403)
      t.equal(t.invoke("es", { scope = "a" }).status, 200)
      t.clock(1000)
      t.equal(t.invoke("me", { as = "old" }).status, 200)
    end)
    test("a handler of one's own", function(t)
      local res = t.invoke(jwt.require_auth(function(event, context)
        return { statusCode = 201, headers = { A = "b" }, body = event.queryStringParameters.q .. context.identityContext.claims.sub }
      end), { query = { q = "x" }, as = "ada" })
      t.equal({ res.status, res.headers.a, res.body }, { 201, "b", "xada" })
    end)
    test("fetch", function(t)
      local calls = t.fetch("https://api.example/*", { status = 201, headers = { ["X-H"] = "v" }, body = { a = 1 } })
      t.equal(t.invoke("asks").json(), { status = 201, ok = true, h = "v", text = '{"a":1}' })
      t.equal(#calls, 1)
      t.equal({ calls[1].method, calls[1].url, calls[1].headers.a, calls[1].body }, { "POST", "https://api.example/x?y=1", "b", "hi" })
      t.fetch("POST https://api.example/*", function(req) sleep(0.01) return req.body .. "!" end)
      t.equal(t.invoke("asks").json().text, "hi!")
      t.fetch("*", function() error("no route") end)
      t.equal(t.invoke("asks").status, 502)
      t.equal(pcall(fetch, "https://other.example/"), false)
    end)
    test("clock", function(t)
      t.clock(86400 * 365)
      t.equal(t.invoke("clock").json(), { 31536000.0, 31539600, "1971" })
      t.equal(time.now(), 31539600.0)
    end)
    test("a fresh state: one", function(t) t.equal(t.invoke("count").body, "1") t.equal(t.invoke("count").body, "2") t.equal(t.invoke("store").body, "1") end)
    test("a fresh state: two", function(t) t.equal(t.invoke("count").body, "1") t.equal(t.invoke("store").body, "1") end)
    test("env", function(t) t.env("SOME", "value") t.equal(env.SOME, "value") end)
    test("raises", function(t)
      t.raises(function() error("boom now") end, "boom")
      t.equal(t.raises(function() error { message = "m", code = 7 } end, "^m$").code, 7)
      local a, b = parallel(function() return t.invoke("echo").status end, function() return t.invoke("gone").status end)
      t.equal({ a, b }, { 200, 404 })
    end)
  `, scripts) });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^TAP version 13\nok 1 - scripts\/some_test\.lua: by name\n/);
  assert.match(stdout, /\n1\.\.10\n# 10 passed, 0 failed\n$/);
});

test('test: what fails says where and why', async (t) => {
  const scripts = { ...SCRIPTS, asks: 'return function() pcall(fetch, "https://api.example/x") return "survived" end', broken: 'return function( end' };
  const cases = [
    ['t.equal({ a = { b = 1 } }, { a = { b = 2 } })', 'scripts/some_test.lua:1: expected { a = { b = 2 } }, got { a = { b = 1 } } (first difference at a.b)'],
    ['t.equal(1, "1", "the number")', 'scripts/some_test.lua:1: the number: expected "1", got 1'],
    ['t.ok(nil)', 'scripts/some_test.lua:1: expected something true, got nil'],
    ['t.match("abc", "x+")', 'scripts/some_test.lua:1: expected "abc" to match "x+"'],
    ['t.match(5, "x")', 'expected a text, got 5'],
    ['t.raises(function() end)', 'scripts/some_test.lua:1: expected an error, but nothing was raised'],
    ['t.raises(function() error("a", 0) end, "b")', 'expected an error that matches "b", got "a"'],
    ['error("plain")', 'scripts/some_test.lua:1: plain'],
    ['error({ message = "in a table" })', 'in a table'],
    ['t.invoke("asks")', 'nothing in this test answers GET https://api.example/x: say t.fetch("https://api.example/x", ...)'],
    ['t.fetch("*", function() return 5 end) t.invoke("asks") error("the answer", 0)', 'the answer'],
    ['t.invoke("nobody")', "t.invoke: there is no function 'nobody'; `luafn routes` lists them"],
    ['t.invoke("broken")', "t.invoke: scripts/broken.lua:1:"],
    ['t.invoke("echo", { boddy = "x" })', "scripts/some_test.lua:1: t.invoke: unknown key 'boddy'"],
    ['t.invoke("echo", { headers = { ["a b"] = "c" } })', "t.invoke: 'a b' is no header's name"],
    ['t.invoke(5)', "t.invoke wants a function's name or a handler"],
    ['t.invoke(function() return 5 end)', 'the handler returned a number, not a table or a text'],
    ['t.clock("now")', 't.clock wants seconds since 1970'],
    ['t.clock(-5)', 'not a time between the years 1970 and 9999'],
    ['t.env("A", 5)', 't.env wants a name and a text'],
    ['t.token("x")', 't.token wants a table of claims'],
    ['t.fetch("*")', 't.fetch wants a pattern, and an answer: a table, a text or a function'],
    ['test("late", function() end)', 'test(...) can only be called while the file is loaded'],
    ['fetch("https://api.example/", { stream = true })', 'a streamed answer cannot be had in a test'],
  ];
  const text = cases.map(([body], i) => `test("case ${i}", function(t) ${body} end)`).join(' ');
  const { code, stdout } = await run(t, ['test', '--timeout', '60s'], { files: tested(text, scripts) });
  assert.equal(code, 1);
  const messages = stdout.split(/^not ok \d+ - .*$/m).slice(1);
  assert.equal(messages.length, cases.length, stdout);
  cases.forEach(([body, expected], i) => {
    assert.ok(messages[i].includes(expected), `${body}: ${messages[i]}`);
  });
  assert.match(stdout, new RegExp(`# 0 passed, ${cases.length} failed\n$`));
});

test('test: what does not end is ended, and the next test runs', async (t) => {
  const text = 'test("waits", function() sleep(60) end) test("works", function() while true do end end) test("last", function() error("the last", 0) end)';
  const { code, stdout } = await run(t, ['test', '--timeout', '2s'], { files: tested(text) });
  assert.equal(code, 1);
  assert.match(stdout, /^not ok 1 [^]*did not end within 2 s \(--timeout\)[^]*^not ok 2 [^]*did not end within 2 s \(--timeout\)[^]*^not ok 3 [^]*the last/m);
});

test('test: memory is limited as it is when the function is served', async (t) => {
  const text = 'test("fills it", function() local s = {} while true do s[#s + 1] = ("x"):rep(1000000) end end) test("next", function() end)';
  const { code, stdout } = await run(t, ['test', '--timeout', '100s'], { files: tested(text) });
  assert.equal(code, 1);
  assert.match(stdout, /not ok 1 - .*fills it\n(?:.*\n)*?.*memory/);
  assert.match(stdout, /ok 2 - .*next/);
});

test('test: files', async (t) => {
  const dir = folder(t, {
    ...tested('test("one", function(t) t.ok(true) end)'),
    'more/deep/b_test.lua': 'test("two # three", function(t) t.ok(false) end)',
    'node_modules/x_test.lua': 'error("not this one")',
    '.hidden/x_test.lua': 'error("nor this one")',
    'empty_test.lua_': '', 'none.lua': '-- no tests', 'wrong.lua': 'test("a"', 'raises.lua': 'error("at the top")',
  });
  const all = await run(t, ['test'], { dir });
  assert.equal(all.code, 1);
  assert.match(all.stdout, /not ok 1 - more\/deep\/b_test\.lua: two \\# three\n/);
  assert.match(all.stdout, /ok 2 - scripts\/some_test\.lua: one\n1\.\.2\n# 1 passed, 1 failed/);
  const one = await run(t, ['test', 'scripts/some_test.lua'], { dir });
  assert.equal(one.code, 0);
  const elsewhere = await run(t, ['test', '--config', path.join(dir, 'functions.lua')], { dir: folder(t) });
  assert.match(elsewhere.stdout, /# 1 passed, 1 failed/);
  for (const [file, expected] of [['none.lua', /has no test: write test\("name", function\(t\) \.\.\. end\)/], ['missing.lua', /cannot be opened: no such file/],
    ['wrong.lua', /wrong\.lua:1: .*expected near <eof>/], ['raises.lua', /raises\.lua:1: at the top/]]) {
    const r = await run(t, ['test', file], { dir });
    assert.equal(r.code, 1);
    assert.match(r.stdout, new RegExp(`not ok 1 - ${file}: \\(the file\\)`));
    assert.match(r.stdout, expected);
  }
  const cases = [
    [['--timeout', 'soon'], 2, /--timeout is a time from 0\.01 to 900 seconds, not 'soon'/],
    [['--timeout', '1h'], 2, /--timeout is a time/],
    [['--junit', 'no/such/folder.xml'], 1, /--junit: no\/such\/folder\.xml cannot be written: No such file/],
    [['--coverage', '--lcov', 'no/such/lcov', 'scripts/some_test.lua'], 1, /--lcov: no\/such\/lcov cannot be written: No such file/],
    [['--config', 'missing.lua'], 1, /missing\.lua/],
  ];
  for (const [args, code, expected] of cases) {
    const r = await run(t, ['test', ...args], { dir });
    assert.equal(r.code, code, r.stderr);
    assert.match(r.stderr, expected);
  }
  const nothing = await run(t, ['test'], { files: deployment({ me: 'return function() end' }) });
  assert.equal(nothing.code, 1);
  assert.match(nothing.stderr, /there is no \*_test\.lua below \.; `luafn new NAME` writes a first one/);
});

test('test --junit, --coverage', async (t) => {
  const scripts = {
    half: 'local function never()\n  local a = 1\n  return a\nend\nreturn function(event)\n  if event.body then\n    return never()\n  end\n  return "ok"\nend\n',
  };
  const { code, stdout, dir } = await run(t, ['test', '--coverage', '--junit', 'out.xml'], {
    files: tested('test("<a> & \\"b\\"", function(t) t.invoke("half") end)\ntest("bad", function(t) error("x < y", 0) end)', scripts),
  });
  assert.equal(code, 1);
  assert.match(stdout, /# scripts\/half\.lua +4 \/ +7 +57\.1 %\n# all +4 \/ +7/);
  const lcov = fs.readFileSync(path.join(dir, 'lcov.info'), 'utf8');
  assert.match(lcov, /^SF:scripts\/half\.lua\n/);
  const lines = Object.fromEntries([...lcov.matchAll(/^DA:(\d+),(\d+)$/gm)].map((m) => [m[1], Number(m[2])]));
  assert.equal(Object.keys(lines).length, 7, lcov);
  assert.equal(lines[2], 0);
  assert.equal(lines[6], 1);
  assert.match(lcov, /LF:7\nLH:4\nend_of_record\n$/);
  const xml = fs.readFileSync(path.join(dir, 'out.xml'), 'utf8');
  assert.match(xml, /<testsuite name="luafn" tests="2" failures="1">/);
  assert.match(xml, /name="&lt;a&gt; &amp; &quot;b&quot;" time="\d+\.\d{3}"\/>/);
  assert.match(xml, /<failure message="x &lt; y"\/>/);
});

test('test leaves the deployment alone: kv, and what is scheduled', async (t) => {
  const dir = folder(t, {
    ...deployment({
      store: 'return function() return tostring(kv.incr("n")) end',
      tick: 'return { schedule = "* * * * * *", handler = function() kv.incr("ticks") end }',
    }),
    'some_test.lua': 'test("counts", function(t) t.equal(t.invoke("store").body, "1") sleep(1.5) end)',
  });
  for (let i = 0; i < 2; i++) {
    const r = await run(t, ['test'], { dir });
    assert.equal(r.code, 0, r.stdout);
    assert.doesNotMatch(r.stderr, /scheduled run/);
  }
  const h = await start(t, { dir });
  assert.equal((await h.call('store')).text, '1');
});

test('test: waits for what comes after the answer, sees a function\'s kv, sets variables before anything loads', async (t) => {
  const scripts = {
    store: 'return function() after_response(function() sleep(0.01) kv.set("seen", 7) end) return "now" end',
    shared: 'return { handler = function() kv.set("seen", 8) return "now" end }',
    'work-background': 'return function() sleep(0.01) kv.set("done", true) end',
    set: 'local at_load = env.WORD or "none" return function() return at_load end',
  };
  const tests = `
    test("after_response", function(t) t.invoke("store") t.wait() t.equal(t.kv("store").get("seen"), 7) end)
    test("a background function", function(t) t.invoke("work-background", { body = {} }) t.wait() t.ok(t.kv("work-background").get("done")) end)
    test("a shared namespace", function(t) t.invoke("shared") t.equal(t.kv("shared").get("seen"), 8) t.equal(t.kv("store").get("seen"), nil) end)
    test("another kv", function(t) t.raises(function() t.kv("nobody") end, "there is no function 'nobody'") end)
    test("env at load", { env = { WORD = "early" } }, function(t) t.equal(t.invoke("set").body, "early") end)
    test("env is gone", function(t) t.equal(t.invoke("set").body, "none") end)`;
  const r = await run(t, ['test'], { files: { ...deployment(scripts, { fields: { shared: 'auth = "public", kv = "ours"' } }), 'some_test.lua': tests } });
  assert.match(r.stdout, /# 6 passed, 0 failed/, r.stdout + r.stderr);
  const outside = await run(t, ['test'], { dir: r.dir, env: { WORD: 'outer' } });
  assert.match(outside.stdout, /env is gone[\s\S]*got "outer"[\s\S]*# 5 passed, 1 failed/);
  for (const [text, said] of [['test("x", { evn = {} }, function() end)', /an option is `env`, not 'evn'/], ['test("x", { env = { A = 1 } }, function() end)', /env is a table of texts/]]) {
    const bad = await run(t, ['test'], { files: { ...deployment(scripts), 'bad_test.lua': text } });
    assert.match(bad.stdout + bad.stderr, said);
  }
});

test('test: --filter, a folder, --watch', async (t) => {
  const dir = folder(t, {
    ...deployment({ a: 'return function() return "a" end' }),
    'one/a_test.lua': 'test("alpha", function() end) test("beta", function() end)', 'two/b_test.lua': 'test("alphabet", function() end)',
  });
  const names = async (...args) => [...(await run(t, ['test', ...args], { dir })).stdout.matchAll(/^ok \d+ - (.*)$/gm)].map((m) => m[1]);
  assert.deepEqual(await names('--filter', 'alpha'), ['one/a_test.lua: alpha', 'two/b_test.lua: alphabet']);
  assert.deepEqual(await names('one'), ['one/a_test.lua: alpha', 'one/a_test.lua: beta']);
  assert.deepEqual(await names('one/', 'two/b_test.lua', '--filter', 'bet'), ['one/a_test.lua: beta', 'two/b_test.lua: alphabet']);
  const none = await run(t, ['test', '--filter', 'gamma'], { dir });
  assert.equal(none.code, 1);
  assert.match(none.stderr, /there is no test of that name/);
  const empty = await run(t, ['test', 'scripts'], { dir });
  assert.match(empty.stderr, /there is no \*_test\.lua below scripts/);

  const child = spawn(BIN, ['test', '--watch', 'two'], { cwd: dir });
  later(t, () => child.kill('SIGKILL'));
  let out = '';
  child.stdout.on('data', (d) => { out += d; });
  const says = (pattern) => eventually(() => pattern.test(out), 20, `${pattern} in ${out}`);
  await says(/# 1 passed, 0 failed/);
  fs.writeFileSync(path.join(dir, 'two/b_test.lua'), 'test("changed", function(t) t.equal(t.invoke("a").body, "b") end)');
  await says(/changed[\s\S]*# 0 passed, 1 failed/);
  fs.writeFileSync(path.join(dir, 'scripts/a.lua'), 'return function() return "b" end');
  await says(/# 0 passed, 1 failed[\s\S]*# 1 passed, 0 failed/);
});

// ---- completion ----

test('completion: commands, options and words', async (t) => {
  const commands = (await run(t, ['help'])).stdout.match(/^ {2}[a-z]+(?= )/gm).map((s) => s.trim());
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { code, stdout } = await run(t, ['completion', shell]);
    assert.equal(code, 0);
    for (const name of commands) assert.match(stdout, new RegExp(`\\b${name}\\b`), `${shell}: ${name}`);
    for (const word of ['template', 'workers', 'scheduled']) assert.ok(stdout.includes(word), `${shell}: ${word}`);
    const has = spawnSync(shell, ['-c', 'true']).status === 0;
    const script = path.join(folder(t, { script: stdout }), 'script'); // fish reads no standard input of node's
    if (has) execFileSync(shell, ['-n', script]);
  }
  const complete = (words) => execFileSync('bash', ['-c', `eval "$('${BIN}' completion bash)"\nCOMP_WORDS=(${words.map((w) => `'${w}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _luafn; printf '%s\\n' "\${COMPREPLY[@]}"`], { encoding: 'utf8' }).split('\n').filter(Boolean);
  assert.deepEqual(complete(['luafn', 'inv']), ['invoke']);
  assert.deepEqual(complete(['luafn', 'invoke', '--pa']), ['--payload', '--path']);
  assert.deepEqual(complete(['luafn', 'new', 'x', '--template', 'sc']), ['scope', 'scheduled']);
  assert.deepEqual(complete(['luafn', 'completion', 'z']), ['zsh']);
  const dir = folder(t, { ...deployment({ alpha: 'return function() end', beta: 'return function() end' }), 'dev/auth.lua': '' });
  const there = (words) => execFileSync('bash', ['-c', `luafn() { '${BIN}' "$@"; }; eval "$(luafn completion bash)"\nCOMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _luafn 2>/dev/null; printf '%s\n' "\${COMPREPLY[@]}"`], { encoding: 'utf8', cwd: dir }).split('\n').filter(Boolean);
  assert.deepEqual(there(['luafn', 'invoke', 'al']), ['alpha']);
  assert.deepEqual(there(['luafn', 'explain', '--route', 'be']), ['beta']);
  assert.deepEqual(there(['luafn', 'de']), ['dev'], 'the command, not the folder');
  assert.deepEqual(there(['luafn', 'test', 'functions']), ['functions.lua']);
});

test('completion: bad usage', async (t) => {
  for (const [args, expected] of [[[], /the shell is missing; usage: luafn completion bash\|zsh\|fish/], [['tcsh'], /'tcsh' is not bash, zsh or fish/]]) {
    const r = await run(t, ['completion', ...args]);
    assert.equal(r.code, 2);
    assert.match(r.stderr, expected);
    assert.equal(r.stdout, '');
  }
});
