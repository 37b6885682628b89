// RFC 6455 case by case, each on a connection of its own: framing, pings, reserved bits, kinds, fragments, UTF-8, closing,
// large messages; all at once, in pieces, and byte by byte. A browser never sends most of this.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, start } from '../lib/host.mjs';
import { closing, frame, RawSocket } from '../lib/websocket.mjs';

const ECHO = 'return function() return { websocket = function(ws) for m, kind in ws:messages() do ws:send(m, kind) end end } end';
const PATH = '/.netlify/functions/echo';
const [NEXT, TEXT, BINARY, PING, PONG] = [0, 1, 2, 9, 10];
const part = (kind, payload) => frame(kind, payload, { fin: false });
const utf8 = (...bytes) => Buffer.from(bytes);

// { what it is, what is sent, in writes of so many bytes, what must come: texts, bytes and `pong X`, and how it ends }. What
// ends well is closed with 1000 behind it.
const cases = [];
function add(name, frames, wanted, end = 1000, sizes = [0]) {
  for (const size of sizes) cases.push({ name: size ? `${name}, ${size} bytes a write` : name, bytes: Buffer.concat(frames), wanted, end, size });
}
const refused = (name, frames, end = 1002, wanted = []) => add(name, frames, wanted, end, [0, 1]);

for (const length of [0, 1, 125, 126, 127, 128, 65535, 65536]) {
  const [text, bytes] = ['*'.repeat(length), Buffer.alloc(length, 0xfe)];
  const sizes = length > 200 ? [0, 997] : [0, 1];
  add(`text of ${length}`, [frame(TEXT, text)], [text], 1000, sizes);
  add(`${length} bytes`, [frame(BINARY, bytes)], [bytes], 1000, sizes);
}

for (const payload of ['', 'Hello', utf8(0, 255, 254, 1), '*'.repeat(125)]) add(`ping of ${payload.length}`, [frame(PING, payload)], [`pong ${Buffer.from(payload).toString('latin1')}`], 1000, [0, 1]);
const ten = Array.from({ length: 10 }, (_, i) => `payload ${i}`);
add('ten pings', ten.map((one) => frame(PING, one)), ten.map((one) => `pong ${one}`), 1000, [0, 1]);
for (const payload of ['', 'unasked', '*'.repeat(125)]) add(`a pong of ${payload.length} that nobody asked for`, [frame(PONG, payload), frame(PING, 'x')], ['pong x']);
for (const [kind, name] of [[PING, 'ping'], [PONG, 'pong'], [8, 'close']]) refused(`${name} of 126`, [frame(kind, '*'.repeat(126))]);

for (let bits = 1; bits < 8; bits++) {
  for (const kind of [NEXT, TEXT, BINARY, 8, PING, PONG]) refused(`reserved bits ${bits} of kind ${kind}`, [frame(TEXT, 'before'), frame((bits << 4) | kind, 'x')], 1002, ['before']);
}
for (const kind of [3, 4, 5, 6, 7, 11, 12, 13, 14, 15]) {
  for (const payload of ['', 'x']) {
    refused(`kind ${kind} of ${payload.length}`, [frame(kind, payload)]);
    refused(`kind ${kind} of ${payload.length}, after a message`, [frame(TEXT, 'before'), frame(kind, payload), frame(PING)], 1002, ['before']);
    refused(`kind ${kind} of ${payload.length}, within a message`, [part(TEXT, 'a'), frame(kind, payload), frame(NEXT, 'b')]);
  }
}
refused('not masked', [utf8(0x81, 1, 0x61)]);
refused('a length with its highest bit', [utf8(0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4)]);

refused('a ping in fragments', [part(PING, 'a'), frame(NEXT, 'b')]);
refused('a pong in fragments', [part(PONG, 'a'), frame(NEXT, 'b')]);
refused('a close in fragments', [part(8, utf8(3, 232)), frame(NEXT)]);
for (const [first, name, a, b] of [[TEXT, 'text', 'frag', 'ment'], [BINARY, 'bytes', Buffer.from('fr\xff', 'latin1'), Buffer.from('ag')]]) {
  const whole = first === TEXT ? a + b : Buffer.concat([a, b]);
  add(`${name} in two`, [part(first, a), frame(NEXT, b)], [whole], 1000, [0, 1]);
  add(`${name} in two, the first empty`, [part(first, ''), frame(NEXT, b)], [b], 1000, [0, 1]);
  add(`${name} in two, the last empty`, [part(first, a), frame(NEXT, '')], [a], 1000, [0, 1]);
  add(`${name} in three, all empty`, [part(first, ''), part(NEXT, ''), frame(NEXT, '')], [first === TEXT ? '' : Buffer.alloc(0)], 1000, [0, 1]);
  add(`${name} in two, a ping between`, [part(first, a), frame(PING, 'p'), frame(NEXT, b)], ['pong p', whole], 1000, [0, 1]);
  add(`${name} in five, pings and a pong between`, [part(first, a), frame(PING, '1'), part(NEXT, b), frame(PONG, 'x'), part(NEXT, a), frame(PING, '2'), part(NEXT, ''), frame(NEXT, b)],
    ['pong 1', 'pong 2', first === TEXT ? a + b + a + b : Buffer.concat([a, b, a, b])], 1000, [0, 1]);
  refused(`a second ${name} within the first`, [part(first, a), frame(first, b)]);
  refused(`a second ${name} in fragments within the first`, [part(first, a), part(first, b), frame(NEXT, b)]);
  refused(`more of ${name} that is whole`, [frame(first, a), frame(NEXT, b)], 1002, [a]);
}
for (const make of [frame, part]) {
  refused('more of nothing', [make(NEXT, 'x'), frame(TEXT, 'y')]);
  refused('more of nothing, after a message in fragments', [part(TEXT, 'a'), frame(NEXT, 'b'), make(NEXT, 'x')], 1002, ['ab']);
}

const good = [
  'κόσμε', '\u0080', 'ࠀ', '\u{10000}', '\u007f', '\u07ff', '\uffff', '\u{10ffff}', '\ud7ff', '\ue000', '\ufffd', '\ufffe', '\ufdd0', '\u{1fffe}', '\u{3ffff}', '\u{10fffe}', '\0', 'a\0b', '\ufeffx',
  'Hello-µ@ßöäüàá-UTF-8!!', '€ 😀 𝄞',
];
for (const one of good) {
  const bytes = Buffer.from(one);
  add(`UTF-8 ${JSON.stringify(one)}`, [frame(TEXT, one)], [one], 1000, [0, 1]);
  add(`UTF-8 ${JSON.stringify(one)}, a byte a fragment`, [...[...bytes].map((byte, i) => part(i ? NEXT : TEXT, utf8(byte))), frame(NEXT)], [one], 1000, [0, 1]);
}
const bad = [
  [0x80], [0xbf], [0x80, 0xbf], [0x80, 0xbf, 0x80, 0xbf, 0x80, 0xbf], [0xc0], [0xc0, 0x20], [0xdf, 0x20], [0xe0, 0x20], [0xef, 0x20], [0xf0, 0x20], [0xf7, 0x20], [0xf8, 0x20], [0xfc, 0x20], [0xfe], [0xff],
  [0xfe, 0xfe, 0xff, 0xff], [0xc3], [0xe2, 0x82], [0xf0, 0x9f, 0x98], [0xef, 0xbf], [0xf7, 0xbf, 0xbf], [0xc0, 0xaf], [0xe0, 0x80, 0xaf], [0xf0, 0x80, 0x80, 0xaf], [0xf8, 0x80, 0x80, 0x80, 0xaf],
  [0xfc, 0x80, 0x80, 0x80, 0x80, 0xaf], [0xc1, 0xbf], [0xe0, 0x9f, 0xbf], [0xf0, 0x8f, 0xbf, 0xbf], [0xf8, 0x87, 0xbf, 0xbf, 0xbf], [0xfc, 0x83, 0xbf, 0xbf, 0xbf, 0xbf], [0xc0, 0x80], [0xe0, 0x80, 0x80],
  [0xf0, 0x80, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xed, 0xad, 0xbf], [0xed, 0xae, 0x80], [0xed, 0xaf, 0xbf], [0xed, 0xb0, 0x80], [0xed, 0xbe, 0x80], [0xed, 0xbf, 0xbf], [0xed, 0xa0, 0x80, 0xed, 0xb0, 0x80],
  [0xed, 0xaf, 0xbf, 0xed, 0xbf, 0xbf], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xf7, 0xbf, 0xbf, 0xbf], [0xf8, 0x88, 0x80, 0x80, 0x80], [0xfb, 0xbf, 0xbf, 0xbf, 0xbf], [0xfd, 0xbf, 0xbf, 0xbf, 0xbf, 0xbf],
];
for (const bytes of bad) {
  const shown = Buffer.from(bytes).toString('hex');
  const around = Buffer.concat([Buffer.from('κόσμε'), utf8(...bytes), Buffer.from('edited')]);
  refused(`not UTF-8: ${shown}`, [frame(TEXT, utf8(...bytes))], 1007);
  refused(`not UTF-8: ${shown}, in the middle`, [frame(TEXT, 'before'), frame(TEXT, around)], 1007, ['before']);
  refused(`not UTF-8: ${shown}, a byte a fragment`, [...[...around].map((byte, i) => part(i ? NEXT : TEXT, utf8(byte))), frame(NEXT)], 1007);
  add(`not UTF-8: ${shown}, as bytes`, [frame(BINARY, utf8(...bytes))], [utf8(...bytes)]);
  refused(`a reason that is not UTF-8: ${shown}`, [frame(8, Buffer.concat([utf8(3, 232), utf8(...bytes)]))], 1007);
}

// How a connection ends.
const over = (name, frames, end, wanted = []) => add(name, frames, wanted, end, [0, 1]);
for (const code of [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]) over(`closed with ${code}`, [closing(code, 'a reason')], code);
for (const code of [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]) over(`closed with ${code}, which never travels`, [closing(code)], 1002);
over('closed without a code', [frame(8)], 1000);
over('closed with half a code', [frame(8, 'x')], 1002);
over('closed with a reason of 123', [closing(1000, '*'.repeat(123))], 1000);
over('closed with a reason of 124', [closing(1000, '*'.repeat(124))], 1002);
over('closed after a message', [frame(TEXT, 'before'), closing(1000)], 1000, ['before']);
over('closed twice', [closing(1000), closing(1001)], 1000);
over('a message behind the close', [closing(1000), frame(TEXT, 'after')], 1000);
over('a ping behind the close', [closing(1000), frame(PING, 'after')], 1000);
over('closed within a message', [part(TEXT, 'a'), closing(1000), frame(NEXT, 'b')], 1000);

for (const length of [65536, 262144, 1048576]) {
  const [text, bytes] = ['ö'.repeat(length / 2), Buffer.alloc(length, 0xfe)];
  for (const each of [1300, 65536]) {
    const pieces = (all, kind) => Array.from({ length: Math.ceil(length / each) }, (_, i) => frame(i ? NEXT : kind, all.subarray(i * each, (i + 1) * each), { fin: (i + 1) * each >= length }));
    add(`text of ${length} in fragments of ${each}`, pieces(Buffer.from(text), TEXT), [text]);
    add(`${length} bytes in fragments of ${each}`, pieces(bytes, BINARY), [bytes]);
  }
}

// What came until the connection has ended. Pongs overtake messages, as the host answers pings itself.
async function answers(raw) {
  const [pongs, messages] = [[], []];
  for (let got = await raw.next(); got; got = await raw.next()) {
    if (got.opcode === 8) return { pongs, messages, code: got.code ?? 1000, after: await raw.next() };
    if (got.opcode === PONG) pongs.push(`pong ${got.payload.toString('latin1')}`);
    else messages.push(got.opcode === TEXT ? got.text : got.payload);
  }
  return { pongs, messages, code: 'no close' };
}

test('every case ends as it should', async (t) => {
  const h = await start(t, { files: deployment({ echo: ECHO }) });
  const wrong = [];
  for (const { name, bytes, wanted, end, size } of cases) {
    const raw = await RawSocket.open(h, PATH);
    const all = end === 1000 ? Buffer.concat([bytes, closing(1000)]) : bytes;
    for (let at = 0; at < all.length; at += size || all.length) raw.send(all.subarray(at, at + (size || all.length)));
    const { pongs, messages, code, after } = await answers(raw);
    const isPong = (one) => typeof one === 'string' && one.startsWith('pong ');
    try {
      assert.deepEqual([pongs, messages, code, after], [wanted.filter(isPong), wanted.filter((one) => !isPong(one)), end, null]);
    } catch (error) {
      wrong.push(`${name}: ${error.message.slice(0, 300)}`);
    }
    raw.close();
  }
  assert.deepEqual(wrong, [], `${wrong.length} of ${cases.length}`);
  t.diagnostic(`${cases.length} cases`);
});

test('what compresses is not agreed upon', async (t) => {
  const h = await start(t, { files: deployment({ echo: ECHO }) });
  for (const offer of ['permessage-deflate', 'permessage-deflate; client_max_window_bits', 'x-webkit-deflate-frame, permessage-deflate; server_no_context_takeover']) {
    const raw = await RawSocket.open(h, PATH, { headers: { 'Sec-WebSocket-Extensions': offer } });
    assert.deepEqual([raw.response.status, raw.response.headers['sec-websocket-extensions']], [101, undefined], offer);
    raw.send(frame(TEXT, 'plain'));
    assert.equal((await raw.next()).text, 'plain');
    raw.close();
  }
});
