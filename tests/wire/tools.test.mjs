// Functions as tools for agents: the Model Context Protocol by POST, in both of its eras, by hand. Who may
// call is the function's policy to say, as for its own address.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, run, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { Wire, request } from '../lib/wire.mjs';

const MODERN = '2026-07-28';
const META = 'io.modelcontextprotocol/';
const NO_ARGUMENTS = { additionalProperties: false, type: 'object' };

const meta = (more = {}) => ({ [`${META}protocolVersion`]: MODERN, [`${META}clientCapabilities`]: {}, ...more });

// What the scripts of most cases are: one for each kind of result, and of failure.
const SCRIPTS = {
  text: 'return function(event) return "text of " .. event.tool end',
  echo: 'return function(event) return { got = event.arguments, method = event.httpMethod } end',
  content: 'return function() return { content = { { type = "image", data = "AAAA", mimeType = "image/png" } }, structuredContent = { n = 1 } } end',
  list: 'return function() return json.array { 1, 2 } end',
  answer: 'return function() return { statusCode = 200, body = "plain" } end',
  refused: 'return function() return respond.error(404, "no_show", "There is no such show") end',
  raised: 'return function() error { statusCode = 409, body = "taken" } end',
  broken: 'return function() local t = nil\nreturn t.x end',
  nothing: 'return function() end',
  odd: 'return function() return { f = print } end',
  pieces: 'return function() return { statusCode = 200, body = function(write) write("x") end } end',
  late: 'return function() while true do sleep(0.01) end end',
  steps: `return function(event)
    local told = {}
    for _, n in ipairs { 0, 1, 1, 2 } do told[#told + 1] = event.progress(n, 2, "step " .. n) end
    return { told = json.array(told) }
  end`,
};

const FIELDS = Object.fromEntries(Object.keys(SCRIPTS).map((name) => [name, `auth = "public", tool = { description = ${lua(`is ${name}`)} }`]));
FIELDS.echo = 'auth = "public", path = "/echo", tool = { description = "is echo", title = "Echo", annotations = { readOnlyHint = true }, input = { type = "object" } }';
FIELDS.late = `${FIELDS.late}, timeout = 0.05`;

async function world(t, { scripts = SCRIPTS, fields = FIELDS, more = '', ...options } = {}) {
  const h = await start(t, { files: deployment(scripts, { fields, more }), ...options });
  const post = (body, headers = {}) => request(h, {
    method: 'POST', path: '/mcp', body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', ...headers },
  });
  const legacy = (method, params, headers = {}) => post({ jsonrpc: '2.0', id: 1, method, params }, headers);
  const modern = (method, params = {}, headers = {}) => post(
    { jsonrpc: '2.0', id: 'a', method, params: { _meta: meta(), ...params } },
    { 'MCP-Protocol-Version': MODERN, 'Mcp-Method': method, ...(params.name ? { 'Mcp-Name': params.name } : {}), ...headers },
  );
  const call = (name, args, headers) => legacy('tools/call', { name, arguments: args }, headers);
  return { h, post, legacy, modern, call };
}

function isError(res, status, code, id) {
  assert.equal(res.status, status, res.text);
  const body = res.json();
  assert.equal(body.jsonrpc, '2.0');
  assert.equal(body.id, id);
  assert.equal(body.error.code, code, res.text);
  assert.equal(body.result, undefined);
  return body.error;
}

function isResult(res) {
  assert.equal(res.status, 200, res.text);
  assert.equal(res.header('content-type'), 'application/json');
  const body = res.json();
  assert.equal(body.error, undefined, res.text);
  return body.result;
}

const textOf = (result) => result.content.map((c) => c.text).join('');

test('what is no message gets the answer that the protocol has for it', async (t) => {
  const { post, h } = await world(t);
  const frame = { jsonrpc: '2.0', id: 1, method: 'ping' };
  const rows = [
    ['{', 400, -32700, null], ['', 400, -32700, null], ['nul', 400, -32700, null], [`{"id":1}x`, 400, -32700, null],
    [[], 400, -32600, null], [[frame], 400, -32600, null], ['42', 400, -32600, null], ['"ping"', 400, -32600, null],
    [{ ...frame, jsonrpc: '1.0' }, 400, -32600, 1], [{ id: 1, method: 'ping' }, 400, -32600, 1], [{ ...frame, method: 7 }, 400, -32600, 1],
    [{ ...frame, id: null }, 400, -32600, null], [{ ...frame, id: 1.5 }, 400, -32600, null], [{ ...frame, id: true }, 400, -32600, null],
    [{ ...frame, id: {} }, 400, -32600, null], ['{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', 400, -32600, null],
    [`{"jsonrpc":"2.0","id":1,"method":"ping","params":${'['.repeat(100)}${']'.repeat(100)}}`, 400, -32600, null],
    [{ ...frame, params: [] }, 200, -32602, 1],
    [{ ...frame, method: 'no/such' }, 200, -32601, 1], [{ ...frame, method: 'server/discover' }, 200, -32601, 1],
  ];
  for (const [body, status, code, id] of rows) isError(await post(body), status, code, id);
  for (const id of [0, -7, 9007199254740991, '', 'ü"\\', '9']) assert.strictEqual((await post({ ...frame, id })).json().id, id);
  const silent = await post({ jsonrpc: '2.0', method: 'notifications/initialized' });
  assert.deepEqual([silent.status, silent.text], [202, '']);
  assert.equal((await post({ jsonrpc: '2.0', id: 4, result: {} })).status, 202, "the answer to a question of an older server's");
  isError(await post({ jsonrpc: '2.0', id: 4, result: {} }, { 'MCP-Protocol-Version': MODERN }), 400, -32600, 4);
  for (const method of ['GET', 'DELETE', 'PUT', 'OPTIONS']) {
    const res = await request(h, { method, path: '/mcp' });
    assert.deepEqual([res.status, res.header('allow')], [405, 'POST'], method);
  }
  for (const type of ['text/plain', 'application/jsonp', 'application/x-www-form-urlencoded', undefined]) {
    const res = await request(h, { method: 'POST', path: '/mcp', body: JSON.stringify(frame), headers: type ? { 'Content-Type': type } : {} });
    assert.equal(res.status, 415, type);
  }
  const plain = { 'Content-Type': 'Application/JSON; charset=utf-8', Accept: '*/*', 'Mcp-Session-Id': 'x', 'Last-Event-ID': '7' };
  const res = await post(frame, plain);
  assert.deepEqual(isResult(res), {});
  assert.equal(res.header('mcp-session-id'), undefined);
  assert.equal((await post(JSON.stringify(frame) + ' '.repeat(7 << 20))).status, 413);
});

test('older clients shake hands, list and call', async (t) => {
  const { legacy, call } = await world(t, { more: '  mcp = { name = "tv", version = "7", instructions = "Be brief." },' });
  for (const [asked, given] of [['2025-11-25', '2025-11-25'], ['2025-06-18', '2025-06-18'], ['2025-03-26', '2025-03-26'], ['2024-11-05', '2025-11-25'], ['9', '2025-11-25'], [7, '2025-11-25'], [undefined, '2025-11-25']]) {
    assert.deepEqual(isResult(await legacy('initialize', { protocolVersion: asked, capabilities: {}, clientInfo: { name: 'x', version: '1' } })), {
      protocolVersion: given, capabilities: { tools: {} }, serverInfo: { name: 'tv', version: '7' }, instructions: 'Be brief.',
    });
  }
  for (const version of ['2025-11-25', '2025-06-18', '2025-03-26']) isResult(await legacy('ping', undefined, { 'MCP-Protocol-Version': version }));
  assert.equal((await legacy('ping', undefined, { 'MCP-Protocol-Version': '1999-01-01' })).status, 400);
  const { tools } = isResult(await legacy('tools/list', {}));
  assert.deepEqual(tools.map((x) => x.name), Object.keys(SCRIPTS).sort());
  assert.deepEqual(tools.find((x) => x.name === 'text'), { name: 'text', description: 'is text', inputSchema: NO_ARGUMENTS });
  assert.deepEqual(tools.find((x) => x.name === 'echo'), {
    name: 'echo', title: 'Echo', description: 'is echo', annotations: { readOnlyHint: true }, inputSchema: { type: 'object' },
  });
  isError(await legacy('tools/list', { cursor: '' }), 200, -32602, 1);
  assert.deepEqual(isResult(await call('text')), { content: [{ type: 'text', text: 'text of text' }] });
  const args = { n: 1, big: 9007199254740991, f: 1.5, s: 'ü\u0000"', list: [], none: null, deep: { a: [{}] } };
  const echoed = isResult(await call('echo', args));
  assert.deepEqual(echoed.structuredContent, { got: args, method: 'POST' });
  assert.deepEqual(JSON.parse(textOf(echoed)), echoed.structuredContent);
  assert.deepEqual(isResult(await call('echo')).structuredContent.got, {});
  for (const params of [{}, { name: 7 }, { name: 'no-such' }, { name: 'echo', arguments: [] }, { name: 'echo', arguments: null }, { name: 'echo', arguments: 'x' }]) {
    isError(await legacy('tools/call', params), 200, -32602, 1);
  }
});

test('newer clients say all in each request, and headers say it again', async (t) => {
  const { post, modern } = await world(t);
  const found = isResult(await modern('server/discover'));
  assert.deepEqual(found.supportedVersions.slice(0, 3), [MODERN, '2025-11-25', '2025-06-18']);
  assert.deepEqual(found.capabilities, { tools: {} });
  const list = isResult(await modern('tools/list'));
  assert.equal(list.tools.length, Object.keys(SCRIPTS).length);
  for (const result of [found, list]) {
    assert.equal(result.resultType, 'complete');
    assert.equal(result.cacheScope, 'private');
    assert.ok(Number.isInteger(result.ttlMs) && result.ttlMs >= 0);
    assert.deepEqual(Object.keys(result._meta[`${META}serverInfo`]), ['name', 'version']);
  }
  const called = isResult(await modern('tools/call', { name: 'text' }));
  assert.equal(called.resultType, 'complete');
  assert.equal(textOf(called), 'text of text');
  isError(await modern('tools/call', { name: 'no-such' }), 200, -32602, 'a');
  isError(await modern('tools/list', { cursor: 'x' }), 200, -32602, 'a');
  for (const method of ['initialize', 'ping', 'prompts/list', 'resources/list', 'subscriptions/listen', 'no/such']) isError(await modern(method), 404, -32601, 'a');

  // Each header, and each member that must be there.
  const body = (params) => ({ jsonrpc: '2.0', id: 'a', method: 'tools/call', params: { name: 'text', _meta: meta(), ...params } });
  const all = { 'MCP-Protocol-Version': MODERN, 'Mcp-Method': 'tools/call', 'Mcp-Name': 'text' };
  const sent = (changes, params) => post(body(params), Object.fromEntries(Object.entries({ ...all, ...changes }).filter(([, v]) => v !== undefined)));
  isResult(await sent({}));
  const encoded = (s) => `=?base64?${Buffer.from(s).toString('base64')}?=`;
  isResult(await sent({ 'Mcp-Name': encoded('text') }));
  isResult(await sent({ 'Mcp-Name': '  text ' }));
  for (const [name, value] of [
    ['MCP-Protocol-Version', undefined], ['MCP-Protocol-Version', '2025-11-25'], ['Mcp-Method', undefined], ['Mcp-Method', 'tools/list'],
    ['Mcp-Method', 'Tools/Call'], ['Mcp-Name', undefined], ['Mcp-Name', 'echo'], ['Mcp-Name', 'Text'], ['Mcp-Name', encoded('echo')],
    ['Mcp-Name', '=?base64?dGV4dA=?='], ['Mcp-Name', '=?base64?dGV4dA?='], ['Mcp-Name', '=?base64?dGV4d*==?='], ['Mcp-Name', '=?BASE64?dGV4dA==?='],
    ['Mcp-Name', '=?base64?dGV4dA=='],
  ]) isError(await sent({ [name]: value }), 400, -32020, 'a');
  isError(await sent({}, { _meta: undefined }), 400, -32602, 'a');
  isError(await sent({}, { _meta: { [`${META}protocolVersion`]: MODERN } }), 400, -32602, 'a');
  isError(await sent({}, { _meta: { [`${META}clientCapabilities`]: {} } }), 400, -32602, 'a');
  isError(await sent({}, { _meta: meta({ [`${META}clientCapabilities`]: [] }) }), 400, -32602, 'a');
  isError(await sent({ 'MCP-Protocol-Version': '2031-01-01' }, { _meta: undefined }), 400, -32602, 'a');
  const future = isError(await sent({ 'MCP-Protocol-Version': '2031-01-01' }, { _meta: meta({ [`${META}protocolVersion`]: '2031-01-01' }) }), 400, -32022, 'a');
  assert.deepEqual(future.data, { supported: found.supportedVersions, requested: '2031-01-01' });
});

test('what a handler returns, raises or runs into is a result', async (t) => {
  const { call, h } = await world(t);
  const ok = async (name, args) => {
    const result = isResult(await call(name, args));
    assert.equal(result.isError, undefined, JSON.stringify(result));
    return result;
  };
  const failed = async (name) => {
    const result = isResult(await call(name));
    assert.equal(result.isError, true);
    assert.equal(result.structuredContent, undefined);
    assert.doesNotMatch(JSON.stringify(result), /\.lua|scripts|:\d+:|traceback/, 'no file and no path');
    return textOf(result);
  };
  assert.deepEqual(await ok('content'), { content: [{ type: 'image', data: 'AAAA', mimeType: 'image/png' }], structuredContent: { n: 1 } });
  assert.deepEqual(await ok('list'), { content: [{ type: 'text', text: '[1,2]' }] }, 'older clients take objects alone');
  assert.equal(textOf(await ok('answer')), 'plain');
  assert.match(await failed('refused'), /There is no such show/);
  assert.equal(await failed('raised'), 'taken');
  assert.match(await failed('broken'), /attempt to index a nil value/);
  assert.match(await failed('nothing'), /returns a text or a table/);
  assert.match(await failed('odd'), /function/);
  assert.match(await failed('pieces'), /pieces/);
  assert.match(await failed('late'), /timed out after 0\.05 seconds/);
  await h.says(/"msg":"handler raised".*scripts\/broken\.lua:2/);
  const log = await eventually(() => h.log().find((l) => l.error === 'handler_error'), 10, 'its access line');
  assert.deepEqual([log.path, log.status, log.function], ['/mcp', 200, 'broken']);
});

test('in dev, too, a result tells of no file', async (t) => {
  const { call } = await world(t, { command: 'dev' });
  const result = isResult(await call('broken'));
  assert.doesNotMatch(JSON.stringify(result), /\.lua|traceback|trace/);
});

test('progress comes in events, to whoever asks for it and can read it', async (t) => {
  const { legacy, modern } = await world(t);
  const wants = { name: 'steps', _meta: { progressToken: 7 } };
  const streamed = await legacy('tools/call', wants);
  assert.equal(streamed.header('content-type'), 'text/event-stream');
  assert.equal(streamed.header('cache-control'), 'no-store');
  assert.equal(streamed.header('x-accel-buffering'), 'no');
  const events = (res) => res.text.split('\n\n').filter(Boolean).map((e) => {
    const [kind, data, ...none] = e.split('\n');
    assert.deepEqual([kind, none], ['event: message', []]);
    return JSON.parse(data.replace(/^data: /, ''));
  });
  const [first, second, third, last, ...none] = events(streamed);
  assert.deepEqual(none, []);
  for (const [i, event] of [first, second, third].entries()) {
    assert.deepEqual(event, { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 7, progress: i, total: 2, message: `step ${i}` } });
  }
  assert.equal(last.id, 1);
  assert.deepEqual(last.result.structuredContent.told, [true, true, false, true], 'it must rise');
  const newer = events(await modern('tools/call', { name: 'steps', _meta: meta({ progressToken: 'p' }) }));
  assert.equal(newer.length, 4);
  assert.equal(newer[0].params.progressToken, 'p');
  assert.equal(newer[3].result.resultType, 'complete');
  const untold = { told: [false, false, false, false] };
  assert.deepEqual(isResult(await legacy('tools/call', { name: 'steps' })).structuredContent, untold, 'nobody asked');
  assert.deepEqual(isResult(await legacy('tools/call', wants, { Accept: 'application/json' })).structuredContent, untold, 'nobody can read it');
  assert.deepEqual(isResult(await legacy('tools/call', { name: 'steps', _meta: { progressToken: {} } })).structuredContent, untold);
});

// ---- who may ----

const GUARDED = {
  read: 'auth = { scope = "read:shows" }, tool = { description = "reads" }',
  write: 'auth = { scope = { "read:shows", "write:shows" } }, tool = { description = "writes" }, path = "/write"',
  admin: 'auth = { scope = "read:shows", role = "admin" }, tool = { description = "rules" }',
  other: 'auth = { scope = "other" }, path = "/other"',
};

async function guarded(t, { fields = GUARDED, more = '', audience = lua(AUDIENCE), ...options } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const scripts = Object.fromEntries(Object.keys(fields).map((name) => [name, 'ran = (ran or 0) + 1\nreturn function(event, context) return not event.tool and "ok" or { sub = context.clientContext.user and context.clientContext.user.sub } end']));
  const auth = `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${audience}${options.auth ?? ''} },\n`;
  const all = await world(t, { scripts, fields, more: auth + more, ...options });
  await all.h.keys();
  return { issuer, ...all };
}

const challenge = (res) => res.lines.filter((l) => /^www-authenticate:/i.test(l)).map((l) => l.replace(/^[^:]*: */, ''));
const listed = (res) => isResult(res).tools.map((x) => x.name);

test('a policy is judged as ever: 401 and 403 are answers of HTTP, with the way to a token', async (t) => {
  const { issuer, h, legacy, modern, call, post } = await guarded(t);
  const where = `resource_metadata="${h.url('/.well-known/oauth-protected-resource/mcp')}"`;
  for (const res of [await legacy('initialize', {}), await legacy('tools/list'), await call('write'), await modern('server/discover'), await post('{'), await post('x'.repeat(1 << 20))]) {
    assert.equal(res.status, 401);
    assert.deepEqual(challenge(res), [`Bearer realm="luafn", scope="read:shows", ${where}`], 'what all of them want comes first');
  }
  const spoilt = await legacy('tools/list', {}, { Authorization: 'Bearer a.b.c' });
  assert.deepEqual([spoilt.status, challenge(spoilt)], [401, [`Bearer realm="luafn", error="invalid_token", scope="read:shows", ${where}`]]);
  const late = await legacy('tools/list', {}, issuer.bearer({ exp: 1 }));
  assert.equal(late.status, 401);

  const reader = issuer.bearer({ scope: 'openid read:shows' });
  assert.deepEqual(listed(await legacy('tools/list', {}, reader)), ['read']);
  assert.deepEqual(isResult(await call('read', {}, reader)).structuredContent, { sub: 'auth0|1' });
  const stepUp = await call('write', {}, reader);
  assert.deepEqual([stepUp.status, challenge(stepUp)], [403, [`Bearer realm="luafn", error="insufficient_scope", scope="read:shows write:shows", ${where}`]]);
  assert.match(stepUp.json().error_description, /write:shows/);
  const writer = issuer.bearer({ scope: 'read:shows write:shows' });
  assert.deepEqual(listed(await legacy('tools/list', {}, writer)), ['read', 'write']);
  isResult(await call('write', {}, writer));
  const admin = issuer.bearer({ scope: 'read:shows', roles: ['admin'] });
  assert.deepEqual(listed(await modern('tools/list', {}, admin)), ['admin', 'read']);
  assert.equal((await call('admin', {}, reader)).status, 403);
  isResult(await call('admin', {}, admin));
  const none = await legacy('tools/list', {}, issuer.bearer({ scope: 'openid' }));
  assert.deepEqual([none.status, challenge(none)], [403, [`Bearer realm="luafn", error="insufficient_scope", scope="read:shows", ${where}`]]);
  isError(await call('other', {}, issuer.bearer({ scope: 'read:shows other' })), 200, -32602, 1); // no tool
  const doc = (await h.get('/.well-known/oauth-protected-resource/mcp')).json();
  assert.equal(doc.resource, h.url('/mcp'));
  assert.deepEqual(doc.authorization_servers, [issuer.issuer]);
  assert.deepEqual(doc.scopes_supported.sort(), ['read:shows', 'write:shows']);
});

test('a challenge keeps the scopes that a client has already', async (t) => {
  const { issuer, call } = await guarded(t, { fields: {
    a: 'auth = { scope = "a" }, tool = { description = "a" }', b: 'auth = { scope = "b" }, tool = { description = "b" }',
  } });
  const scope = (res) => /scope="([^"]*)"/.exec(challenge(res)[0])[1];
  assert.equal(scope(await call('b', {}, issuer.bearer({ scope: 'a x"y' }))), 'b a');
  assert.equal(scope(await call('b', {}, issuer.bearer({ scope: 'openid unknown' }))), 'b');
  isResult(await call('b', {}, issuer.bearer({ scope: 'b' })));
});

test('with an open tool beside it nobody has to sign in, and whoever does sees more', async (t) => {
  const { issuer, legacy, call } = await guarded(t, { fields: { ...GUARDED, open: 'auth = "public", tool = { description = "is open" }' } });
  assert.deepEqual(listed(await legacy('tools/list')), ['open']);
  isResult(await legacy('initialize', {}));
  isResult(await call('open'));
  const res = await call('read');
  assert.equal(res.status, 401);
  assert.match(challenge(res)[0], /scope="read:shows"/);
  assert.deepEqual(listed(await legacy('tools/list', {}, issuer.bearer())), ['open', 'read']);
  assert.equal((await legacy('tools/list', {}, issuer.bearer({ exp: 1 }))).status, 401, 'a client is told that its token is old');
});

test('list = "all" shows also what the caller may not call', async (t) => {
  const { issuer, legacy } = await guarded(t, { more: '  mcp = { list = "all" },' });
  assert.deepEqual(listed(await legacy('tools/list', {}, issuer.bearer())), ['admin', 'read', 'write']);
});

test('tools live where functions.lua says', async (t) => {
  const { h, legacy } = await world(t, { more: '  mcp = { path = "/agents/tools" },' });
  assert.equal((await legacy('ping')).status, 404);
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' });
  const res = await request(h, { method: 'POST', path: '/agents/tools', body, headers: { 'Content-Type': 'application/json' } });
  assert.deepEqual(isResult(res), {});
});

test('a token may be for the address of the tools', async (t) => {
  const { issuer, call, legacy } = await guarded(t, { audience: '"resource"', auth: ', resource = "https://api.example"' });
  for (const aud of ['https://api.example/mcp', 'https://api.example']) {
    assert.deepEqual(listed(await legacy('tools/list', {}, issuer.bearer({ aud }))), ['read'], aud);
    isResult(await call('read', {}, issuer.bearer({ aud })));
  }
  for (const aud of ['https://api.example/write', 'https://api.example/mcp/', AUDIENCE]) {
    assert.equal((await call('read', {}, issuer.bearer({ aud }))).status, 401, aud);
  }
  assert.match(challenge(await legacy('tools/list'))[0], /resource_metadata="https:\/\/api\.example\/\.well-known\/oauth-protected-resource\/mcp"/);
});

test('a tool without a path has no address of its own', async (t) => {
  const { h, issuer } = await guarded(t);
  const headers = issuer.bearer({ scope: 'read:shows write:shows other' });
  assert.equal((await h.get('/.netlify/functions/read', headers)).status, 404);
  assert.equal((await h.get('/write', headers)).status, 200);
  assert.equal((await h.get('/other', headers)).status, 200);
});

test('a page may call when its origin is listed, or our own', async (t) => {
  const { legacy, h } = await world(t, { more: '  cors = { origins = { "https://app.example" } },' });
  const own = `http://127.0.0.1:${h.port}`;
  for (const [origin, status, host] of [
    ['https://app.example', 200], [own, 200], ['https://evil.example', 403], ['null', 403], ['', 403], ['http://127.0.0.1:1', 403],
    ['http://evil.example', 403, 'evil.example'], // a name of its own for this machine
    [`http://localhost:${h.port}`, 200, `localhost:${h.port}`],
  ]) {
    const res = await legacy('ping', {}, { Origin: origin, ...(host ? { Host: host } : {}) });
    assert.equal(res.status, status, `${origin} ${res.text}`);
  }
  const before = await request(h, { method: 'OPTIONS', path: '/mcp', headers: {
    Origin: 'https://app.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'content-type, mcp-protocol-version',
  } });
  assert.equal(before.status, 204);
  assert.match(before.header('access-control-allow-methods'), /POST/);
  assert.equal(before.header('access-control-allow-headers'), 'content-type, mcp-protocol-version');
  const after = await legacy('ping', {}, { Origin: 'https://app.example' });
  assert.equal(after.header('access-control-allow-origin'), 'https://app.example');
  assert.match(after.header('access-control-expose-headers'), /WWW-Authenticate/);
});

test('limits of the function hold: its slots, its rate, its body', async (t) => {
  const { h, call } = await world(t, {
    scripts: { held: 'return function() kv.set("in", 1)\nwhile not kv.get("go") do sleep(0.01) end\nreturn "went" end', few: 'return function() return "x" end', small: 'return function() return "x" end', go: 'return function() kv.set("go", 1)\nreturn "ok" end', is: 'return function() return kv.get("in") and "in" or "no" end' },
    fields: {
      held: 'auth = "public", kv = "a", timeout = 60, concurrency = 1, queue = 0, tool = { description = "waits" }',
      few: 'auth = "public", rate_limit = { limit = 1, window = 3600 }, tool = { description = "is rare" }',
      small: 'auth = "public", body = 300, tool = { description = "is small", input = { type = "object" } }',
      go: 'auth = "public", kv = "a"', is: 'auth = "public", kv = "a"',
    },
  });
  const first = call('held');
  await eventually(async () => (await h.call('is')).text === 'in', 10, 'the first one runs');
  const second = await call('held');
  assert.deepEqual([second.status, second.header('retry-after')], [503, '1']);
  assert.equal(second.json().error, 'no_free_slot');
  await h.call('go');
  assert.equal(textOf(isResult(await first)), 'went');
  isResult(await call('few'));
  const refused = await call('few');
  assert.deepEqual([refused.status, refused.json().error], [429, 'rate_limited']);
  assert.ok(Number(refused.header('retry-after')) > 0);
  isResult(await call('small', { a: 'x' }));
  assert.equal((await call('small', { a: 'x'.repeat(300) })).status, 413);
});

test('a client that leaves ends the handler', async (t) => {
  const { h } = await world(t, {
    scripts: { held: 'return function(event)\nlocal mark <close> = setmetatable({}, { __close = function() log.info("the handler has ended") end })\nevent.progress(0)\nlog.info("the handler runs")\nsleep(300)\nend' },
    fields: { held: 'auth = "public", timeout = 600, tool = { description = "waits" }' },
  });
  for (const [n, params] of [[1, '{"name":"held"}'], [2, '{"name":"held","_meta":{"progressToken":1}}']]) {
    const wire = await Wire.connect(h.address, h.port);
    const body = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`;
    wire.send(`POST /mcp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await eventually(() => h.stderr.split('the handler runs').length > n, 10, 'it runs');
    wire.socket.destroy();
    await eventually(() => h.stderr.split('the handler has ended').length > n, 10, 'it ends');
  }
});

test('arguments may be repeated in headers, where the tool says so', async (t) => {
  const { modern, legacy } = await world(t, { scripts: { find: 'return function(event) return { got = event.arguments } end' }, fields: {
    find: `auth = "public", tool = { description = "finds", input = { type = "object", properties = {
      day = { type = "string", ["x-mcp-header"] = "Day" }, n = { type = "integer", ["x-mcp-header"] = "N" },
      at = { type = "object", properties = { sure = { type = "boolean", ["x-mcp-header"] = "Sure" } } } } } }`,
  } });
  const find = (args, headers) => modern('tools/call', { name: 'find', arguments: args }, headers);
  const encoded = (s) => `=?base64?${Buffer.from(s).toString('base64')}?=`;
  for (const [args, headers] of [
    [{ day: 'fri' }, { 'Mcp-Param-Day': 'fri' }], [{ day: 'für' }, { 'mcp-param-day': encoded('für') }], [{}, {}],
    [{ day: 'a', n: 7, at: { sure: true } }, { 'Mcp-Param-Day': 'a', 'Mcp-Param-N': '7', 'Mcp-Param-Sure': 'true' }], [{ n: 7 }, { 'Mcp-Param-N': '7.0' }],
    [{ day: '' }, { 'Mcp-Param-Day': '' }],
  ]) assert.deepEqual(isResult(await find(args, headers)).structuredContent?.got ?? {}, args, JSON.stringify(args));
  for (const [args, headers] of [
    [{ day: 'fri' }, {}], [{ day: 'fri' }, { 'Mcp-Param-Day': 'Fri' }], [{}, { 'Mcp-Param-Day': 'fri' }], [{ day: null }, { 'Mcp-Param-Day': 'null' }],
    [{ n: 7 }, { 'Mcp-Param-N': '8' }], [{ n: 7 }, { 'Mcp-Param-N': '' }], [{ n: 7 }, { 'Mcp-Param-N': 'x7' }], [{ at: { sure: true } }, { 'Mcp-Param-Sure': 'false' }],
    [{ day: 'fri' }, { 'Mcp-Param-Day': '=?base64?ZnJp=?=' }],
  ]) isError(await find(args, headers), 400, -32020, 'a');
  assert.equal(isResult(await find({ day: null }, {})).isError, true, 'none is none for the header, but not for the schema');
  isResult(await legacy('tools/call', { name: 'find', arguments: { day: 'fri' } })); // older clients know nothing of it
});

test('what a tool, or the address of tools, cannot be is a fault with file and line', async (t) => {
  const OK = 'return function() return "ok" end';
  const rows = [
    ['tool = {}', /functions\.lua:3: functions\.f\.tool: `description` is missing/],
    ['tool = true', /functions\.lua:3: functions\.f\.tool: must be a table/],
    ['tool = { description = "x", inptu = {} }', /functions\.lua:3: functions\.f\.tool\.inptu: unknown key; did you mean `input`\?/],
    ['tool = { description = "x", input = { type = "object", properties = { a = { type = "strng" } } } }', /functions\.lua:3: functions\.f\.tool\.input\.properties\.a\.type: /],
    ['tool = { description = "x", input = { type = "object", required = 7 } }', /functions\.lua:3: functions\.f\.tool\.input\.required: /],
    ['tool = { description = "x", input = { type = "object", properties = { a = function() end } } }', /functions\.lua:3: functions\.f\.tool\.input\.properties\.a: is a function/],
    ['tool = { description = "x", input = {} }', /functions\.lua:3: functions\.f\.tool\.input: must be the schema of an object/],
    ['tool = { description = "x", output = { type = "string" } }', /functions\.lua:3: functions\.f\.tool\.output: must be the schema of an object/],
    ['tool = { description = "x", annotations = { readOnlyHnt = true } }', /functions\.lua:3: functions\.f\.tool\.annotations\.readOnlyHnt: unknown key; did you mean `readOnlyHint`\?/],
    ['tool = { description = "x", annotations = { readOnlyHint = "yes" } }', /functions\.lua:3: functions\.f\.tool\.annotations\.readOnlyHint: must be true or false/],
    ['tool = { description = "x" }, background = true', /functions\.lua:3: functions\.f\.tool: a function with `background` cannot be a tool/],
    ['tool = { description = "x" }, schedule = "@daily"', /cannot be a tool/],
    ['tool = { description = "x" }, stream_body = true', /cannot be a tool/],
    ['tool = { description = "x" }, path = "/mcp"', /functions\.lua:3: functions\.f\.path: '\/mcp' is where tools are called/],
    ['tool = { description = "x", input = { type = "object", properties = { a = { type = "string", ["x-mcp-header"] = "no good" } } } }', /tool\.input: a: 'no good' is no name for a header/],
    ['tool = { description = "x", input = { type = "object", properties = { a = { type = "string", ["x-mcp-header"] = "A" }, b = { type = "string", ["x-mcp-header"] = "a" } } } }', /there is a header '[aA]' already/],
    ['tool = { description = "x", input = { type = "object", properties = { a = { type = "number", ["x-mcp-header"] = "A" } } } }', /only a string, integer or boolean/],
    ['tool = { description = "x", input = { type = "object", properties = { a = { type = "array", items = { type = "string", ["x-mcp-header"] = "A" } } } } }', /reached by `properties` alone/],
  ];
  const configs = [
    ['mcp = "/mcp"', /functions\.lua:4: mcp: must be a table/],
    ['mcp = { path = "mcp" }', /functions\.lua:4: mcp\.path: 'mcp' must be a path/],
    ['mcp = { path = "/:x" }', /mcp\.path/], ['mcp = { path = "/a/*" }', /mcp\.path/], ['mcp = { path = "/" }', /mcp\.path/],
    ['mcp = { list = "some" }', /functions\.lua:4: mcp\.list: must be "all"/],
    ['mcp = { pth = "/x" }', /mcp\.pth: unknown key; did you mean `path`\?/],
  ];
  const check = (field, more) => run(t, ['check'], { files: {
    'functions.lua': `return {\n  functions = {\n    f = { script = "f.lua", auth = "public"${field ? `, ${field}` : ''} },${more ? ` }, ${more.replace(/^/, '\n')}` : ' },'}\n}\n`, 'f.lua': OK,
  } });
  for (const [field, message] of rows) {
    const { code, stdout, stderr } = await check(field);
    assert.notEqual(code, 0, field);
    assert.match(stdout + stderr, message);
  }
  for (const [more, message] of configs) {
    const { code, stdout, stderr } = await check('', more);
    assert.notEqual(code, 0, more);
    assert.match(stdout + stderr, message);
  }
  const twice = (files) => run(t, ['check'], { files: { 'f.lua': OK, ...files } });
  const same = await twice({ 'functions.lua': 'return {\n  functions = {\n    f = { script = "f.lua", auth = true, tool = { description = "x" } },\n    g = { script = "f.lua", auth = "public" },\n    ["f"] = { script = "f.lua", auth = "public", tool = { description = "y" } },\n  },\n}\n' });
  assert.notEqual(same.code, 0);
  assert.match(same.stderr, /functions\.lua:3: functions\.f: stands here, and again in line 5: give one another name/);
  for (const other of ['f = { script = "f.lua", auth = "public", env = { "f" } }, g = { script = "f.lua", auth = "public", env = { "f" } }', '["f-1"] = { script = "f.lua", auth = "public" }, ["f-2"] = { script = "f.lua", auth = "public" }']) {
    const { code, stderr } = await twice({ 'functions.lua': `local function one() return { f = 1, g = 1 } end\nlocal function merge(a, b) for k, v in pairs(b) do a[k] = v end return a end\nreturn { functions = merge({ ${other} }, { f = { script = "f.lua", auth = "public" } }) }\n` });
    assert.equal(code, 0, stderr);
  }
  const long = 'n'.repeat(65);
  const { code, stdout, stderr } = await run(t, ['check'], { files: { 'functions.lua': `return { functions = { ${long} = { script = "f.lua", tool = { description = "x" } } } }`, 'f.lua': OK } });
  assert.notEqual(code, 0);
  assert.match(stdout + stderr, /64 characters at most/);
  const own = await run(t, ['check'], { files: { 'functions.lua': 'return { functions = "s" }', 's/f.lua': 'return {\n  tool = { description = "" },\n  handler = function() end,\n}\n' } });
  assert.notEqual(own.code, 0);
  assert.match(own.stdout + own.stderr, /s\/f\.lua:2: tool: `description` is missing/);
});

test('a tool that its script makes comes and goes with it', async (t) => {
  const tool = (n) => `return { auth = "public", tool = { description = "version ${n}" }, handler = function() return "${n}" end }`;
  const { h, legacy, call } = await world(t, { scripts: { a: tool(1) }, fields: {} });
  const now = async () => isResult(await legacy('tools/list')).tools.map((x) => x.description);
  assert.deepEqual(await now(), ['version 1']);
  write(h.dir, { 'scripts/a.lua': tool(2) });
  h.kill('SIGHUP');
  await eventually(async () => (await now())[0] === 'version 2', 10, 'the new one');
  assert.equal(textOf(isResult(await call('a'))), '2');
  write(h.dir, { 'scripts/a.lua': 'return { auth = "public", handler = function() return "3" end }' });
  h.kill('SIGHUP');
  await eventually(async () => (await legacy('tools/list')).status === 404, 10, 'there are none');
  assert.equal((await h.call('a')).text, '3', 'it has an address again');
});

test('arguments are held against the input schema, results against the output schema', async (t) => {
  const shape = '{ type = "object", properties = { n = { type = "integer", minimum = 1 } }, required = { "n" }, additionalProperties = false }';
  const { h, call } = await world(t, {
    scripts: {
      take: 'return function(event) log.info("take runs")\nreturn { n = event.arguments.n } end',
      give: 'return function(event) local f = load("return " .. event.arguments.what)\nreturn f() end',
    },
    fields: {
      take: `auth = "public", tool = { description = "takes", input = ${shape}, output = ${shape} }`,
      give: `auth = "public", tool = { description = "gives", input = { type = "object", properties = { what = { type = "string" } } }, output = ${shape} }`,
    },
  });
  assert.deepEqual(isResult(await call('take', { n: 7 })), { content: [{ type: 'text', text: '{"n":7}' }], structuredContent: { n: 7 } });
  for (const [args, word] of [[{}, /required|missing/i], [{ n: 'x' }, /\/n: .*integer/], [{ n: 0 }, /\/n: /], [{ n: 1, m: 1 }, /m/], [undefined, /n/]]) {
    const result = isResult(await call('take', args));
    assert.equal(result.isError, true, JSON.stringify(args));
    assert.match(textOf(result), /^The arguments do not fit the tool's input schema:\n/);
    assert.match(textOf(result), word);
  }
  assert.deepEqual(isResult(await call('take', { n: 8 })).structuredContent, { n: 8 });
  const runs = () => h.stderr.split('take runs').length - 1;
  await eventually(() => runs() >= 2, 10, 'the lines of the good ones');
  assert.equal(runs(), 2, 'no Lua ran for the others');
  const give = async (what) => isResult(await call('give', { what }));
  for (const good of ['{ n = 1 }', '{ statusCode = 200, body = json.encode({ n = 1 }) }', '{ statusCode = 200, body = "{\\n \\"n\\" : 1 }\\n" }',
    '{ content = { { type = "text", text = "x" } }, structuredContent = { n = 1 } }']) {
    assert.deepEqual((await give(good)).structuredContent, { n: 1 }, good);
  }
  for (const bad of ['{ n = 0 }', '{ n = 1, m = 2 }', '{}', '"text"', '7', '{ statusCode = 200, body = "text" }', '{ statusCode = 200, body = "{\\"n\\":0}" }',
    '{ content = { { type = "text", text = "x" } } }', '{ content = { { type = "text", text = "x" } }, structuredContent = { n = "x" } }', 'json.array { 1 }']) {
    const result = await give(bad);
    assert.equal(result.isError, true, bad);
    assert.match(textOf(result), /^The tool's result does not fit its output schema:\n/, bad);
    assert.equal(result.structuredContent, undefined);
  }
  const odd = await give('{ n = print }');
  assert.deepEqual([odd.isError, textOf(odd)], [true, "The tool's result cannot be written as JSON: /n is a function, which JSON has not"]);
  await h.says(/the result does not fit the tool's output schema/);
  const failed = await give('{ content = { { type = "text", text = "no" } }, isError = true }');
  assert.deepEqual(failed, { content: [{ type: 'text', text: 'no' }], isError: true }, 'an error needs no structure');
  assert.equal((await give('{ statusCode = 404, body = "none" }')).isError, true);
});

test('audit attacks tools where they are called, routes and explain know them', async (t) => {
  const { issuer, h } = await guarded(t, { fields: { read: GUARDED.read } });
  const token = issuer.token({ scope: 'read:shows' });
  const audit = await run(t, ['audit', h.url(), '--token', token], { dir: h.dir });
  assert.match(audit.stdout, /at 1 protected route: \d+ as expected, 0 let through, 0 faults/, audit.stdout + audit.stderr);
  assert.match(audit.stdout, /^ok +[^\n]* POST \/mcp +200, 403 +200/m, audit.stdout);
  const routes = JSON.parse((await run(t, ['routes', '--json'], { dir: h.dir })).stdout);
  assert.deepEqual(routes.map((r) => [r.method, r.path, r.function, r.tool, r.auth]), [['POST', '/mcp', 'read', true, 'scope read:shows']]);
  const doc = JSON.parse((await run(t, ['routes', '--openapi'], { dir: h.dir })).stdout);
  assert.deepEqual(Object.keys(doc.paths), ['/mcp']);
  const explain = await run(t, ['explain', token, '--route', 'read'], { dir: h.dir });
  assert.equal(explain.code, 0, explain.stdout + explain.stderr);
});
