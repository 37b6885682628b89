// What a function is given, and what becomes of what it returns.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { gate } from '../lib/upstream.mjs';

const DUMP = `return function(event, context)
  local out = {}
  for _, k in ipairs { "httpMethod", "path", "headers", "multiValueHeaders", "queryStringParameters",
      "multiValueQueryStringParameters", "body", "isBase64Encoded", "rawUrl", "rawQuery", "route", "params" } do
    out[k] = event[k]
  end
  return json.encode(out)
end`;

const dump = (t) => start(t, {
  files: deployment({ dump: DUMP, item: DUMP }, { fields: { item: 'path = "/api/item/:id/:part?"' } }),
});

test('event: path, method, query', async (t) => {
  const h = await dump(t);
  const at = `${h.address}:${h.port}`;
  const event = (await h.get('/.netlify/functions/dump/a%20b/c?net=lify&jam=stack')).json();
  assert.equal(event.httpMethod, 'GET');
  assert.equal(event.path, '/.netlify/functions/dump/a%20b/c');
  assert.equal(event.rawQuery, 'net=lify&jam=stack');
  assert.equal(event.rawUrl, `http://${at}/.netlify/functions/dump/a%20b/c?net=lify&jam=stack`);
  assert.deepEqual(event.queryStringParameters, { net: 'lify', jam: 'stack' });
  assert.deepEqual(event.multiValueQueryStringParameters, { net: ['lify'], jam: ['stack'] });
  assert.equal(event.body, undefined);
  assert.equal(event.route, undefined);

  const rows = [
    ['', {}, {}],
    ['?', {}, {}],
    ['?c', { c: '' }, { c: [''] }],
    ['?category=one&category=two', { category: 'one, two' }, { category: ['one', 'two'] }],
    ['?category[SOMETHING][]=something', { 'category[SOMETHING][]': 'something' }, { 'category[SOMETHING][]': ['something'] }],
    ['?a=%C3%A9&b=x%20y&c=1+2', { a: 'é', b: 'x y', c: '1 2' }, { a: ['é'], b: ['x y'], c: ['1 2'] }],
    ['?a=b=c&&d=', { a: 'b=c', d: '' }, { a: ['b=c'], d: [''] }],
  ];
  for (const [query, single, multi] of rows) {
    const e = (await h.call('dump', { suffix: query })).json();
    assert.deepEqual(e.queryStringParameters, single, query);
    assert.deepEqual(e.multiValueQueryStringParameters, multi, query);
    assert.equal(e.rawQuery, query.slice(1));
  }
});

test('event and context: every way to look at them shows every field', async (t) => {
  const looks = {
    pairs: 'for k in pairs(t) do names[#names + 1] = k end',
    next: 'for k in next, t do names[#names + 1] = k end',
    rawget: 'for _, k in ipairs(known) do if rawget(t, k) ~= nil then names[#names + 1] = k end end',
    index: 'for _, k in ipairs(known) do if t[k] ~= nil then names[#names + 1] = k end end',
    after: 'local _ = t.path, t.functionName; for k in next, t do names[#names + 1] = k end',
  };
  const script = (look) => `return function(event, context)
    local known = { "httpMethod", "path", "headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters",
      "isBase64Encoded", "params", "rawUrl", "rawQuery", "awsRequestId", "clientContext", "functionName", "functionVersion",
      "getRemainingTimeInMillis", "memoryLimitInMB" }
    local names = {}
    for _, t in ipairs { event, context } do ${look} end
    table.sort(names)
    return { statusCode = 200, body = table.concat(names, " ") }
  end`;
  const h = await start(t, { files: deployment(Object.fromEntries(Object.entries(looks).map(([name, look]) => [name, script(look)]))) });
  const wanted = (await h.call('index')).text;
  assert.equal(wanted.split(" ").length, 16);
  for (const name of Object.keys(looks)) assert.equal((await h.call(name)).text, wanted, name);
});

test('event: headers', async (t) => {
  const h = await dump(t);
  const e = (await h.request({
    path: '/.netlify/functions/dump',
    headers: [['X-One', 'a'], ['x-two', 'b'], ['X-TWO', 'c'], ['Cookie', 'k=1'], ['cookie', 'l=2'], ['Accept', '*/*']],
  })).json();
  assert.equal(e.headers['x-one'], 'a');
  assert.equal(e.headers['x-two'], 'b, c');
  assert.equal(e.headers.cookie, 'k=1; l=2');
  assert.equal(e.headers.accept, '*/*');
  assert.equal(e.headers.host, `${h.address}:${h.port}`);
  assert.equal(e.headers['client-ip'], '127.0.0.1');
  for (const [k, v] of Object.entries(e.headers)) {
    assert.equal(k, k.toLowerCase());
    assert.deepEqual(e.multiValueHeaders[k], [v], 'each value, already joined, in an array');
  }
});

test('event: body and isBase64Encoded follow from the content type', async (t) => {
  const h = await dump(t);
  const text = ['text/plain', 'text/html; charset=utf-8', 'application/json', 'application/javascript', 'application/xml',
    'application/graphql', 'application/x-ndjson', 'application/x-www-form-urlencoded', 'application/csp-report',
    'application/problem+json', 'image/svg+xml', 'application/json;charset=latin1'];
  const binary = ['application/octet-stream', 'image/png', 'multipart/form-data; boundary=x', 'application/pdf'];
  for (const type of text) {
    const e = (await h.call('dump', { method: 'POST', headers: { 'Content-Type': type }, body: 'some=thing é' })).json();
    assert.equal(e.isBase64Encoded, false, type);
    assert.equal(e.body, 'some=thing é', type);
  }
  for (const type of binary) {
    const body = Buffer.from([0, 255, 10, 65]);
    const e = (await h.call('dump', { method: 'POST', headers: { 'Content-Type': type }, body })).json();
    assert.equal(e.isBase64Encoded, true, type);
    assert.equal(e.body, body.toString('base64'), type);
  }
  const empty = (await h.call('dump', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '' })).json();
  assert.equal(empty.body, '');
  const untyped = (await h.call('dump', { method: 'POST', body: 'abc' })).json();
  assert.equal(untyped.body, undefined, 'a body without a type is not given');
  assert.equal(untyped.isBase64Encoded, true);
  const get = (await h.call('dump')).json();
  assert.equal(get.isBase64Encoded, true);
});

test('event: route and path parameters', async (t) => {
  const h = await dump(t);
  const e = (await h.get('/api/item/a%20b/c?x=1')).json();
  assert.equal(e.route, '/api/item/:id/:part?');
  assert.deepEqual(e.params, { id: 'a b', part: 'c' });
  assert.equal(e.path, '/api/item/a%20b/c');
  assert.deepEqual((await h.get('/api/item/7')).json().params, { id: '7' });
  assert.equal((await h.get('/api/item')).status, 404);
  assert.equal((await h.call('item')).status, 404, 'a function with a path has no default address');
});

test('context', async (t) => {
  const h = await start(t, {
    files: deployment({
      ctx: `return function(event, context)
        local before = context.getRemainingTimeInMillis()
        sleep(0.05)
        return json.encode({ name = context.functionName, version = context.functionVersion, id = context.awsRequestId,
          memory = context.memoryLimitInMB, before = before, after = context.getRemainingTimeInMillis(),
          identity = context.identityContext, user = context.clientContext and context.clientContext.user,
          client = type(context.clientContext) })
      end`,
    }, { fields: { ctx: 'timeout = 60, memory = "48MB"' } }),
  });
  const a = (await h.call('ctx')).json();
  assert.equal(a.name, 'ctx');
  assert.equal(String(a.version), '1');
  assert.equal(Number(a.memory), 48);
  assert.equal(a.client, 'table');
  assert.equal(a.identity, undefined);
  assert.equal(a.user, undefined);
  assert.ok(a.before > 30000 && a.before <= 60000, `${a.before} of 60000 ms left`);
  assert.ok(a.before - a.after >= 45, `${a.before} then ${a.after}`);
  const b = (await h.call('ctx', { headers: { Authorization: 'Bearer aaa.bbb.ccc' } })).json();
  assert.equal(b.user, undefined, 'never from a token that was not verified');
  assert.match(a.id, /^[0-9A-Za-z-]{16,}$/);
  assert.notEqual(a.id, b.id);
});

// ---- the table of results ----
const NUMERICAL = 'Your function response must have a numerical statusCode. You gave: ';
const BODY = 'Your function response must have a string or a stream body. You gave: ';
const results = [
  // [name, what is returned, status, body, header to check]
  ['string', '"hello"', 200, 'hello', { 'content-type': 'text/plain; charset=utf-8' }],
  ['empty-string', '""', 200, ''],
  ['ok', '{ statusCode = 200, body = "x" }', 200, 'x', { 'content-type': 'text/plain; charset=utf-8', 'content-length': '1' }],
  ['no-body', '{ statusCode = 200 }', 200, '', { 'content-length': '0' }],
  ['body-empty', '{ statusCode = 200, body = "" }', 200, '', { 'content-length': '0' }],
  ['body-null', '{ statusCode = 200, body = json.null }', 200, '', { 'content-length': '0' }],
  ['body-zero', '{ statusCode = 200, body = 0 }', 200, '', { 'content-length': '0' }],
  ['body-false', '{ statusCode = 200, body = false }', 200, '', { 'content-length': '0' }],
  ['no-content', '{ statusCode = 204 }', 204, ''],
  ['status-text', '{ statusCode = "201", body = "x" }', 201, 'x'],
  ['status-fraction', '{ statusCode = 200.5, body = "x" }', 200, 'x'],
  ['status-600', '{ statusCode = 600, body = "x" }', 600, 'x'],
  ['json-object', '{ statusCode = 200, body = json.encode({ a = 1 }) }', 200, '{"a":1}', { 'content-type': /^application\/json/ }],
  ['json-array', '{ statusCode = 200, body = "[1]" }', 200, '[1]', { 'content-type': /^application\/json/ }],
  ['json-string', '[["quoted"]]', 200, '"quoted"', { 'content-type': 'text/plain; charset=utf-8' }],
  ['json-half', '"{no end"', 200, '{no end', { 'content-type': 'text/plain; charset=utf-8' }],
  ['own-type', '{ statusCode = 200, headers = { ["content-TYPE"] = "text/csv" }, body = "{}" }', 200, '{}', { 'content-type': 'text/csv' }],
  ['base64', '{ statusCode = 200, body = "AP8KQQ==", isBase64Encoded = true }', 200, Buffer.from([0, 255, 10, 65])],
  ['base64-lines', '{ statusCode = 200, body = "AP8K\\nQQ==\\n", isBase64Encoded = true }', 200, Buffer.from([0, 255, 10, 65])],
  ['base64-url', '{ statusCode = 200, body = "-_8", isBase64Encoded = true }', 200, Buffer.from('-_8', 'base64')],
  ['base64-rest', '{ statusCode = 200, body = "AP9=AP8", isBase64Encoded = true }', 200, Buffer.from('AP9=AP8', 'base64')],
  ['headers-numbers', '{ statusCode = 200, headers = { ["X-A"] = 10 / 2, ["X-B"] = 0.5, ["X-C"] = 0/0, ["X-D"] = -1/0 }, body = "" }', 200, '', { 'x-a': '5', 'x-b': '0.5', 'x-c': 'NaN', 'x-d': '-Infinity' }],
  ['base64-bad', '{ statusCode = 200, body = "!!!", isBase64Encoded = true }', 200, ''],
  ['headers-kinds', '{ statusCode = 200, headers = { ["X-N"] = 5, ["X-B"] = true, ["X-L"] = { "a", "b" } }, body = "" }', 200, '',
    { 'x-n': '5', 'x-b': 'true', 'x-l': ['a', 'b'] }],
  ['multi', '{ statusCode = 200, headers = { ["X-A"] = "1", ["X-B"] = "1" }, multiValueHeaders = { ["x-a"] = { "2", "3" }, ["Set-Cookie"] = { "a=1", "b=2" } }, body = "" }', 200, '',
    { 'x-a': ['2', '3'], 'x-b': '1', 'set-cookie': ['a=1', 'b=2'] }],
  ['nothing', 'nil', 500, 'lambda response was undefined. check your function code again'],
  ['null', 'json.null', 500, /^no lambda response\. check your function code again/],
  ['number', '5', 500, `${NUMERICAL}undefined`],
  ['empty-table', '{}', 500, `${NUMERICAL}undefined`],
  ['only-body', '{ body = "x" }', 500, `${NUMERICAL}undefined`],
  ['status-word', '{ statusCode = "abc" }', 500, `${NUMERICAL}'abc'`],
  ['status-zero', '{ statusCode = 0 }', 500, `${NUMERICAL}0`],
  ['status-null', '{ statusCode = json.null }', 500, `${NUMERICAL}null`],
  ['status-nan', '{ statusCode = 0/0 }', 500, `${NUMERICAL}NaN`],
  ['status-infinity', '{ statusCode = 1/0 }', 500, 'Invalid status code: Infinity'],
  ['status-99', '{ statusCode = 99 }', 500, /./],
  ['status-1000', '{ statusCode = 1000 }', 500, /./],
  ['body-table', '{ statusCode = 200, body = { a = 1 } }', 500, `${BODY}{ a: 1 }`],
  ['body-number', '{ statusCode = 200, body = 42 }', 500, `${BODY}42`],
  ['header-misspelt', '{ statusCode = 200, header = { A = "1" }, body = "x" }', 500, 'Unknown member `header` of the function\'s response; did you mean `headers`?'],
  ['body-misspelt', '{ statusCode = 200, headers = {}, Body = "x" }', 500, 'did you mean `body`?'],
  ['member-more', '{ statusCode = 200, body = "x", etag = "y", metadata = {} }', 200, 'x'],
  ['body-list', '{ statusCode = 200, body = { "a" } }', 500, `${BODY}[ 'a' ]`],
];

// Answers that cannot be sent as they are: each is a 500 and nothing of it is on the wire.
const injections = {
  'value-crlf': '{ ["X-A"] = "1\\r\\nInjected: yes" }',
  'value-lf': '{ ["X-A"] = "1\\nInjected: yes" }',
  'value-nul': '{ ["X-A"] = "1\\0" }',
  'name-space': '{ ["bad name"] = "1" }',
  'name-empty': '{ [""] = "1" }',
  'name-crlf': '{ ["X\\r\\nInjected"] = "yes" }',
  'value-null': '{ ["X-U"] = json.null }',
  'value-table': '{ ["X-U"] = { { } } }',
};

test('results, row by row', async (t) => {
  const scripts = { fine: 'return function() return "fine" end' };
  for (const [name, expression] of results) scripts[name] = `return function() return ${expression} end`;
  for (const [name, headers] of Object.entries(injections)) {
    scripts[name] = `return function() return { statusCode = 200, headers = ${headers}, body = "x" } end`;
  }
  const h = await start(t, { files: deployment(scripts) });
  for (const [name, , status, body, headers = {}] of results) {
    await t.test(name, async () => {
      const res = await h.call(name);
      assert.equal(res.status, status, res.text);
      if (body instanceof RegExp) assert.match(res.text, body);
      else if (Buffer.isBuffer(body)) assert.deepEqual(res.body, body);
      else if (status === 500) assert.ok(res.text.includes(body) || res.json().errorMessage === body, res.text);
      else assert.equal(res.text, body);
      for (const [k, v] of Object.entries(headers)) {
        if (v instanceof RegExp) assert.match(res.header(k) ?? '', v);
        else assert.deepEqual(res.headers[k], [v].flat(), k);
      }
      assert.equal((await h.call('fine')).text, 'fine', 'the next request is served');
    });
  }
  for (const name of Object.keys(injections)) {
    await t.test(`header refused: ${name}`, async () => {
      const res = await h.call(name);
      assert.equal(res.status, 500, res.text);
      assert.equal(res.header('injected'), undefined);
      assert.equal((await h.call('fine')).text, 'fine');
    });
  }
});

test('X-Content-Type-Options on every answer', async (t) => {
  const h = await start(t, {
    files: deployment({ ok: 'return function() return "ok" end', typed: 'return function() return { statusCode = 200, headers = { ["Content-Type"] = "a/b" }, body = "" } end',
      bad: 'return function() end', raise: 'return function() error("x") end' }),
  });
  for (const [name, status] of [['ok', 200], ['typed', 200], ['bad', 500], ['raise', 502], ['missing', 404]]) {
    const res = await h.call(name);
    assert.equal(res.status, status);
    assert.deepEqual(res.headers['x-content-type-options'], ['nosniff'], name);
  }
});

test('a function cannot set framing headers', async (t) => {
  const h = await start(t, {
    files: deployment({
      len: 'return function() return { statusCode = 200, headers = { ["Content-Length"] = "1" }, body = "hello" } end',
      te: 'return function() return { statusCode = 200, headers = { ["Transfer-Encoding"] = "chunked" }, body = "hello" } end',
    }),
  });
  for (const name of ['len', 'te']) {
    const res = await h.call(name);
    if (res.status === 500) continue; // refused is right as well
    assert.equal(res.status, 200);
    assert.equal(res.text, 'hello');
    assert.deepEqual(res.headers['content-length'], ['5']);
    assert.equal(res.header('transfer-encoding'), undefined);
  }
});

const RAISERS = {
  text: 'return function() error("boom") end',
  table: 'return function() error({ code = 1 }) end',
  bug: 'return function() local x = nil; return x.y end',
  deep: 'local function f() error("deep") end\nreturn function() f() end',
  fine: 'return function() return "fine" end',
};

test('a handler that raises: 502, nothing of the inside in serve', async (t) => {
  const h = await start(t, { files: deployment(RAISERS) });
  for (const name of ['text', 'table', 'bug', 'deep']) {
    const res = await h.call(name);
    assert.equal(res.status, 502, name);
    const body = res.json();
    assert.deepEqual(Object.keys(body).sort(), ['errorMessage', 'errorType'], name);
    assert.equal(typeof body.errorType, 'string');
    assert.equal(typeof body.errorMessage, 'string');
    assert.doesNotMatch(res.text, /scripts|\.lua|:\d+:|luafn-test/, 'no path, no source line');
    assert.equal((await h.call('fine')).text, 'fine');
  }
  assert.match((await h.call('text')).json().errorMessage, /boom/);
});

test('a handler that raises: positions inside of messages, values that are no texts', async (t) => {
  const raisers = {
    wrapped: ['local _, e = pcall(function() error("deep") end) error("outer: " .. e .. " (" .. e .. ")")', 'outer: deep (deep)'],
    loaded: ['assert(load("x ="))', 'unexpected symbol near <eof>'],
    in_load: ['load("error(\\"inner\\")")()', 'inner'],
    time: ['error("at 12:30: no", 0)', 'at 12:30: no'],
    number: ['error(42)', '42'],
    nothing: ['error(nil)', '(the handler raised a nil value)'],
    shown: ['error(setmetatable({}, { __tostring = function() return "shown" end }))', 'shown'],
    odd: ['error(setmetatable({}, { __tostring = function() return {} end }))', '(the handler raised a table without a `message`)'],
    loops: ['error(setmetatable({}, { __tostring = function() while true do end end }))', '(the handler raised a table without a `message`)'],
    waits: ['error(setmetatable({}, { __tostring = function() sleep(1) return "x" end }))', '(the handler raised a table without a `message`)'],
    child: ['parallel(function() error("child") end, function() sleep(9) end)', 'child'],
  };
  const scripts = Object.fromEntries(Object.entries(raisers).map(([name, [text]]) => [name, `return function() ${text} end`]));
  const h = await start(t, { files: deployment(scripts) });
  for (const [name, [, message]] of Object.entries(raisers)) {
    for (let i = 0; i < 2; i++) {
      const res = await h.call(name);
      assert.equal(res.status, 502, name);
      assert.deepEqual(res.json(), { errorType: 'Error', errorMessage: message }, name);
    }
  }
});

test('a handler that raises: with a trace in dev', async (t) => {
  const h = await start(t, { files: deployment(RAISERS), command: 'dev' });
  const body = (await h.call('deep')).json();
  assert.match(JSON.stringify(body.trace), /deep\.lua:1/);
  assert.match(body.errorMessage, /deep/);
});

test('time limit: 504 that names the limit and the knob', async (t) => {
  const h = await start(t, {
    files: deployment({
      late: 'return function() sleep(30) return "late" end',
      fine: 'return function() return "fine" end',
    }, { fields: { late: 'timeout = 0.3' } }),
  });
  const t0 = performance.now();
  const res = await h.call('late');
  assert.equal(res.status, 504);
  assert.ok(performance.now() - t0 >= 280, 'not before its time');
  assert.match(res.text, /timeout/);
  assert.match(res.text, /0\.3/);
  assert.equal((await h.call('fine')).text, 'fine');
});

test('concurrency: beyond it requests wait, in step', async (t) => {
  const h = await start(t, {
    files: deployment({ one: 'local n = 0\nreturn function() n = n + 1 local mine = n sleep(0.05) return tostring(mine == n) end' },
      { fields: { one: 'concurrency = 1' } }),
  });
  const all = await Promise.all(Array.from({ length: 5 }, () => h.call('one')));
  assert.deepEqual(all.map((r) => `${r.status} ${r.text}`), Array(5).fill('200 true'));
});

test('modules: require beside the script and at the top; nothing outside', async (t) => {
  const h = await start(t, {
    files: deployment({
      near: 'local m = require "lib.near" return function() return m.name end',
      top: 'local m = require "lib.top" return function() return m.name end',
      same: 'return function() local a, b = require "json", require "lib.near" return tostring(a == json and b == require "lib.near") end',
      outside: `return function()
        local out = {}
        for _, name in ipairs { "../outside", "lib/../../outside", "/etc/passwd", "io2", "os2", "..outside", "lib.missing" } do
          out[#out + 1] = tostring(pcall(require, name))
        end
        return table.concat(out, " ")
      end`,
    }, { files: { 'scripts/lib/near.lua': 'return { name = "near" }', 'lib/top.lua': 'return { name = "top" }' } }),
  });
  assert.equal((await h.call('near')).text, 'near');
  assert.equal((await h.call('top')).text, 'top');
  assert.equal((await h.call('same')).text, 'true');
  assert.equal((await h.call('outside')).text, Array(7).fill('false').join(' '));
});

test('sandbox: what is there, and what is not', async (t) => {
  const absent = ['io.popen', 'io.lines', 'io.input', 'io.output', 'io.tmpfile', 'debug.debug', 'debug.getregistry', 'debug.getuservalue', 'debug.setlocal',
    'debug.setuservalue', 'debug.setcstacklimit', 'package.loadlib', 'package.searchers', 'package.searchpath', 'dofile', 'loadfile', 'os.execute', 'os.exit',
    'os.remove', 'os.rename', 'os.tmpname', 'os.setlocale', 'string.dump'];
  const present = ['string.format', 'table.concat', 'math.floor', 'utf8.char', 'coroutine.wrap', 'os.time', 'os.date', 'os.clock',
    'os.difftime', 'pcall', 'xpcall', 'error', 'assert', 'select', 'type', 'tostring', 'tonumber', 'next', 'pairs', 'ipairs',
    'rawget', 'rawset', 'rawequal', 'rawlen', 'setmetatable', 'getmetatable', 'print', 'load', 'require',
    'warn', 'collectgarbage', 'io.open', 'io.write', 'debug.traceback', 'debug.getinfo', 'package.loaded', 'package.path', 'os.getenv',
    'jwt.verify', 'jwt.verifier', 'jwt.require_scope', 'jwt.require_role', 'jwt.has_scope', 'jwt.claim_to_array',
    'jwt.remove_namespaces', 'jwt.token_from_header', 'jwt.sign', 'json.encode', 'json.decode', 'json.null', 'json.array',
    'fetch', 'sleep', 'log.info', 'env', 'crypto.sha256', 'crypto.random', 'crypto.uuid', 'crypto.hmac', 'crypto.equals',
    'time', 'url', 'base64', 'parallel', 'respond.json', 'respond.cookie', 'after_response', 'stream.sse'];
  const expression = (name) => `(function() local v = _G for k in (${lua(name)}):gmatch("[^.]+") do v = v and v[k] end return v end)()`;
  const h = await start(t, {
    files: deployment({
      has: `return function() return json.encode({ ${[...absent, ...present].map((n) => `[${lua(n)}] = ${expression(n)} ~= nil`).join(', ')} }) end`,
      bytecode: 'return function() return tostring(load("\\27Lua")) .. tostring(pcall(load, "return 1", "x", "b")) end',
      leak: 'return function() leaked = (leaked or 0) + 1 return tostring(leaked) end',
      write: 'return function() return tostring(pcall(function() string.format = nil end)) .. tostring(pcall(function() json.encode = 1 end)) end',
    }),
  });
  const has = (await h.call('has')).json();
  for (const name of absent) assert.equal(has[name], false, `${name} must not be there`);
  for (const name of present) assert.equal(has[name], true, `${name} must be there`);
  assert.match((await h.call('bytecode')).text, /^nil/);
  assert.match((await h.call('write')).text, /false$/, 'modules are read-only');
  assert.equal((await h.call('has')).status, 200);
});

test('environment: only what is granted', async (t) => {
  const h = await start(t, {
    files: deployment({
      granted: 'return function() return json.encode({ a = env.SECRET_A, b = env.SECRET_B, dot = env.FROM_FILE }) end',
      default: 'return function() return json.encode({ a = env.SECRET_A, dot = env.FROM_FILE }) end',
    }, { fields: { granted: 'env = { "SECRET_A", "FROM_*" }' }, files: { '.env': 'FROM_FILE=yes\n' } }),
    env: { SECRET_A: 'a', SECRET_B: 'b' },
  });
  assert.deepEqual((await h.call('granted')).json(), { a: 'a', dot: 'yes' });
  assert.deepEqual((await h.call('default')).json(), { dot: 'yes' }, 'serve: those in .env files');
});

test('numbers and arrays survive json', async (t) => {
  const h = await start(t, {
    files: deployment({ round: 'return function(event) return json.encode(json.decode(event.body)) end' }),
  });
  for (const text of ['[]', '{}', '[[],{}]', '9007199254740993', '-1', '0.5', '"\\u0000é"', '[null,true,false]', '{"a":{"b":[]}}']) {
    const res = await h.call('round', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: text });
    assert.equal(res.status, 200, text);
    if (text === '9007199254740993') assert.equal(res.text, text);
    else assert.deepEqual(res.json(), JSON.parse(text), text);
  }
});

// Members that are made when they are read are there for whoever looks at a table.
test('what a script decodes is taken wherever a table is', async (t) => {
  const scripts = {
    result: `return function() return json.decode('{"statusCode":201,"headers":{"X-A":"a"},"multiValueHeaders":{"X-L":["1","2"]},"body":"ok"}') end`,
    odd: `return function() return json.decode('{"statusCode":{"a":[1,2]}}') end`,
    raises: `return function() error(json.decode('{"message":"as told","name":"Told"}')) end`,
    logs: `return function() print(json.decode('{"a":[1.0,{}]}')) log.info("x", json.decode('{"b":[1],"c":"d"}')) return "ok" end`,
    options: `return function(event, context)
      local function d(value) return json.decode(json.encode(value)) end
      local said = {
        url.query(d { a = { "1", "2", "3" }, b = "x" }),
        jwt.has_scope(d { scope = { "a", "b" } }, "b"),
        #jwt.claim_to_array(d { "x", "y" }), rawlen(d { 1, 2 }), rawget(d { k = "v" }, "k"),
        json.encode(d { z = { 1 } }, d { sort_keys = true }),
        (kv.set("k", d { list = { 1, 2 } }, d { ttl = 60 })) ~= nil, json.encode(kv.get("k")),
        table.concat(d { "p", "q" }, "-"), select("#", table.unpack(d { 1, 2, 3 })),
        #jwt.mapping(d { lists = { "roles" } })({ roles = "a b" }).roles,
        type(jwt.verifier(d { issuer = "https://issuer.example/", audience = { "one", "two" }, algorithms = { "RS256" } })),
      }
      context.clientContext = d { custom = { n = 1 } }
      return json.encode(said)
    end`,
  };
  const h = await start(t, { files: deployment(scripts) });
  const res = await h.call('result');
  assert.deepEqual([res.status, res.text, res.headers['x-a'], res.headers['x-l']], [201, 'ok', ['a'], ['1', '2']]);
  assert.match((await h.call('odd')).text, /You gave: \{ a: \[ 1, 2 \] \}/);
  const raised = await h.call('raises');
  assert.deepEqual([raised.status, raised.json()], [502, { errorType: 'Told', errorMessage: 'as told' }]);
  assert.equal((await h.call('logs')).text, 'ok');
  const options = await h.call('options');
  assert.equal(options.status, 200, options.text);
  assert.deepEqual(options.json(), ['a=1&a=2&a=3&b=x', true, 2, 2, 'v', '{"z":[1]}', true, '{"list":[1,2]}', 'p-q', 3, 2, 'function']);
});

test('what nobody touched is written as it came', async (t) => {
  const h = await start(t, {
    files: deployment({
      echo: 'return function(event) return json.encode(json.decode(event.body)) end',
      one: 'return function(event) local v = json.decode(event.body) v.set = v.b return json.encode(v) end',
    }),
  });
  const post = async (name, body) => (await h.call(name, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body })).text;
  const text = '{"z":1.10,"b":"\\u00e9","a":[1.50,{"y":1E2}]}';
  assert.equal(await post('echo', text.replaceAll(',', ' ,\n\t')), text);
  assert.equal(await post('one', text), `${text.slice(0, -1)},"set":"é"}`);
  // Over each of the marks where a body is kept otherwise.
  for (const size of [16, 64, 256, 1024].map((k) => k * 1024 + 7)) {
    const long = `{"k":1.0,"list":[${'{"id":1.0,"name":"x"},'.repeat(size / 22)}1],"m":2.50}`;
    assert.ok(await post('echo', long) === long, `${size} bytes`);
  }
});

test('background: 202 at once, the work goes on', async (t) => {
  const end = await gate(t);
  const work = `return function() fetch(${lua(end.url)}) log.info("sent") return "ignored" end`;
  const h = await start(t, {
    files: deployment({ 'mail-background': work, flagged: work }, { fields: { 'mail-background': 'fetch = { "127.0.0.1" }', flagged: 'background = true, fetch = { "127.0.0.1" }' } }),
  });
  for (const name of ['mail-background', 'flagged']) {
    const res = await h.call(name);
    assert.equal(res.status, 202);
    assert.equal(res.text, '');
  }
  await end.asked(2);
  assert.doesNotMatch(h.stderr, /"sent"/);
  end.open();
  await eventually(() => h.stderr.match(/"sent"/g)?.length === 2, 5, 'their end');
});

test('print and log show tables as JSON, whatever is in them', async (t) => {
  const h = await start(t, {
    files: deployment({
      shows: `return function(event)
        print("list", { 1, { a = "x\\n" } }, json.null, setmetatable({}, { __tostring = function() return "itself" end }))
        print(event.queryStringParameters, { json.decode('{"b":[null]}') })
        log.info({ msg = true })
        local within = {} within.within = within
        print(within, { print })
        local wide = {} for i = 1, 1e5 do wide[i] = i end
        print(wide)
        return "ok"
      end`,
    }),
  });
  assert.equal((await h.call('shows', { suffix: '?q=1' })).text, 'ok');
  await h.says(/\[1,2,3,4[^\n]*\n/);
  const said = h.stderr.split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)).filter((line) => line.function === 'shows' && line.request_id !== undefined).map((line) => line.msg);
  assert.equal(said[0], 'list\t[1,{"a":"x\\n"}]\tnull\titself');
  assert.equal(said[1], '{"q":"1"}\t[{"b":[null]}]');
  assert.equal(said[2], '{"msg":true}');
  assert.match(said[3], /^\{"within":"\(cycle\)"\}\t\["function: 0x[0-9a-f]+"\]$/);
  assert.ok(said[4].startsWith('[1,2,3,') && said[4].length < 9000 && said[4].endsWith('...'));
});
