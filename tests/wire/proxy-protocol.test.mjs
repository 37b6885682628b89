// --proxy-protocol: each connection says first who its client is, in version 1 or 2, and only proxies that functions.lua names may.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, freePort, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { noWorkerBegins } from '../lib/process.mjs';
import { later } from '../lib/later.mjs';
import { client, proof } from '../lib/proof.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const SCRIPTS = {
  look: 'return function(event) return json.encode { ip = event.headers["client-ip"], url = event.rawUrl, xff = event.headers["x-forwarded-for"] } end',
  rated: 'return function() return "in" end',
  echo: 'return function(event) return event.body end',
};
const FIELDS = { rated: 'rate_limit = { limit = 2, window = 3600, by = "ip" }' };
const FROM = '{ from = { "127.0.0.1", "10.0.0.0/8" } }';
const world = (t, { proxies = FROM, more = '', ...rest } = {}) => start(t, {
  files: deployment(SCRIPTS, { fields: FIELDS, more: `  proxies = ${proxies},${more}` }), ...rest, args: ['--proxy-protocol', ...(rest.args ?? [])],
});

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
const v1 = (ip, family = ip.includes(':') ? 'TCP6' : 'TCP4') => Buffer.from(`PROXY ${family} ${ip} ${family === 'TCP6' ? '::1' : '127.0.0.1'} 1000 80\r\n`);
const v2 = (command, kind, rest = '') => {
  const bytes = Buffer.from(rest, 'hex');
  return Buffer.concat([SIGNATURE, Buffer.from([command, kind, bytes.length >> 8, bytes.length & 255]), bytes]);
};
const v4 = (ip) => `${Buffer.from(ip.split('.').map(Number)).toString('hex')}7f00000103e80050`;
const text = (name, headers = {}, rest = {}) => requestText({ path: `/.netlify/functions/${name}`, host: 'api.example', headers, ...rest });

// The answer to what is sent after a header, or that the host has closed without one.
const say = async (h, ...parts) => {
  const wire = h.connect ? await h.connect() : h;
  for (const part of parts) {
    wire.send(part);
    if (parts.length > 2) await new Promise((resolve) => setImmediate(resolve));
  }
  return wire;
};
const ask = async (h, header, name = 'look', headers = {}, rest = {}) => {
  const wire = await say(h, Buffer.concat([header, Buffer.from(text(name, headers, rest))]));
  const answer = await wire.response();
  wire.close();
  return answer;
};
const isClosed = async (wire, what) => {
  assert.equal((await wire.closed()).length, 0, what);
  wire.close();
};

test('the address that is announced is the peer: in what handlers see, rates, the log; in one write or byte by byte', async (t) => {
  const h = await world(t, { workers: 2, args: ['--log', 'json'] });
  const rows = [
    [v1('192.0.2.1'), '192.0.2.1'], [v1('2001:db8::1'), '2001:db8::1'], [v1('::ffff:192.0.2.9', 'TCP6'), '192.0.2.9'],
    [v2(0x21, 0x11, v4('192.0.2.2')), '192.0.2.2'], [v2(0x21, 0x11, `${v4('192.0.2.3')}04000100ea00020102`), '192.0.2.3'],
    [v2(0x21, 0x21, `20010db8${'0'.repeat(22)}02${'0'.repeat(30)}0103e80050`), '2001:db8::2'],
    [Buffer.from('PROXY UNKNOWN\r\n'), '127.0.0.1'], [Buffer.from('PROXY UNKNOWN whatever 1.2.3.4\r\n'), '127.0.0.1'],
    [v2(0x20, 0x00), '127.0.0.1'], [v2(0x20, 0x11, v4('6.6.6.6')), '127.0.0.1'], [v2(0x21, 0x00), '127.0.0.1'],
  ];
  for (const [header, ip] of rows) {
    assert.deepEqual((await ask(h, header)).json(), { ip, url: 'http://api.example/.netlify/functions/look' }, String(header));
  }
  const slow = await say(h, ...Array.from(v2(0x21, 0x11, v4('192.0.2.4')), (b) => Buffer.from([b])), text('look'));
  assert.equal((await slow.response()).json().ip, '192.0.2.4');
  const line = await say(h, ...Array.from(v1('192.0.2.5'), (b) => Buffer.from([b])), text('look'));
  assert.equal((await line.response()).json().ip, '192.0.2.5');
  // All requests of a connection are his; a second header is none.
  const kept = await say(h, Buffer.concat([v1('192.0.2.6'), Buffer.from(text('look', {}, { close: false }))]));
  assert.equal((await kept.response()).json().ip, '192.0.2.6');
  kept.send(text('look', {}, { close: false }));
  assert.equal((await kept.response()).json().ip, '192.0.2.6');
  kept.send(v1('192.0.2.7'));
  assert.equal((await kept.response()).status, 501, 'a method that nobody knows');
  const body = 'y'.repeat(300000);
  assert.equal((await ask(h, v1('192.0.2.8'), 'echo', { 'Content-Type': 'text/plain' }, { method: 'POST', body })).text, body);
  const rates = [];
  for (const ip of ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2']) rates.push((await ask(h, v1(ip), 'rated')).status);
  assert.deepEqual(rates, [200, 200, 429, 200]);
  await h.stop();
  const ips = h.log().filter((l) => l.path?.endsWith('/rated')).map((l) => l.ip);
  assert.deepEqual(ips.sort(), ['192.0.2.1', '192.0.2.1', '192.0.2.1', '192.0.2.2'], 'in the order of either worker');
});

test('who does not speak it, or speaks it badly, is closed without a word', async (t) => {
  const h = await world(t);
  const bad = [
    text('look'), 'PROXY TCP4 192.0.2.1 127.0.0.1 1000 80\n', 'PROXY TCP4 192.0.2.1  127.0.0.1 1000 80\r\n', 'PROXY TCP4 192.0.2.1 127.0.0.1 1000 65536\r\n',
    'PROXY TCP4 192.0.2.1 127.0.0.1 01 80\r\n', `PROXY UNKNOWN ${'x'.repeat(92)}\r\n`, `PROXY TCP4 ${'1'.repeat(16384)}`, '\x16\x03\x01\x02\x00\x01',
    v2(0x21, 0x11, '7f000001'), v2(0x21, 0x11, `${v4('192.0.2.1')}0400ff00`), v2(0x21, 0x12, v4('192.0.2.1')), v2(0x31, 0x11, v4('192.0.2.1')),
    v2(0x21, 0x11, `${v4('192.0.2.1')}030004d75eaea3`), v2(0x21, 0x11, `${v4('192.0.2.1')}04${(16384 - 31).toString(16)}${'00'.repeat(16384 - 31)}`),
  ];
  for (const [i, bytes] of bad.entries()) {
    const wire = await say(h, Buffer.concat([Buffer.from(bytes), Buffer.from(text('look'))]));
    await isClosed(wire, `${i}: ${String(bytes).slice(0, 60)}`);
  }
  const cut = [v1('192.0.2.1').subarray(0, 20), v2(0x21, 0x11, v4('192.0.2.1')).subarray(0, 27), SIGNATURE.subarray(0, 5)];
  for (const bytes of cut) await isClosed((await say(h, bytes)).half(), 'cut off');
  assert.equal(await h.metric('connections_unannounced_total'), bad.length);
  assert.equal((await ask(h, v1('192.0.2.1'))).json().ip, '192.0.2.1', 'good ones are served');
});

test('who is silent, or stops within the header, is closed when the time for a head is over', async (t) => {
  const h = await world(t, { more: ' limits = { head_timeout = 1 },' });
  const wires = [await h.connect(), await say(h, v1('192.0.2.1').subarray(0, 12)), await say(h, v2(0x21, 0x11, v4('192.0.2.1')).subarray(0, 20))];
  for (const wire of wires) await isClosed(wire, 'silent');
  // Where this process gets no time, its own questions come too late, and count.
  let own = 0;
  const counted = await eventually(() => h.metric('connection_timeouts_total').catch(() => { own += 1; }), 10, 'the count');
  assert.ok(counted >= 3 && counted <= 3 + own, `${counted}`);
  const late = await eventually(async () => (await say(h, Buffer.concat([v1('192.0.2.1'), Buffer.from('GET / HTTP/1.1\r\n')]))).response().catch(() => null), 10, 'an answer');
  assert.equal(late.status, 408, 'with a header he is a client like any other');
});

test('from elsewhere nothing is believed: no header moves a limit, a line of the log, or an address', async (t) => {
  const h = await world(t, { proxies: '{ from = "10.0.0.0/8" }', args: ['--log', 'json'] });
  for (const header of [v1('10.0.0.1'), v2(0x21, 0x11, v4('10.0.0.1')), v2(0x20, 0x00), Buffer.from('PROXY UNKNOWN\r\n')]) {
    await isClosed(await say(h, Buffer.concat([header, Buffer.from(text('rated', { 'X-Forwarded-For': '1.2.3.4' }))])), 'not in from');
  }
  assert.equal(await h.metric('connections_unannounced_total'), 4);
  await h.stop();
  assert.deepEqual(h.log().filter((l) => l.path !== undefined && !l.path.startsWith('/_luafn/')), []);
});

test('a client behind the proxy claims in vain; one proxy behind another is believed', async (t) => {
  const h = await world(t);
  const claims = { 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Proto': 'https' };
  assert.deepEqual((await ask(h, v1('192.0.2.1'), 'look', claims)).json(), { ip: '192.0.2.1', url: 'http://api.example/.netlify/functions/look' });
  assert.deepEqual((await ask(h, v1('10.0.0.1'), 'look', claims)).json(), { ip: '1.2.3.4', url: 'https://api.example/.netlify/functions/look', xff: '1.2.3.4' });
  const rates = [];
  for (let i = 0; i < 3; i += 1) rates.push((await ask(h, v1('192.0.2.1'), 'rated', { 'X-Forwarded-For': `1.2.3.${i}` })).status);
  assert.deepEqual(rates, [200, 200, 429]);
});

test('the address of a proof of possession follows whom the proxy names, not what his client claims', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const h = await start(t, {
    files: deployment({ me: 'return function() return "in" end' }, { fields: { me: 'auth = { dpop = true }' }, more: `  proxies = { from = { "127.0.0.1", "10.0.0.0/8" }, trust_host = true },\n  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },` }), args: ['--proxy-protocol'],
  });
  await h.keys();
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt } });
  const claims = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'public.example' };
  const status = async (header, url, headers) => (await ask(h, header, 'me', { Authorization: `DPoP ${token}`, DPoP: await proof(who, { url, token }), ...headers })).status;
  const own = 'http://api.example/.netlify/functions/me';
  const claimed = 'https://public.example/.netlify/functions/me';
  assert.deepEqual([await status(v1('192.0.2.1'), own, claims), await status(v1('192.0.2.1'), claimed, claims)], [200, 401], 'a client');
  assert.deepEqual([await status(v1('10.0.0.1'), own, claims), await status(v1('10.0.0.1'), claimed, claims)], [401, 200], 'another proxy');
  const secure = v2(0x21, 0x11, `${v4('192.0.2.1')}2000050100000000`);
  assert.deepEqual([await status(secure, own, {}), await status(secure, own.replace('http:', 'https:'), {})], [401, 200], 'TLS that the proxy has opened');
});

test('it comes before TLS; a client that speaks TLS with the proxy is secure', async (t) => {
  const dir = folder(t, {});
  const pair = certificate(dir);
  const h = await world(t, { args: tlsArgs(pair) });
  const raw = net.connect(h.port, h.address);
  await once(raw, 'connect');
  raw.write(v1('192.0.2.1'));
  const secure = tls.connect({ socket: raw, ca: pair.ca, servername: 'localhost' });
  await once(secure, 'secureConnect');
  const wire = new Wire(secure);
  wire.send(text('look'));
  assert.deepEqual((await wire.response()).json(), { ip: '192.0.2.1', url: 'https://api.example/.netlify/functions/look' });
  const bare = tls.connect({ host: h.address, port: h.port, rejectUnauthorized: false });
  await assert.rejects(once(bare, 'secureConnect'), 'a hello without a header');
  const plain = await world(t);
  const ssl = (client) => v2(0x21, 0x11, `${v4('192.0.2.1')}200005${client}00000000`);
  assert.match((await ask(plain, ssl('01'))).json().url, /^https:/);
  assert.match((await ask(plain, ssl('00'))).json().url, /^http:/);
});

test('limits of an address count clients, not the proxy; unix sockets; the admin listener has none', async (t) => {
  const dir = folder(t, {});
  const h = await world(t, { proxies: '{ from = { "127.0.0.1", "unix" } }', more: ' limits = { connections_per_address = 1 },', args: ['--listen', `unix:${path.join(dir, 's')}`] });
  const one = await say(h, Buffer.concat([v1('192.0.2.1'), Buffer.from(text('look', {}, { close: false }))]));
  assert.equal((await one.response()).status, 200);
  assert.equal((await ask(h, v1('192.0.2.1'))).status, 503, 'a second one of the same');
  assert.equal((await ask(h, v1('192.0.2.2'))).status, 200);
  const wire = await Wire.connect(path.join(dir, 's'));
  wire.send(v1('192.0.2.3'), text('look'));
  assert.equal((await wire.response()).json().ip, '192.0.2.3');
  assert.equal((await h.admin('live')).status, 200);
  one.close();
});

test('without `proxies` it does not start; without the option a header is no request; while no worker serves it is understood', async (t) => {
  const out = await run(t, ['serve', '--proxy-protocol', '--listen', '127.0.0.1:0'], { files: deployment(SCRIPTS) });
  assert.equal(out.code, 1);
  assert.match(out.stderr, /--proxy-protocol needs to know who may speak it: write proxies = /);
  const plain = await start(t, { files: deployment(SCRIPTS, { more: `  proxies = ${FROM},` }) });
  assert.equal((await ask(plain, v1('192.0.2.1'))).status, 501);
  const h = await world(t);
  const allow = noWorkerBegins(h);
  process.kill(h.workers()[0], 'SIGKILL');
  await eventually(async () => (await ask(h, v1('192.0.2.1')).catch(() => null))?.status === 503, 10, 'a stand-in');
  allow();
  await eventually(async () => (await ask(h, v1('192.0.2.1')).catch(() => null))?.status === 200, 10, 'a worker');
});

// ---- real proxies, with their default settings ----

const find = (name) => ['/usr/sbin', '/usr/bin'].map((dir) => path.join(dir, name)).find((file) => fs.existsSync(file));
const NGINX = find('nginx');
const HAPROXY = find('haproxy');
const through = (port) => new Promise((resolve, reject) => {
  http.get({ host: '127.0.0.2', port, localAddress: '127.0.0.3', agent: false, path: '/.netlify/functions/look', headers: { 'X-Forwarded-For': '6.6.6.6', Forwarded: 'for=7.7.7.7' } }, (res) => {
    if (res.statusCode !== 200) { reject(new Error(String(res.statusCode))); return; } // it has not found us yet
    let text = '';
    res.setEncoding('utf8').on('data', (piece) => { text += piece; }).on('end', () => resolve(JSON.parse(text)));
  }).on('error', reject);
});
const child = (t, file, args) => {
  const one = spawn(file, args, { stdio: 'ignore' });
  later(t, async () => { one.kill('SIGTERM'); await once(one, 'exit'); });
};

test('HAProxy in front, version 1 and 2, checksum and unique id, and its health checks', { skip: HAPROXY === undefined && 'haproxy is not installed' }, async (t) => {
  const h = await world(t, { args: ['--log-level', 'debug'] });
  const ports = [await freePort(), await freePort(), await freePort()];
  const kinds = ['send-proxy', 'send-proxy-v2', 'send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl check inter 50'];
  const dir = folder(t, {
    'haproxy.cfg': `defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n${kinds.map((kind, i) => `listen l${i}\n  bind 127.0.0.2:${ports[i]}\n  server s 127.0.0.1:${h.port} source 127.0.0.1 ${kind}\n`).join('')}`,
  });
  child(t, HAPROXY, ['-db', '-f', path.join(dir, 'haproxy.cfg')]);
  for (const port of ports) {
    const seen = await eventually(() => through(port).catch(() => null), 10, 'haproxy listens');
    assert.deepEqual(seen, { ip: '127.0.0.3', url: `http://127.0.0.2:${port}/.netlify/functions/look` });
  }
  assert.equal(await h.metric('connections_unannounced_total'), 0, h.stderr);
});

const hasStream = () => /with-stream\b(?!=dynamic)/.test(execFileSync('sh', ['-c', `${NGINX} -V 2>&1`], { encoding: 'utf8' }));
const STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

test('nginx in front, by its stream module', { skip: NGINX === undefined ? 'nginx is not installed' : !hasStream() && !fs.existsSync(STREAM) && 'nginx has no stream module here' }, async (t) => {
  const h = await world(t);
  const port = await freePort();
  const dir = folder(t, {
    'nginx.conf': `${fs.existsSync(STREAM) ? `load_module ${STREAM};` : ''} daemon off; pid nginx.pid; error_log stderr; events { }
      stream { server { listen 127.0.0.2:${port}; proxy_pass 127.0.0.1:${h.port}; proxy_bind 127.0.0.1; proxy_protocol on; } }`,
  });
  child(t, NGINX, ['-p', dir, '-c', `${dir}/nginx.conf`]);
  const seen = await eventually(() => through(port).catch(() => null), 10, 'nginx listens');
  assert.deepEqual(seen, { ip: '127.0.0.3', url: `http://127.0.0.2:${port}/.netlify/functions/look` });
});
