// The tools of `dev` itself, at /_luafn/dev/mcp: who may call them, what each tells, and what none of them does.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, launch, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { Wire, request } from '../lib/wire.mjs';

const PLACE = '/_luafn/dev/mcp';
const MODERN = '2026-07-28';
const META = 'io.modelcontextprotocol/';
const NAMES = ['explain', 'faults', 'generations', 'invoke', 'request', 'requests', 'routes', 'test', 'token'];
const SECRET = 'a value of the environment', FIELD = 'hunter2-and-more', OTHER = 'one that nobody has read';

const SCRIPTS = {
  hello: 'return function(event) log.info("greets", { password = "hunter2-and-more" }) return { statusCode = 200, headers = { ["Content-Type"] = "application/json", ["Set-Cookie"] = "sid=hunter2-and-more" }, body = json.encode { got = event.body, password = "hunter2-and-more", key = env.API_KEY } } end',
  broken: 'local function fall(key)\n  local t = nil\n  return t.x .. key\nend\nreturn function() error("fell with " .. env.API_KEY) end',
  me: 'return function(event, context) return { statusCode = 200, body = context.identityContext.claims.sub } end',
  words: 'return function(event) return { words = select(2, event.arguments.text:gsub("%S+", "")) } end',
  faults: 'return function() return "the user\'s own" end',
  shows: 'return function(event) return { statusCode = 200, body = "show " .. event.params.id } end',
  binary: 'return function() return { statusCode = 200, isBase64Encoded = true, body = base64.encode("\\255\\254") } end',
};
const FIELDS = {
  hello: 'auth = "public"', broken: 'auth = "public"', shows: 'auth = "public", path = "/shows/:id"', binary: 'auth = "public"',
  me: 'auth = { scope = "read:me" }, path = "/me"',
  words: 'auth = "public", tool = { description = "counts", input = { type = "object", properties = { text = { type = "string" } }, required = { "text" } } }',
  faults: 'auth = "public", tool = { description = "is the user\'s" }',
};
const MORE = '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n  redact = { "password" },';
const FILES = {
  '.env': `API_KEY=${SECRET}\nOTHER_KEY=${OTHER}\n`,
  'scripts/hello_test.lua': `test("is greeted", function(t) t.equal(t.invoke("hello", {}).status, 200) end)
test("shows it all", function(t) print(env.OTHER_KEY, env.API_KEY) t.equal(env.OTHER_KEY, "x") end)`,
  'slow/slow_test.lua': 'test("takes long", function(t) sleep(300) end)',
};
const files = () => deployment(SCRIPTS, { fields: FIELDS, more: MORE, files: FILES });

const tokenOf = (dir) => fs.readFileSync(path.join(dir, '.luafn/dev-mcp-token'), 'utf8');

async function world(t, options = { files: files() }) {
  const h = await start(t, { command: 'dev', ...options });
  const told = [];
  const token = tokenOf(h.dir);
  const post = async (body, headers = {}) => {
    const res = await request(h, {
      method: 'POST', path: PLACE, body: JSON.stringify(body),
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}`, ...headers },
    });
    told.push(res.text);
    return res;
  };
  const legacy = (method, params) => post({ jsonrpc: '2.0', id: 1, method, params });
  const modern = (method, params = {}) => post(
    { jsonrpc: '2.0', id: 'a', method, params: { _meta: { [`${META}protocolVersion`]: MODERN, [`${META}clientCapabilities`]: {} }, ...params } },
    { 'MCP-Protocol-Version': MODERN, 'Mcp-Method': method, ...(params.name ? { 'Mcp-Name': params.name } : {}) },
  );
  const result = async (name, args) => {
    const res = await legacy('tools/call', { name, arguments: args });
    assert.equal(res.status, 200, res.text);
    return res.json().result;
  };
  // What a call tells; what is wrong with it.
  const call = async (name, args) => {
    const r = await result(name, args);
    assert.equal(r.isError, undefined, JSON.stringify(r));
    return r.structuredContent;
  };
  const refused = async (name, args) => {
    const r = await result(name, args);
    assert.equal(r.isError, true, JSON.stringify(r));
    return r.content[0].text;
  };
  return { h, token, told, post, legacy, modern, call, refused };
}

test('only who has the token that dev told is listened to', async (t) => {
  const { h, token, post, legacy } = await world(t);
  await h.says(new RegExp(`http://127\\.0\\.0\\.1:\\d+${PLACE}, Authorization: Bearer ${token}\\)`));
  assert.match(token, /^[A-Za-z0-9_-]{43}$/);
  assert.equal(fs.statSync(path.join(h.dir, '.luafn/dev-mcp-token')).mode & 0o777, 0o600);
  assert.equal((await legacy('ping')).status, 200);
  for (const good of [`bearer ${token}`, `Bearer  ${token}`]) assert.equal((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { Authorization: good })).status, 200, good);
  const other = (at) => token.slice(0, at) + (token[at] === 'A' ? 'B' : 'A') + token.slice(at + 1);
  for (const wrong of [other(0), other(42), other(20), token.slice(1), token.slice(0, -1), `${token}A`, '', token.toLowerCase(), `${token} ${token}`]) {
    const res = await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { Authorization: `Bearer ${wrong}` });
    assert.deepEqual([res.status, res.json().error, res.header('www-authenticate')], [401, 'invalid_token', 'Bearer realm="luafn dev", error="invalid_token"'], wrong);
  }
  for (const wrong of [token, `Basic ${token}`, `DPoP ${token}`, `Bearer${token}`, [`Bearer ${token}`, `Bearer ${token}`]]) {
    assert.equal((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { Authorization: wrong })).status, 401, String(wrong));
  }
  const bare = (headers, suffix = '') => request(h, { method: 'POST', path: PLACE + suffix, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers: { 'Content-Type': 'application/json', ...headers } });
  for (const suffix of ['', `?access_token=${token}`, `?token=${token}`]) {
    const res = await bare({}, suffix);
    assert.deepEqual([res.status, res.json().error, res.header('www-authenticate')], [401, 'missing_token', 'Bearer realm="luafn dev"']);
  }
  const api = await run(t, ['token', '--sub', 'auth0|ada'], { dir: h.dir });
  assert.equal((await bare({ Authorization: `Bearer ${api.stdout.trim()}` })).status, 401, 'a token of the issuer is none of these');
  assert.equal((await bare({ Cookie: `token=${token}` })).status, 401);
  // Pages: our own may, any other may not, whatever they bring.
  for (const [origin, status] of [['https://evil.example', 403], ['null', 403], [`http://127.0.0.1:${h.port}`, 200], [`https://127.0.0.1:${h.port}`, 403], [`http://127.0.0.1:${h.port + 1}`, 403]]) {
    assert.equal((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { Origin: origin })).status, status, origin);
  }
  assert.equal((await bare({ Origin: `http://127.0.0.1:${h.port}` })).status, 401, 'an own page without the token');
  assert.equal((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { Host: 'evil.example', Origin: 'http://evil.example' })).status, 403);
  for (const method of ['GET', 'DELETE', 'PUT']) {
    const res = await request(h, { method, path: PLACE, headers: { Authorization: `Bearer ${token}` } });
    assert.deepEqual([res.status, res.header('allow')], [405, 'POST'], method);
  }
  assert.equal((await post({ jsonrpc: '2.0', id: 1, method: 'ping' }, { 'Content-Type': 'text/plain' })).status, 415);
  assert.equal((await post({ jsonrpc: '2.0', method: 'notifications/initialized' })).status, 202);
  assert.equal((await request(h, { path: `${PLACE}/x`, headers: { Authorization: `Bearer ${token}` } })).status, 404);
  assert.equal(h.stdout.includes(token), false, 'the access log has no token');
});

test('the token is kept; one that others could read is replaced', async (t) => {
  const dir = folder(t, files()), file = path.join(dir, '.luafn/dev-mcp-token');
  const begin = async () => {
    const h = launch(dir, { command: 'dev' });
    later(t, () => h.stop());
    await h.listening;
    await h.stop();
    return tokenOf(dir);
  };
  const first = await begin();
  assert.equal(await begin(), first);
  fs.chmodSync(file, 0o644);
  const second = await begin();
  assert.notEqual(second, first);
  fs.writeFileSync(file, 'short');
  const third = await begin();
  assert.match(third, /^[A-Za-z0-9_-]{43}$/);
  fs.rmSync(file);
  fs.symlinkSync('/dev/zero', file);
  assert.match(await begin(), /^[A-Za-z0-9_-]{43}$/);
  assert.equal(fs.lstatSync(file).isFile(), true);
});

test('serve has no such tools', async (t) => {
  const h = await start(t, { files: files(), env: { JWT_ISSUER: 'https://issuer.example/', JWT_AUDIENCE: 'a' } });
  const post = { method: 'POST', path: PLACE, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer ' } };
  assert.equal((await request(h, post)).status, 404);
  assert.equal((await h.admin('dev/mcp')).status, 404);
  assert.equal(fs.existsSync(path.join(h.dir, '.luafn/dev-mcp-token')), false);
  assert.equal((await request(h, { ...post, path: '/mcp' })).status, 200, 'those of functions are there');
});

test('both eras list and call; tools of functions are elsewhere', async (t) => {
  const { h, legacy, modern, post } = await world(t);
  const shake = (await legacy('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } })).json().result;
  assert.deepEqual([shake.protocolVersion, shake.capabilities, shake.serverInfo.name], ['2025-11-25', { tools: {} }, 'luafn-dev']);
  assert.match(shake.instructions, /`generations`/);
  const found = (await modern('server/discover')).json().result;
  assert.deepEqual([found.supportedVersions[0], found.resultType, found.cacheScope], [MODERN, 'complete', 'private']);
  for (const list of [await legacy('tools/list', {}), await modern('tools/list')]) {
    const { tools } = list.json().result;
    assert.deepEqual(tools.map((x) => x.name), NAMES);
    for (const x of tools) assert.deepEqual([x.inputSchema.type, x.description.length > 20], ['object', true], x.name);
  }
  const got = (await modern('tools/call', { name: 'generations', arguments: {} })).json().result;
  assert.equal(got.resultType, 'complete');
  assert.equal(got.structuredContent.functions.length, Object.keys(SCRIPTS).length);
  const bare = await post({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'generations', _meta: { [`${META}protocolVersion`]: MODERN, [`${META}clientCapabilities`]: {} } } });
  assert.deepEqual([bare.status, bare.json().error.code], [400, -32020], 'its headers must agree');
  for (const name of ['words', 'luafn-dev-faults', 'nope']) {
    const { error } = (await legacy('tools/call', { name })).json();
    assert.equal(error.code, -32602, name);
  }
  assert.equal((await modern('resources/list')).status, 404);
  // At /mcp only the user's: the one of the same name is his.
  const there = async (method, params) => (await request(h, { method: 'POST', path: '/mcp', body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }), headers: { 'Content-Type': 'application/json' } })).json();
  assert.deepEqual((await there('tools/list')).result.tools.map((x) => x.name), ['faults', 'words']);
  assert.equal((await there('tools/call', { name: 'faults' })).result.content[0].text, "the user's own");
  assert.equal((await there('tools/call', { name: 'generations' })).error.code, -32602);
  assert.equal((await there('tools/call', { name: 'luafn-dev-generations' })).error.code, -32602);
  assert.equal((await h.call('luafn-dev-token')).status, 404, 'they have no address of their own');
  const { stdout } = await run(t, ['journal', '--json'], { dir: h.dir });
  assert.doesNotMatch(stdout, /_luafn\/dev\/mcp/, 'what is asked here is no request of the journal');
});

test('each tool tells what there is, and what is wrong with what it was asked', async (t) => {
  const { h, told, call, refused } = await world(t);

  const routes = (await call('routes')).routes;
  assert.deepEqual(routes.find((r) => r.function === 'me').path, '/me');
  assert.equal(routes.some((r) => /luafn-dev/.test(r.function)), false);
  assert.match(await refused('routes', { all: true }), /do not fit/);

  const hello = await call('invoke', { function: 'hello', payload: { a: 1, password: 'hunter2-and-more' }, headers: { 'X-Of': 'me' } });
  assert.deepEqual([hello.status, hello.method, hello.function, hello.generation, hello.logs[0].message], [200, 'POST', 'hello', 1, 'greets']);
  assert.deepEqual(JSON.parse(hello.body), { got: '{"a":1,"password":"[redacted]"}', password: '[redacted]', key: '[env:API_KEY]' });
  assert.deepEqual(hello.headers.find(([n]) => n === 'Set-Cookie'), ['Set-Cookie', 'sid=[redacted]']);
  const broken = await call('invoke', { function: 'broken' });
  assert.deepEqual([broken.status, broken.method, broken.fault.message], [502, 'GET', 'scripts/broken.lua:5: fell with [env:API_KEY]']);
  assert.equal((await call('invoke', { function: 'me' })).status, 401);
  assert.equal((await call('invoke', { function: 'me', as: 'auth0|ada' })).status, 403);
  const ada = await call('invoke', { function: 'me', as: 'auth0|ada', scope: 'read:me write:me' });
  assert.deepEqual([ada.status, ada.body], [200, 'auth0|ada']);
  assert.equal(JSON.parse((await call('invoke', { function: 'words', payload: { text: 'two words' } })).body).result.structuredContent.words, 2);
  assert.equal((await call('invoke', { function: 'shows', path: '/shows/7?x=1' })).body, 'show 7');
  assert.equal((await call('invoke', { function: 'hello', method: 'PUT', payload: 'as it is' })).method, 'PUT');
  assert.equal((await call('invoke', { function: 'binary' })).body_base64, '//4=');
  assert.match(await refused('invoke', { function: 'nope' }), /There is no function nope; there are: binary, broken, faults/);
  assert.match(await refused('invoke', { function: 'luafn-dev-issuer' }), /There is no function/);
  assert.match(await refused('invoke', { function: 'shows' }), /Say which `path`/);
  assert.match(await refused('invoke', { function: 'hello', path: PLACE }), /no function/);
  assert.match(await refused('invoke', {}), /`function` is missing/);

  const { requests } = await call('requests', { status: '5xx' });
  assert.deepEqual(requests.map((r) => [r.function, r.status, r.id]), [['broken', 502, broken.id]]);
  assert.deepEqual((await call('requests', { user: 'auth0|ada', limit: 1 })).requests.map((r) => r.id), [ada.id]);
  assert.deepEqual((await call('requests', { function: 'shows' })).requests.map((r) => r.target), ['/shows/7?x=1']);
  assert.deepEqual((await call('requests', { text: 'as IT is' })).requests.length, 1);
  assert.deepEqual((await call('requests', { status: '404' })).requests, []);
  assert.equal((await call('requests', { status: '>=500' })).requests.length, 1);
  assert.match(await refused('requests', { status: 'bad' }), /do not fit/);

  const one = await call('request', { id: hello.id });
  assert.deepEqual([one.function, one.status, one.request.headers.some(([n, v]) => n.toLowerCase() === 'x-of' && v === 'me')], ['hello', 200, true]);
  assert.ok(one.calls.some((c) => c.call === 'env'));
  assert.match(await refused('request', { id: 'nope' }), /no request of that id/);

  const { token } = await call('token', { sub: 'auth0|eve', scope: 'read:me', expires: '10m', claims: { plan: 'free', deep: { n: [1] } } });
  const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'));
  assert.deepEqual([claims.sub, claims.scope, claims.exp - claims.iat, claims.plan, claims.deep], ['auth0|eve', 'read:me', 600, 'free', { n: [1] }]);
  assert.equal((await h.get('/me', { Authorization: `Bearer ${token}` })).text, 'auth0|eve');
  assert.match(await refused('token', { expires: 'never' }), /--expires/);
  // A value is never an option.
  assert.equal(JSON.parse(Buffer.from((await call('token', { sub: '--jwks' })).token.split('.')[1], 'base64url')).sub, '--jwks');

  const good = await call('explain', { token, route: 'me' });
  assert.equal(good.let_through, true);
  assert.match(good.text, /PASS +scope/);
  const late = await call('token', { sub: 'auth0|eve', expires: '-5m' });
  const bad = await call('explain', { token: late.token, route: 'me' });
  assert.equal(bad.let_through, false);
  assert.match(bad.text, /FAIL +exp/);
  assert.match(await refused('explain', { token, route: 'nope' }), /no function 'nope'/);

  const tested = await call('test', { files: ['scripts'] });
  assert.deepEqual([tested.ok, tested.passed, tested.failed], [false, 1, 1]);
  assert.match(tested.tap, /^not ok 2 .*shows it all$/m);
  const only = await call('test', { files: ['scripts/hello_test.lua'], filter: 'is greeted' });
  assert.deepEqual([only.ok, only.passed, only.failed], [true, 1, 0]);
  assert.match(await refused('test', { files: ['--watch'] }), /does not begin with -/);
  assert.match(await refused('test', { filter: 7 }), /do not fit/);

  const { not_loaded: none, failed } = await call('faults');
  assert.deepEqual(none, []);
  assert.deepEqual(failed.map((f) => [f.function, f.file, f.line, f.times, f.id]), [['broken', 'scripts/broken.lua', 5, 1, broken.id]]);
  assert.match(failed[0].source, /^ {4}2 {4}local t = nil\n[^]*\n> {3}5 {2}return function\(\) error\("fell with "/);
  assert.match(await refused('faults', { limit: 0 }), /do not fit/);

  const all = told.join('\n');
  for (const secret of [SECRET, FIELD, OTHER, 'BEGIN PRIVATE KEY']) assert.equal(all.includes(secret), false, secret);
});

test('what does not load is told with its place, and which generation goes on', async (t) => {
  const { h, call } = await world(t, { files: deployment({ a: SCRIPTS.me, b: SCRIPTS.me }, { fields: { a: 'auth = "public"', b: 'auth = "public"' } }) });
  const of = async (name) => (await call('generations')).functions.find((f) => f.name === name);
  assert.deepEqual([(await of('a')).generation, (await of('a')).serving, (await of('a')).error], [1, true, undefined]);
  write(h.dir, { 'scripts/a.lua': 'local x = 1\nlocal y = 2\nreturn function( end\n-- after\n' });
  await eventually(async () => (await of('a')).error, 10, 'the fault of a');
  const a = await of('a');
  assert.deepEqual([a.generation, a.serving], [1, true]);
  assert.match(a.error, /^scripts\/a\.lua:3: /);
  const { not_loaded: [fault, ...more] } = await call('faults');
  assert.deepEqual([fault.function, fault.file, fault.line, fault.live_generation, more.length], ['a', 'scripts/a.lua', 3, 1, 0]);
  assert.equal(fault.source, '    1  local x = 1\n    2  local y = 2\n>   3  return function( end\n    4  -- after');
  write(h.dir, { 'scripts/a.lua': SCRIPTS.me });
  await eventually(async () => !(await of('a')).error, 10, 'a loads again');
  write(h.dir, { 'scripts/a.lua': `-- anew\n${SCRIPTS.me}` });
  await eventually(async () => (await of('a')).generation > 1, 10, 'the next generation');
  assert.deepEqual((await call('faults')).not_loaded, []);

  // Of functions.lua, too, without what it holds of secrets.
  const before = fs.readFileSync(path.join(h.dir, 'functions.lua'), 'utf8');
  write(h.dir, { 'functions.lua': before.replace('return {', 'return {\n  timeout = "soon",\n  client_secret = "hunter2-and-more",') });
  const told = await eventually(async () => (await call('generations')).config_error, 10, 'the fault of functions.lua');
  assert.match(told, /^functions\.lua:\d: /);
  const { not_loaded: [config] } = await call('faults');
  assert.equal(config.file, 'functions.lua');
  assert.match(config.source, /client_secret = "\[redacted\]"/);
  assert.doesNotMatch(config.source, /hunter2/);
  write(h.dir, { 'functions.lua': before });
  await eventually(async () => !(await call('generations')).config_error, 10, 'functions.lua is good again');
});

test('a long test holds nobody up, and ends with who asked for it', async (t) => {
  const { h, token, call } = await world(t);
  const [worker] = await eventually(() => (h.workers().length === 1 ? h.workers() : null), 10, 'the worker');
  const children = () => fs.readFileSync(`/proc/${worker}/task/${worker}/children`, 'utf8').trim();
  assert.equal(children(), '');
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'test', arguments: { files: ['slow'] } } });
  const wire = await Wire.connect(h.address, h.port);
  wire.send(`POST ${PLACE} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  const child = await eventually(children, 10, 'the process of the test');
  for (const path_ of ['/.netlify/functions/hello', '/_luafn/live']) assert.equal((await h.get(path_)).status, 200);
  assert.equal((await call('generations')).functions.length, Object.keys(SCRIPTS).length);
  assert.equal(children(), child, 'it runs still');
  const tcp = new Set(fs.readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1).map((l) => `socket:[${l.trim().split(/\s+/)[9]}]`));
  const leadsTo = (fd) => { try { return fs.readlinkSync(fd); } catch { return null; } }; // it may be closed by now
  const sockets = (pid) => fs.readdirSync(`/proc/${pid}/fd`).map((fd) => leadsTo(`/proc/${pid}/fd/${fd}`)).filter((x) => tcp.has(x));
  assert.notDeepEqual(sockets(worker), []);
  assert.deepEqual(sockets(child), [], 'it has no connection of the host, and does not listen');
  wire.close();
  await eventually(() => children() === '', 10, 'its end');
});
