// TLS: handshakes, what is refused, the same HTTP inside, certificates that change.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import path from 'node:path';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { atomicWrite } from '../lib/drill.mjs';
import { deployment, eventually, folder, launch, run, start } from '../lib/host.mjs';
import { activate } from '../lib/systemd.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const FILES = deployment({
  hello: 'return function() return "hello" end',
  url: 'return function(event) return event.rawUrl end',
  echo: 'return function(event) return event.isBase64Encoded and base64.decode(event.body) or event.body end',
  big: 'return function() return { statusCode = 200, headers = { ["Content-Type"] = "text/x" }, body = ("0123456789abcdef"):rep(50000) } end',
  pieces: 'return function() return { statusCode = 200, body = function(write) for i = 1, 5 do write(i .. ";") sleep(0.02) end end } end',
  flood: 'return function() return { statusCode = 200, body = function(write) local p = ("x"):rep(65536) for i = 1, 800 do write(p) end end } end',
  boom: 'return function() return { statusCode = 200, body = function(write) write("first") error("boom") end } end',
});

async function secure(t, options = {}) {
  const dir = folder(t, FILES);
  const pair = certificate(dir, 'tls', options.cert);
  const h = await start(t, { dir, args: [...tlsArgs(pair), ...(options.args ?? [])], command: options.command, under: options.under });
  h.pair = pair;
  return h;
}

function connect(h, options = {}) {
  return new Promise((resolve, reject) => {
    const socket = tls.connect({ host: h.address, port: h.port, servername: 'localhost', ca: h.pair.ca, ...options });
    socket.once('error', reject);
    socket.session = new Promise((r) => socket.once('session', r));
    socket.tickets = 0;
    socket.on('session', () => { socket.tickets++; });
    socket.once('secureConnect', () => { socket.off('error', reject); resolve(socket); });
  });
}

const wireOf = async (h, options) => new Wire(await connect(h, options));

async function get(h, pathname, options) {
  const wire = await wireOf(h, options);
  wire.send(requestText({ path: pathname }));
  const response = await wire.response();
  wire.close();
  return response;
}

test('requests over TLS; the address and event.rawUrl say https', async (t) => {
  const h = await secure(t);
  await h.says(/listening on https:\/\/127\.0\.0\.1:\d+/);
  const wire = await wireOf(h);
  for (let i = 0; i < 3; i++) {
    wire.send(requestText({ path: `${FN}/hello`, close: false }));
    assert.equal((await wire.response()).text, 'hello');
  }
  wire.send(requestText({ path: `${FN}/url`, host: 'localhost', close: false }));
  assert.equal((await wire.response()).text, `https://localhost${FN}/url`);
  wire.send(requestText({ path: `${FN}/pieces`, close: false }));
  assert.equal((await wire.response()).text, '1;2;3;4;5;');
  wire.send(...Array.from({ length: 20 }, () => requestText({ path: `${FN}/hello`, close: false })), requestText({ path: `${FN}/hello` }));
  for (let i = 0; i < 21; i++) assert.equal((await wire.response()).text, 'hello');
  await wire.closed();
  assert.equal(wire.error, null, 'closed in order');
});

test('large bodies both ways, and a slow reader', async (t) => {
  const h = await secure(t);
  const body = Buffer.from('0123456789abcdef'.repeat(50000));
  assert.ok(body.equals((await get(h, `${FN}/big`)).body));
  const wire = await wireOf(h);
  wire.send(requestText({ path: `${FN}/echo`, method: 'POST', body, headers: { 'Content-Type': 'text/plain' } }));
  assert.ok(body.equals((await wire.response()).body));
  const slow = await connect(h);
  slow.pause();
  slow.write(requestText({ path: `${FN}/flood` }));
  await eventually(async () => await h.metric('client_bytes') > 0, 5, 'the writer is held back');
  assert.equal((await get(h, `${FN}/hello`)).text, 'hello');
  let bytes = 0;
  for await (const d of slow) bytes += d.length;
  assert.ok(bytes > 800 * 65536);
});

test('a request byte by byte, inside and outside of TLS', async (t) => {
  const h = await secure(t);
  const wire = await wireOf(h);
  for (const byte of requestText({ path: `${FN}/hello`, close: false })) wire.send(Buffer.of(byte));
  assert.equal((await wire.response()).text, 'hello');
  // A middleman that passes single bytes on: records in pieces.
  const server = net.createServer((from) => {
    const to = net.connect({ host: h.address, port: h.port, noDelay: true });
    from.on('data', (d) => { for (const b of d) to.write(Buffer.of(b)); });
    to.on('data', (d) => from.write(d));
    for (const [a, b] of [[from, to], [to, from]]) a.on('close', () => b.destroy()).on('error', () => {});
  });
  await new Promise((r) => server.listen(0, '127.0.0.1', r));
  t.after(() => server.close());
  assert.equal((await get({ ...h, address: '127.0.0.1', port: server.address().port }, `${FN}/hello`)).text, 'hello');
});

test('versions, ciphers, ALPN, tickets', async (t) => {
  const h = await secure(t, { cert: { ec: false } });
  for (const [version, ok] of [['TLSv1.3', true], ['TLSv1.2', true], ['TLSv1.1', false], ['TLSv1', false]]) {
    const attempt = connect(h, { minVersion: version, maxVersion: version, ciphers: 'DEFAULT@SECLEVEL=0' });
    if (ok) {
      const socket = await attempt;
      assert.equal(socket.getProtocol(), version);
      assert.match(socket.getCipher().name, /GCM|CHACHA20/);
      socket.destroy();
    } else {
      await assert.rejects(attempt);
    }
  }
  await assert.rejects(connect(h, { maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA' }), 'no forward secrecy');
  await assert.rejects(connect(h, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-RSA-AES128-SHA' }), 'CBC');
  for (const [offered, taken, options] of [
    ['TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256', 'TLS_AES_128_GCM_SHA256'],
    ['TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_256_GCM_SHA384'],
    ['TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256', 'TLS_CHACHA20_POLY1305_SHA256'],
    ['ECDHE-RSA-AES256-GCM-SHA384:ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256', { maxVersion: 'TLSv1.2' }],
    ['ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256', 'ECDHE-RSA-CHACHA20-POLY1305', { maxVersion: 'TLSv1.2' }],
  ]) {
    const socket = await connect(h, { ciphers: offered, ...options });
    assert.equal(socket.getCipher().name, taken, offered);
    socket.destroy();
  }
  const alpn = await connect(h, { ALPNProtocols: ['spdy/1', 'http/1.1'] });
  assert.equal(alpn.alpnProtocol, 'http/1.1');
  alpn.destroy();
  await assert.rejects(connect(h, { ALPNProtocols: ['spdy/1'] }));
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    const first = await connect(h, { maxVersion });
    const wire = new Wire(first);
    wire.send(requestText({ path: `${FN}/hello`, close: false }));
    const ticket = await first.session;
    await wire.response(); // what there is of tickets comes before it
    assert.equal(first.tickets, 1, maxVersion);
    first.destroy();
    const second = await connect(h, { maxVersion, session: ticket });
    assert.equal(second.isSessionReused(), true, maxVersion);
    second.destroy();
  }
});

test('what is no TLS, breaks off or dawdles', async (t) => {
  const dir = folder(t, FILES);
  const pair = certificate(dir);
  const h = await start(t, { dir, args: tlsArgs(pair) });
  h.pair = pair;
  const plain = await h.connect();
  plain.send(requestText({ path: `${FN}/hello` }));
  assert.doesNotMatch((await plain.closed()).toString('latin1'), /HTTP\/1/);
  for (const junk of ['', '\x16', '\x16\x03\x01\xff\xff', '\x16\x03\x01\x00\x05hello', '\x00'.repeat(1000)]) {
    const wire = await h.connect();
    wire.send(Buffer.from(junk, 'latin1')).half();
    await wire.closed();
  }
  const hello = await new Promise((resolve) => {
    const trap = net.createServer((s) => s.once('data', (d) => { s.destroy(); trap.close(); resolve(d); }));
    trap.listen(0, '127.0.0.1', () => tls.connect({ port: trap.address().port, host: '127.0.0.1' }).on('error', () => {}));
  });
  for (let cut = 1; cut < hello.length; cut += 29) {
    const wire = await h.connect();
    wire.send(hello.subarray(0, cut)).half();
    await wire.closed();
  }
  const socket = await connect(h);
  socket._handle.close(); // in the middle of everything
  assert.equal((await get(h, `${FN}/hello`)).text, 'hello');
});

test('a handshake that does not end is given up', async (t) => {
  const dir = folder(t, { ...FILES, 'functions.lua': FILES['functions.lua'].replace('return {', 'return { limits = { head_timeout = 0.5 },') });
  const h = await start(t, { dir, args: tlsArgs(certificate(dir)) });
  for (const bytes of ['', '\x16\x03\x01\x01']) {
    const wire = await h.connect();
    wire.send(Buffer.from(bytes, 'latin1'));
    await wire.closed();
  }
});

test('a stream that breaks off has no proper end', async (t) => {
  const h = await secure(t);
  const wire = await wireOf(h);
  wire.send(requestText({ path: `${FN}/boom`, close: false }));
  assert.match((await wire.closed()).toString(), /\r\n\r\n5\r\nfirst\r\n$/);
});

test('a new certificate is taken up; a bad one is not', async (t) => {
  const h = await secure(t);
  const fingerprint = async () => {
    const socket = await connect(h, { rejectUnauthorized: false });
    const { fingerprint256 } = socket.getPeerCertificate();
    socket.destroy();
    return fingerprint256;
  };
  const first = await fingerprint();
  const kept = await wireOf(h);
  const other = certificate(folder(t), 'new');
  fs.writeFileSync(h.pair.cert, 'junk');
  await eventually(() => /does not load, the old one serves: .*holds no certificate/.test(h.stderr), 5, 'the complaint');
  assert.equal(await fingerprint(), first);
  fs.copyFileSync(other.key, path.join(h.dir, 'key.tmp'));
  fs.renameSync(path.join(h.dir, 'key.tmp'), h.pair.key);
  fs.copyFileSync(other.cert, h.pair.cert);
  await eventually(async () => (await fingerprint()) !== first, 5, 'the new certificate');
  kept.send(requestText({ path: `${FN}/hello` }));
  assert.equal((await kept.response()).text, 'hello', 'an old connection goes on');
});

// Who answers to a name: the certificate's place in `pairs`.
async function chosen(h, pairs, servername, options = {}) {
  const socket = await connect(h, { servername, rejectUnauthorized: false, ...options });
  const name = socket.getPeerCertificate().subject.CN;
  const alpn = socket.alpnProtocol;
  socket.destroy();
  return options.ALPNProtocols ? `${name} ${alpn}` : name;
}

test('several certificates: by the name that is asked for, each taken up anew', async (t) => {
  const dir = folder(t, FILES);
  const make = (name, names) => certificate(dir, name, { subject: `/CN=${name}`, names });
  const pairs = [make('first', 'DNS:localhost,DNS:*.first.test'), make('wild', 'DNS:*.example.test'), make('exact', 'DNS:api.example.test,DNS:api.first.test'), make('only.by.cn', 'DNS:other.test')];
  const h = await start(t, { dir, workers: 2, args: tlsArgs(...pairs) });
  h.pair = pairs[0];
  const expected = {
    localhost: 'first', 'www.first.test': 'first', 'www.example.test': 'wild', 'WWW.Example.Test': 'wild', 'api.example.test': 'exact', 'API.example.test': 'exact',
    'api.first.test': 'exact', 'other.test': 'only.by.cn',
    'a.b.example.test': 'first', 'example.test': 'first', 'only.by.cn': 'first', 'unknown.test': 'first', '': 'first',
  };
  for (const [name, cert] of Object.entries(expected)) {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) assert.equal(await chosen(h, pairs, name, { maxVersion }), cert, `${name} ${maxVersion}`);
    assert.equal(await chosen(h, pairs, name, { ALPNProtocols: ['h2', 'http/1.1'] }), `${cert} h2`, name);
  }
  // The chain holds for the client too, and a ticket does with whichever worker.
  const trusted = { servername: 'api.example.test', ca: pairs[2].ca };
  assert.equal((await get(h, `${FN}/hello`, trusted)).text, 'hello');
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3']) {
    const first = await connect(h, { ...trusted, maxVersion });
    first.write(requestText({ path: `${FN}/hello`, close: false }));
    const session = await first.session;
    first.destroy();
    for (let i = 0; i < 6; i++) {
      const again = await connect(h, { ...trusted, maxVersion, session });
      assert.equal(again.isSessionReused(), true, maxVersion);
      again.destroy();
    }
  }
  // One pair is broken, then another; the others stay as they are.
  const others = async () => { for (const name of ['localhost', 'www.example.test', 'other.test']) assert.equal(await chosen(h, pairs, name), expected[name]); };
  atomicWrite(pairs[2].cert, 'junk'); // each of the two sees it once
  await eventually(() => (h.stderr.match(/the old one serves: .*exact\.pem: holds no certificate/g) ?? []).length >= 2, 5, 'the complaint of both workers');
  for (let i = 0; i < 4; i++) assert.equal(await chosen(h, pairs, 'api.example.test'), 'exact');
  await others();
  const next = certificate(folder(t), 'next', { subject: '/CN=next', names: 'DNS:api.example.test,DNS:new.test' });
  fs.copyFileSync(next.key, path.join(dir, 'key.tmp'));
  fs.renameSync(path.join(dir, 'key.tmp'), pairs[2].key);
  atomicWrite(pairs[2].cert, fs.readFileSync(next.cert));
  await eventually(() => (h.stderr.match(/certificate loaded anew: .*exact\.pem/g) ?? []).length >= 2, 5, 'the new one, in both workers');
  for (let i = 0; i < 4; i++) {
    assert.equal(await chosen(h, pairs, 'api.example.test'), 'next');
    assert.equal(await chosen(h, pairs, 'new.test'), 'next');
    assert.equal(await chosen(h, pairs, 'api.first.test'), 'first', 'which it is not for any more');
  }
  await others();
  // Another program has all of them, too.
  h.kill('SIGUSR2');
  await eventually(() => /the new program serves/.test(h.stderr), 10, 'the new program');
  await eventually(() => h.workers().length === 1, 10, 'the end of the old workers');
  for (let i = 0; i < 4; i++) assert.equal(await chosen(h, pairs, 'new.test'), 'next');
  await others();
});

for (const [way, address, under] of [['', '127.0.0.1:0', []], [', its socket handed over', '127.0.0.1:1', activate('redirect:http')]]) test(`--redirect-http${way}: every request is sent to the same address over HTTPS, and nothing else is there`, async (t) => {
  const h = await secure(t, { args: ['--redirect-http', address], under });
  const ports = () => [...h.stderr.matchAll(/^listening on (https?):\/\/127\.0\.0\.1:(\d+)$/gm)].map((m) => [m[1], Number(m[2])]);
  await eventually(() => ports().length === 2, 5, 'both lines');
  assert.deepEqual(ports().map((p) => p[0]), ['https', 'http']);
  const [[, secured], [, plain]] = ports();
  const port = secured;
  const ask = async (bytes) => {
    const wire = await Wire.connect('127.0.0.1', plain);
    wire.send(bytes);
    const r = await wire.response();
    wire.close();
    return r;
  };
  const check = async () => {
    for (const [host, to] of [['example.com', 'example.com'], ['example.com:80', 'example.com'], ['[::1]:80', '[::1]'], ['[::1]', '[::1]'], ['EXAMPLE.com', 'EXAMPLE.com']]) {
      const r = await ask(requestText({ path: `${FN}/hello?a=%2Fb&c`, host }));
      assert.deepEqual([r.status, r.header('location'), r.text], [308, `https://${to}:${port}${FN}/hello?a=%2Fb&c`, ''], host);
    }
  };
  await check();
  for (const target of ['/_luafn/live', '//other.test/x', '/']) assert.equal((await ask(requestText({ path: target, host: 'a.test' }))).header('location'), `https://a.test:${port}${target}`);
  assert.equal((await ask(requestText({ path: `${FN}/echo`, method: 'POST', host: 'a.test', body: Buffer.alloc(100000), headers: { 'Content-Type': 'text/plain' } }))).status, 308);
  const absolute = await ask('GET http://b.test/x HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n');
  assert.equal(absolute.header('location'), `https://b.test:${port}/x`);
  for (const head of ['GET / HTTP/1.1\r\n', 'GET / HTTP/1.0\r\n', 'GET / HTTP/1.1\r\nHost:\r\n', 'GET / HTTP/1.1\r\nHost: a@b\r\n']) assert.equal((await ask(`${head}Connection: close\r\n\r\n`)).status, 400, head);
  assert.equal((await get(h, `${FN}/hello`)).text, 'hello', 'the others serve');
  // Where it leads is served; and another program goes on with it.
  h.kill('SIGUSR2');
  await eventually(() => /the new program serves/.test(h.stderr), 10, 'the new program');
  await eventually(() => h.workers().length === 1, 10, 'the end of the old worker');
  await check();
  assert.equal((await get(h, `${FN}/hello`)).text, 'hello');
  assert.equal((await run(t, ['serve', '--redirect-http', '127.0.0.1:0'], { dir: h.dir })).code, 2, 'without TLS');
});

test('a socket named redirect without --redirect-http is refused', async (t) => {
  const dir = folder(t, FILES);
  const h = launch(dir, { args: tlsArgs(certificate(dir, 'tls')), under: activate('http:redirect') });
  await assert.rejects(h.listening, /ended before it listened: code 2/);
  await h.says(/a socket named redirect was handed over, which takes the place of --redirect-http: give that, too/);
});

test('bad files refuse to start with one line', async (t) => {
  const dir = folder(t, FILES);
  const a = certificate(dir, 'a');
  const b = certificate(dir, 'b');
  fs.writeFileSync(path.join(dir, 'junk.pem'), 'junk');
  const locked = path.join(dir, 'locked.pem');
  execFileSync('openssl', ['ec', '-in', a.key, '-aes128', '-passout', 'pass:secret', '-out', locked], { stdio: 'ignore' });
  const cases = [
    [['--tls-cert', a.cert, '--tls-key', b.key], /mismatch/],
    [['--tls-cert', path.join(dir, 'none.pem'), '--tls-key', a.key], /none\.pem: No such file/],
    [['--tls-cert', path.join(dir, 'junk.pem'), '--tls-key', a.key], /junk\.pem: holds no certificate/],
    [['--tls-cert', a.cert, '--tls-key', path.join(dir, 'junk.pem')], /junk\.pem/],
    [['--tls-cert', a.cert, '--tls-key', locked], /locked\.pem/],
    [[...tlsArgs(a), '--tls-cert', b.cert, '--tls-key', path.join(dir, 'none.pem')], /none\.pem: No such file/],
  ];
  for (const [args, message] of cases) {
    const r = await run(t, ['serve', '--listen', '127.0.0.1:0', ...args], { dir });
    assert.equal(r.code, 1, r.stderr);
    assert.match(r.stderr, message);
    assert.equal(r.stderr.trim().split('\n').length, 1, r.stderr);
  }
  assert.equal((await run(t, ['serve', '--tls-cert', a.cert], { dir })).code, 2);
  assert.equal((await run(t, ['serve', ...tlsArgs(a), '--tls-cert', b.cert], { dir })).code, 2);
});

test('dev speaks TLS too', async (t) => {
  const h = await secure(t, { command: 'dev' });
  assert.equal((await get(h, `${FN}/hello`)).text, 'hello');
  const found = await new Promise((resolve, reject) => {
    https.get({ host: h.address, port: h.port, path: '/.well-known/openid-configuration', ca: h.pair.ca, servername: 'localhost' }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; }).on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
  });
  assert.match(found.issuer, /^https:\/\//);
});
