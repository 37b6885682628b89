// event:parts(): a form as it comes, part by part and piece by piece; what is no form; memory.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';
import path from 'node:path';
import test from 'node:test';
import { promisify } from 'node:util';
import { deployment, eventually, SLOW, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { rss } from '../lib/process.mjs';
import { upstream } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

const FN = '/.netlify/functions';
const KIB = 1024;
const MIB = 1024 * KIB;
const TYPE = 'multipart/form-data; boundary=b';
const HEAD = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n';
const sha = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

const scripts = (url) => ({
  hello: 'return function() return "hello" end',
  list: `return function(event)
    local out = json.array {}
    for part in event:parts() do
      local pieces, most = {}, 0
      for piece in part:chunks() do pieces[#pieces + 1] = piece most = math.max(most, #piece) end
      local data = table.concat(pieces)
      out[#out + 1] = { name = part.name, filename = part.filename, type = part.type, size = #data, sha = crypto.sha256(data), most = most }
    end
    return json.encode(out)
  end`,
  skip: `return function(event)
    local names, last = {}
    for part in event:parts() do names[#names + 1] = part.name last = last or part end
    local ok, fault = pcall(function() for _ in last:chunks() do end end)
    return json.encode { names = names, text = json.encode(last), fault = tostring(fault) }
  end`,
  size: `return function(event)
    local n = 0
    for part in event:parts() do for piece in part:chunks() do n = n + #piece end end
    return tostring(n)
  end`,
  pass: `return function(event)
    local out = json.array {}
    for part in event:parts() do
      if part.filename then
        local res = fetch("${url}/bucket/" .. part.filename, { method = "PUT", body = part:chunks(), timeout = 60,
          length = tonumber(event.headers["x-length"]), sign = event.headers["x-length"] and "aws4", access_key = event.headers["x-length"] and "AKID",
          secret_key = event.headers["x-length"] and "SECRET", region = event.headers["x-length"] and "eu-central-1", service = event.headers["x-length"] and "s3" })
        out[#out + 1] = { status = res.status, text = res:text() }
      end
    end
    return json.encode(out)
  end`,
  first: `return function(event)
    for part in event:parts() do log.info("part " .. part.name) for piece in part:chunks() do log.info("piece " .. piece) end end
    return "all"
  end`,
  whole: 'return function(event) local n = 0 for part in event:parts() do for piece in part:chunks() do n = n + #piece end end return tostring(n) end',
});

async function host(t, limits = '') {
  const state = { came: [], hold: null, waits: null };
  const url = await upstream(t, async (req, res) => {
    const hash = crypto.createHash('sha256');
    let size = 0;
    if (state.hold) await state.hold;
    for await (const piece of req) { size += piece.length; hash.update(piece); }
    state.came.push({ url: req.url, size, sha: hash.digest('hex'), headers: req.headers });
    res.end('kept');
  });
  const all = scripts(url);
  const fields = Object.fromEntries(Object.keys(all).map((n) => [n, `${n === 'whole' ? '' : 'stream_body = true,'} body = "1GB", timeout = 60, cpu = 30, fetch = { "127.0.0.1" }`]));
  const h = await start(t, { files: deployment(all, { fields, more: `  limits = { h2c = true, ${limits} },` }) });
  return { h, state };
}
const post = (name, type, more = {}) => requestText({ method: 'POST', path: `${FN}/${name}`, headers: { ...(type ? { 'Content-Type': type } : {}), ...more }, close: false });
const chunk = (bytes) => Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), Buffer.from(bytes), Buffer.from('\r\n')]);

// A form with a file of these bytes between two fields, as a browser writes it.
function form(bytes) {
  const data = new FormData();
  data.append('before', 'ä "quoted"');
  data.append('file "1"', new Blob([bytes], { type: 'application/x-test' }), 'ü.bin');
  data.append('after', '');
  return data;
}
async function encoded(data) {
  const request = new Request('http://x/', { method: 'POST', body: data });
  return { type: request.headers.get('content-type'), bytes: Buffer.from(await request.arrayBuffer()) };
}
const listed = (bytes) => [
  { name: 'before', size: 11, sha: sha('ä "quoted"') },
  { name: 'file %221%22', filename: 'ü.bin', type: 'application/x-test', size: bytes.length, sha: sha(bytes) },
  { name: 'after', size: 0, sha: sha('') },
];
const plain = (list) => list.map(({ most, ...rest }) => { assert.ok(most <= 64 * KIB); return rest; });

function overH2(session, name, type, bytes) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': `${FN}/${name}`, 'content-type': type });
    let text = '';
    stream.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => resolve(text)).on('error', reject);
    stream.end(bytes);
  });
}

test('parts of any size, over HTTP/1.1 by length and in chunks, and over HTTP/2', async (t) => {
  const { h } = await host(t);
  const session = http2.connect(h.url().slice(0, -1));
  later(t, () => session.destroy());
  const wire = await h.connect();
  for (const size of [0, 1, 16 * KIB, 64 * KIB, 64 * KIB + 1, 256 * KIB, MIB]) {
    const file = crypto.randomBytes(size);
    file.fill('\r\n--', 0, Math.floor(size / 2)); // half of it may be a boundary at every byte
    const { type, bytes } = await encoded(form(file));
    wire.send(post('list', type, { 'Content-Length': bytes.length }), bytes);
    assert.deepEqual(plain((await wire.response()).json()), listed(file), `${size} by length`);
    wire.send(post('list', type, { 'Transfer-Encoding': 'chunked' }));
    for (let at = 0, step = 1; at < bytes.length; at += step, step = 1 + (at * 7919) % 90000) wire.send(chunk(bytes.subarray(at, at + step)));
    wire.send('0\r\n\r\n');
    assert.deepEqual(plain((await wire.response()).json()), listed(file), `${size} in chunks`);
    assert.deepEqual(plain(JSON.parse(await overH2(session, 'list', type, bytes))), listed(file), `${size} over HTTP/2`);
  }
  const small = await encoded(form('abc'));
  wire.send(post('whole', small.type, { 'Content-Length': small.bytes.length }), small.bytes);
  assert.equal((await wire.response()).text, '14', 'the same without stream_body');
  wire.send(post('skip', small.type, { 'Content-Length': small.bytes.length }), small.bytes, requestText({ path: `${FN}/hello`, close: false }));
  const { names, text, fault } = (await wire.response()).json();
  assert.deepEqual([names, JSON.parse(text)], [['before', 'file %221%22', 'after'], { name: 'before' }]);
  assert.match(fault, /event:parts: this part is over; read it before the next one/);
  assert.equal((await wire.response()).text, 'hello', 'the connection goes on');
  wire.close();
});

test('as fetch of Node and curl send them; passed on to a fetch and to an S3 address', async (t) => {
  const { h, state } = await host(t);
  const file = crypto.randomBytes(3 * MIB);
  const res = await fetch(h.url(`${FN}/list`), { method: 'POST', body: form(file) });
  assert.deepEqual(plain(await res.json()), listed(file));
  fs.writeFileSync(path.join(h.dir, 'up.bin'), file);
  const { stdout } = await promisify(execFile)('curl', ['-sS', '-F', 'before=x', '-F', `f=@${h.dir}/up.bin;type=a/b`, h.url(`${FN}/list`)]);
  assert.deepEqual(plain(JSON.parse(stdout)), [{ name: 'before', size: 1, sha: sha('x') }, { name: 'f', filename: 'up.bin', type: 'a/b', size: file.length, sha: sha(file) }]);
  for (const length of [undefined, file.length]) {
    const passed = await fetch(h.url(`${FN}/pass`), { method: 'POST', body: form(file), headers: length ? { 'X-Length': String(length) } : {} });
    assert.deepEqual(await passed.json(), [{ status: 200, text: 'kept' }]);
    const got = state.came.pop();
    assert.deepEqual([got.size, got.sha, got.url], [file.length, sha(file), '/bucket/%c3%bc.bin']);
    if (length) assert.match(got.headers.authorization, /^AWS4-HMAC-SHA256 Credential=AKID/);
  }
});

test('the handler begins before the form is whole, and a slow client holds up nobody', async (t) => {
  const { h } = await host(t);
  const slow = await h.connect();
  const steps = [['--b\r\nContent-Disposition: form-data; na'], ['me="one"\r\n\r', 0], ['\nab', /piece ab/], ['\r', 0], ['\n--b', 0], ['\r\nContent-Disposition: form-data; name="two"\r\n\r\n', /part two/], ['cd', /piece cd/], ['\r\n--b-', 0], ['-', 0], ['\r\n', 0]];
  slow.send(post('first', TYPE, { 'Content-Length': steps.map(([text]) => text.length).reduce((a, b) => a + b) }));
  for (const [text, said] of steps) {
    slow.send(text);
    if (said) await h.says(said);
    const quick = await fetch(h.url(`${FN}/size`), { method: 'POST', body: form('abc') });
    assert.equal(await quick.text(), '14');
  }
  assert.equal((await slow.response()).text, 'all');
  slow.close();
});

test('what is no form, or has too much of something, is refused by name', async (t) => {
  const { h } = await host(t);
  const wire = await h.connect();
  const name = (n) => `--b\r\nContent-Disposition: form-data; name="${'n'.repeat(n)}"\r\n\r\nx\r\n--b--`;
  const rows = [
    [TYPE, '', 400, 'invalid_form'], [TYPE, 'a=1', 400, 'invalid_form'], [TYPE, `${HEAD}x\r\n`, 400, 'invalid_form'], [TYPE, `${HEAD}x\r\n--b`, 400, 'invalid_form'],
    [TYPE, '--b\r\n\r\nx\r\n--b--', 400, 'invalid_form'], [TYPE, `${HEAD}x\r\n--c--`, 400, 'invalid_form'], [TYPE, `${HEAD}${'x'.repeat(MIB)}`, 400, 'invalid_form'],
    [TYPE, `${HEAD}x\r\n`.repeat(10000) + '--b--', 413, 'too_large'], [TYPE, `${HEAD}x\r\n`.repeat(1000) + '--b--', 200], [TYPE, name(MIB), 413, 'too_large'], [TYPE, name(4000), 200],
    [undefined, `${HEAD}x\r\n--b--`, 415, 'unsupported_media_type'], ['multipart/form-data', 'x', 415, 'unsupported_media_type'], ['application/x-www-form-urlencoded', 'a=1', 415, 'unsupported_media_type'],
  ];
  for (const [type, body, status, code] of rows) {
    for (const which of ['size', 'whole']) {
      const alone = await h.connect();
      alone.send(post(which, type, { 'Content-Length': body.length }), body);
      const res = await alone.response();
      assert.deepEqual([res.status, status === 200 ? undefined : res.json().error], [status, code], `${which}: ${body.slice(0, 80)}`);
      alone.close();
    }
  }
  const text = `${HEAD}x\r\n-\r\n--b\r\nContent-Disposition: form-data; name="c"\r\n\r\n\r\n--bx\r\n--b--\r\n`;
  for (let cut = 1; cut < text.length; cut++) { // chunks come one by one: a cut at every byte
    wire.send(post('size', TYPE, { 'Transfer-Encoding': 'chunked' }), chunk(text.slice(0, cut)), chunk(text.slice(cut)), '0\r\n\r\n');
    assert.equal((await wire.response()).text, '10', `cut at ${cut}`);
  }
  wire.close();
  const cut = await h.connect();
  cut.send(post('size', TYPE, { 'Content-Length': 1000 }), `${HEAD}abc`).half();
  assert.equal((await cut.response()).status, 502, 'a connection that ends within the form');
  cut.close();
});

test('64 MiB in little memory, the client waiting for who takes it', { skip: SLOW !== 1 && 'sanitizers and valgrind have a memory of their own' }, async (t) => {
  const { h, state } = await host(t);
  const [pid] = h.workers();
  const head = `${HEAD.replace('name="a"', 'name="a"; filename="f"')}`;
  const tail = '\r\n--b--\r\n';
  const piece = Buffer.alloc(MIB, 'x');
  const total = 64 * MIB;
  const send = async (wire, begin, wrap, end) => {
    let most = 0;
    wire.send(begin);
    for (let sent = 0; sent < total; sent += piece.length) {
      if (!wire.socket.write(wrap(piece))) await new Promise((resolve) => { wire.socket.once('drain', resolve); });
      most = Math.max(most, rss(pid).all);
    }
    wire.send(end);
    return most;
  };
  const wire = await h.connect();
  wire.send(post('size', TYPE, { 'Content-Length': HEAD.length + 1 + tail.length }), `${HEAD}x${tail}`);
  assert.equal((await wire.response()).text, '1');
  const warm = await fetch(h.url(`${FN}/pass`), { method: 'POST', body: form(Buffer.alloc(MIB)) });
  assert.equal(warm.status, 200);
  const before = rss(pid).all;
  const sized = [post('pass', TYPE, { 'Content-Length': head.length + total + tail.length }), head].join('');
  const most = [await send(wire, sized, (bytes) => bytes, tail)];
  assert.equal((await wire.response({ ms: 60000 })).status, 200);
  const chunked = [post('size', TYPE, { 'Transfer-Encoding': 'chunked' }), chunk(head)].join('');
  most.push(await send(wire, chunked, chunk, Buffer.concat([chunk(tail), Buffer.from('0\r\n\r\n')])));
  assert.equal((await wire.response({ ms: 60000 })).text, String(total));
  wire.close();
  const session = http2.connect(h.url().slice(0, -1));
  later(t, () => session.destroy());
  const stream = session.request({ ':method': 'POST', ':path': `${FN}/size`, 'content-type': TYPE });
  const answer = new Promise((resolve, reject) => { let text = ''; stream.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => resolve(text)).on('error', reject); });
  stream.write(head);
  let peak = 0;
  for (let sent = 0; sent < total; sent += piece.length) {
    if (!stream.write(piece)) await new Promise((resolve) => { stream.once('drain', resolve); });
    peak = Math.max(peak, rss(pid).all);
  }
  stream.end(tail);
  assert.equal(await answer, String(total));
  most.push(peak);
  assert.equal(state.came.pop().size, total);
  t.diagnostic(`${most.map((m) => m - before)} KiB for 64 MiB passed on, in chunks, over HTTP/2`);
  for (const m of most) assert.ok(m - before < 16 * KIB, `${m - before} KiB`);

  // Nobody takes it: the client stands still.
  let open;
  state.hold = new Promise((resolve) => { open = resolve; });
  const held = await h.connect();
  held.send(sized);
  for (let i = 0; i < 64; i++) held.send(piece);
  await eventually(() => held.socket.bytesWritten > MIB, 10, 'it begins');
  assert.equal((await fetch(h.url(`${FN}/hello`))).status, 200);
  assert.ok(held.socket.writableLength > 16 * MIB, 'it does not get rid of all');
  assert.ok(rss(pid).all - before < 16 * KIB);
  open();
  held.send(tail);
  assert.equal((await held.response({ ms: 60000 })).json()[0].text, 'kept');
  held.close();
});
