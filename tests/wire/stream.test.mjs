// Answers in pieces: body functions, server-sent events, streamed fetch, and what ends them.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { frame, GET, H2Wire, headers, TYPE, u32 } from '../lib/h2wire.mjs';
import { deployment, eventually, folder, lua, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { gate, upstream } from '../lib/upstream.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const LOOPBACK = 'fetch = { "127.0.0.1" }';

const streamed = (body, more = '') => `return function(event)
  return { statusCode = 200, ${more} body = function(write) ${body} end }
end`;

// A streaming GET with node's client: { res, pieces, text(), ended }.
function open(h, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const req = http.get({ host: h.address, port: h.port, path, headers, agent: false }, (res) => {
      const got = { req, res, pieces: [], error: null, ended: false };
      got.done = new Promise((done) => {
        res.on('data', (d) => got.pieces.push(d.toString()));
        res.on('end', () => { got.ended = true; done(); });
        res.on('error', (e) => { got.error = e; done(); });
      });
      got.text = () => got.pieces.join('');
      resolve(got);
    });
    req.on('error', reject);
  });
}

const rss = (pid) => Number(/VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) / 1024;

test('pieces arrive as they are written, head first', async (t) => {
  const next = await gate(t);
  const wait = `fetch(${lua(next.url)}, { timeout = 60 })`;
  const h = await start(t, {
    files: deployment({
      late: streamed(`${wait} write("a") ${wait} write("b")`, 'headers = { ["X-Mine"] = "1" },'),
      types: streamed('write("x")', 'headers = { ["Content-Type"] = "text/csv", ["Content-Length"] = "99" },'),
    }, { fields: { late: `${LOOPBACK}, timeout = 60` } }),
  });
  const got = await open(h, `${FN}/late`); // settled by the head
  assert.equal(got.res.statusCode, 200);
  assert.equal(got.res.headers['x-mine'], '1');
  assert.equal(got.res.headers['transfer-encoding'], 'chunked');
  assert.equal(got.res.headers['content-length'], undefined);
  await next.asked();
  assert.deepEqual(got.pieces, []);
  next.open();
  await eventually(() => got.pieces.length === 1, 5, 'the first piece');
  await next.asked();
  next.open();
  await got.done;
  assert.deepEqual(got.pieces, ['a', 'b']);
  const types = await h.call('types');
  assert.equal(types.header('content-type'), 'text/csv');
  assert.equal(types.text, 'x');
});

test('HTTP/1.0, HEAD and 204; the connection goes on after a whole stream', async (t) => {
  const h = await start(t, {
    files: deployment({
      s: streamed('for i = 1, 3 do write("piece " .. i .. ";") end'),
      empty: streamed(''),
      none: 'return function() return { statusCode = 204, body = function(write) error("must not run") end } end',
      ran: 'return function() return { statusCode = 200, body = function(write) log.info("ran") write("x") end } end',
    }),
  });
  const old = await h.connect();
  old.send(`GET ${FN}/s HTTP/1.0\r\n\r\n`);
  const text = (await old.closed()).toString();
  assert.match(text, /\r\n\r\npiece 1;piece 2;piece 3;$/);
  assert.doesNotMatch(text, /chunked|content-length/i);
  const wire = await h.connect();
  for (const [name, body] of [['s', 'piece 1;piece 2;piece 3;'], ['empty', ''], ['none', ''], ['s', 'piece 1;piece 2;piece 3;']]) {
    wire.send(requestText({ path: `${FN}/${name}`, close: false }));
    assert.equal((await wire.response()).text, body);
  }
  wire.send(requestText({ path: `${FN}/ran`, method: 'HEAD', close: false }), requestText({ path: `${FN}/s` }));
  assert.equal((await wire.response({ head: true })).status, 200);
  assert.equal((await wire.response()).text, 'piece 1;piece 2;piece 3;');
  await wire.closed();
  await h.stop();
  assert.doesNotMatch(h.stderr, /"msg":"ran"/, 'HEAD does not run the body');
});

test('pipelined streams come in order', async (t) => {
  const h = await start(t, { files: deployment({ n: streamed('local n = event.queryStringParameters.n for i = 1, 20 do write(n:rep(5000)) end') }) });
  const wire = await h.connect();
  wire.send(...['a', 'b', 'c'].map((n) => requestText({ path: `${FN}/n?n=${n}`, close: n === 'c' })));
  for (const n of ['a', 'b', 'c']) assert.equal((await wire.response()).text, n.repeat(100000));
});

test('an error, a time-out and a limit in the middle break the answer off', async (t) => {
  const h = await start(t, {
    files: deployment({
      boom: streamed('write("first") error("boom")'),
      early: streamed('error("boom")'),
      wait: streamed('write("first") sleep(5)'),
      spin: streamed('write("first") while true do end'),
      fine: streamed('write("first")'),
    }, { fields: { wait: 'timeout = 0.3', spin: 'cpu = 0.1, timeout = 60' } }),
  });
  for (const [name, code] of [['boom', 'handler_error'], ['early', 'handler_error'], ['wait', 'timeout'], ['spin', 'cpu_limit'], ['fine', undefined]]) {
    const wire = await h.connect();
    wire.send(requestText({ path: `${FN}/${name}`, close: false }));
    if (name !== 'fine') {
      const text = (await wire.closed()).toString();
      assert.match(text, name === 'early' ? /\r\n\r\n$/ : /\r\n\r\n5\r\nfirst\r\n$/, `${name}: no last chunk`);
      assert.equal(text.match(/HTTP\/1\.1/g).length, 1, 'one answer');
    } else {
      assert.equal((await wire.response()).text, 'first');
    }
    wire.close();
    const line = await eventually(() => h.log().find((l) => l.path.endsWith(name)), 5, 'log line');
    assert.equal(line.error, code);
  }
  const old = await h.connect();
  old.send(`GET ${FN}/boom HTTP/1.0\r\n\r\n`);
  await old.closed();
  assert.equal(old.error?.code, 'ECONNRESET', 'without chunks only a reset tells');
});

test('timeout counts between pieces', async (t) => {
  const h = await start(t, { files: deployment({ s: streamed('for i = 1, 9 do sleep(0.5) write(tostring(i)) end') }, { fields: { s: 'timeout = 4' } }) });
  const got = await open(h, `${FN}/s`);
  await got.done;
  assert.equal(got.text(), '123456789');
  assert.equal(got.error, null);
});

test('a slow reader holds the writer back', async (t) => {
  const h = await start(t, {
    files: deployment({
      flood: streamed('local p = ("x"):rep(65536) for i = 1, 3200 do write(p) end', 'headers = { ["Content-Type"] = "application/octet-stream" },'),
    }, { fields: { flood: 'cpu = 20' } }),
  });
  const [worker] = h.workers();
  const socket = net.connect({ host: h.address, port: h.port });
  socket.on('error', () => {});
  socket.pause();
  socket.write(requestText({ path: `${FN}/flood` }));
  await eventually(async () => await h.metric('client_bytes') > 0, 5, 'the writer is held back');
  const before = rss(worker);
  assert.equal((await h.call('flood', { method: 'HEAD' })).status, 200, 'others are served');
  let bytes = 0;
  let most = before;
  for await (const d of socket) {
    bytes += d.length;
    most = Math.max(most, rss(worker));
  }
  assert.ok(bytes > 3200 * 65536, `${bytes} bytes`);
  t.diagnostic(`200 MB through a slow reader: ${before.toFixed(0)} to ${most.toFixed(0)} MB`);
  if (SLOW === 1) assert.ok(most < before + 24, `grew from ${before} to ${most} MB`);
});

test('a client that leaves ends the body; what is open is closed', async (t) => {
  const h = await start(t, {
    files: deployment({
      endless: `return function() return { statusCode = 200, body = function(write)
        local guard <close> = setmetatable({}, { __close = function() log.info("closed", { more = write("x") }) end })
        while true do write("tick") sleep(0.02) end
      end } end`,
      stuck: `return function() return { statusCode = 200, body = function(write)
        local guard <close> = setmetatable({}, { __close = function() log.info("unstuck") end })
        log.info("stuck")
        while true do write(("x"):rep(65536)) end
      end } end`,
    }),
  });
  const got = await open(h, `${FN}/endless`);
  await eventually(() => got.pieces.length > 2, 5, 'pieces');
  got.req.destroy();
  await eventually(() => /"msg":"closed".*"more":false/.test(h.stderr), 5, 'the close');
  const stuck = await h.connect();
  stuck.socket.pause();
  stuck.send(requestText({ path: `${FN}/stuck` }));
  await eventually(() => /"msg":"stuck"/.test(h.stderr), 5, 'it writes');
  stuck.close();
  await eventually(() => /"msg":"unstuck"/.test(h.stderr), 5, 'the close of the one that waits');
  await eventually(() => h.log().filter((l) => l.error === 'client_gone').length === 2, 5, 'log lines');
});

// A stream that says nothing until the gate opens at which it waits.
const silent = (more = '') => ({
  files: deployment({
    silent: `return function(event) return { statusCode = 200, body = function(write)
      local guard <close> = setmetatable({}, { __close = function() log.info("closed " .. event.queryStringParameters.as) end })
      fetch(event.queryStringParameters.at, { timeout = 600 }) write("late") end } end`,
  }, { fields: { silent: `${LOOPBACK}, timeout = 600` }, more }),
  args: ['--drain', '600s'],
});

test('a client that leaves a silent stream is missed; who only sends no more is not', async (t) => {
  const never = await gate(t), door = await gate(t);
  const held = [];
  const up = http.createServer((req, res) => { held.push(res); res.writeHead(200, { 'content-type': 'text/event-stream' }); res.flushHeaders(); });
  await new Promise((resolve) => up.listen(0, '127.0.0.1', resolve));
  later(t, () => { up.close(); up.closeAllConnections(); });
  const h = await start(t, silent(`limits = { h2c = true }, redirects = { { from = "/far", to = "http://127.0.0.1:${up.address().port}/", status = 200 } },`));
  const path = (as, { url } = never) => `${FN}/silent?as=${as}&at=${url}`;
  const closed = (as) => h.says(new RegExp(`"msg":"closed ${as}"`));
  const opened = async (as, { at = path(as), ...more } = {}) => { // with its head
    const wire = await h.connect();
    wire.send(requestText({ path: at, close: false, ...more }));
    await eventually(() => wire.buf.includes('\r\n\r\n'), 10, 'the head');
    return wire;
  };
  for (const [as, leave, more] of [
    ['end', (wire) => wire.close()],
    ['reset', (wire) => wire.socket.resetAndDestroy()],
    ['half-first', (wire) => { wire.half(); wire.close(); }],
    ['last', (wire) => wire.close(), { close: true }],
    ['encoded', (wire) => wire.close(), { headers: { 'Accept-Encoding': 'gzip' } }],
  ]) {
    leave(await opened(as, more));
    await closed(as);
  }
  const early = await h.connect();
  early.send(requestText({ path: path('early'), close: false }));
  early.half().socket.once('finish', () => early.close()); // before there is a head
  await closed('early');

  const far = await opened('far', { at: '/far' });
  const left = new Promise((resolve) => { held[0].on('close', resolve); });
  far.close();
  await left;

  const two = await H2Wire.connect(h);
  two.send(headers(1, GET(path('h2-reset'))), headers(3, GET(path('h2-gone'))));
  await two.outcome(1);
  await two.outcome(3);
  two.send(frame(TYPE.RST_STREAM, 0, 1, u32(8)));
  await closed('h2-reset');
  assert.doesNotMatch(h.stderr, /closed h2-gone/);
  two.wire.half();
  await closed('h2-gone');

  const stays = await opened('stays', { at: path('stays', door) });
  stays.half();
  const behind = await opened('behind', { at: path('behind', door) });
  behind.send(requestText({ path: path('next', door) })).half();
  await door.asked(3);
  await eventually(() => stays.buf.toString().endsWith('\r\n\r\n0') && behind.buf.toString().endsWith('\r\n\r\n0'), 10, 'what asks whether they are there');
  door.open();
  assert.equal((await stays.response()).text, 'late');
  assert.equal((await behind.response()).text, 'late');
  assert.equal((await behind.response()).text, 'late', 'what was asked before is answered');

  (await opened('drained')).close();
  await h.stop(); // nobody is waited for any more
  assert.match(h.stderr, /"msg":"closed drained"/);
  await eventually(() => h.log().filter((l) => l.error === 'client_gone').length === 10, 5, 'log lines');
});

test('who leaves a silent stream over TLS is missed, too', async (t) => {
  const never = await gate(t), door = await gate(t);
  const dir = folder(t);
  const cert = certificate(dir);
  const { files, args } = silent();
  const h = await start(t, { dir: folder(t, files), args: [...args, ...tlsArgs(cert)] });
  const open = async (as, { url }) => {
    const socket = tls.connect({ host: '127.0.0.1', port: h.port, ca: cert.ca, servername: 'localhost' });
    socket.on('error', () => {});
    await new Promise((resolve) => { socket.once('data', resolve); socket.write(requestText({ path: `${FN}/silent?as=${as}&at=${url}`, close: false })); });
    return socket;
  };
  (await open('end', never)).destroy();
  await h.says(/"msg":"closed end"/);
  const stays = await open('stays', door);
  let text = '';
  stays.on('data', (d) => { text += d; });
  stays.end();
  await eventually(() => text === '0', 10, 'what asks whether he is there');
  await door.asked(1);
  door.open();
  await eventually(() => text.endsWith('00\r\n\r\n') || text.endsWith('\r\n0\r\n\r\n'), 10, 'all of it');
  assert.match(text, /^04\r\nlate\r\n/);
});

test('write: what it refuses and where', async (t) => {
  const h = await start(t, {
    files: deployment({
      args: streamed('write(tostring(select(2, pcall(write)))) write(tostring(pcall(write, {}))) write(7)'),
      big: streamed('write(tostring(select(2, pcall(write, ("x"):rep(6 * 1024 * 1024 + 1)))))'),
      gsub: streamed('write((string.gsub("a", ".", function() write("x") end)))'),
      concat: streamed('write(tostring(select(2, pcall(table.concat, setmetatable({}, { __index = function() write("x") end }), "", 1, 1))))'),
      kept: `local old
        return function() local before = old
          return { statusCode = 200, body = function(write) old = write write(tostring(before and before("stray"))) end }
        end`,
      both: streamed('parallel(function() for i = 1, 40 do write(("a"):rep(30000)) end end, function() for i = 1, 40 do write(("b"):rep(30000)) end end)'),
      base64: 'return function() return { statusCode = 200, isBase64Encoded = true, body = function() end } end',
    }),
  });
  assert.match((await h.call('args')).text, /^bad argument #1 .*string expected.*false7$/);
  assert.match((await h.call('big')).text, /a piece has 6291456 bytes at most/);
  assert.equal((await h.call('gsub')).text, 'xa');
  assert.match((await h.call('concat')).text, /write cannot wait here/);
  assert.equal((await h.call('kept')).text, 'nil');
  assert.equal((await h.call('kept')).text, 'false', 'a write of another request writes nothing');
  assert.equal((await h.call('both')).text.length, 2400000);
  assert.equal((await h.call('base64')).status, 500);
});

test('stream.sse: format, headers, refusals', async (t) => {
  const h = await start(t, {
    files: deployment({
      events: `return function() return stream.sse(function(send)
        send { event = "note", data = "one\\ntwo\\r\\nthree\\rfour", id = 7, retry = 1500 }
        send { data = { a = { 1, 2 } } }
        send "plain" send "" send { comment = "ping" }
      end, { ["X-More"] = "yes" }) end`,
      bad: `return function() return stream.sse(function(send)
        for _, e in ipairs { { event = "a\\nb", data = "x" }, { id = "a\\0b" }, { retry = "soon" }, { data = true }, {} } do
          send { comment = tostring(select(2, pcall(send, e))) }
        end
        send { comment = tostring(pcall(send)) }
      end) end`,
      args: 'return function() return tostring(pcall(stream.sse)) .. tostring(pcall(stream.sse, print, 1)) end',
    }),
  });
  const r = await h.call('events');
  assert.equal(r.header('content-type'), 'text/event-stream');
  assert.equal(r.header('cache-control'), 'no-cache');
  assert.equal(r.header('x-more'), 'yes');
  assert.equal(r.text, 'event: note\nid: 7\nretry: 1500\ndata: one\ndata: two\ndata: three\ndata: four\n\n'
    + 'data: {"a":[1,2]}\n\ndata: plain\n\ndata: \n\n: ping\n\n');
  const bad = (await h.call('bad')).text;
  for (const part of ['`event` must be a single line', '`id` must be a single line', '`retry` must be', '`data` must be a text', 'an event needs', ': false']) {
    assert.ok(bad.includes(part), `${part} in ${bad}`);
  }
  assert.doesNotMatch(bad, /^(event|id|retry|data)/m, 'nothing of the bad ones was sent');
  assert.equal((await h.call('args')).text, 'falsefalse');
});

test('fetch with stream: head first, pieces, the end', async (t) => {
  let second; // sends it, once the first piece has been seen
  const U = lua(await upstream(t, (req, res) => {
    if (req.url === '/moved') { res.writeHead(302, { Location: '/steps' }); res.end('nobody reads this'); return; }
    if (req.url === '/seen') { second(); res.end(); return; }
    if (req.url === '/empty') { res.writeHead(204); res.end(); return; }
    if (req.url === '/cut') { res.writeHead(200, { 'Content-Length': 100 }); res.write('some'); setTimeout(() => res.destroy(), 50); return; }
    if (req.url === '/hang') { res.writeHead(200); res.write('first'); return; }
    if (req.url === '/mute') return;
    res.writeHead(201, { 'X-Up': 'yes' });
    res.write('one');
    if (req.url === '/steps') second = () => res.end('two');
    else res.end('two');
  }));
  const list = (path, options = '') => `return function()
    local res = fetch(${U} .. "${path}", { stream = true${options} })
    local seen = {}
    local ok, why = pcall(function() for piece in res:chunks() do
      seen[#seen + 1] = piece
      if piece == "one" then fetch(${U} .. "/seen") end
    end end)
    return json.encode { status = res.status, up = res.headers["x-up"], url = res.url, seen = json.array(seen), ok = ok, why = tostring(why), body = res.body }
  end`;
  const h = await start(t, {
    files: deployment({
      steps: list('/steps'), moved: list('/moved'), empty: list('/empty'), cut: list('/cut'),
      hang: list('/hang', ', timeout = 4'),
      mute: `return function() return tostring(select(2, pcall(fetch, ${U} .. "/mute", { stream = true, timeout = 0.2 }))) end`,
      text: `return function() local r = fetch(${U} .. "/slow", { stream = true }) return tostring(select(2, pcall(r.text, r))) .. tostring(select(2, pcall(fetch(${U} .. "/slow").chunks, {}))) end`,
      leave: `return function() local r = fetch(${U} .. "/hang", { stream = true })
        for piece in r:chunks() do break end
        return tostring(select(2, pcall(r:chunks()))) end`,
      many: `return function()
        local kept = {}
        for i = 1, 64 do kept[i] = fetch(${U} .. "/hang", { stream = true }) end
        return tostring(select(2, pcall(fetch, ${U} .. "/slow", { stream = true }))) .. tostring(select(2, pcall(fetch, ${U} .. "/slow"))) end`,
      turns: `return function()
        for i = 1, 100 do for piece in fetch(${U} .. "/hang", { stream = true }):chunks() do break end end
        return "all" end`,
      forget: `return function() fetch(${U} .. "/hang", { stream = true }) return "gone" end`,
    }, { fields: Object.fromEntries(['steps', 'moved', 'empty', 'cut', 'hang', 'mute', 'text', 'leave', 'many', 'turns', 'forget'].map((n) => [n, `${LOOPBACK}, timeout = 60`])) }),
  });
  for (const name of ['steps', 'moved']) {
    const got = (await h.call(name)).json();
    assert.deepEqual([got.status, got.up, got.seen, got.ok], [201, 'yes', ['one', 'two'], true]);
    assert.match(got.url, /\/steps$/);
    assert.equal(got.body, undefined);
  }
  const empty = (await h.call('empty')).json();
  assert.deepEqual([empty.status, empty.seen, empty.ok], [204, [], true]);
  const cut = (await h.call('cut')).json();
  assert.deepEqual([cut.seen, cut.ok], [['some'], false]);
  assert.match(cut.why, /fetch: /);
  const hang = (await h.call('hang')).json();
  assert.deepEqual([hang.seen, hang.ok], [['first'], false]);
  assert.match(hang.why, /ETIMEDOUT/);
  assert.match((await h.call('mute')).text, /ETIMEDOUT/);
  assert.match((await h.call('text')).text, /read it with chunks\(\).*is no stream/s);
  assert.match((await h.call('leave')).text, /the stream is closed/);
  assert.equal((await h.call('many')).text.match(/more than 64 transfers at once/g).length, 2);
  assert.equal((await h.call('turns')).text, 'all');
  assert.equal((await h.call('forget')).text, 'gone');
});

test('a proxy of 200 MB runs in constant memory, and a slow reader slows the source', async (t) => {
  const piece = Buffer.alloc(65536, 'x');
  let sent = 0;
  const U = lua(await upstream(t, async (req, res) => {
    res.writeHead(200, { 'Content-Type': 'application/octet-stream' });
    for (let i = 0; i < 3200 && !res.destroyed; i++) {
      sent += piece.length;
      if (!res.write(piece)) await new Promise((r) => {
        const go = () => { res.off('drain', go); res.off('close', go); r(); };
        res.on('drain', go).on('close', go);
      });
    }
    res.end();
  }));
  const h = await start(t, {
    files: deployment({
      proxy: `return function()
        local res = fetch(${U} .. "/", { stream = true })
        return { statusCode = res.status, headers = { ["Content-Type"] = res.headers["content-type"] },
                 body = function(write) for piece in res:chunks() do write(piece) end end }
      end`,
    }, { fields: { proxy: `${LOOPBACK}, cpu = 20` } }),
  });
  const [worker] = h.workers();
  const socket = net.connect({ host: h.address, port: h.port });
  socket.pause();
  socket.write(requestText({ path: `${FN}/proxy` }));
  await eventually(() => sent > 0, 5, 'the first bytes');
  let last = -1;
  await eventually(async () => { const same = sent === last; last = sent; if (!same) await new Promise((r) => setTimeout(r, 200)); return same; }, 10, 'the source to be held back');
  assert.ok(sent < 100 * 1024 * 1024, `${sent} bytes sent without a reader`);
  const before = rss(worker);
  let bytes = 0;
  let most = before;
  for await (const d of socket) {
    bytes += d.length;
    most = Math.max(most, rss(worker));
  }
  assert.ok(bytes > 3200 * 65536, `${bytes} bytes`);
  t.diagnostic(`200 MB through a proxy: ${before.toFixed(0)} to ${most.toFixed(0)} MB`);
  if (SLOW === 1) assert.ok(most < before + 24, `grew from ${before} to ${most} MB`);
});

test('SIGTERM waits for a stream; a reload leaves it alone', async (t) => {
  const h = await start(t, { files: deployment({ s: streamed('for i = 1, 8 do write(tostring(i)) sleep(0.1) end') }) });
  const got = await open(h, `${FN}/s`);
  h.kill('SIGHUP');
  await eventually(() => got.pieces.length > 2, 5, 'pieces');
  h.kill('SIGTERM');
  await got.done;
  assert.equal(got.text(), '12345678');
  assert.equal(got.error, null);
});
