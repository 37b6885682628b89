// HTTP/2 clients that misbehave, each for as long as a good one beside it asks for its answers of 1 MiB: all of them
// come whole, from the same worker, and its memory stays within bounds.
import assert from 'node:assert/strict';
import http2 from 'node:http2';
import test from 'node:test';
import { data, FLAG, frame, GET, H2Wire, headers, POST, settings, TYPE, u32 } from '../lib/h2wire.mjs';
import { deployment, SLOW, start } from '../lib/host.mjs';
import { rss } from '../lib/process.mjs';

const SIZE = 1024 * 1024;
const ANSWERS = 8;
const GROWTH_KIB = 80 * 1024; // limits.memory, and what the good one has under way
const BIG = '/.netlify/functions/big';
const TAKE = '/.netlify/functions/take';
const SCRIPTS = { big: `return function() return ("x"):rep(${SIZE}) end`, take: 'return function(event) return tostring(#event.body) end' };

const turn = () => new Promise((resolve) => setImmediate(resolve));
const window = (stream, count) => frame(TYPE.WINDOW_UPDATE, 0, stream, u32(count));
const reset = (stream) => frame(TYPE.RST_STREAM, 0, stream, u32(8));
const post = (stream) => headers(stream, POST(TAKE, [['content-type', 'text/plain']]), FLAG.END_HEADERS);
const ids = (count, first = 1) => Array.from({ length: count }, (_, i) => first + 2 * i);

// Sends `next()` on connections of its own until `on()` is false; a connection that was ended is followed by another.
// `every`: frames of the host to wait for between two.
async function go(h, on, { first, begin = [], next, every = (f) => f.type === TYPE.PING }) {
  while (on()) {
    const wire = await H2Wire.connect(h, { first: settings(...(first ?? [])) });
    wire.send(Buffer.concat(begin));
    for (let round = 0; on() && !wire.wire.ended && round < 400; round++) {
      wire.send(Buffer.concat([...next(round), frame(TYPE.PING, 0, 0, Buffer.alloc(8))]));
      await wire.until((f) => every(f) || f.type === TYPE.GOAWAY);
      wire.frames = [];
      await turn();
    }
    wire.close();
  }
}

const abuses = {
  'a byte of window now and then, for many answers': (h, on) => go(h, on, {
    first: [[4, 1]], begin: ids(50).map((id) => headers(id, GET(BIG))), next: () => ids(50).map((id) => window(id, 1)),
  }),
  'all windows up and down': (h, on) => go(h, on, {
    first: [[4, 0]], begin: ids(50).map((id) => headers(id, GET(BIG))), next: () => [settings([4, 1]), settings([4, 0])],
  }),
  'requests that are reset when their answer begins': (h, on) => go(h, on, {
    begin: [window(0, 0x70000000)], next: (round) => [...(round > 0 ? [reset(2 * round - 1)] : []), headers(2 * round + 1, GET(BIG))], every: (f) => f.type === TYPE.DATA,
  }),
  'windows beyond 2^31': (h, on) => go(h, on, {
    next: (round) => ids(50, 100 * round + 1).flatMap((id) => [headers(id, GET(BIG)), window(id, 0x7fffffff)]),
  }),
  'bodies of padding': (h, on) => go(h, on, {
    begin: [post(1)], next: () => Array(50).fill(frame(TYPE.DATA, FLAG.PADDED, 1, Buffer.concat([Buffer.of(255), Buffer.alloc(256)]))),
  }),
  'trailers over trailers': (h, on) => go(h, on, {
    next: (round) => ids(20, 40 * round + 1).flatMap((id) => [post(id), headers(id, Array.from({ length: 30 }, (_, i) => [`x-${i}`, 'y'.repeat(200)]))]),
  }),
  'connections that break in the middle of bodies': async (h, on) => {
    while (on()) {
      const wire = await H2Wire.connect(h);
      wire.send(Buffer.concat(ids(20).flatMap((id) => [post(id), data(id, Buffer.alloc(3000), 0)])));
      await wire.until((f) => f.type === TYPE.SETTINGS);
      wire.wire.socket.resetAndDestroy();
    }
  },
};

async function ask(session) {
  const stream = session.request({ ':path': BIG });
  const parts = [];
  for await (const part of stream) parts.push(part.length);
  return parts.reduce((sum, n) => sum + n, 0);
}

test('a good client beside each of them', async (t) => {
  const h = await start(t, { files: deployment(SCRIPTS, { more: 'limits = { h2c = true },' }), args: ['--log', 'none'] });
  const [worker] = h.workers();
  for (const [what, run] of Object.entries(abuses)) {
    await t.test(what, async () => {
      const before = rss(worker).anon;
      const session = http2.connect(h.url());
      let most = 0;
      let on = true;
      const abuse = run(h, () => on);
      try {
        for (let i = 0; i < ANSWERS; i++) {
          assert.equal(await ask(session), SIZE);
          most = Math.max(most, rss(worker).anon);
        }
      } finally {
        on = false;
        session.close();
        await abuse;
      }
      if (SLOW === 1) assert.ok(most < before + GROWTH_KIB, `grew from ${before} to ${most} KiB`);
    });
  }
  assert.deepEqual(h.workers(), [worker]);
});
