// kv over HTTP: values and their types, namespaces, workers, restarts, kill -9, damaged files.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, run, start } from '../lib/host.mjs';
import { CALL, call } from '../lib/kv.mjs';
import { Redis } from '../lib/redis.mjs';

// The same of either store: a file, and a server.
const stores = {
  'a file': async () => ({}),
  'a server': async (t) => ({ KV_URL: (await Redis.start(t)).url }),
};

function both(name, fn) {
  for (const [where, env] of Object.entries(stores)) {
    test(`${name}: ${where}`, async (t) => {
      const more = await env(t);
      await fn(t, (options) => start(t, { ...options, env: more }));
    });
  }
}

const file = (h) => path.join(h.dir, '.luafn', 'kv.mdb');

both('every call, and every type of value', async (t, begin) => {
  const h = await begin({ files: deployment({ call: CALL }) });
  const rows = [
    [['get', 'a'], [null]],
    [['set', 'a', 'text'], [true]],
    [['get', 'a'], ['text']],
    ...[1, -1.5, true, false, [], [1, [2]], {}, { a: { b: [] } }, '', '{"a":1}'].flatMap((value) => [
      [['set', 'v', value], [true]],
      [['get', 'v'], [value]],
    ]),
    [['incr', 'n'], [1]],
    [['incr', 'n', 41], [42]],
    [['incr', 'n', -50], [-8]],
    [['get', 'n'], [-8]],
    [['incr', 'a'], [null, 'the value is not an integer']],
    [['set', 'max', Number.MAX_SAFE_INTEGER], [true]],
    [['cas', 'c', null, { x: 1, y: 2 }], [true]],
    [['cas', 'c', null, 'again'], [false]],
    [['cas', 'c', { y: 2, x: 1 }, 'new'], [true]],
    [['cas', 'c', 'new', null], [true]],
    [['get', 'c'], [null]],
    [['delete', 'v'], [true]],
    [['delete', 'v'], [false]],
    [['list'], [['a', 'max', 'n']]],
    [['list', 'm'], [['max']]],
    [['list', 'x'], [[]]],
    [['list', '', { limit: 2 }], [['a', 'max'], 'max']],
    [['list', '', { limit: 2, after: 'max' }], [['n']]],
    [['set', 'a', 'x'.repeat(1024 * 1024)], [true]],
    [['set', 'a', 'x'.repeat(1024 * 1024 + 1)], [null, 'the value is larger than 1 MB']],
  ];
  for (const [request, expected] of rows) {
    assert.deepEqual(await call(h, ...request), expected, JSON.stringify(request).slice(0, 100));
  }
});

both('wrong use raises', async (t, begin) => {
  const h = await begin({ files: deployment({ call: CALL }) });
  const rows = [
    [['get', ''], /a key has 1 to 600 bytes/],
    [['get', 'x'.repeat(601)], /a key has 1 to 600 bytes/],
    [['get', 7], /string expected/],
    [['get'], /string expected/],
    [['set', 'a'], /a string or a JSON value expected/],
    [['set', 'a', 'b', { ttl: 0 }], /ttl is a number of seconds greater than 0/],
    [['set', 'a', 'b', { ttl: '1' }], /ttl is a number of seconds greater than 0/],
    [['set', 'a', 'b', { til: 1 }], /unknown option 'til'; ttl is known/],
    [['incr', 'a', 1.5], /integer/],
    [['list', '', { limit: 1001 }], /limit is 1 to 1000/],
    [['list', '', { after: 7 }], /after is a key/],
    [['list', '', { before: 'a' }], /unknown option 'before'; limit or after is known/],
  ];
  for (const [request, expected] of rows) {
    assert.match((await call(h, ...request)).raised ?? 'nothing', expected, JSON.stringify(request).slice(0, 100));
  }
  assert.deepEqual(await call(h, 'set', 'x'.repeat(600), 'b', { ttl: 1 }), [true]);
});

both('a value with a ttl is gone when it is over; a counter keeps its first end', async (t, begin) => {
  const h = await begin({ files: deployment({ call: CALL }) });
  await call(h, 'set', 'long', 'x', { ttl: 100 });
  await call(h, 'set', 'short', 'x', { ttl: 0.3 });
  for (let ttl = 0.3, n = 1; n === 1; ttl *= 2) { // where it was over before it was counted again, a longer one
    assert.ok(ttl < 100);
    await call(h, 'delete', 'n');
    await call(h, 'incr', 'n', 1, { ttl });
    [n] = await call(h, 'incr', 'n', 1, { ttl: 1000 });
    assert.ok(n === 1 || n === 2, String(n));
  }
  await eventually(async () => (await call(h, 'get', 'short'))[0] === null, 2, 'short is gone');
  await eventually(async () => (await call(h, 'get', 'n'))[0] === null, 20, 'n is gone');
  assert.deepEqual(await call(h, 'list'), [['long']]);
});

both('each function has a namespace, unless functions.lua names one for several', async (t, begin) => {
  const add = 'return function() return tostring(kv.incr("n")) end';
  const fields = { c: 'kv = "both"', d: 'kv = "both"' };
  const h = await begin({ files: deployment({ a: add, b: add, c: add, d: add }, { fields }) });
  const counts = [];
  for (const name of ['a', 'a', 'b', 'c', 'd']) counts.push((await h.call(name)).text);
  assert.deepEqual(counts, ['1', '2', '1', '1', '2']);
});

both('while a script loads, and in a callback of gsub: reading and writing', async (t, begin) => {
  const scripts = {
    top: 'local n = kv.incr("loads") return function() return n .. " " .. kv.get("loads") end',
    inner: `return function()
      local text = ("a"):gsub("a", function()
        return tostring(kv.get("none")) .. " " .. tostring(kv.set("a", "b"))
      end)
      return text .. " " .. tostring(kv.get("a"))
    end`,
  };
  const h = await begin({ files: deployment(scripts) });
  assert.equal((await h.call('top')).text, '1 1');
  assert.equal((await h.call('inner')).text, 'nil true b');
});

test('check has no store: kv raises there', async (t) => {
  const files = deployment({ top: 'kv.get("a") return function() end' }, { fields: { top: 'auth = "public"' } });
  const bad = await run(t, ['check'], { files });
  assert.equal(bad.code, 1);
  assert.match(bad.stderr, /scripts\/top\.lua:1: kv is not available here/);
  const good = await run(t, ['check'], { files: deployment({ top: 'return function() kv.get("a") end' }) });
  assert.equal(good.code, 0);
});

both('two workers: increments and comparisons are atomic', async (t, begin) => {
  const scripts = {
    add: 'return function() return tostring(kv.incr("n")) end',
    append: `return function(event)
      repeat
        local before = kv.get("list")
        local after = before and { table.unpack(before) } or {}
        after[#after + 1] = tonumber(event.queryStringParameters.i)
      until kv.cas("list", before, after)
      return json.encode(kv.get("list"))
    end`,
  };
  const fields = { append: 'kv = "list"' };
  const h = await begin({ files: deployment(scripts, { fields }), workers: 2 });
  const numbers = await Promise.all(Array.from({ length: 300 }, async () => Number((await h.call('add')).text)));
  assert.deepEqual(numbers.sort((a, b) => a - b), Array.from({ length: 300 }, (_, i) => i + 1));
  const all = Array.from({ length: 30 }, (_, i) => i);
  const lists = await Promise.all(all.map(async (i) => (await h.call('append', { suffix: `?i=${i}` })).json()));
  const last = lists.find((list) => list.length === 30);
  assert.deepEqual([...last].sort((a, b) => a - b), all);
});

// Writes 50 keys at once, from=N; and says which of 10000 are there.
const WRITER = `
return function(event)
  local from = tonumber(event.queryStringParameters.from)
  if from then
    local writes = {}
    for i = from, from + 49 do
      writes[#writes + 1] = function() assert(kv.set("k" .. i, { number = i })) end
    end
    parallel(table.unpack(writes))
    return "ok"
  end
  local there, after = json.array(), nil
  repeat
    local keys
    keys, after = kv.list("k", { after = after })
    for _, key in ipairs(keys) do
      assert("k" .. kv.get(key).number == key)
      there[#there + 1] = kv.get(key).number
    end
  until not after
  return json.encode(there)
end
`;

test('kill -9 in the middle of 10000 writes: what was acknowledged is there', async (t) => {
  const dir = folder(t, deployment({ writer: WRITER }, { fields: { writer: 'cpu = 30, timeout = 60' } }));
  for (const enough of [10, 80]) {
    fs.rmSync(path.join(dir, '.luafn'), { recursive: true, force: true });
    const h = await start(t, { dir, workers: 2 });
    const said = new Set();
    let next = 0;
    const client = async () => {
      while (next < 10000 && !h.ended) {
        const from = next;
        next += 50;
        const res = await h.call('writer', { suffix: `?from=${from}` }).catch(() => null);
        if (res?.status !== 200) return;
        for (let i = from; i < from + 50; i++) said.add(i);
        if (said.size >= enough * 50) h.kill('SIGKILL');
      }
    };
    const workers = h.workers();
    await Promise.all(Array.from({ length: 8 }, client));
    await h.exit;
    h.stop = async () => {}; // it was killed
    await eventually(() => workers.every((pid) => !fs.existsSync(`/proc/${pid}`)), 5, 'the workers are gone');
    assert.ok(said.size >= enough * 50 && said.size < 10000);
    const again = await start(t, { dir, workers: 2 });
    const there = new Set((await again.call('writer')).json());
    for (const i of said) assert.ok(there.has(i), `k${i} was acknowledged and is lost`);
    assert.doesNotMatch(again.stderr, /damaged/);
    await again.stop();
    again.stop = async () => {};
  }
});

both('a killed worker loses nothing and blocks nobody', async (t, begin) => {
  const h = await begin({ files: deployment({ add: 'return function() return tostring(kv.incr("n")) end' }), workers: 2 });
  let answered = 0;
  let sent = 0;
  const client = async () => {
    for (let i = 0; i < 60; i++) {
      sent += 1;
      const res = await h.call('add').catch(() => null);
      answered += res?.status === 200;
      if (sent === 100) process.kill(h.workers()[0], 'SIGKILL');
    }
  };
  await Promise.all(Array.from({ length: 6 }, client));
  const count = Number((await h.call('add')).text) - 1;
  assert.ok(answered <= count && count <= sent, `${answered} answered, ${count} counted, ${sent} sent`);
  assert.ok(answered > 100);
});

test('a restart keeps everything, a damaged file is set aside and said so', async (t) => {
  const dir = folder(t, deployment({ call: CALL }));
  const first = await start(t, { dir });
  await call(first, 'set', 'a', { b: [1] });
  await first.stop();
  const second = await start(t, { dir });
  assert.deepEqual(await call(second, 'get', 'a'), [{ b: [1] }]);
  assert.doesNotMatch(second.stderr, /damaged/);
  await second.stop();

  const bytes = fs.readFileSync(file(second));
  bytes.fill('?', 0, 8192);
  fs.writeFileSync(file(second), bytes);
  const third = await start(t, { dir, workers: 2 });
  const damaged = /"the file of kv is damaged: it was set aside as ([^,]+), and kv is empty"/;
  await third.says(damaged);
  const [, name] = damaged.exec(third.stderr);
  assert.deepEqual(fs.readFileSync(path.resolve(dir, name)), bytes);
  assert.match(path.basename(name), /^kv\.mdb\.corrupt-\d{8}T\d{6}Z$/);
  assert.deepEqual(await call(third, 'get', 'a'), [null]);
  assert.deepEqual(await call(third, 'set', 'a', 1), [true]);
  assert.deepEqual(await call(third, 'get', 'a'), [1]);
});

test('dev has it too', async (t) => {
  const h = await start(t, { files: deployment({ call: CALL }), command: 'dev' });
  assert.deepEqual(await call(h, 'incr', 'a'), [1]);
  assert.equal(fs.statSync(file(h)).mode & 0o777, 0o600);
});

// Root in a chroot may not have one either.
const alone = spawnSync('unshare', ['-m', 'true']).status === 0 ? false : 'no file system of its own can be had here';
test('a full disk is called that, and what is there stays', { skip: alone }, async (t) => {
  const h = await start(t, {
    files: {
      ...deployment({
        fill: `return function(event)
          if event.httpMethod == "GET" then return kv.get("k1") or "lost" end
          for i = 1, 100 do
            local ok, why = kv.set("k" .. i, string.rep("x", 20000))
            if not ok then return why end
          end
          return "there was room"
        end`,
      }),
      '.luafn/here': '',
    },
    under: ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs -o size=400k tmpfs .luafn && exec "$0" "$@"'],
  });
  assert.equal((await h.call('fill', { method: 'POST' })).text, 'no space is left on the disk');
  assert.equal((await h.call('fill')).text, 'x'.repeat(20000));
});
