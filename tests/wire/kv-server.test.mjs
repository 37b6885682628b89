// KV_URL: kv and rate limits on a server that several hosts share, and what happens without it.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { deployment, eventually, folder, run, start, write } from '../lib/host.mjs';
import { CALL, call } from '../lib/kv.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';

const files = () => deployment({ call: CALL });
const host = (t, url, options = {}) => start(t, { files: files(), ...options, env: { KV_URL: url, ...options.env } });

const OK = 'return function() return "ok" end';
const UNREACHABLE = [null, "the store's server cannot be reached"];

test('several hosts share what is there; a prefix or another database has its own', async (t) => {
  const redis = await Redis.start(t);
  const named = `redis://localhost:${redis.port}/3`; // which is ::1 first, where nobody listens
  const [a, b, other, third] = await Promise.all([redis.url, `${redis.url}/0`, `${redis.url}?prefix=shop`, named]
    .map((url) => host(t, url, url === named ? { args: ['--sandbox'] } : {})));
  assert.deepEqual(await call(a, 'set', 'k', { x: 1 }), [true]);
  assert.deepEqual(await call(b, 'get', 'k'), [{ x: 1 }]);
  for (const h of [other, third]) {
    assert.deepEqual(await call(h, 'get', 'k'), [null]);
    assert.deepEqual(await call(h, 'list'), [[]]);
    assert.deepEqual(await call(h, 'set', 'k', h.port), [true]);
  }
  assert.deepEqual(await call(a, 'get', 'k'), [{ x: 1 }]);
  assert.deepEqual((await redis.ask('keys', '*')).split('\n').sort(),
    ['luafn:kv:{call}', 'luafn:kv:{call}:k', 'shop:kv:{call}', 'shop:kv:{call}:k']);
});

test('with a password, with a user, and with a wrong one', async (t) => {
  const redis = await Redis.start(t, ['--requirepass', 'p@ss/word', '--user', 'shop', 'on', '>geheim', '~*', '+@all']);
  const at = `127.0.0.1:${redis.port}`;
  for (const login of [':p%40ss%2Fword', 'shop:geheim', 'default:p@ss%2Fword']) {
    assert.deepEqual(await call(await host(t, `redis://${login}@${at}`), 'incr', 'n', 0), [0], login);
  }
  for (const login of [':wrong@', 'shop:wrong@', '']) {
    const h = await host(t, `redis://${login}${at}/1`);
    assert.deepEqual(await call(h, 'get', 'n'), UNREACHABLE, login);
    await eventually(() => new RegExp(`the store at ${at} cannot be reached: (WRONGPASS|NOAUTH)`).test(h.stderr), 5, 'the log says so');
    assert.doesNotMatch(h.stderr, /wrong@|:wrong/);
  }
});

test('numbers of 64 bits, and keys and values of any bytes', async (t) => {
  const redis = await Redis.start(t);
  const script = `return function()
    local max = math.maxinteger
    assert(kv.set("n", max - 1))
    assert(kv.incr("n") == max and kv.get("n") == max)
    local none, why = kv.incr("n")
    assert(none == nil and why == "the number would not fit into 64 bits", why)
    assert(kv.cas("n", max, math.mininteger) and kv.get("n") == math.mininteger)
    assert(kv.set("f", 1.5) and kv.get("f") == 1.5)
    assert(setmetatable({}, { __index = function(_, key) return kv.get(key) end }).f == 1.5)
    local ok, err = pcall(table.concat, setmetatable({}, { __index = function() return kv.get("f") end }), "", 1, 1)
    assert(not ok and err:find("kv cannot wait here"), err)
    assert(kv.set("digits", "12") and kv.get("digits") == "12" and not kv.cas("digits", 12, 13))
    assert(kv.incr("digits") == nil)
    local all = {}
    for i = 0, 255 do all[#all + 1] = string.char(i) end
    local text = table.concat(all)
    assert(kv.set("a}:{%b\\r\\n", text) and kv.get("a}:{%b\\r\\n") == text)
    assert(kv.cas("a}:{%b\\r\\n", text, "t") and kv.get("a}:{%b\\r\\n") == "t")
    local keys, after, seen = nil, nil, {}
    for i = 1, 25 do assert(kv.set(("list/%02d"):format(i), i, i % 5 == 0 and { ttl = 0.001 } or nil)) end
    sleep(0.01)
    repeat
      keys, after = kv.list("list/", { limit = 7, after = after })
      for _, key in ipairs(keys) do seen[#seen + 1] = key:sub(6) end
    until not after
    return table.concat(seen, " ")
  end`;
  const fields = { one: 'kv = "a{b"', two: 'kv = "a}:b"' };
  const h = await start(t, { files: deployment({ one: script, two: script }, { fields }), env: { KV_URL: redis.url } });
  for (const name of ['one', 'two']) {
    assert.equal((await h.call(name)).text, '01 02 03 04 06 07 08 09 11 12 13 14 16 17 18 19 21 22 23 24');
  }
});

test('keys that expire leave nothing behind', async (t) => {
  const redis = await Redis.start(t);
  const h = await host(t, redis.url);
  for (let i = 0; i < 20; i++) await call(h, 'set', `short${i}`, i, { ttl: 0.01 });
  await eventually(async () => {
    for (let i = 0; i < 3; i++) await call(h, 'set', `long${i}`, i, { ttl: 100 });
    return await redis.ask('zcard', 'luafn:kv:{call}') === '3';
  }, 5, 'later writes remove them');
  assert.equal(await redis.ask('zcard', 'luafn:kv:{call}!'), '3');
  for (let i = 0; i < 3; i++) await call(h, 'delete', `long${i}`);
  await eventually(async () => await redis.ask('dbsize') === '0', 5, 'nothing is left');
});

test('what the server refuses is said, and is in the log', async (t) => {
  const redis = await Redis.start(t, ['--maxmemory', '4mb', '--maxmemory-policy', 'noeviction']);
  const h = await host(t, redis.url);
  let got;
  for (let i = 0; i < 8 && got?.[0] !== null; i++) got = await call(h, 'set', `k${i}`, 'x'.repeat(1000000));
  assert.deepEqual(got, [null, 'the store is full']);
  assert.deepEqual(await call(h, 'get', 'none'), [null]);
  await redis.ask('flushall');
  await redis.ask('lpush', 'luafn:kv:{call}:list', 'x');
  await redis.ask('set', 'luafn:kv:{call}:text', 'x');
  for (const key of ['list', 'text']) assert.deepEqual(await call(h, 'get', key), [null, 'the value there is of another program']);
  await redis.ask('config', 'set', 'min-replicas-to-write', '1');
  assert.deepEqual(await call(h, 'set', 'a', 'b'), [null, "the store's server refuses this"]);
  await eventually(() => /the store at 127\.0\.0\.1:\d+ refuses: .*NOREPLICAS/.test(h.stderr), 5, 'the log says so');
});

test('a server that goes and comes: told once, and taken up again', async (t) => {
  const redis = await Redis.start(t);
  const h = await host(t, redis.url);
  assert.deepEqual(await call(h, 'incr', 'n'), [1]);
  await redis.stop();
  const failures = async () => Number(/^luafn_store_failures_total (\d+)$/m.exec((await h.admin('metrics')).text)[1]);
  assert.equal(await failures(), 0);
  for (let i = 0; i < 5; i++) assert.deepEqual(await call(h, 'incr', 'n'), UNREACHABLE);
  await eventually(async () => await failures() === 5, 5, 'they are counted');
  await eventually(() => /cannot be reached/.test(h.stderr), 5, 'the log says so');
  await redis.begin();
  await eventually(async () => JSON.stringify(await call(h, 'get', 'n')) === '[null]', 5, 'it is back, and empty');
  assert.deepEqual(await call(h, 'incr', 'n'), [1]);
  await eventually(() => /answers again/.test(h.stderr), 5, 'the log says so');
  // One that closes what is silent is no fault.
  await redis.ask('client', 'kill', 'type', 'normal');
  assert.deepEqual(await call(h, 'incr', 'n'), [2]);
  assert.equal(h.stderr.match(/cannot be reached/g).length, 1);
});

test('a server that becomes a replica is left, and asked again', async (t) => {
  const redis = await Redis.start(t);
  const h = await host(t, redis.url);
  assert.deepEqual(await call(h, 'incr', 'n'), [1]);
  await redis.ask('replicaof', '127.0.0.1', '1');
  assert.deepEqual(await call(h, 'incr', 'n'), UNREACHABLE);
  await eventually(() => /cannot be reached: READONLY/.test(h.stderr), 5, 'the log says so');
  await redis.ask('replicaof', 'no', 'one');
  await eventually(async () => (await call(h, 'incr', 'n'))[0] > 1, 5, 'it takes writes again');
});

test('a server that hangs: an answer after two seconds, and others are served meanwhile', async (t) => {
  const redis = await Redis.start(t);
  const scripts = { call: CALL, hello: 'return function() return "hello" end' };
  const h = await start(t, { files: deployment(scripts), env: { KV_URL: redis.url } });
  assert.deepEqual(await call(h, 'incr', 'n'), [1]);
  const LOST = [null, "the connection to the store's server was lost: it may have been done"];
  // Where the machine stands still for two seconds, nobody is served within them: then once more.
  for (let served = false, round = 0; !served; round++) {
    assert.ok(round < 5, 'others wait for the server, too');
    redis.process.kill('SIGSTOP');
    const t0 = performance.now();
    let ended = 0;
    const hung = Promise.all(Array.from({ length: 50 }, () => call(h, 'incr', 'n').then((r) => { ended += 1; return r; })));
    assert.equal((await h.call('hello')).text, 'hello');
    served = ended === 0;
    const results = await hung;
    for (const result of results) assert.ok([LOST[1], UNREACHABLE[1]].includes(result[1])); // what came too late
    assert.ok(results.some((result) => result[1] === LOST[1]));
    assert.ok(performance.now() - t0 > 1900, 'not before its time');
    redis.process.kill('SIGCONT');
    await eventually(async () => (await call(h, 'incr', 'n'))[0] > 1, 5, 'it is back');
  }
});

// Another way to that port, which can be cut. What goes over it comes in pieces.
async function line(t, port) {
  const ends = new Set();
  const server = net.createServer((near) => {
    const far = net.connect(port, '127.0.0.1');
    const cut = () => { near.destroy(); far.destroy(); ends.delete(cut); };
    ends.add(cut);
    for (const [from, to] of [[near, far], [far, near]]) {
      from.on('error', cut).on('close', cut).on('data', (bytes) => {
        const half = Math.floor(bytes.length / 2);
        to.write(bytes.subarray(0, half));
        from.pause();
        setImmediate(() => { if (!to.destroyed) to.write(bytes.subarray(half)); from.resume(); });
      });
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const cut = () => ends.forEach((end) => end());
  later(t, () => { server.close(); cut(); });
  return { url: `redis://127.0.0.1:${server.address().port}`, cut };
}

test('a line that is cut again and again: nothing is counted twice, nothing acknowledged is lost', async (t) => {
  const redis = await Redis.start(t);
  const { url, cut } = await line(t, redis.port);
  const scripts = {
    add: 'return function() local n, why = kv.incr("n") return n and tostring(n) or { statusCode = 503, body = why } end',
    mix: `return function()
      parallel(function() kv.get("n") end, function() kv.set("s" .. math.random(9), { 1 }, { ttl = 0.05 }) end,
        function() kv.list("s") end, function() kv.cas("x", nil, 1) end, function() kv.delete("x") end)
      return "ok"
    end`,
    limited: OK,
  };
  const h = await start(t, { files: deployment(scripts, { fields: { limited: 'rate_limit = { limit = 1000000, window = 60 }' } }), env: { KV_URL: url }, workers: 2 });
  const seen = new Set();
  let sent = 0;
  let others = 0;
  let cuts = 0;
  const client = async (name) => {
    while (cuts < 20) {
      sent += name === 'add';
      const res = await h.call(name);
      if (name !== 'add') {
        assert.equal(res.status, 200, res.text);
        others += 1;
      } else if (res.status === 200) {
        assert.ok(!seen.has(res.text), `${res.text} came twice`);
        seen.add(res.text);
      }
    }
  };
  const clients = Array.from({ length: 12 }, (_, i) => client(['add', 'mix', 'limited'][i % 3]));
  for (; cuts < 20; cuts++) {
    const from = seen.size;
    await eventually(() => seen.size > from + 3, 10, 'numbers come');
    if (cuts % 5 === 0) h.kill('SIGHUP');
    cut();
  }
  await Promise.all(clients);
  const count = Number(await redis.ask('get', 'luafn:kv:{add}:n'));
  assert.ok(seen.size <= count && count <= sent, `${seen.size} acknowledged, ${count} counted, ${sent} sent`);
  assert.ok(others > 40);
});

// A server that says these, one after the other, for each piece that it gets.
async function liar(t, answers) {
  const server = net.createServer((socket) => {
    let said = 0;
    socket.on('error', () => {});
    socket.on('data', () => socket.write(answers[Math.min(said++, answers.length - 1)]));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => server.close());
  return `redis://127.0.0.1:${server.address().port}`;
}

test('a server that talks nonsense, at once or after the greeting', async (t) => {
  const nonsense = ['HTTP/1.1 400 Bad Request\r\n\r\n', '+OK\r\n+OK\r\n+OK\r\n', '*3000000000\r\n', '$-7\r\n', ':x\r\n',
    '-ERR no\r\n', '*-2\r\n', '$9999999999999\r\n', '*3\r\n:1\r\n$1\r\na\r\n*1\r\n:1\r\n', '*3\r\n$1\r\n1\r\n:1\r\n:1\r\n',
    '*3\r\n:1\r\n:-1\r\n:1\r\n', `*3\r\n:1\r\n$0\r\n\r\n*1\r\n$601\r\n${'x'.repeat(601)}\r\n`, '$0\r\n\r\n', '$1\r\nx\r\n', '*0\r\n'];
  const scripts = { call: CALL, limited: 'return function() return "ok" end' };
  const some = deployment(scripts, { fields: { limited: 'rate_limit = { limit = 3, window = 60 }' } });
  const hear = async (answer, answers) => {
    const h = await start(t, { files: some, env: { KV_URL: await liar(t, answers) } });
    const calls = [['get', 'a'], ['incr', 'a'], ['list', ''], ['set', 'a', 'b'], ['cas', 'a', null, 'b']];
    for (const [name, ...args] of calls) {
      const [value, why] = await call(h, name, ...args);
      if (answer.startsWith('+OK') && answers.length > 1) continue; // the next one's is a reply to nothing
      assert.equal(value, null, `${name} ${answer}`);
      assert.match(why, /^the (store|connection|value)/, answer);
    }
    assert.equal((await h.call('limited')).status, 200, answer);
    await h.stop();
  };
  const rest = [...nonsense]; // four at a time: what is half an answer is waited for
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let answer; (answer = rest.shift()) !== undefined;) await Promise.all([hear(answer, [answer]), hear(answer, ['+PONG\r\n', answer])]);
  }));
});

test('rate limits count for all hosts: 100 of 400 pass; without the server each counts for itself', async (t) => {
  const redis = await Redis.start(t);
  const limited = deployment({ ok: OK }, { fields: { ok: 'rate_limit = { limit = 100, window = 60 }' } });
  const hosts = await Promise.all([1, 2].map(() => start(t, { files: limited, env: { KV_URL: redis.url }, workers: 2 })));
  const answers = [];
  await Promise.all(Array.from({ length: 16 }, async (_, i) => {
    for (let n = 0; n < 25; n++) answers.push(await hosts[(i + n) % 2].call('ok'));
  }));
  const passed = answers.filter((r) => r.status === 200);
  assert.equal(passed.length, 100);
  assert.deepEqual(passed.map((r) => Number(r.header('ratelimit-remaining'))).sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
  for (const r of answers.filter((x) => x.status !== 200)) {
    assert.equal(r.status, 429);
    assert.ok(Number(r.header('retry-after')) > 0 && Number(r.header('retry-after')) <= 60);
  }
  await redis.stop();
  const [h] = hosts;
  let here = 0;
  for (let i = 0; i < 110; i++) here += (await h.call('ok')).status === 200;
  assert.equal(here, 100);
});

test('a client that leaves while its request is counted', async (t) => {
  const redis = await Redis.start(t);
  const limited = deployment({ ok: OK, open: OK }, { fields: { ok: 'rate_limit = { limit = 100, window = 60 }' } });
  const h = await start(t, { files: limited, env: { KV_URL: redis.url } });
  assert.equal((await h.call('ok')).header('ratelimit-remaining'), '99');
  redis.process.kill('SIGSTOP');
  const wire = await h.connect();
  wire.send('GET /.netlify/functions/ok HTTP/1.1\r\nHost: a\r\n\r\n');
  await h.call('open'); // it came later, so the first one has been read
  wire.close();
  write(h.dir, { 'scripts/ok.lua': 'return function() return "new" end' });
  h.kill('SIGHUP');
  await eventually(() => /"function":"ok","generation":2/.test(h.stderr), 5, 'the new generation');
  redis.process.kill('SIGCONT');
  await eventually(async () => (await h.call('ok')).text === 'new', 5, 'it serves');
});

test('what KV_URL may be, and who sees it', async (t) => {
  const wrong = [
    ['rediss://geheim:x@h?ca=missing.pem', /KV_URL: ca=\/.*\/missing\.pem: .*No such file or directory: a file of certificates in PEM is expected/],
    ['rediss://geheim:x@h?ca=functions.lua', /KV_URL: ca=\/.*\/functions\.lua: .*: a file of certificates in PEM is expected/],
    ['redis+sentinel://geheim:x@h', /KV_URL: the path is the name that Sentinel has for the primary/],
    ['http://h', /KV_URL: redis:\/\/\[\[user\]:password@\]host\[:port\]\[\/database\] is expected/],
    ['redis://', /KV_URL: host or host:port is expected/],
    ['redis://h:port', /KV_URL: host or host:port is expected/],
    ['redis://geheim@h', /KV_URL: before the @ stands user:password/],
    ['redis://h/shop', /KV_URL: the path is the number of a database/],
    ['redis://h?db=1', /KV_URL: the query is prefix=TEXT/],
  ];
  for (const [url, text] of wrong) {
    const { code, stderr } = await run(t, ['check'], { files: files(), env: { KV_URL: url } });
    assert.equal(code, 1, url);
    assert.match(stderr, text, url);
    assert.doesNotMatch(stderr, /geheim/);
  }
  const good = await run(t, ['check'], { files: files(), env: { KV_URL: 'redis://127.0.0.1:1' } });
  assert.equal(good.code, 0, good.stderr);
  const SEES = 'return function() return tostring(env.KV_URL) end';
  const redis = await Redis.start(t);
  const seen = deployment({ no: SEES, yes: SEES }, { fields: { yes: 'env = { "KV_URL" }' }, files: { '.env': `KV_URL=${redis.url}` } });
  for (const command of ['serve', 'dev']) {
    const h = await start(t, { command, files: seen });
    assert.equal((await h.call('no')).text, 'nil', command);
    assert.equal((await h.call('yes')).text, redis.url, command);
  }
});

test('invoke uses the server, the tests of functions do not; a changed KV_URL waits for a restart', async (t) => {
  const redis = await Redis.start(t);
  const add = 'return function() return tostring(kv.incr("n")) end';
  const TEST = 'test("counts", function(t) t.equal(t.invoke("add").body, "1") end)';
  const dir = folder(t, deployment({ add }, { files: { 'scripts/add_test.lua': TEST, '.env': `KV_URL=${redis.url}\n` } }));
  for (const n of ['1', '2']) assert.equal((await run(t, ['invoke', 'add'], { dir })).stdout.trim(), n);
  const tested = await run(t, ['test'], { dir });
  assert.equal(tested.code, 0, tested.stdout + tested.stderr);
  const h = await start(t, { dir });
  assert.equal((await h.call('add')).text, '3');
  write(dir, { '.env': 'KV_URL=redis://127.0.0.1:1\n' });
  h.kill('SIGHUP');
  await eventually(() => h.stderr.includes('KV_URL has changed: a restart takes it up'), 5, 'the log says so');
  assert.equal((await h.call('add')).text, '4');
});
