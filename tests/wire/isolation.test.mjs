// What one request or function does, others do not see.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const POISONS = [
  'string.format = nil', 'string.extra = 1', 'rawset(string, "format", 1)', 'setmetatable(string, {})', 'getmetatable("").__index = {}',
  'getmetatable("").__add = error', '_G.print = nil', 'rawset(_G, "print", 1)', 'setmetatable(_G, { __index = error })', 'leak = 1',
  'json.encode = error', 'env.WORD = 1', 'math.huge = 0', 'package.loaded.json = 1', 'getmetatable(json).__index = nil', 'table.insert(string, 1)',
  'next(json.null).x = 1', 'package.loaded.leak = 1', 'package.preload.leak = print', 'rawset(package.loaded, "leak", 1)', 'package.path = "/?"',
  'rawset(_G, "leak", 1)', 'rawset(string, "extra", 1)', 'select(2, pairs(string)).extra = 1', 'select(2, pairs(_G)).leak = 1', 'debug.setmetatable(_G, { __index = error })',
  'debug.setmetatable("", { __index = error })', 'debug.traceback = nil', 'io.write = nil', 'os.exit = error', 'error(debug.setupvalue(string.pack, 2, 1))', 'jwt.verify = function() return {} end', 'table.move({ 1 }, 1, 1, 1, string)', 'require("json").decode = nil',
];

async function cannotYield(h) {
  const res = await h.call('yields');
  assert.equal(res.status, 502);
  await eventually(() => h.stderr.includes('attempt to yield from outside a coroutine'), 5, 'the reason in the log');
}

test('L10 what a script overwrites, itself and others have as before', async (t) => {
  const state = `table.concat({ type(string.format), type(print), type(json.encode), tostring(leak), ("x"):rep(2), tostring(math.huge > 1),
    tostring(string.extra), tostring(env.WORD), type(jwt.verify), type(require("json").decode), tostring(rawequal(require "json", json)) }, " ")`;
  const h = await start(t, {
    files: deployment({
      poison: `return function()
        local refused = 0
        for i, text in ipairs { ${POISONS.map((p) => JSON.stringify(p)).join(', ')} } do
          local ok, why = pcall(assert(load(text)))
          if ok then return "not refused: " .. text end
        end
        return ${state}
      end`,
      clean: `return function() return ${state} end`,
    }),
  });
  const clean = (await h.call('clean')).text;
  assert.equal(clean, 'function function function nil xx true nil nil function function true');
  for (let i = 0; i < 2; i++) {
    assert.equal((await h.call('poison')).text, clean);
    assert.equal((await h.call('clean')).text, clean);
  }
});

test('what a script adds to libraries while it loads is its own function\'s alone', async (t) => {
  const see = 'tostring(string.trim) .. tostring(rawget(_G, "mine")) .. tostring(package.loaded.mine) .. tostring(table.mine) .. tostring(("x").trim)';
  const h = await start(t, {
    files: deployment({
      adds: `function string.trim() return "trimmed" end
        rawset(_G, "mine", 1) rawset(table, "mine", 2) package.loaded.mine = 3
        return function() return ("x"):trim() .. mine .. table.mine .. require("mine") end`,
      other: `return function() return ${see} end`,
    }, { fields: { adds: '' } }),
  });
  for (let i = 0; i < 2; i++) {
    assert.equal((await h.call('adds')).text, 'trimmed123');
    assert.equal((await h.call('other')).text, 'nilnilnilnilnil');
  }
});

test('L15 claims: exact values, plain data, fresh for each request', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({
      me: `return function(event, context)
        local c = context.identityContext.claims
        local out = json.encode({ big = c.big, none = c.none == json.null, gone = c.gone == nil, list = c.list, map = c.map,
          index = c.__index, gc = c.__gc, meta = getmetatable(c) == nil, mutated = c.mutated })
        c.mutated, c.sub, c.list = true, "root", nil
        return out
      end`,
    }, { fields: { me: 'auth = true' }, more: `auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" },` }),
  });
  await h.keys();
  const headers = issuer.bearer({ big: JSON.rawJSON('9007199254740993'), none: null, list: [], map: {}, __index: 'x', __gc: { __mode: 'k' } });
  for (let i = 0; i < 3; i++) {
    const res = await h.call('me', { headers });
    assert.equal(res.status, 200, res.text);
    assert.match(res.text, /"big":9007199254740993[,}]/);
    const { big, ...rest } = res.json();
    assert.deepEqual(rest, { none: true, gone: true, list: [], map: {}, index: 'x', gc: { __mode: 'k' }, meta: true });
  }
});

test('L16 a handler that yields, or keeps its context for later', async (t) => {
  const h = await start(t, {
    files: deployment({
      yields: 'return function() coroutine.yield(1) return "no" end',
      keeps: `local kept
        return function(event, context)
          if kept then
            local old = kept
            return json.encode({ id = old[2].awsRequestId ~= context.awsRequestId, left = type(old[2].getRemainingTimeInMillis()),
              path = old[1].path, header = old[1].headers["x-mark"] })
          end
          kept = { event, context }
          return "kept"
        end`,
      late: `local f
        return function() if f then return tostring(pcall(f)) end f = function() after_response(print) end return "kept" end`,
    }),
  });
  await cannotYield(h);
  assert.equal((await h.call('keeps', { headers: { 'X-Mark': 'first' } })).text, 'kept');
  for (let i = 0; i < 20; i++) {
    const res = await h.call('keeps', { headers: { 'X-Mark': `other ${i}` } });
    assert.ok(res.status === 502 || res.json().header !== `other ${i}`, `the old event is not the new one: ${res.text}`);
  }
  await cannotYield(h);
});
