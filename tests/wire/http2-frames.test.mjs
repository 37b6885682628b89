// RFC 9113 on raw frames: what must end a stream, what must end the connection, and beside it what
// must not. No answer but a refusal may come to a request that is wrong.
import assert from 'node:assert/strict';
import test from 'node:test';
import { CODE, data, FLAG, frame, GET, H2Wire, headers, hpack, indexed, POST, reference, settings, TYPE, u32 } from '../lib/h2wire.mjs';
import { deployment, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { rss } from '../lib/process.mjs';

const PATH = '/.netlify/functions/show';
const SHOW = 'return function(e) return e.body and base64.decode(e.body) or "none" end';
const { END_STREAM, END_HEADERS, PADDED, PRIORITY } = FLAG;
const OPEN = END_HEADERS; // HEADERS of a request whose body is to come

const host = (t) => start(t, { files: deployment({ show: SHOW }, { more: 'limits = { h2c = true, body = "64KB", header = "16KB" },' }) });

async function connect(t, h, options) {
  const wire = await H2Wire.connect(h, options);
  later(t, () => wire.close());
  return wire;
}

const get = (stream, more) => headers(stream, GET(PATH, more));
// A good request behind all is what shows that the connection is in step.
const NEXT = 101;
const next = () => get(NEXT);

// ---- the connection ends ----
const any = Object.values(CODE);
const broken = {
  'no SETTINGS first': { preface: 'ping', frames: [frame(TYPE.PING, 0, 0, Buffer.alloc(8))] },
  'DATA on stream 0': { frames: [frame(TYPE.DATA, 0, 0, 'x')], code: CODE.PROTOCOL_ERROR },
  'HEADERS on stream 0': { frames: [headers(0, GET(PATH))], code: CODE.PROTOCOL_ERROR },
  'an even stream': { frames: [get(2)], code: CODE.PROTOCOL_ERROR },
  'a stream twice': { frames: [get(1), get(1)], code: [CODE.PROTOCOL_ERROR, CODE.STREAM_CLOSED] },
  'DATA on an idle stream': { frames: [data(1, 'x')], code: CODE.PROTOCOL_ERROR },
  'RST_STREAM on an idle stream': { frames: [frame(TYPE.RST_STREAM, 0, 1, u32(8))], code: CODE.PROTOCOL_ERROR },
  'RST_STREAM on stream 0': { frames: [frame(TYPE.RST_STREAM, 0, 0, u32(8))], code: CODE.PROTOCOL_ERROR },
  'RST_STREAM too short': { frames: [get(1), frame(TYPE.RST_STREAM, 0, 1, 'abc')], code: CODE.FRAME_SIZE_ERROR },
  'WINDOW_UPDATE on an idle stream': { frames: [frame(TYPE.WINDOW_UPDATE, 0, 1, u32(1))], code: CODE.PROTOCOL_ERROR },
  'WINDOW_UPDATE by nothing': { frames: [frame(TYPE.WINDOW_UPDATE, 0, 0, u32(0))], code: CODE.PROTOCOL_ERROR },
  'WINDOW_UPDATE too short': { frames: [frame(TYPE.WINDOW_UPDATE, 0, 0, 'abc')], code: CODE.FRAME_SIZE_ERROR },
  'a window beyond 2^31': { frames: [frame(TYPE.WINDOW_UPDATE, 0, 0, u32(0x7fffffff))], code: CODE.FLOW_CONTROL_ERROR },
  'an initial window beyond 2^31': { frames: [settings([4, 0x80000000])], code: CODE.FLOW_CONTROL_ERROR },
  'a frame size below 2^14': { frames: [settings([5, 16383])], code: CODE.PROTOCOL_ERROR },
  'a frame size beyond 2^24': { frames: [settings([5, 0x1000000])], code: CODE.PROTOCOL_ERROR },
  'ENABLE_PUSH 2': { frames: [settings([2, 2])], code: CODE.PROTOCOL_ERROR },
  'SETTINGS on a stream': { frames: [frame(TYPE.SETTINGS, 0, 1, Buffer.alloc(6))], code: CODE.PROTOCOL_ERROR },
  'SETTINGS of five bytes': { frames: [frame(TYPE.SETTINGS, 0, 0, Buffer.alloc(5))], code: CODE.FRAME_SIZE_ERROR },
  'SETTINGS, acknowledged with something': { frames: [frame(TYPE.SETTINGS, FLAG.ACK, 0, Buffer.alloc(6))], code: CODE.FRAME_SIZE_ERROR },
  'PING on a stream': { frames: [frame(TYPE.PING, 0, 1, Buffer.alloc(8))], code: CODE.PROTOCOL_ERROR },
  'PING of seven bytes': { frames: [frame(TYPE.PING, 0, 0, Buffer.alloc(7))], code: CODE.FRAME_SIZE_ERROR },
  'GOAWAY on a stream': { frames: [frame(TYPE.GOAWAY, 0, 1, u32(0, 0))], code: CODE.PROTOCOL_ERROR },
  'PUSH_PROMISE of a client': { frames: [frame(TYPE.PUSH_PROMISE, END_HEADERS, 1, Buffer.concat([u32(2), hpack(GET(PATH))]))], code: CODE.PROTOCOL_ERROR },
  'CONTINUATION of nothing': { frames: [frame(TYPE.CONTINUATION, END_HEADERS, 1, hpack(GET(PATH)))], code: CODE.PROTOCOL_ERROR },
  'CONTINUATION behind the end': { frames: [get(1), frame(TYPE.CONTINUATION, END_HEADERS, 1, hpack([['x', 'y']]))], code: CODE.PROTOCOL_ERROR },
  'another frame within a head': { frames: [headers(1, GET(PATH), END_STREAM), frame(TYPE.PING, 0, 0, Buffer.alloc(8))], code: CODE.PROTOCOL_ERROR },
  'another stream within a head': { frames: [headers(1, GET(PATH), END_STREAM), frame(TYPE.CONTINUATION, END_HEADERS, 3, hpack([['x', 'y']]))], code: CODE.PROTOCOL_ERROR },
  'padding longer than HEADERS': { frames: [frame(TYPE.HEADERS, END_STREAM | END_HEADERS | PADDED, 1, Buffer.concat([Buffer.of(255), hpack(GET(PATH))]))], code: CODE.PROTOCOL_ERROR },
  'padding longer than DATA': { frames: [headers(1, POST(PATH), OPEN), frame(TYPE.DATA, END_STREAM | PADDED, 1, Buffer.of(9, 1, 2))], code: CODE.PROTOCOL_ERROR },
  'no room for padding': { frames: [headers(1, POST(PATH), OPEN), frame(TYPE.DATA, END_STREAM | PADDED, 1, '')], code: [CODE.PROTOCOL_ERROR, CODE.FRAME_SIZE_ERROR] },
  'a frame of 16385 bytes': { frames: [headers(1, POST(PATH), OPEN), data(1, Buffer.alloc(16385))], code: CODE.FRAME_SIZE_ERROR },
  'HPACK: index 0': { frames: [headers(1, Buffer.of(0x80))], code: CODE.COMPRESSION_ERROR },
  'HPACK: an index of nothing': { frames: [headers(1, reference(70))], code: CODE.COMPRESSION_ERROR },
  'HPACK: half a field': { frames: [headers(1, Buffer.of(0x00, 0x05, 0x61))], code: CODE.COMPRESSION_ERROR },
  'HPACK: an endless integer': { frames: [headers(1, Buffer.from([0x00, 0x7f, ...Array(20).fill(0xff)]))], code: CODE.COMPRESSION_ERROR },
  'HPACK: the end of text in Huffman code': { frames: [headers(1, Buffer.of(0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, 0x61))], code: CODE.COMPRESSION_ERROR },
  'HPACK: a table larger than allowed': { frames: [headers(1, Buffer.concat([Buffer.of(0x3f, 0xe1, 0xff, 0x03), hpack(GET(PATH))]))], code: CODE.COMPRESSION_ERROR },
  'HPACK: a table resized behind a field': { frames: [headers(1, Buffer.concat([hpack(GET(PATH)), Buffer.of(0x20)]))], code: CODE.COMPRESSION_ERROR },
};

test('what ends the connection', async (t) => {
  const h = await host(t);
  for (const [what, { frames, code = any, preface }] of Object.entries(broken)) {
    await t.test(what, async (tt) => {
      const wire = await connect(tt, h, preface ? { first: Buffer.alloc(0) } : {});
      wire.send(...frames, next());
      const got = await wire.farewell();
      assert.ok(got === 'closed' || [code].flat().includes(got), `${got}`);
      assert.ok(!wire.frames.some((f) => f.type === TYPE.HEADERS && f.stream === NEXT), 'what came behind was answered');
    });
  }
  const wire = await connect(t, h);
  assert.equal((await wire.send(get(1)).outcome(1)).status, 200);
});

// ---- only the request is refused, by a status or a reset ----
const line = (over) => Object.entries({ ':method': 'GET', ':scheme': 'http', ':authority': 'x', ':path': PATH, ...over }).filter(([, v]) => v !== undefined);
const refused = {
  'a name in capitals': line({ 'X-Name': 'y' }),
  'Connection': line({ connection: 'close' }),
  'Keep-Alive': line({ 'keep-alive': 'timeout=5' }),
  'Proxy-Connection': line({ 'proxy-connection': 'close' }),
  'Transfer-Encoding': line({ 'transfer-encoding': 'chunked' }),
  'Upgrade': line({ upgrade: 'h2c' }),
  'TE with anything but trailers': line({ te: 'gzip' }),
  'no method': line({ ':method': undefined }),
  'no scheme': line({ ':scheme': undefined }),
  'no path': line({ ':path': undefined }),
  'an empty path': line({ ':path': '' }),
  'an empty method': line({ ':method': '' }),
  'a path that is none': line({ ':path': 'show' }),
  '* for GET': line({ ':path': '*' }),
  'no authority and no host': line({ ':authority': undefined }),
  'an unknown pseudo field': line({ ':sort': 'x' }),
  'a pseudo field of answers': line({ ':status': '200' }),
  'a pseudo field twice': [...line({}), [':path', PATH]],
  'the method twice': [[':method', 'GET'], ...line({})],
  'a pseudo field behind the others': [...line({ ':path': undefined }), ['x', 'y'], [':path', PATH]],
  ':protocol without leave': line({ ':method': 'CONNECT', ':protocol': 'websocket' }),
  'CONNECT': [[':method', 'CONNECT'], [':authority', 'x:80']],
  'TRACE': line({ ':method': 'TRACE' }),
  'a method in small letters': line({ ':method': 'get' }),
  'a method of two words': line({ ':method': 'GET /x HTTP/1.1\r\nhost: x\r\n\r\nGET' }),
  'a path of two words': line({ ':path': `${PATH} HTTP/1.1` }),
  'a path of two lines': line({ ':path': `${PATH} HTTP/1.1\r\nx: y\r\n\r\n` }),
  'a path with a part': line({ ':path': `${PATH}#x` }),
  'a path with NUL': line({ ':path': `${PATH}\0` }),
  'a path beyond ASCII': line({ ':path': `${PATH}/\xe9` }),
  'a path that leaves': line({ ':path': '/../x' }),
  'an authority of two lines': line({ ':authority': 'x\r\ny: z' }),
  'an authority with userinfo': line({ ':authority': 'u@x' }),
  'an authority with a path': line({ ':authority': 'x/y' }),
  'a host of another name': line({ host: 'y' }),
  'two hosts': [...line({ ':authority': undefined }), ['host', 'x'], ['host', 'x']],
  'an empty name': line({ '': 'y' }),
  'a name with a space': line({ 'x y': 'z' }),
  'a name with a colon': line({ 'x:y': 'z' }),
  'a name with CR LF': line({ 'x\r\ny': 'z' }),
  'a name beyond ASCII': line({ '\xe9': 'z' }),
  'a value with LF': line({ x: 'a\nb: c' }),
  'a value with CR': line({ x: 'a\rb' }),
  'a value with CR LF': line({ x: 'a\r\ntransfer-encoding: chunked' }),
  'a value with NUL': line({ x: 'a\0b' }),
  'a value with DEL': line({ x: 'a\x7f' }),
  'two lengths': [...line({}), ['content-length', '0'], ['content-length', '0']],
  'a length that is none': line({ 'content-length': '0x0' }),
  'a negative length': line({ 'content-length': '-1' }),
  'an expectation': line({ expect: 'tea' }),
  'too many fields': [...line({}), ...Array.from({ length: 120 }, (_, i) => [`x-${i}`, 'y'])],
  'much in a field': line({ x: 'y'.repeat(15000), z: 'y'.repeat(15000) }),
};

function judgeRefusal(what, got) {
  assert.equal(got.gone, undefined, `${what}: the connection ended, ${got.gone}`);
  const right = got.reset !== undefined ? [CODE.PROTOCOL_ERROR, CODE.INTERNAL_ERROR, CODE.CANCEL].includes(got.reset) : Number.isNaN(got.status) || [400, 413, 417, 431, 501].includes(got.status);
  assert.ok(right, `${what}: ${JSON.stringify(got)}`);
}

test('what ends a request only', async (t) => {
  const h = await host(t);
  for (const [what, fields] of Object.entries(refused)) {
    await t.test(what, async (tt) => {
      const wire = await connect(tt, h);
      const block = hpack(fields);
      const most = 16000;
      wire.send(frame(TYPE.HEADERS, END_STREAM | (block.length > most ? 0 : END_HEADERS), 1, block.subarray(0, most)));
      if (block.length > most) wire.send(frame(TYPE.CONTINUATION, END_HEADERS, 1, block.subarray(most)));
      judgeRefusal(what, await wire.outcome(1));
      assert.equal((await wire.send(next()).outcome(NEXT)).status, 200);
    });
  }
});

// nghttp2 takes no notice of such a stream, as its HEADERS may be trailers of one that was reset.
test('streams that go backwards have no answer', async (t) => {
  const wire = await connect(t, await host(t));
  wire.send(get(5), get(3), next());
  assert.equal((await wire.outcome(NEXT)).status, 200);
  assert.ok(!wire.frames.some((f) => f.stream === 3));
});

const bodies = {
  'less than its length': [headers(1, POST(PATH, [['content-length', '5']]), OPEN), data(1, 'abc')],
  'more than its length': [headers(1, POST(PATH, [['content-length', '5']]), OPEN), data(1, 'abcdefg')],
  'a length and no body': [headers(1, POST(PATH, [['content-length', '5']]))],
  'trailers with a pseudo field': [headers(1, POST(PATH), OPEN), data(1, 'abc', 0), headers(1, [[':path', '/x']])],
  'trailers that end nothing': [headers(1, POST(PATH), OPEN), data(1, 'abc', 0), headers(1, [['x', 'y']], END_HEADERS)],
  'trailers with a bad name': [headers(1, POST(PATH), OPEN), data(1, 'abc', 0), headers(1, [['X', 'y']])],
  'a window beyond 2^31': [headers(1, POST(PATH), OPEN), frame(TYPE.WINDOW_UPDATE, 0, 1, u32(0x7fffffff))],
  'a window opened by nothing': [headers(1, POST(PATH), OPEN), frame(TYPE.WINDOW_UPDATE, 0, 1, u32(0))],
  'more than the limit': [headers(1, POST(PATH), OPEN), ...Array.from({ length: 5 }, () => data(1, Buffer.alloc(16000), 0))],
};

test('bodies that are not right', async (t) => {
  const h = await host(t);
  for (const [what, frames] of Object.entries(bodies)) {
    await t.test(what, async (tt) => {
      const wire = await connect(tt, h);
      wire.send(...frames);
      const got = await wire.outcome(1);
      assert.ok(got.status !== 200 && (got.reset !== undefined || got.gone !== undefined || [400, 413].includes(got.status) || Number.isNaN(got.status)), JSON.stringify(got));
      if (got.gone === undefined) assert.equal((await wire.send(next()).outcome(NEXT)).status, 200);
    });
  }
});

// ---- and what must pass ----
const text = [['content-type', 'application/octet-stream']];
const good = {
  plain: [get(1)],
  'TE: trailers': [get(1, [['te', 'trailers']])],
  'a host that says the same': [get(1, [['host', 'x']])],
  'a host that says the same in capitals': [get(1, [['host', 'X']])],
  'a host instead of an authority': [headers(1, [...line({ ':authority': undefined }), ['host', 'x']])],
  'a head in many pieces': [headers(1, hpack(GET(PATH)).subarray(0, 5), END_STREAM), frame(TYPE.CONTINUATION, 0, 1, hpack(GET(PATH)).subarray(5, 9)), frame(TYPE.CONTINUATION, END_HEADERS, 1, hpack(GET(PATH)).subarray(9))],
  padding: [frame(TYPE.HEADERS, OPEN | PADDED, 1, Buffer.concat([Buffer.of(7), hpack(POST(PATH, text)), Buffer.alloc(7)])), frame(TYPE.DATA, END_STREAM | PADDED, 1, Buffer.concat([Buffer.of(3), Buffer.from('abc'), Buffer.alloc(3)]))],
  priority: [frame(TYPE.HEADERS, END_STREAM | END_HEADERS | PRIORITY, 1, Buffer.concat([u32(0), Buffer.of(15), hpack(GET(PATH))])), frame(TYPE.PRIORITY, 0, 3, Buffer.concat([u32(1), Buffer.of(15)]))],
  'a length that is right': [headers(1, POST(PATH, [...text, ['content-length', '3']]), OPEN), data(1, 'abc')],
  'no length': [headers(1, POST(PATH, text), OPEN), data(1, 'a', 0), data(1, 'bc')],
  'empty pieces': [headers(1, POST(PATH, text), OPEN), data(1, '', 0), data(1, 'abc', 0), data(1, '')],
  trailers: [headers(1, POST(PATH, text), OPEN), data(1, 'abc', 0), headers(1, [['x-late', 'y']])],
  'frames of an unknown type': [frame(0x7f, 0xff, 0, 'whatever'), get(1), frame(0x7f, 0, 1, 'x')],
  'unknown settings': [settings([0x7777, 7], [3, 0]), get(1)],
  'a PING between': [frame(TYPE.PING, 0, 0, 'pingpong'), get(1)],
  'streams left out': [get(1), get(51)],
  'GOAWAY of the client': [get(1), frame(TYPE.GOAWAY, 0, 0, u32(0, 0))],
  'a table of nothing': [headers(1, Buffer.concat([Buffer.of(0x20), hpack(GET(PATH))]))],
  'fields from the table': [headers(1, Buffer.concat([hpack(GET(PATH)), indexed('x-one', 'two'), reference(62)]))],
  'a value beyond ASCII': [get(1, [['x', '\xc3\xa9']])],
};

test('what passes', async (t) => {
  const h = await host(t);
  for (const [what, frames] of Object.entries(good)) {
    for (const bytewise of [false, true]) {
      await t.test(`${what}${bytewise ? ', byte by byte' : ''}`, async (tt) => {
        const wire = await connect(tt, h);
        const bytes = Buffer.concat(frames);
        if (!bytewise) wire.send(bytes);
        for (const b of bytewise ? bytes : []) { wire.send(Buffer.of(b)); await new Promise((r) => setImmediate(r)); }
        assert.deepEqual(await wire.outcome(1), { status: 200 });
        if (frames.some((f) => f[3] === TYPE.DATA)) assert.equal((await wire.until((f) => f.type === TYPE.DATA && f.stream === 1)).payload.toString(), 'abc');
        if (frames.some((f) => f[3] === TYPE.GOAWAY)) return;
        assert.equal((await wire.send(next()).outcome(NEXT)).status, 200);
      });
    }
  }
});

// ---- floods: the connection ends; nobody else's suffers, and memory does not grow ----
const ping = frame(TYPE.PING, 0, 0, Buffer.alloc(8));
const big = 'v'.repeat(3900);
const floods = {
  PING: () => Array(2000).fill(ping),
  'PING, acknowledged': () => Array(2000).fill(frame(TYPE.PING, FLAG.ACK, 0, Buffer.alloc(8))),
  SETTINGS: () => Array(2000).fill(settings([3, 100])),
  PRIORITY: () => Array.from({ length: 2000 }, (_, i) => frame(TYPE.PRIORITY, 0, 2 * (i % 200) + 3, Buffer.concat([u32(1), Buffer.of(15)]))),
  'PRIORITY in a circle': () => Array.from({ length: 2000 }, (_, i) => frame(TYPE.PRIORITY, 0, i % 2 ? 3 : 5, Buffer.concat([u32(i % 2 ? 0x80000005 : 0x80000003), Buffer.of(255)]))),
  'frames of no known type': () => Array(2000).fill(frame(0xee, 0, 0, 'x')),
  'empty DATA': () => [headers(1, POST(PATH), OPEN), ...Array(2000).fill(data(1, '', 0))],
  'empty CONTINUATION': () => [headers(1, GET(PATH), END_STREAM), ...Array(2000).fill(frame(TYPE.CONTINUATION, 0, 1, ''))],
  'CONTINUATION without end': () => [headers(1, GET(PATH), END_STREAM), ...Array.from({ length: 500 }, (_, i) => frame(TYPE.CONTINUATION, 0, 1, hpack([[`x-${i}`, 'y'.repeat(8000)]])))],
  'streams reset at once': () => Array.from({ length: 500 }, (_, i) => [get(2 * i + 1), frame(TYPE.RST_STREAM, 0, 2 * i + 1, u32(8))]).flat(),
  'streams that we must reset: window': () => Array.from({ length: 500 }, (_, i) => [headers(2 * i + 1, POST(PATH), OPEN), frame(TYPE.WINDOW_UPDATE, 0, 2 * i + 1, u32(0))]).flat(),
};

test('floods', async (t) => {
  const h = await host(t);
  const [worker] = h.workers();
  for (const [what, make] of Object.entries(floods)) {
    await t.test(what, async (tt) => {
      const wire = await connect(tt, h);
      wire.send(Buffer.concat(make()));
      const got = await wire.farewell();
      assert.ok(['closed', CODE.ENHANCE_YOUR_CALM, CODE.PROTOCOL_ERROR].includes(got), `${got}`);
    });
  }
  assert.deepEqual(h.workers(), [worker]);
  const wire = await connect(t, h);
  assert.equal((await wire.send(...Array(400).fill(ping), get(1)).outcome(1)).status, 200, 'some chores are nobody\'s fault');
});

// As those that the client resets itself: no handler begins for them, and the connection ends in the end.
test('streams that we must reset: nobody works for them', async (t) => {
  const count = 'local calls = 0\nreturn function() calls = calls + 1 return tostring(calls) end';
  const h = await start(t, { files: deployment({ show: count }, { more: 'limits = { h2c = true },' }) });
  for (const [what, spoil] of Object.entries({
    'by a window': (id) => frame(TYPE.WINDOW_UPDATE, 0, id, u32(0x7fffffff)),
    'by the client': (id) => frame(TYPE.RST_STREAM, 0, id, u32(8)),
  })) {
    const wire = await connect(t, h);
    const calls = async (id) => Number((await wire.until((f) => f.type === TYPE.DATA && f.stream === id)).payload);
    wire.send(get(1), Buffer.concat(Array.from({ length: 40 }, (_, i) => [get(2 * i + 3), spoil(2 * i + 3)]).flat()), next());
    const more = await calls(NEXT) - await calls(1);
    assert.ok(more < 10, `${what}: ${more} calls`); // the bytes may come in several pieces
    const ended = () => wire.frames.some((f) => f.type === TYPE.GOAWAY);
    for (let id = NEXT + 2; id < NEXT + 600 && !ended(); id += 2) {
      wire.send(Buffer.concat([get(id), spoil(id), frame(TYPE.PING, 0, 0, Buffer.alloc(8, id))]));
      await wire.until((f) => ended() || (f.type === TYPE.PING && f.payload[0] === id % 256));
      wire.frames = wire.frames.filter((f) => f.type === TYPE.GOAWAY);
    }
    assert.equal(await wire.farewell(), CODE.ENHANCE_YOUR_CALM, what);
  }
});

test('bad heads over and over', async (t) => {
  const wire = await connect(t, await host(t));
  for (let i = 0; i < 300 && !wire.frames.some((f) => f.type === TYPE.GOAWAY); i++) {
    wire.send(headers(2 * i + 1, line({ 'X-A': 'y' })));
    await wire.until((f) => f.type === TYPE.GOAWAY || f.stream === 2 * i + 1);
  }
  assert.equal(await wire.farewell(), CODE.ENHANCE_YOUR_CALM);
});

test('bombs of compression: small on the wire, large when unpacked', async (t) => {
  const h = await host(t);
  const [worker] = h.workers();
  const before = rss(worker).anon;
  const wire = await connect(t, h);
  const head = hpack(GET(PATH));
  for (let i = 0; i < 50; i++) { // 16 KB each, 46 MB unpacked
    const bomb = Buffer.concat([head, ...(i === 0 ? [indexed('x', big)] : []), ...Array(11000).fill(reference(62))]);
    wire.send(headers(2 * i + 1, bomb));
    const got = await wire.outcome(2 * i + 1);
    assert.ok(got.status !== 200 && got.status !== 204, JSON.stringify(got));
    if (got.gone !== undefined) break;
  }
  const after = rss(worker).anon;
  t.diagnostic(`grew from ${before} to ${after} KiB`);
  if (SLOW === 1) assert.ok(after < before + 8 * 1024, `grew from ${before} to ${after} KiB`);
});

test('more streams than are allowed are refused, the others answered', async (t) => {
  const wire = await connect(t, await host(t));
  wire.send(...Array.from({ length: 150 }, (_, i) => headers(2 * i + 1, POST(PATH, text), OPEN)));
  assert.deepEqual(await wire.outcome(299), { reset: CODE.REFUSED_STREAM });
  wire.send(data(1, 'abc'));
  assert.deepEqual(await wire.outcome(1), { status: 200 });
});

test('a request that stops is given up, whatever else comes', async (t) => {
  const h = await start(t, { files: deployment({ show: SHOW }, { more: 'limits = { h2c = true, body_timeout = 1 },' }) });
  let wire, goesOn = false;
  for (let round = 0; round < 10 && !goesOn; round++) { // once more where this process was too late with what goes on
    wire = await connect(t, h);
    wire.send(headers(1, POST(PATH, text), OPEN), headers(3, POST(PATH, text), OPEN), data(1, 'a', 0));
    const timer = setInterval(() => wire.send(ping, data(3, 'b'.repeat(500), 0)), 50);
    later(t, () => clearInterval(timer));
    const got = await wire.outcome(1);
    assert.ok(Number.isNaN(got.status) || got.status === 408, JSON.stringify(got));
    clearInterval(timer);
    goesOn = (await wire.send(data(3, 'c')).outcome(3)).status === 200;
  }
  assert.ok(goesOn, 'the one that goes on is not');
});
