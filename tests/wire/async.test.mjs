// Waiting without blocking: sleep, fetch, parallel, after_response.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { gate } from '../lib/upstream.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

// An upstream on loopback: /echo answers with what it got, /never does not, /status?code=N.
async function upstream(t) {
  const seen = [];
  const server = http.createServer(async (req, res) => {
    const url = new URL(req.url, 'http://x');
    let body = '';
    for await (const d of req) body += d;
    seen.push({ method: req.method, path: url.pathname, headers: req.headers, body });
    if (url.pathname === '/never') return undefined;
    if (url.pathname === '/close') return res.destroy();
    if (url.pathname === '/redirect') return res.writeHead(302, { Location: '/echo' }).end();
    if (url.pathname === '/text') return res.end('not json');
    res.writeHead(Number(url.searchParams.get('code') ?? 200), { 'Content-Type': 'application/json', 'X-Up': 'yes' });
    return res.end(JSON.stringify({ method: req.method, path: url.pathname, body, type: req.headers['content-type'] }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const { port } = server.address();
  return { url: `http://127.0.0.1:${port}`, port, seen };
}

const LOOPBACK = 'fetch = { "127.0.0.1" }';
const JSON_OF = (expression) => `return function(event) return json.encode(${expression}) end`;

test('200 requests that sleep at once: each waits for all the others', async (t) => {
  const script = 'return function() kv.incr("in") while kv.get("in") < 200 do sleep(0.05) end return "rested" end';
  const h = await start(t, { files: deployment({ nap: script }, { fields: { nap: 'concurrency = 256, timeout = 60' } }) });
  const wires = await Promise.all(Array.from({ length: 200 }, () => Wire.connect(h.address, h.port)));
  for (const wire of wires) wire.send(requestText({ path: '/.netlify/functions/nap', close: false }));
  const all = await Promise.all(wires.map((w) => w.response()));
  for (const wire of wires) wire.close();
  assert.ok(all.every((r) => r.status === 200 && r.text === 'rested'));
});

test('who waits a quarter of a million times needs no more memory for it', async (t) => {
  const h = await start(t, {
    files: deployment({ waits: 'return function() for _ = 1, 250000 do sleep(0) end return "rested" end' }, { fields: { waits: 'memory = "2MB", cpu = 60, timeout = 600' } }),
  });
  assert.equal((await h.call('waits')).text, 'rested');
});

test('sleep: at the top level, in coroutines, and bad arguments', async (t) => {
  const h = await start(t, {
    files: deployment({
      own: `return function()
        local co = coroutine.wrap(function() for i = 1, 3 do sleep(0.02) coroutine.yield(i) end end)
        return tostring(co() + co() + co())
      end`,
      caught: 'return function() local ok = pcall(function() sleep(0.01) error("x") end) return tostring(ok) end',
      meta: 'return function() local t = setmetatable({}, { __index = function(_, k) sleep(0.01) return k end }) return t.hello end',
      bad: 'return function() return tostring(pcall(sleep, "x")) .. tostring(pcall(sleep, -1)) .. tostring(pcall(sleep, 0/0)) end',
      zero: 'return function() sleep(0) return "ok" end',
    }),
  });
  assert.equal((await h.call('own')).text, '6');
  assert.equal((await h.call('caught')).text, 'false');
  assert.equal((await h.call('meta')).text, 'hello', 'within a metamethod, too');
  assert.match((await h.call('bad')).text, /^false/);
  assert.equal((await h.call('zero')).text, 'ok');
});

test('fetch: methods, headers, body, status, json', async (t) => {
  const up = await upstream(t);
  const U = lua(up.url);
  const h = await start(t, {
    files: deployment({
      get: `return function() local r = fetch(${U} .. "/echo") return json.encode({ status = r.status, ok = r.ok, up = r.headers["x-up"], body = r:json() }) end`,
      post: `return function() local r = fetch(${U} .. "/echo", { method = "POST", headers = { ["Content-Type"] = "text/x" }, body = "hi" }) return r:text() end`,
      code: `return function(e) local r = fetch(${U} .. "/status?code=" .. e.queryStringParameters.code) return json.encode({ r.status, r.ok }) end`,
      redirect: `return function() return fetch(${U} .. "/redirect"):json().path end`,
      close: `return function() local ok, err = pcall(fetch, ${U} .. "/close") return json.encode({ ok = ok, err = tostring(err) }) end`,
      raise: `return function() return fetch(${U} .. "/close"):text() end`,
      notjson: `return function() local r = fetch(${U} .. "/text") local ok = pcall(r.json, r) return r:text() .. tostring(ok) end`,
      late: `return function() local ok = pcall(fetch, ${U} .. "/never", { timeout = 0.2 }) return tostring(ok) end`,
    }, { fields: Object.fromEntries(['get', 'post', 'code', 'redirect', 'close', 'raise', 'notjson', 'late'].map((n) => [n, LOOPBACK])) }),
  });
  assert.deepEqual((await h.call('get')).json(), { status: 200, ok: true, up: 'yes', body: { method: 'GET', path: '/echo', body: '' } });
  assert.deepEqual((await h.call('post')).json(), { method: 'POST', path: '/echo', body: 'hi', type: 'text/x' });
  for (const code of [200, 201, 404, 500]) {
    assert.deepEqual((await h.call('code', { suffix: `?code=${code}` })).json(), [code, code < 300]);
  }
  assert.equal((await h.call('redirect')).text, '/echo');
  assert.equal((await h.call('close')).json().ok, false);
  assert.equal((await h.call('raise')).status, 502);
  assert.equal((await h.call('notjson')).text, 'not jsonfalse');
  assert.equal((await h.call('late')).text, 'false');
});

test('fetch: loopback only where it is listed', async (t) => {
  const up = await upstream(t);
  const script = `return function() local ok, err = pcall(fetch, ${lua(up.url)} .. "/echo") return json.encode({ ok = ok }) end`;
  const h = await start(t, { files: deployment({ listed: script, not: script, other: script }, { fields: { listed: LOOPBACK, other: 'fetch = { "api.example.com" }' } }) });
  assert.equal((await h.call('listed')).json().ok, true);
  assert.equal(up.seen.length, 1);
  assert.equal((await h.call('not')).json().ok, false);
  assert.equal((await h.call('other')).json().ok, false);
  assert.equal(up.seen.length, 1, 'nothing was sent');
});

test('fetch does not block the host', async (t) => {
  const up = await gate(t);
  const h = await start(t, {
    files: deployment({ wait: `return function() return fetch(${lua(up.url)}):text() end`, hello: 'return function() return "hello" end' },
      { fields: { wait: `${LOOPBACK}, concurrency = 20, timeout = 60` } }),
  });
  let answered = 0;
  const slow = Promise.all(Array.from({ length: 20 }, () => h.call('wait').then((r) => { answered += 1; return r.status; })));
  await up.asked(20); // all at the same time
  assert.equal((await h.call('hello')).text, 'hello');
  assert.equal(answered, 0, 'before those that wait');
  up.open();
  assert.deepEqual(await slow, Array(20).fill(200));
});

test('parallel: all begin before one ends, results in order, a fault is raised', async (t) => {
  const up = await upstream(t);
  const U = lua(up.url);
  const h = await start(t, {
    files: deployment({
      both: `return function()
        local seen = json.array {}
        local function see(name) seen[#seen + 1] = name end
        local a, b, c = parallel(function() see("a in") sleep(0.02) see("a out") return "a" end,
          function() see("b in") sleep(0.01) see("b out") return "b" end,
          function() see("c in") local status = fetch(${U} .. "/echo").status see("c out") return status end)
        return json.encode({ a, b, c, seen })
      end`,
      fault: 'return function() local ok, err = pcall(parallel, function() sleep(0.05) end, function() error("boom", 0) end) return tostring(ok) .. tostring(err) end',
      nested: 'return function() local a = parallel(function() local x, y = parallel(function() sleep(0.01) return 1 end, function() return 2 end) return x + y end) return tostring(a) end',
      none: 'return function() parallel() return "ok" end',
      several: `return function()
        local a, b, c, d = parallel(function() return "a", "b" end, function() end, function() sleep(0.01) return 1, 2 end)
        return table.concat({ tostring(a), tostring(b), tostring(c), tostring(d) }, " ")
      end`,
    }, { fields: { both: LOOPBACK } }),
  });
  const [a, b, c, seen] = (await h.call('both')).json();
  assert.deepEqual([a, b, c], ['a', 'b', 200]);
  assert.deepEqual(seen.slice(0, 3), ['a in', 'b in', 'c in']);
  assert.deepEqual(seen.slice(3).sort(), ['a out', 'b out', 'c out']);
  assert.match((await h.call('fault')).text, /^false.*boom/);
  assert.equal((await h.call('nested')).text, '3');
  assert.equal((await h.call('none')).text, 'ok');
  assert.equal((await h.call('several')).text, 'a nil 1 nil', 'the first result of each');
});

test('after_response: the answer does not wait for it', async (t) => {
  const up = await upstream(t);
  const answer = await gate(t);
  const h = await start(t, {
    files: deployment({
      later: `return function()
        after_response(function() fetch(${lua(answer.url)}) fetch(${lua(up.url)} .. "/after", { method = "POST", body = "done" }) end)
        return "now"
      end`,
      bad: 'return function() after_response(function() error("late boom") end) return "fine" end',
    }, { fields: { later: LOOPBACK } }),
  });
  assert.equal((await h.call('later')).text, 'now');
  await answer.asked();
  assert.equal(up.seen.length, 0, 'not yet');
  answer.open();
  await eventually(() => up.seen.some((r) => r.path === '/after' && r.body === 'done'), 3, 'the work after the answer');
  assert.equal((await h.call('bad')).text, 'fine');
  await eventually(() => h.stderr.includes('late boom') || h.stdout.includes('late boom'), 2, 'its fault in the log');
  assert.equal((await h.call('bad')).text, 'fine');
});

test('a client that goes away ends what it asked for; others go on', async (t) => {
  const h = await start(t, {
    files: deployment({ nap: 'return function() log.info("begun") sleep(0.5) return "rested" end', hello: JSON_OF('"hello"') }, { fields: { nap: 'concurrency = 4' } }),
  });
  for (let round = 0; round < 3; round++) {
    const wires = await Promise.all(Array.from({ length: 8 }, () => Wire.connect(h.address, h.port)));
    for (const w of wires) w.send(requestText({ path: '/.netlify/functions/nap', close: false }));
    await eventually(() => h.stderr.split('"begun"').length > 4 * (round + 1), 5, 'four that run');
    for (const w of wires) w.socket.resetAndDestroy();
  }
  assert.equal((await h.call('hello')).text, '"hello"');
  assert.equal((await h.call('nap')).text, 'rested');
});
