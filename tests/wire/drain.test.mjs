// Who keeps a connection loses nothing when the process at its other end is asked to go: at an upgrade, at a restart behind sockets
// that outlive it, at a reload. Each request is a POST, which nobody may send twice, and is counted where it runs.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http2 from 'node:http2';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, sleep, start } from '../lib/host.mjs';
import { activate, handedOver } from '../lib/systemd.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const CLIENTS = 32;
const FN = '/.netlify/functions';
// Most are silent most of the time, and ask when they like; what came meanwhile is heard first.
const pause = async (n) => {
  await sleep((n % 8) / 1000);
  await new Promise((resolve) => { setImmediate(resolve); });
};
const files = () => deployment({
  count: 'return function(event) kv.incr("n") return event.body end',
  counted: 'return function() return tostring(kv.get("n") or 0) end',
}, { fields: { count: 'kv = "n"', counted: 'kv = "n"' }, more: 'limits = { h2c = true }' });

// Sends one after the other on a connection that is kept until an answer says otherwise.
async function client(at, load, name) {
  let wire = await Wire.connect(at.address, at.port);
  for (let n = 0; !load.over; n++) {
    const body = `${name}-${n}`;
    await pause(n);
    if (wire.ended) { // it has been silent for too long
      load.closed += 1;
      wire.close();
      wire = await Wire.connect(at.address, at.port);
    }
    load.sent += 1;
    wire.send(requestText({ method: 'POST', path: `${FN}/count`, headers: { 'Content-Type': 'text/plain' }, body, close: false }));
    const res = await wire.response().catch((e) => e);
    if (res.status !== 200 || res.text !== body) load.faults.push(`${body}: ${res.message ?? `${res.status} ${res.text}`}`);
    else load.answered += 1;
    if (res instanceof Error || /close/i.test(res.header('connection') ?? '')) {
      load.closed += 1;
      wire.close();
      if (!load.over) wire = await Wire.connect(at.address, at.port);
    }
  }
  wire.close();
}

// The same over HTTP/2, until it is told to go away. A stream that is refused was not looked at, or never left here (RFC 9113, 8.7): the
// request may be sent again, and is.
async function client2(at, load, name) {
  const connect = () => {
    const s = http2.connect(`http://${at.address}:${at.port}`);
    s.on('goaway', () => { s.gone = true; load.closed += 1; });
    s.on('error', (e) => { load.faults.push(`${name}: ${e.message}`); });
    return s;
  };
  let s = connect();
  for (let n = 0; !load.over; n++) {
    const body = `${name}-${n}`;
    await pause(n);
    if (s.gone || s.closed) s = connect();
    load.sent += 1;
    const text = await new Promise((resolve) => {
      const stream = s.request({ ':method': 'POST', ':path': `${FN}/count`, 'content-type': 'text/plain' });
      let got = '';
      stream.setEncoding('latin1').on('data', (d) => { got += d; }).on('error', (e) => { got = e.message; }).on('close', () => resolve(got));
      stream.end(body);
    });
    if (text === body) load.answered += 1;
    else if (/REFUSED_STREAM/.test(text)) { load.sent -= 1; s.gone = true; } else load.faults.push(`${body}: ${text}`);
  }
  s.close();
}

function begin(at, kind = client) {
  const load = { sent: 0, answered: 0, closed: 0, faults: [], over: false };
  const clients = Array.from({ length: CLIENTS }, (_, i) => kind(at, load, i));
  load.more = () => { const to = load.answered + 4 * CLIENTS; return eventually(() => load.answered >= to || load.faults.length > 0, 20, 'answers'); };
  load.end = async () => { load.over = true; await Promise.all(clients); };
  return load;
}

async function allWell(h, load) {
  assert.deepEqual(load.faults, []);
  assert.equal(load.answered, load.sent);
  assert.equal(Number((await h.call('counted')).text), load.sent, 'each ran once');
}

for (const [name, kind] of [['HTTP/1.1', client], ['HTTP/2', client2]]) {
  test(`an upgrade and a reload under ${CLIENTS} clients that keep their connections, ${name}: none loses a request`, async (t) => {
    const h = await start(t, { files: files(), workers: 2 });
    const load = begin(h, kind);
    await load.more();
    const before = h.workers();
    h.kill('SIGUSR2');
    await eventually(() => h.stderr.includes('the new program serves') && load.closed >= CLIENTS, 20, 'all have moved on');
    await eventually(() => before.every((pid) => !fs.existsSync(`/proc/${pid}`)), 10, 'the old workers are gone');
    await load.more();
    h.kill('SIGHUP');
    await load.more();
    await load.end();
    await allWell(h, load);
  });
}

// As a service manager restarts a service whose sockets it holds: SIGUSR1 starts one more beside it.
const MANAGER = `begin() { (export LISTEN_PID=$BASHPID; exec "$@") & }
trap 'begin "$@"' USR1
trap 'kill $(jobs -pr)' TERM
begin "$@"
while [ -n "$(jobs -pr)" ]; do wait; done`;

test(`SIGTERM with a successor on the same socket, under ${CLIENTS} clients that keep their connections: none loses a request`, async (t) => {
  const h = await start(t, { files: files(), workers: 2, listen: null, under: [...activate('http'), 'bash', '-c', MANAGER, 'bash'] });
  [h.port] = handedOver(h);
  const [old] = h.workers();
  const load = begin(h);
  await load.more();
  h.kill('SIGUSR1');
  await eventually(() => h.stderr.match(/listening on/g).length === 2, 10, 'the successor');
  process.kill(old, 'SIGTERM');
  await eventually(() => !fs.existsSync(`/proc/${old}`), 20, 'its end');
  await eventually(() => load.closed > 0, 10, 'who was at the old one knows'); // it may have gone before we read that
  await load.more();
  await load.end();
  await allWell(h, load);
});

test('TLS: what is asked once more is answered, and the silent are closed', async (t) => {
  const dir = folder(t, files());
  const tls = certificate(dir);
  const h = await start(t, { dir, args: tlsArgs(tls) });
  const s = http2.connect(`https://localhost:${h.port}`, { ca: tls.ca });
  const closed = new Promise((resolve) => { s.once('close', resolve); });
  const goaways = [];
  s.on('goaway', (code, last) => goaways.push([code, last]));
  const ask = () => new Promise((resolve, reject) => {
    const stream = s.request({ ':method': 'POST', ':path': `${FN}/count`, 'content-type': 'text/plain' });
    stream.on('data', (d) => resolve(String(d))).on('error', reject).end('once');
  });
  assert.equal(await ask(), 'once');
  h.kill('SIGTERM');
  await closed;
  assert.equal(goaways[0][0], 0);
  assert.equal(goaways[0][1], 2 ** 31 - 1, 'first a notice, so that nothing on its way is lost');
  assert.deepEqual(await h.exit, { code: 0, signal: null });
});
