// WebSockets of handlers: the handshake behind the policy, messages both ways, and every way to end.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, token } from '../lib/issuer.mjs';
import { gate, upstream } from '../lib/upstream.mjs';
import { closing, frame, KEY, OFFER, open, RawSocket, text } from '../lib/websocket.mjs';

const FN = '/.netlify/functions';
const now = () => Math.floor(Date.now() / 1000);
const ECHO = 'websocket = function(ws) for m, kind in ws:messages() do ws:send(m, kind) end end';

test('messages of every length and kind come back, to a browser\'s client', async (t) => {
  const h = await start(t, { files: deployment({
    echo: `return function() return { protocols = { "b", "a" }, ${ECHO} } end`,
    hello: 'return function() return { headers = { ["Set-Cookie"] = "a=b" }, websocket = function(ws) ws:send(tostring(ws.protocol)) end } end',
    large: `return function() return { message = "2MB", ${ECHO} } end`,
    small: `return { message = 10, handler = function() return { ${ECHO} } end }`,
  }) });
  const ws = await open(h.url(`${FN}/echo`), ['c', 'a', 'b']);
  assert.equal(ws.socket.protocol, 'b', 'the first of ours that he has offered');
  for (const size of [0, 1, 125, 126, 65535, 65536, 300000, 1048576]) {
    const one = 'ö'.repeat(size / 2) + 'x'.repeat(size % 2);
    ws.socket.send(one);
    assert.equal(await ws.next(), one, `a text of ${size}`);
    const bytes = Buffer.alloc(size, 0xff);
    ws.socket.send(bytes);
    assert.deepEqual(await ws.next(), bytes, `${size} bytes`);
  }
  ws.socket.close(3001, 'enough');
  assert.equal((await ws.closed).clean, true);
  const hello = await open(h.url(`${FN}/hello`));
  assert.equal(await hello.next(), 'nil');
  assert.deepEqual(await hello.closed, { code: 1000, reason: '', clean: true });
  const large = await open(h.url(`${FN}/large`));
  large.socket.send('x'.repeat(1048577));
  assert.equal((await large.next()).length, 1048577);
  large.socket.close();
  for (const [name, most] of [['echo', 1048576], ['small', 10]]) {
    const one = await open(h.url(`${FN}/${name}`));
    one.socket.send('x'.repeat(most));
    assert.equal((await one.next()).length, most);
    one.socket.send('x'.repeat(most + 1));
    assert.equal((await one.closed).code, 1009, name);
  }
});

test('the handshake: what is wrong with it is told, and who may not is refused before any Lua', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({
      echo: `kv.set("ran", true) return function() return { ${ECHO} } end`,
      pages: `return function() return { origins = { "https://app.example", "https://b.example:8443" }, ${ECHO} } end`,
      mine: `return function(event, context) kv.set("ran", context.identityContext.claims.sub) return { ${ECHO} } end`,
      ran: 'return function() return tostring(kv.get("ran")) end',
      plain: 'return function() return "no socket" end',
    }, {
      fields: { mine: 'auth = { scope = "chat" }, kv = "ran"', ran: 'kv = "ran"' },
      more: `auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" }, limits = { h2c = true }`,
    }),
  });
  const ask = async (name, headers = {}, options = {}) => h.request({ path: `${FN}/${name}`, headers: { ...OFFER, ...headers }, close: false, ...options });
  const good = await ask('echo');
  assert.equal(good.status, 101);
  assert.equal(good.header('sec-websocket-accept'), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  assert.deepEqual([good.header('upgrade'), good.header('connection'), good.header('content-length')], ['websocket', 'Upgrade', undefined]);
  const unfed = await RawSocket.open(h, `${FN}/echo`, { headers: { 'Content-Length': '0' }, early: text('of no length') });
  assert.equal((await unfed.next()).text, 'of no length', "Java's client says the length of its body: 0");
  unfed.close();
  const faults = [
    ['a body', { 'Content-Length': '2' }, { body: 'ab' }, 426, /speaks WebSocket/],
    ['pieces of a body', { 'Transfer-Encoding': 'chunked' }, { body: '0\r\n\r\n' }, 426, /speaks WebSocket/],
    ['no upgrade', { Upgrade: 'h2c' }, {}, 426, /speaks WebSocket/],
    ['no connection', { Connection: 'keep-alive' }, {}, 426, /speaks WebSocket/],
    ['POST', {}, { method: 'POST', body: '' }, 426, /speaks WebSocket/],
    ['another version', { 'Sec-WebSocket-Version': '8' }, {}, 426, /must be 13/],
    ['no key', { 'Sec-WebSocket-Key': [] }, {}, 400, /base64 of 16 bytes/],
    ['a short key', { 'Sec-WebSocket-Key': 'AAAA' }, {}, 400, /base64 of 16 bytes/],
    ['two keys', { 'Sec-WebSocket-Key': [KEY, KEY] }, {}, 400, /base64 of 16 bytes/],
    ['a foreign page', { Origin: 'https://evil.example' }, {}, 403, /this origin/],
    ['a page of nowhere', { Origin: 'null' }, {}, 403, /this origin/],
  ];
  for (const [what, headers, options, status, why] of faults) {
    const res = await ask('echo', headers, { ...options, close: true });
    assert.equal(res.status, status, what);
    assert.match(res.json().error_description, why, what);
    if (status === 426) assert.equal(res.header('upgrade'), 'websocket', what);
    if (what === 'another version') assert.equal(res.header('sec-websocket-version'), '13');
  }
  const own = `http://${h.address}:${h.port}`;
  const origins = [['echo', own, 101], ['echo', `${own}0`, 403], ['pages', 'https://app.example', 101], ['pages', 'https://b.example:8443', 101],
    ['pages', 'https://b.example', 403], ['pages', own, 403]];
  for (const [name, Origin, status] of origins) assert.equal((await ask(name, { Origin, Host: `${h.address}:${h.port}` })).status, status, `${name} from ${Origin}`);
  assert.equal((await ask('plain')).text, 'no socket', 'an upgrade may be ignored');

  const bearer = (claims) => ({ Authorization: `Bearer ${token({ iss: issuer.issuer, aud: AUDIENCE, exp: now() + 600, ...claims })}` });
  const none = await ask('mine');
  assert.equal(none.status, 401);
  assert.match(none.header('www-authenticate'), /^Bearer realm=/);
  assert.equal((await ask('mine', bearer({ scope: 'other' }))).status, 403);
  assert.equal((await h.call('ran')).text, 'nil');
  const mine = await RawSocket.open(h, `${FN}/mine`, { headers: bearer({ scope: 'chat', sub: 'ann' }), early: text('early') });
  assert.equal(mine.response.status, 101);
  assert.equal((await mine.next()).text, 'early', 'what came with the handshake is the first message');
  assert.equal((await h.call('ran')).text, 'ann');
  mine.close();
});

test('frames: cut anywhere, controls between them, and what breaks the protocol', async (t) => {
  const h = await start(t, { files: deployment({ echo: `return function() return { ${ECHO} } end` }) });
  const dial = () => RawSocket.open(h, `${FN}/echo`);
  const one = await dial();
  for (const byte of Buffer.concat([frame(1, 'a', { fin: false }), frame(9, 'ping'), frame(0, 'b')])) one.send(Buffer.from([byte]));
  const [pong, whole] = [await one.next(), await one.next()];
  assert.deepEqual([pong.opcode, pong.text, whole.opcode, whole.text], [10, 'ping', 1, 'ab']);
  one.send(Buffer.concat([frame(10, 'unasked'), text('1'), frame(2, '2'), frame(9)]));
  for (const [opcode, body] of [[1, '1'], [2, '2'], [10, '']].sort((a, b) => a[0] - b[0])) {
    const got = await one.next();
    assert.ok([1, 2, 10].includes(got.opcode) && [body, '1', '2', ''].includes(got.text));
  }
  one.send(closing(4321, 'bye'));
  const bye = await one.next();
  assert.deepEqual([bye.opcode, bye.code], [8, 4321]);
  assert.equal(await one.next(), null, 'the connection ends after the goodbye');
  const faults = [['unmasked', Buffer.from([0x81, 0]), 1002], ['a reserved bit', frame(0x41, 'x'), 1002], ['an unknown kind', frame(3, 'x'), 1002],
    ['a long ping', frame(9, 'x'.repeat(126)), 1002], ['no UTF-8', frame(1, Buffer.from([0xff])), 1007], ['too long', Buffer.concat([frame(2, Buffer.alloc(1 << 20), { fin: false }), frame(0, 'x')]), 1009],
    ['a code that never travels', closing(1006), 1002], ['2^63 bytes', Buffer.from([0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]), 1002]];
  for (const [what, bytes, code] of faults) {
    const raw = await dial();
    raw.send(text('before'), bytes);
    assert.equal((await raw.next()).text, 'before', what);
    assert.equal((await raw.next()).code, code, what);
    assert.equal(await raw.next(), null, what);
  }
  assert.deepEqual(h.log().filter((l) => l.status !== 101), []);
});

test('every end: a raise, a limit, the token\'s, a reload, the client\'s, and the host\'s', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const files = deployment({
    echo: `return function() return { ${ECHO} } end`,
    raise: 'return function() return { websocket = function(ws) for m in ws:messages() do error("no " .. m) end end } end',
    burn: 'return function() return { websocket = function(ws) for m in ws:messages() do for _ = 1, 3 do local t = os.clock() while os.clock() - t < 0.03 do end end ws:send(m) if m == "on" then while true do end end end end } end',
    shut: 'return function() return { websocket = function(ws) ws:close(4000, "why") kv.set("sent", ws:send("x")) end } end',
    gone: 'return function() return { websocket = function(ws) ws:send("here") for m in ws:messages() do end kv.incr("gone") end } end',
    full: `return function() return { websocket = function(ws)
      ws:send("here")
      parallel(function() for m in ws:messages() do end kv.incr("gone") end,
        function() for _ = 1, 16 do ws:send(("x"):rep(1048576)) end kv.incr("gone") end,
        function() for _ = 1, 16 do ws:send(("y"):rep(1048576)) end kv.incr("gone") end)
      kv.incr("gone")
    end } end`,
    count: 'return function() return json.encode { kv.get("gone") or 0, kv.get("sent") } end',
    mine: `return function() return { ${ECHO} } end`,
  }, {
    fields: { burn: 'cpu = 0.15', gone: 'kv = "n"', full: 'kv = "n"', count: 'kv = "n"', shut: 'kv = "n"', mine: 'auth = true' },
    more: `auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" }`,
  });
  const h = await start(t, { files, args: ['--watch'] });
  const dial = (name, options) => open(h.url(`${FN}/${name}`), [], options);
  const raise = await dial('raise');
  raise.socket.send('x');
  assert.equal((await raise.closed).code, 1011);
  await h.says(/raise.lua:1: no x/);
  const burn = await dial('burn');
  for (const m of ['a', 'b', 'c']) { // each has its own processor time, together they are over it
    burn.socket.send(m);
    assert.equal(await burn.next(), m);
  }
  burn.socket.send('on');
  assert.equal(await burn.next(), 'on');
  assert.equal((await burn.closed).code, 1011);
  await h.says(/used up its 0.15 seconds/);
  const shut = await dial('shut');
  assert.deepEqual(await shut.closed, { code: 4000, reason: 'why', clean: true });

  for (const leave of [(raw) => raw.close(), (raw) => raw.wire.half(), (raw) => raw.wire.socket.resetAndDestroy(), (raw) => raw.send(closing(1000))]) {
    const raw = await RawSocket.open(h, `${FN}/gone`);
    assert.equal((await raw.next()).text, 'here');
    leave(raw);
  }
  await eventually(async () => (await h.call('count')).text === '[4,false]', 10, 'the loop over messages ends for each');
  const raw = await RawSocket.open(h, `${FN}/full`);
  assert.equal((await raw.next()).text, 'here');
  raw.wire.socket.resetAndDestroy();
  await eventually(async () => (await h.call('count')).text === '[8,false]', 10, 'so do those who wait for it to read');

  const bearer = (exp) => ({ headers: { Authorization: `Bearer ${token({ iss: issuer.issuer, aud: AUDIENCE, exp })}` } });
  for (let seconds = 1; ; seconds *= 2) { // until it is long enough for this machine
    const short = await dial('mine', bearer(now() + seconds)).catch(() => null);
    short?.socket.send('x');
    if (await short?.next() !== 'x') continue;
    assert.equal((await short.closed).code, 1008, 'the token is over');
    break;
  }

  const [echo, long] = [await dial('echo'), await dial('mine', bearer(now() + 600))];
  fs.writeFileSync(path.join(h.dir, 'scripts/echo.lua'), `return function() return { websocket = function(ws) ws:send("new") for m in ws:messages() do ws:send(m) end end } end`);
  assert.equal((await echo.closed).code, 1001, 'another generation serves');
  long.socket.send('still');
  assert.equal(await long.next(), 'still', 'of another function');
  const after = await dial('echo');
  assert.equal(await after.next(), 'new');
  h.kill('SIGTERM');
  assert.equal((await after.closed).code, 1001);
  assert.equal((await long.closed).code, 1001);
});

test('who does not read waits alone; pings are answered while the script is busy; two parts talk at once', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({
    flood: 'return function() return { websocket = function(ws) local n = 0 while n < 400 and ws:send(("x"):rep(65536), "binary") do n = n + 1 end kv.set("n", n) end } end',
    echo: `return function() return { ${ECHO} } end`,
    busy: `return { fetch = { "127.0.0.1" }, handler = function() return { websocket = function(ws) fetch("${g.url}") ws:send("done") end } end }`,
    both: `return { fetch = { "127.0.0.1" }, handler = function() return { websocket = function(ws)
      parallel(function() for m in ws:messages() do ws:send("got " .. m) end end,
               function() fetch("${g.url}") ws:send("pushed") ws:close(4001) end)
    end } end }`,
  }) });
  const slow = await RawSocket.open(h, `${FN}/flood`);
  slow.wire.socket.pause();
  const echo = await open(h.url(`${FN}/echo`));
  for (let n = 0; n < 50; n++) {
    echo.socket.send(String(n));
    assert.equal(await echo.next(), String(n));
  }
  slow.wire.socket.resume();
  let bytes = 0;
  for (let f = await slow.next(); f.opcode === 2; f = await slow.next()) bytes += f.payload.length;
  assert.equal(bytes, 400 * 65536);
  echo.socket.close();

  const busy = await RawSocket.open(h, `${FN}/busy`);
  busy.send(frame(9, 'alive?'));
  assert.equal((await busy.next()).text, 'alive?');
  const both = await open(h.url(`${FN}/both`));
  both.socket.send('1');
  assert.equal(await both.next(), 'got 1');
  await g.asked(2);
  g.open();
  assert.equal((await busy.next()).text, 'done');
  assert.equal(await both.next(), 'pushed');
  assert.equal((await both.closed).code, 4001);
});

test('over HTTP/2 (RFC 8441): the same, beside other streams', async (t) => {
  const h = await start(t, { files: deployment({
    echo: `return function(event) return { protocols = { "a" }, websocket = function(ws) ws:send(event.httpMethod) for m, kind in ws:messages() do ws:send(m, kind) end end } end`,
    plain: 'return function() return "no socket" end',
    locked: `return { auth = true, handler = function() return { ${ECHO} } end }`,
  }, { more: 'limits = { h2c = true }, auth = { issuer = "http://127.0.0.1:1", audience = "x" }' }) });
  const session = http2.connect(h.url(''));
  t.after(() => session.destroy());
  await new Promise((resolve) => { session.once('remoteSettings', resolve); });
  assert.equal(session.remoteSettings.enableConnectProtocol, true);
  const ask = (name, more = {}) => {
    const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': `${FN}/${name}`, ':scheme': 'http', ':authority': `${h.address}:${h.port}`, 'sec-websocket-version': '13', ...more });
    const got = new Promise((resolve, reject) => {
      stream.once('response', resolve);
      stream.once('error', reject);
    });
    return { stream, got };
  };
  const { stream, got } = ask('echo', { 'sec-websocket-protocol': 'a, b' });
  const head = await got;
  assert.deepEqual([head[':status'], head['sec-websocket-protocol'], head['sec-websocket-accept']], [200, 'a', undefined]);
  const big = Buffer.alloc(300000, 1);
  stream.write(Buffer.concat([text('one'), frame(2, big)]));
  const wanted = 2 + 3 + 2 + 3 + 10 + big.length;
  let all = Buffer.alloc(0);
  for await (const piece of stream) {
    all = Buffer.concat([all, piece]);
    if (all.length === wanted) stream.end(closing(1000));
  }
  assert.equal(all.subarray(2, 5).toString(), 'GET');
  assert.equal(all.subarray(7, 10).toString(), 'one');
  assert.deepEqual(all.subarray(wanted), Buffer.from([0x88, 2, 3, 0xe8]), 'our goodbye, and the end of the stream');
  assert.equal((await ask('locked').got)[':status'], 401);
  assert.equal((await ask('nothing').got)[':status'], 404);
  assert.equal((await ask('echo', { 'sec-websocket-version': '7' }).got)[':status'], 426);
  assert.equal((await ask('echo', { ':protocol': 'connect-udp' }).got)[':status'], 501);
  await assert.rejects(ask('plain').got, /NGHTTP2_INTERNAL_ERROR/, 'a 200 that opens nothing is not given');
  const other = session.request({ ':path': `${FN}/plain` });
  assert.equal((await new Promise((resolve) => { other.once('response', resolve); }))[':status'], 200);
  session.destroy();
});

test('what nobody holds of the request goes, what a function holds of it stays, and its log line is whole', async (t) => {
  const url = await upstream(t, (req, res) => res.end(`${req.headers.traceparent} ${req.headers.tracestate}`));
  const loop = (answer) => `websocket = function(ws) for m in ws:messages() do if m == "collect" then collectgarbage() collectgarbage() ws:send(m) else ${answer} end end end`;
  const told = 'ws:send(json.encode { event.path, event.headers["user-agent"], event.multiValueQueryStringParameters.b[1], event:cookies().c, context.awsRequestId })';
  const h = await start(t, {
    files: deployment({
      drops: `return function(event, context) local path = event.path return { ${loop(`ws:send(path .. " " .. fetch("${url}").body)`)} } end`,
      holds: `return function(event, context) return { ${loop(told)} } end`,
      context: `return function(event, context) return { ${loop('ws:send(context.awsRequestId)')} } end`,
      global: `local kept = {} return function(event) kept[1] = event return { ${loop('ws:send(kept[1].rawUrl) kept[1] = nil')} } end`,
    }, { fields: { drops: 'fetch = { "127.0.0.1" }' } }),
    args: ['--log', 'json'],
  });
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const dial = (name, id) => RawSocket.open(h, `${FN}/${name}?a=1&b=2`, {
    headers: { 'User-Agent': 'tester', Cookie: 'c=3', traceparent: trace, tracestate: ['d=4', 'e=5'], 'X-Request-Id': id, 'X-Filler': 'x'.repeat(3000) },
  });
  const says = async (raw, what) => (await raw.send(text(what)).next()).text;
  const wanted = {
    drops: `${FN}/drops ${trace} d=4,e=5`,
    holds: JSON.stringify([`${FN}/holds`, 'tester', '2', '3', 'holds-1']),
    context: 'context-1',
    global: `http://localhost${FN}/global?a=1&b=2`,
  };
  for (const [name, answer] of Object.entries(wanted)) {
    const raw = await dial(name, `${name}-1`);
    assert.equal(await says(raw, 'collect'), 'collect');
    const others = await Promise.all([1, 2, 3].map(() => dial(name, 'other')));
    for (const other of others) assert.equal(await says(other, 'collect'), 'collect');
    if (name !== 'global') assert.equal(await says(raw, 'tell'), answer, name);
    else assert.equal(await says(others[2], 'tell'), answer, name);
    assert.equal(await says(raw, 'collect'), 'collect');
    for (const one of [raw, ...others]) {
      one.send(closing(1000));
      assert.equal((await one.next()).code, 1000);
    }
    const line = await eventually(() => h.log().find((l) => l.request_id === `${name}-1`), 10, 'its line');
    assert.deepEqual([line.method, line.path, line.status, line.function, line.traceparent, line.ip], ['GET', `${FN}/${name}`, 101, name, trace, '127.0.0.1']);
  }
});

test('wrong use says what is wrong', async (t) => {
  const rows = {
    'ws:send()': /string expected/, 'ws:send("\\xff")': /a text must be UTF-8/, 'ws:send("x", "blob")': /invalid option 'blob'/,
    'ws:close(1005)': /a code that may be sent/, 'ws:close(1000, ("x"):rep(124))': /at most 123 bytes/, 'ws.send({}, "x")': /luafn.websocket expected/,
  };
  const checks = Object.keys(rows).map((code) => `{ pcall(function() ${code} end) }`);
  const h = await start(t, { files: deployment({
    all: `return function() return { websocket = function(ws) ws:send(json.encode { ${checks.join(', ')} }) end } end`,
    kept: 'local kept return function() if kept then return tostring(kept:send("x")) .. tostring(kept:messages()(kept)) end return { websocket = function(ws) kept = ws end } end',
    list: `return function() return { protocols = "a", ${ECHO} } end`,
    size: `return function() return { message = "a lot", ${ECHO} } end`,
  }) });
  const all = await open(h.url(`${FN}/all`));
  for (const [i, [ok, why]] of JSON.parse(await all.next()).entries()) {
    const [code, wanted] = Object.entries(rows)[i];
    assert.equal(ok, false, code);
    assert.match(why, wanted, code);
  }
  await (await open(h.url(`${FN}/kept`))).closed;
  assert.equal((await h.call('kept')).text, 'falsenil', 'one that is over is of no use');
  for (const [name, why] of [['list', /`protocols` of a WebSocket must be a list of texts/], ['size', /message/]]) {
    const res = await h.request({ path: `${FN}/${name}`, headers: OFFER });
    assert.equal(res.status, 502);
    assert.match(res.json().errorMessage, why);
  }
});
