// Raising an answer: a table with a numeric statusCode ends the handler from any depth, and is no fault.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const handler = (body) => `return function(event) ${body} end`;
const deep = 'local function f(n) if n == 0 then error { statusCode = 404, body = "none", headers = { ["X-A"] = "b" } } end f(n - 1) end ';

const ANSWERS = {
  plain: ['error { statusCode = 404, body = "none", headers = { ["X-A"] = "b" } }', 404, 'none'],
  deep: [`${deep} f(50)`, 404, 'none'],
  script_coroutine: [`${deep} local co = coroutine.wrap(function() sleep(0) f(3) end) co()`, 404, 'none'],
  parallel: [`${deep} parallel(function() sleep(0) f(1) end, function() sleep(10) end)`, 404, 'none'],
  caught_and_raised: [`${deep} local ok, e = pcall(f, 2) error(e)`, 404, 'none'],
  caught: [`${deep} local ok, e = pcall(f, 2) return { statusCode = 200, body = tostring(e.statusCode) }`, 200, '404'],
  decoded: ['error(json.decode([[{"statusCode":410,"body":"gone"}]]))', 410, 'gone'],
  float: ['error { statusCode = 418.0, body = "tea" }', 418, 'tea'],
  good: ['error { statusCode = 200, body = "fine" }', 200, 'fine'],
  closes: ['local c <close> = setmetatable({}, { __close = function() log.info("it was closed") end }) error { statusCode = 409, body = "x" }', 409, 'x'],
  afterwards: ['after_response(function() kv.set("after", "yes") end) error { statusCode = 409, body = "y" }', 409, 'y'],
};
// As a result each of these would be refused, or is no answer: a fault, which the log names.
const FAULTS = {
  text: ['error { statusCode = "404", body = "none", message = "m" }', 502, /"m"/],
  streams: ['error { statusCode = 200, body = function(w) w("x") end }', 502, /"errorMessage"/],
  metamethod: ['error(setmetatable({}, { __index = { statusCode = 404 } }))', 502, /"errorMessage"/],
  number: ['error(404)', 502, /404/],
};

test('a raised answer is the answer, from any depth; nothing is logged or counted as a fault', async (t) => {
  const scripts = Object.fromEntries(Object.entries({ ...ANSWERS, ...FAULTS }).map(([name, [body]]) => [name, handler(body)]));
  const look = handler('return { statusCode = 200, body = tostring(kv.get(event.queryStringParameters.key)) }');
  const fields = { look: 'kv = "shared"', afterwards: 'kv = "shared"' };
  const h = await start(t, { files: deployment({ ...scripts, look }, { fields }) });
  for (const [name, [, status, text]] of Object.entries(ANSWERS)) {
    const res = await h.call(name);
    assert.deepEqual([res.status, res.text], [status, text], name);
    if (text === 'none') assert.equal(res.header('x-a'), 'b', name);
  }
  await eventually(async () => (await h.call('look', { suffix: '?key=after' })).text === 'yes', 5, 'the work after the answer');
  await eventually(() => h.stderr.includes('it was closed'), 5, 'what was to be closed');
  assert.doesNotMatch(h.stderr, /handler raised/);
  for (const name of Object.keys(ANSWERS)) assert.match((await h.admin('metrics')).text, new RegExp(`function_errors_total\\{function="${name}"\\} 0\\n`), name);
  for (const [name, [, status, text]] of Object.entries(FAULTS)) {
    const res = await h.call(name);
    assert.equal(res.status, status, `${name}: ${res.text}`);
    assert.match(res.text, text, name);
  }
  const logged = () => (h.stderr.match(/"msg":"handler raised"/g) ?? []).length;
  await eventually(() => logged() >= Object.keys(FAULTS).length, 5, 'the faults are logged');
  assert.equal(logged(), Object.keys(FAULTS).length);
});

test('what is raised within a stream breaks it off, and what cannot be sent says why', async (t) => {
  const h = await start(t, { files: deployment({
    streams: handler('return { statusCode = 200, body = function(write) write("begun") error { statusCode = 404, body = "none" } end }'),
    odd: handler('error { statusCode = 200, body = { } }'),
  }) });
  await assert.rejects(h.call('streams'), 'it has no proper end');
  await eventually(() => h.stderr.includes('handler raised'), 5, 'the fault is logged');
  const odd = await h.call('odd');
  assert.equal(odd.status, 500);
  assert.match(odd.text, /body/);
});

test('behind a guard, in a background run and on a schedule it is an answer as well', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, { files: deployment({
    guarded: 'return jwt.require_auth(function() error { statusCode = 404, body = "none" } end)',
    later: handler('kv.set("ran", "yes") error { statusCode = 404, body = "none" }'),
    look: handler('return { statusCode = 200, body = tostring(kv.get("ran")) }'),
  }, { fields: { later: 'background = true, kv = "shared"', look: 'kv = "shared"' }, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },` }) });
  await h.keys();
  assert.equal((await h.call('guarded', { headers: issuer.bearer() })).status, 404);
  assert.equal((await h.call('guarded')).status, 401);
  assert.equal((await h.call('later', { method: 'POST', body: 'x' })).status, 202);
  await eventually(async () => (await h.call('look')).text === 'yes', 5, 'it has run');
  assert.doesNotMatch(h.stderr, /handler raised/);
});
