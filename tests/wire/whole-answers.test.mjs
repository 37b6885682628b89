// Answers of sizes around each mark of the way out arrive whole, byte for byte: over HTTP/1.1 and
// HTTP/2, plain and by TLS, to peers with usual and with small windows, alone and in pipelined bursts.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, folder, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;
const SIZES = [1, 5000, ...[16, 64, 128, 256].flatMap((k) => [k * KIB - 1, k * KIB, k * KIB + 1]), 300000, 1024 * KIB, 5 * 1024 * KIB];
// A text that repeats at no power of two, so that a piece too many, too few or twice is seen.
const CYCLE = crypto.createHash('shake256', { outputLength: 65521 / 2 | 0 }).update('luafn').digest('hex').slice(0, 65519);
const text = (size) => Buffer.from(CYCLE.repeat(Math.ceil(size / CYCLE.length)).slice(0, size));
const SCRIPTS = {
  size: `local cycle = "${CYCLE}" return function(e) local n = tonumber(e.queryStringParameters.n)
    return cycle:rep(n // #cycle + 1):sub(1, n) end`,
  pieces: `local cycle = "${CYCLE}" return function(e) local n = tonumber(e.queryStringParameters.n)
    return { statusCode = 200, body = function(write)
      while n > 0 do local piece = cycle:sub(1, math.min(n, #cycle)) write(piece) n = n - #piece end end } end`,
};
const files = Object.fromEntries(SIZES.map((n) => [`web/${n}.bin`, text(n)]));
const PATHS = SIZES.flatMap((n) => [[n, `/${n}.bin`], [n, `${FN}/size?n=${n}`], [n, `${FN}/pieces?n=${n}`]]);

async function host(t, { tls = false } = {}) {
  const dir = folder(t, deployment(SCRIPTS, { more: 'publish = "web", limits = { h2c = true },', files }));
  const pair = tls ? certificate(dir) : null;
  const h = await start(t, { dir, args: pair ? tlsArgs(pair) : [] });
  h.ca = pair?.ca;
  h.origin = `${pair ? 'https' : 'http'}://localhost:${h.port}`;
  return h;
}

const lookup = (h) => (_, o, done) => (o.all ? done(null, [{ address: h.address, family: 4 }]) : done(null, h.address, 4));

// `window`: of each stream, and of the connection where it is more than the 64 KiB that it begins with.
function session(t, h, window) {
  const s = http2.connect(h.origin, { lookup: lookup(h), ca: h.ca, settings: window && { initialWindowSize: window } });
  s.on('error', () => {});
  s.on('connect', () => { if (window > 65535) s.setLocalWindowSize(window); });
  later(t, () => s.destroy());
  return s;
}

// The whole body, or what went wrong.
function collect(stream, name, size) {
  return new Promise((resolve, reject) => {
    const pieces = [];
    stream.on('data', (d) => pieces.push(d));
    stream.on('error', (e) => reject(new Error(`${name}: ${e.message}`)));
    stream.on('aborted', () => reject(new Error(`${name}: broken off`)));
    stream.on('end', () => {
      const got = Buffer.concat(pieces);
      if (got.equals(text(size))) resolve(); else reject(new Error(`${name}: ${got.length} of ${size} bytes, or others`));
    });
  });
}

const byH2 = (s, [size, path]) => collect(s.request({ ':path': path }), path, size);
const byH1 = (h, agent, [size, path]) => new Promise((resolve, reject) => {
  const client = h.ca ? https : http;
  client.get(h.origin + path, { agent, lookup: lookup(h), ca: h.ca, ALPNProtocols: undefined }, (res) => collect(res, path, size).then(resolve, reject)).on('error', reject);
});

// Several at a time over each connection, and each alone.
for (const tls of [false, true]) {
  test(`every size, ${tls ? 'by TLS' : 'plain'}`, async (t) => {
    const h = await host(t, { tls });
    const agent = new (tls ? https : http).Agent({ keepAlive: true, maxSockets: 4 });
    later(t, () => agent.destroy());
    await Promise.all(PATHS.map((p) => byH1(h, agent, p)));
    for (const window of [undefined, 1000, 1 << 26]) {
      const some = window === 1000 ? PATHS.filter(([n]) => n <= 300000) : PATHS;
      const shared = session(t, h, window);
      await Promise.all(some.map((p) => byH2(shared, p)));
      const alone = session(t, h, window);
      for (const p of some) await byH2(alone, p);
    }
    await h.stop();
    for (const line of h.log()) assert.deepEqual([line.status, line.error], [200, undefined], JSON.stringify(line));
    const sent = h.log().reduce((sum, line) => sum + line.bytes, 0);
    const asked = (list) => list.reduce((sum, [n]) => sum + n, 0);
    assert.equal(sent, 5 * asked(PATHS) + 2 * asked(PATHS.filter(([n]) => n <= 300000)));
  });
}

test('pipelined bursts lose no answer, read at once or slowly', async (t) => {
  const h = await host(t);
  const one = (size) => `GET ${FN}/size?n=${size} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const mix = Array.from({ length: 40 }, (_, i) => (i * 977) % 9000 + 1000);
  for (const sizes of [Array(40).fill(5000), mix, [...Array(30).fill(5000), 300000, ...Array(9).fill(5000)]]) {
    for (let burst = 0; burst < 12; burst++) {
      const wire = await h.connect();
      wire.send(sizes.map(one).join(''));
      for (const [i, size] of sizes.entries()) {
        const { body } = await wire.response();
        assert.ok(body.equals(text(size)), `answer ${i} of burst ${burst}`);
        if (burst % 3 !== 2) continue;
        wire.socket.pause();
        await new Promise((resolve) => setImmediate(resolve));
        wire.socket.resume();
      }
      wire.close();
    }
  }
});
