// fetch against hosts as they are: codings, heads, methods, redirects; and what its errors say.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import zlib from 'node:zlib';
import { deployment, eventually, folder, run, start } from '../lib/host.mjs';
import { answer, rawUpstream, upstream } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

// A function that fetches what its body says, and tells what came of it.
const SCRIPT = `return function(event)
  local ask = json.decode(event.body)
  local ok, res = pcall(fetch, ask.url, ask.options)
  if not ok then return json.encode({ error = tostring(res) }) end
  return json.encode({ status = res.status, headers = res.headers, body = base64.encode(res.body or "") })
end`;

async function fetcher(t, onRequest, options = {}) {
  const up = await rawUpstream(t, onRequest);
  const h = await start(t, { files: deployment({ ask: SCRIPT }, { fields: { ask: 'fetch = { "127.0.0.1", "localhost" }' } }), ...options });
  const ask = async (url, opts) => {
    const res = await h.call('ask', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ url: url.startsWith('/') ? up.url + url : url, options: opts }) });
    assert.equal(res.status, 200, res.text);
    const got = res.json();
    return got.error === undefined ? { ...got, body: Buffer.from(got.body, 'base64') } : got;
  };
  return { up, h, ask };
}

const TEXT = 'a text that is worth packing; '.repeat(2000);

test('content codings: unpacked where they are known, whole or not at all', async (t) => {
  const gzip = zlib.gzipSync(TEXT), half = Math.floor(TEXT.length / 2);
  const damaged = Buffer.from(gzip);
  damaged[20] ^= 0xff;
  const members = Buffer.concat([zlib.gzipSync(TEXT.slice(0, half)), zlib.gzipSync(TEXT.slice(half))]);
  const cases = {
    gzip: ['gzip', gzip, TEXT],
    'x-gzip in another case': ['X-GZip', gzip, TEXT],
    'gzip after identity': ['identity, gzip', gzip, TEXT],
    deflate: ['deflate', zlib.deflateSync(TEXT), TEXT],
    'deflate without its frame': ['deflate', zlib.deflateRawSync(TEXT), TEXT],
    br: ['br', zlib.brotliCompressSync(TEXT), TEXT],
    'two members of gzip': ['gzip', members, TEXT],
    'padding of zeros': ['gzip', Buffer.concat([gzip, Buffer.alloc(300)]), TEXT],
    'an empty body': ['gzip', Buffer.alloc(0), ''],
    'an empty text': ['gzip', zlib.gzipSync(''), ''],
    'one that is not known': ['utf-8', Buffer.from('{"a":1}'), '{"a":1}'],
    'aws-chunked': ['aws-chunked', Buffer.from('plain'), 'plain'],
    none: ['', Buffer.from('plain'), 'plain'],
    'two at once': ['gzip, gzip', zlib.gzipSync(gzip), zlib.gzipSync(gzip)],
    'a gzip body that is cut off': ['gzip', gzip.subarray(0, gzip.length - 9), /the gzip body of the answer is cut off \(EBADMSG\)/],
    'cut off within the first head': ['gzip', gzip.subarray(0, 3), /gzip body of the answer is cut off/],
    'a br body that is cut off': ['br', zlib.brotliCompressSync(TEXT).subarray(0, 20), /br body of the answer is cut off/],
    'a deflate body that is cut off': ['deflate', zlib.deflateSync(TEXT).subarray(0, 20), /deflate body of the answer is cut off/],
    'a gzip body that is damaged': ['gzip', damaged, /the gzip body of the answer is damaged \(EBADMSG\)/],
    'a wrong sum at its end': ['gzip', Buffer.concat([gzip.subarray(0, -8), Buffer.alloc(8, 7)]), /gzip body of the answer is damaged/],
    'no gzip at all': ['gzip', Buffer.from('plain text'), /gzip body of the answer is damaged/],
    'something behind it': ['gzip', Buffer.concat([gzip, Buffer.from('garbage')]), /gzip body of the answer is damaged/],
    'no br at all': ['br', Buffer.from('plain text, and no br'.repeat(50)), /br body of the answer is (damaged|cut off)/],
  };
  const names = Object.keys(cases);
  const { up, ask } = await fetcher(t, (request, conn) => {
    const [, how, nth] = request.target.split('/');
    const [coding, bytes] = cases[names[nth]];
    const fields = coding === '' ? [] : [`Content-Encoding: ${coding}`];
    if (how === 'length') {
      conn.send(answer('', { length: false, fields: [...fields, `Content-Length: ${bytes.length}`] }) + bytes.toString('latin1'));
      return;
    }
    conn.send(answer('', { length: false, fields: [...fields, 'Transfer-Encoding: chunked'] }));
    for (let at = 0; at < bytes.length; at += 7) {
      const piece = bytes.subarray(at, at + 7).toString('latin1');
      conn.send(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    }
    conn.send('0\r\n\r\n');
  });
  for (const how of ['length', 'chunks']) {
    for (const [nth, name] of names.entries()) {
      const got = await ask(`/${how}/${nth}`);
      const right = cases[name][2];
      if (right instanceof RegExp) assert.match(got.error ?? 'no error', right, `${name}, ${how}`);
      else assert.ok(got.body?.equals(Buffer.from(right)), `${name}, ${how}: ${got.error ?? got.body}`);
    }
  }
  assert.equal(up.requests[0].headers['accept-encoding'], 'gzip, deflate, br');
});

test('a part is asked for as it is, and not unpacked', async (t) => {
  const part = zlib.gzipSync(TEXT).subarray(10, 50);
  const { up, ask } = await fetcher(t, (request, conn) => {
    conn.send(answer('', { status: '206 Partial Content', length: false, fields: ['Content-Encoding: gzip', `Content-Length: ${part.length}`] }) + part.toString('latin1'));
  });
  const got = await ask('/', { headers: { Range: 'bytes=10-49' } });
  assert.ok(got.body.equals(part));
  assert.equal(up.requests[0].headers['accept-encoding'], 'identity');
  await ask('/', { headers: { 'Accept-Encoding': 'br;q=0.5' } });
  assert.equal(up.requests[1].headers['accept-encoding'], 'br;q=0.5', 'what the script says counts');
});

test('what unpacks to more than fits is refused, however little comes', async (t) => {
  const bomb = zlib.gzipSync(Buffer.alloc(17 * 1024 * 1024));
  const { ask } = await fetcher(t, (request, conn) => {
    conn.send(answer('', { length: false, fields: ['Content-Encoding: gzip', `Content-Length: ${bomb.length}`] }) + bomb.toString('latin1'));
  });
  assert.match((await ask('/')).error, /answer is larger than 16777216 bytes \(EMSGSIZE\)/);
});

test('all headers of an answer, or an error that says how many there may be', async (t) => {
  const { ask } = await fetcher(t, (request, conn) => {
    const [, how, count] = request.target.split('/');
    if (how === 'line') conn.send(answer('ok', { fields: [`X-Long: ${'x'.repeat(Number(count))}`] }));
    else conn.send(answer('ok', { fields: Array.from({ length: Number(count) }, (_, i) => `X-H${i}: v${i}`) }));
  });
  for (const count of [99, 101, 250]) {
    const { headers } = await ask(`/many/${count}`);
    for (let i = 0; i < count; i += 1) assert.equal(headers[`x-h${i}`], `v${i}`);
  }
  assert.equal((await ask('/line/60000')).headers['x-long'].length, 60000);
  const large = /head of the answer has more than 256 lines or 64 KiB \(EMSGSIZE\)/;
  for (const path of ['/many/300', '/line/70000', '/line/200000']) assert.match((await ask(path)).error, large, path);
  assert.equal((await ask('/many/1')).status, 200);
});

// RFC 9112 6.3 and 8: another reader of such bytes would see another answer.
test('an answer whose length or head is not clear is an error', async (t) => {
  const { ask } = await fetcher(t, (request, conn) => { conn.send(Buffer.from(request.target.slice(1), 'base64url')).then(() => conn.socket.end()); });
  const raw = (text) => ask(`/${Buffer.from(text, 'latin1').toString('base64url')}`);
  const sized = (...values) => raw(`HTTP/1.1 200 OK\r\n${values.map((v) => `Content-Length: ${v}\r\n`).join('')}\r\n${'x'.repeat(42)}`);
  for (const values of [['42'], ['42, 42'], ['42', '42'], ['42', '42 ,\t42'], ['042']]) assert.equal((await sized(...values)).body?.length, 42, `${values}`);
  for (const values of [['42,30'], ['30,42'], ['42', '30'], ['30', '42'], ['30,'], [',30'], ['30', ''], ['', '30'], ['30s'], ['0x20'], ['+30'], ['30 12'], ['030', '30'], ['9'.repeat(23)], ['']]) {
    assert.match((await sized(...values)).error ?? 'taken', /fetch: the answer('s Content-Length is not one number of at most 18 digits| is not HTTP) \(EBADMSG\)/, `${values}`);
  }
  const moved = 'HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0, 1\r\n\r\n';
  assert.match((await raw(moved)).error ?? 'taken', /Content-Length is not one number/);
  assert.equal((await raw('HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n')).body?.toString(), 'abc');
  assert.equal((await raw('HTTP/1.0 200 OK\r\nX: y\r\n\r\nto the end')).body?.toString(), 'to the end');
  for (const cut of ['HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nX: y', 'HTTP/1.1 200 OK\r\nX: y\r\n', 'HTTP/1.1 302 Found\r\nLocation: /there\r\n']) {
    assert.match((await raw(cut)).error ?? 'taken', /fetch: the head of the answer is cut off \(ECONNRESET\)/, cut);
  }
  for (const odd of ['SSH-2.0-x\r\n', 'HTTP/1.1 BLAH\r\n\r\n', 'HTTP/1.1 1000 BOO\r\n\r\n', 'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n', 'HTTP/1.1 200 OK\r\nX\r: a\r\n\r\n']) {
    assert.match((await raw(odd)).error ?? 'taken', /fetch: the answer is not HTTP \(EBADMSG\)/, odd);
  }
});

test('methods in any case are the usual ones', async (t) => {
  const { up, ask } = await fetcher(t, (request, conn) => {
    if (request.target === '/moved') conn.send(answer('', { status: '302 Found', fields: ['Location: /there'] }));
    else conn.send(request.method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n' : answer('ok'));
  });
  for (const method of ['get', 'Post', 'put', 'dElete', 'head', 'options', 'patch', 'PATCH', 'PURGE', 'purge']) {
    up.requests.length = 0;
    assert.equal((await ask('/', { method })).status, 200, method);
    assert.deepEqual(up.requests.map((r) => r.method), [['purge', 'patch'].includes(method) ? method : method.toUpperCase()]);
  }
  up.requests.length = 0;
  await ask('/moved', { method: 'post', body: 'x' });
  assert.deepEqual(up.requests.map((r) => r.method), ['POST', 'GET']);
  assert.match((await ask('/', { method: 'a b' })).error, /method is not valid/);
});

test('redirect: followed, an answer, or an error; nothing else', async (t) => {
  const { up, ask } = await fetcher(t, (request, conn) => {
    if (request.target === '/moved') conn.send(answer('gone', { status: '302 Found', fields: ['Location: /there'] }));
    else if (request.target === '/300') conn.send(answer('choose', { status: '300 Multiple Choices' }));
    else conn.send(answer('there'));
  });
  assert.equal((await ask('/moved')).body.toString(), 'there');
  assert.equal((await ask('/moved', { redirect: 'follow' })).body.toString(), 'there');
  assert.deepEqual([(await ask('/moved', { redirect: 'manual' })).status, up.requests.length], [302, 5]);
  assert.match((await ask('/moved', { redirect: 'error' })).error, /^fetch: the answer is a redirect \(ELOOP\)$/);
  assert.equal(up.requests.length, 6, 'and it is not followed');
  assert.equal((await ask('/300', { redirect: 'error' })).status, 300, 'not one that leads anywhere');
  for (const [redirect, said] of [[1, '1'], [false, 'false'], ['Follow', '"Follow"'], ['none', '"none"']]) {
    assert.match((await ask('/there', { redirect })).error, new RegExp(`fetch: redirect must be "follow", "manual" or "error", not ${said}$`));
  }
});

test('options that are none are refused, with the nearest that is one', async (t) => {
  const { up, ask } = await fetcher(t, (request, conn) => conn.send(answer('ok')));
  for (const [name, near] of [['metod', 'method'], ['header', 'headers'], ['timeOut', 'timeout'], ['Body', 'body'], ['redirects', 'redirect']]) {
    assert.match((await ask('/', { [name]: 'x' })).error, new RegExp(`fetch: ${name}: unknown key; did you mean \`${near}\`\\?$`));
  }
  assert.match((await ask('/', { credentials: 'omit' })).error, /fetch: credentials: unknown key; known are method, headers, body, json, form, length, timeout, retry, as, sign, /);
  assert.match((await ask('/', { stream: 'yes' })).error, /stream must be true or false, not a string/);
  assert.equal(up.requests.length, 0, 'nothing was sent');
  assert.equal((await ask('/', { method: 'PUT', headers: { a: 'b' }, body: 'x', timeout: 5, stream: false, redirect: 'manual' })).status, 200);
});

test('a head that begins with a line that goes on is refused, on handles that have served, too', async (t) => {
  const heads = {
    '/blank': ['HTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nok', null], '/tab': ['HTTP/1.1 200 OK\r\n\tX: y\r\nContent-Length: 2\r\n\r\nok', null],
    '/nothing': ['HTTP/1.1 200 OK\r\n  \r\nContent-Length: 2\r\n\r\nok', null], '/interim': ['HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n X: y\r\nContent-Length: 2\r\n\r\nok', null],
    '/later': ['HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok', 'b c'], '/plain': ['HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nok', 'b'],
  };
  const { ask } = await fetcher(t, (request, conn) => conn.send(heads[request.target][0]));
  for (let round = 0; round < 3; round++) {
    for (const [path, [, field]] of Object.entries(heads)) {
      const got = await ask(path);
      if (path === '/nothing') assert.equal(got.error, 'fetch: the answer is not HTTP (EBADMSG)');
      else if (field === null) assert.equal(got.error, 'fetch: the first header line of the answer begins with a blank (EBADMSG)', path);
      else assert.deepEqual([got.status, got.headers.a, got.body.toString()], [200, field, 'ok'], path);
    }
  }
});

test('json and form: the body, its type and its method; one of them', async (t) => {
  const { up, ask } = await fetcher(t, (request, conn) => conn.send(answer('ok')));
  const sent = async (options) => {
    up.requests.length = 0;
    const got = await ask('/', options);
    if (got.error) return got.error;
    const [{ method, headers, body }] = up.requests;
    return [method, headers['content-type'], body.toString()];
  };
  const J = 'application/json', F = 'application/x-www-form-urlencoded';
  assert.deepEqual(await sent({ json: { a: [1, { b: 'ä' }] } }), ['POST', J, '{"a":[1,{"b":"ä"}]}']);
  assert.deepEqual(await sent({ json: [], method: 'put' }), ['PUT', J, '[]']);
  assert.deepEqual(await sent({ json: false }), ['POST', J, 'false']);
  assert.deepEqual(await sent({ json: 'x', headers: { 'CONTENT-type': 'application/problem+json' } }), ['POST', 'application/problem+json', '"x"']);
  assert.deepEqual(await sent({ json: 'x'.repeat(300000) }), ['POST', J, `"${'x'.repeat(300000)}"`]);
  const form = await sent({ form: { b: 'x y&=+ä', a: [1, 2.5, true], c: '' } });
  assert.deepEqual(form.slice(0, 2), ['POST', F]);
  assert.deepEqual([...new URLSearchParams(form[2])], [['a', '1'], ['a', '2.5'], ['a', 'true'], ['b', 'x y&=+ä'], ['c', '']]);
  assert.deepEqual(await sent({ form: {} }), ['POST', F, '']);
  assert.match(await sent({ form: 'a=b' }), /form must be a table of names and values, not a string/);
  assert.match(await sent({ form: { a: { b: { c: 1 } } } }), /fetch: form: the value of 'a' is a table, but no list/);
  assert.match(await sent({ form: { a: [[]] } }), /fetch: form: cannot encode a table as a value of 'a'/);
  assert.match(await sent({ json: {}, body: 'x' }), /of `body`, `json` and `form` only one can be sent/);
  assert.match(await sent({ json: {}, form: {} }), /only one can be sent/);
});

test('retry: after the statuses that are named, as often as is said, within the time that there is', async (t) => {
  let replies = [];
  const { up, ask } = await fetcher(t, (request, conn) => {
    const reply = replies.shift() ?? '200 OK';
    if (reply === 'end') conn.socket.destroy();
    else conn.send(answer(`${reply} ${request.body}`, { status: reply.split(';')[0], fields: reply.includes(';') ? [`Retry-After: ${reply.split(';')[1]}`] : [] }));
  });
  const tried = async (list, options) => {
    replies = [...list];
    up.requests.length = 0;
    const got = await ask('/', options);
    return [up.requests.length, got.status ?? got.error];
  };
  const retry = (more) => ({ retry: { backoff: 0.0001, ...more } });
  const busy = '503 Busy', big = 'x'.repeat(70000);
  assert.deepEqual(await tried([busy, busy], retry({})), [3, 200]);
  assert.deepEqual(await tried([busy, busy, busy], retry({})), [3, 503], 'two repeats unless said otherwise');
  assert.deepEqual(await tried([busy], retry({ times: 0 })), [1, 503]);
  assert.deepEqual(await tried([busy], {}), [1, 503]);
  assert.deepEqual(await tried(Array(10).fill('429 Slowly'), retry({ times: 10 })), [11, 200]);
  assert.deepEqual(await tried(['500 Error'], retry({})), [1, 500], 'that may be the same next time');
  assert.deepEqual(await tried(['500 Error', '404 None'], retry({ status: [500, 404] })), [3, 200]);
  assert.deepEqual(await tried([busy], retry({ status: [500] })), [1, 503]);
  assert.deepEqual(await tried([busy], retry({ status: [] })), [1, 503]);
  assert.deepEqual(await tried([`${busy};0`, `${busy};${new Date(Date.now() - 5000).toUTCString()}`], retry({})), [3, 200]);
  assert.deepEqual(await tried([`${busy};3600`], retry({})), [1, 503], 'who has no time for it hears so at once');
  assert.deepEqual(await tried([`${busy};${new Date(Date.now() + 3600000).toUTCString()}`], retry({})), [1, 503]);
  assert.deepEqual(await tried([busy], { retry: { backoff: 30 } }), [1, 503]);
  assert.deepEqual(await tried([busy, busy], { ...retry({}), method: 'POST', body: big }), [3, 200]);
  assert.deepEqual([...new Set(up.requests.map((r) => r.body.length))], [70000]);
  // no answer at all: what is idempotent goes again
  assert.deepEqual(await tried(['end', 'end'], retry({})), [3, 200]);
  assert.deepEqual(await tried(['end'], { ...retry({}), method: 'PUT', body: big }), [2, 200]);
  const posted = await tried(['end'], { ...retry({}), method: 'POST', body: 'x' });
  assert.equal(posted[0], 1);
  assert.match(posted[1], /ECONNRESET/);
  await up.stop();
  assert.match((await tried([], { ...retry({ times: 1 }), method: 'POST', body: 'x' }))[1], /ECONNREFUSED/);
});

test('retry: what is wrong with it is said', async (t) => {
  const { ask } = await fetcher(t, (request, conn) => conn.send(answer('ok')));
  const rows = [[{ time: 1 }, /fetch: retry: time: unknown key; did you mean `times`/], [{ times: -1 }, /retry\.times must be a whole number between 0 and 10/], [{ times: 1.5 }, /retry\.times/], [{ times: '1' }, /retry\.times/], [{ times: 11 }, /retry\.times/],
    [{ backoff: -1 }, /retry\.backoff must be a number of seconds between 0 and 60/], [{ backoff: 'x' }, /retry\.backoff/], [{ status: 503 }, /retry\.status must be a list/], [{ status: [200] }, /retry\.status/], [{ status: ['503'] }, /retry\.status/], [{ status: Array(17).fill(503) }, /retry\.status/]];
  for (const [retry, wanted] of rows) assert.match((await ask('/', { retry })).error, wanted);
  assert.match((await ask('/', { retry: 3 })).error, /retry must be a table as \{ times = 2 \}, not a number/);
});

// The signature that a server computes for that request, as AWS describes it (version 4).
function signature({ method, target, headers, body }, { region, service, secret }) {
  const sha = (x) => crypto.createHash('sha256').update(x).digest('hex');
  const hmac = (key, x) => crypto.createHmac('sha256', key).update(x).digest();
  const strict = (x) => encodeURIComponent(x).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  const [, names, got] = /SignedHeaders=([^,]*), Signature=([0-9a-f]{64})$/.exec(headers.authorization);
  const [path, query = ''] = target.split('?');
  const fields = query.split('&').filter(Boolean).map((part) => { const [k, v = ''] = part.split('='); return `${strict(decodeURIComponent(k))}=${strict(decodeURIComponent(v))}`; });
  const date = headers['x-amz-date'], scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`;
  for (const name of names.split(';')) assert.ok(name in headers, `${name} is signed, but was not sent`);
  const canonical = [method, path.split('/').map((part) => (service === 's3' ? strict : (x) => strict(strict(x)))(decodeURIComponent(part))).join('/'), fields.sort().join('&'),
    ...names.split(';').map((name) => `${name}:${headers[name].trim().replace(/ +/g, ' ')}`), '', names, headers['x-amz-content-sha256'] ?? sha(body)].join('\n');
  if (headers['x-amz-content-sha256']) assert.equal(headers['x-amz-content-sha256'], body === null ? 'UNSIGNED-PAYLOAD' : sha(body));
  const key = ['aws4_request'].reduce(hmac, hmac(hmac(hmac(`AWS4${secret}`, date.slice(0, 8)), region), service));
  const wanted = crypto.createHmac('sha256', key).update(['AWS4-HMAC-SHA256', date, scope, sha(canonical)].join('\n')).digest('hex');
  assert.match(headers.authorization, new RegExp(`^AWS4-HMAC-SHA256 Credential=AKID/${scope}, `));
  return { got, wanted };
}

test('sign: as a server of AWS checks it; and at that place alone', async (t) => {
  const other = await rawUpstream(t, (request, conn) => conn.send(answer('other')));
  let busy = 1;
  const { up, ask } = await fetcher(t, (request, conn) => {
    if (request.target === '/away') conn.send(answer('', { status: '307 Away', fields: [`Location: ${other.url}/stolen`] }));
    else if (request.target === '/busy' && busy-- > 0) conn.send(answer('', { status: '503 Busy' }));
    else conn.send(request.method === 'HEAD' ? 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n' : answer('ok'));
  });
  const secret = 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY', keys = { sign: 'aws4', access_key: 'AKID', secret_key: secret, region: 'eu-central-1', service: 's3' };
  const big = 'x'.repeat(1500000);
  const rows = [['/bucket/key'], ['/'], ['/b/k?z=1&a=2&a=10&uploads&e='], ["/b/a b/ä+(1)!'*,;=:@$~.txt?q=a+b&p=%2f%c3%a4&x=y/z"], ['/b/k', { method: 'PUT', body: 'hello' }], ['/b/k', { method: 'PUT', body: '' }], ['/b/k', { method: 'PUT', body: big }],
    ['/b/k', { method: 'PUT', body: 'x', headers: { 'Content-Type': 'text/plain', 'x-amz-meta-a': '  two   blanks ' } }], ['/b?uploads', { method: 'POST' }], ['/b', { json: { a: 1 } }], ['/b/k', { method: 'HEAD' }], ['/b/k', { method: 'DELETE' }],
    ['/b/k', { session_token: 'token+/=' }], ['/a b/ä', { service: 'execute-api' }], ['/', { service: 'sqs', form: { Action: 'ListQueues', Version: '2012-11-05' } }], ['/busy', { retry: { backoff: 0 } }], ['/b/k', { stream: false, redirect: 'manual' }]];
  for (const [path, options] of rows) {
    up.requests.length = 0;
    const got = await ask(path, { ...keys, ...options });
    assert.equal(got.status, 200, `${path} ${got.error}`);
    for (const request of up.requests) {
      const { got: sent, wanted } = signature(request, { ...keys, ...options, secret });
      assert.equal(sent, wanted, `${path} ${JSON.stringify(options)}`);
      assert.equal(request.headers['x-amz-security-token'], options?.session_token);
      assert.ok(!JSON.stringify(request.fields).includes(secret));
    }
  }
  assert.equal(up.requests.length, 1);
  assert.equal((await ask('/away', { ...keys, session_token: 't' })).status, 307, 'a signature is good for one place');
  assert.equal(other.requests.length, 0);
  const wrong = [[{ sign: 'aws2' }, /sign must be "aws4", not 'aws2'/], [{ secret_key: undefined }, /secret_key must be a text, not a nil/], [{ access_key: '' }, /access_key must be a key, and is empty/], [{ region: 'a/b' }, /region must be as "eu-central-1", not 'a\/b'/], [{ service: '' }, /service must be as "s3"/],
    [{ sign: undefined }, /access_key belongs to sign = "aws4"/], [{ headers: { Authorization: 'x' } }, /a signed request brings its own Authorization/], [{ as: 'crm' }, /signed, or made as 'crm', but not both/]];
  for (const [change, message] of wrong) assert.match((await ask('/', { ...keys, ...change })).error, message);
});

test('a body in pieces: as they come, at the pace of the host that takes them', async (t) => {
  const seen = [], state = { came: 0, gone: 0 };
  let hold = null;
  const url = await upstream(t, async (req, res) => {
    const hash = crypto.createHash('sha256');
    let size = 0;
    if (req.url === '/early') { res.writeHead(403, { Connection: 'close' }); res.end('no'); return; }
    if (req.url === '/moved') { req.resume(); res.writeHead(307, { Location: '/there' }); res.end(); return; }
    if (hold) await hold;
    state.came += 1;
    try {
      for await (const piece of req) { size += piece.length; hash.update(piece); }
    } catch { state.gone += 1; return; } // what breaks off is the function's to tell
    seen.push({ method: req.method, target: req.url, headers: req.headers, size, sha: hash.digest('hex') });
    res.end('x'.repeat(req.url === '/long' ? 300000 : 2));
  });
  const h = await start(t, { files: deployment({
    copy: `return { stream_body = true, handler = function(event)
      local res = fetch("${url}" .. event.headers["x-to"], { method = "PUT", body = event:chunks(), length = tonumber(event.headers["x-length"]), timeout = 50 })
      return { statusCode = res.status, body = res:text() }
    end }`,
    made: `return function(event)
      local q = event.queryStringParameters
      local n, count = 0, tonumber(q.count)
      local ok, res = pcall(fetch, "${url}" .. q.to, { length = tonumber(q.length), timeout = 50, retry = { backoff = 0 }, body = function()
        n = n + 1
        if q.sleep then sleep(0.001) end
        if q.raise and n == 3 then error("no more of it") end
        if q.odd and n == 3 then return 5 end
        if n <= count then return ("x"):rep(tonumber(q.size)) end
      end })
      return json.encode(ok and { status = res.status, len = #res:text(), n = n } or { error = tostring(res), n = n })
    end`,
    signed: `return function()
      local n = 0
      return fetch("${url}/b/a%20b+?x=1&a", { method = "PUT", length = 6, sign = "aws4", access_key = "AKID", secret_key = "SECRET", region = "eu-central-1", service = "s3",
        body = function() n = n + 1 if n < 4 then return "ab" end end }):text()
    end`,
    pass: `return function() return fetch("${url}/p", { body = fetch("${url}/long", { stream = true }):chunks() }):text() end`,
    wrong: `return function()
      local out = {}
      for _, o in ipairs { { body = 5 }, { body = print, stream = true }, { body = "x", length = 1 }, { body = print, length = -1 }, { body = print, length = 1.5 }, { body = print, sign = "aws4", access_key = "a", secret_key = "b", region = "c", service = "sqs" } } do out[#out + 1] = select(2, pcall(fetch, "${url}/w", o)) end
      return json.encode(out)
    end`,
  }, { fields: Object.fromEntries(['copy', 'made', 'signed', 'pass', 'wrong'].map((name) => [name, 'fetch = { "127.0.0.1" }, timeout = 60'])) }) });
  const big = crypto.randomBytes(3000000), sha = crypto.createHash('sha256').update(big).digest('hex');
  for (const length of [undefined, big.length]) {
    let open;
    hold = new Promise((resolve) => { open = resolve; });
    const going = h.call('copy', { method: 'POST', headers: { 'X-To': '/c', ...(length ? { 'X-Length': String(length) } : {}) }, body: big, ms: 60000 });
    open();
    assert.equal((await going).status, 200);
    const got = seen.pop();
    assert.deepEqual([got.method, got.size, got.sha, got.headers['content-length'], got.headers['transfer-encoding']], ['PUT', big.length, sha, length && String(length), length ? undefined : 'chunked']);
  }
  hold = null;
  const made = async (query) => (await h.call('made', { suffix: `?${new URLSearchParams(query)}` })).json();
  for (const [size, count] of [[0, 3], [1, 1], [1, 0], [1000, 100], [16384, 8], [65536, 5], [70000, 3], [1500000, 2]]) {
    assert.deepEqual(await made({ to: '/m', size, count }), { status: 200, len: 2, n: count + 1 }, `${count} of ${size}`);
    assert.deepEqual([seen.at(-1).method, seen.at(-1).size], ['POST', size * count]);
  }
  const { n, ...rest } = await made({ to: '/long', size: 100, count: 20, sleep: 1, length: 2000 });
  assert.deepEqual(rest, { status: 200, len: 300000 });
  assert.ok(n === 20 || n === 21, 'with a length, the answer may come before the end is asked for');
  assert.match((await made({ to: '/m', size: 100, count: 3, length: 301 })).error, /the body ends 1 bytes before its length/);
  assert.match((await made({ to: '/m', size: 100, count: 3, length: 299 })).error, /the body is longer than its length/);
  assert.match((await made({ to: '/m', size: 100, count: 9, raise: 1 })).error, /no more of it/);
  assert.match((await made({ to: '/m', size: 100, count: 9, odd: 1 })).error, /must give texts, and nil at the end, not a number/);
  const early = await made({ to: '/early', size: 65536, count: 2000 });
  assert.ok(early.n < 2000 && (early.status === 403 || /ECONNRESET|EPIPE/.test(early.error)), JSON.stringify(early));
  assert.equal((await made({ to: '/moved', size: 10, count: 3 })).status, 307, 'it cannot be sent twice');
  const before = seen.length;
  assert.equal((await h.call('pass')).text, 'xx');
  assert.deepEqual(seen.slice(before).map((s) => s.size), [0, 300000]);
  assert.equal((await h.call('signed')).text, 'xx');
  const { got: sent, wanted } = signature({ ...seen.at(-1), body: null }, { region: 'eu-central-1', service: 's3', secret: 'SECRET' });
  assert.equal(sent, wanted);
  // who leaves in the middle takes his upload with him
  const there = seen.length;
  Object.assign(state, { came: 0, gone: 0 });
  const leaver = (await h.connect()).send(requestText({ method: 'POST', path: '/.netlify/functions/copy', headers: { 'X-To': '/c', 'Content-Length': '300000' } }), 'x'.repeat(150000));
  await eventually(() => state.came === 1, 10, 'the upload');
  leaver.close();
  await eventually(() => state.gone === 1, 10, 'its end');
  assert.equal(seen.length, there);
  assert.equal((await made({ to: '/m', size: 10, count: 2 })).status, 200);
  const wrong = (await h.call('wrong')).json();
  for (const [i, message] of [/body must be a text, not a number/, /a body in pieces has an answer that is gathered/, /length belongs to a body that a function gives/, /length must be the number/, /length must be the number/, /a body in pieces can be signed for S3 alone/].entries()) assert.match(wrong[i], message);
});

test('a body in pieces in `luafn test`', async (t) => {
  const dir = folder(t, deployment({ up: `return function()
    local n = 0
    return fetch("https://x.example/u", { length = 6, body = function() n = n + 1 sleep(1) if n < 4 then return "ab" end end }):text()
  end` }, { files: { 'up_test.lua': `test("up", function(t)
    t.clock(0)
    t.fetch("https://x.example/*", function(request) return request.method .. request.body end)
    t.equal(t.invoke("up").body, "POSTababab")
  end)` } }));
  const { code, stdout, stderr } = await run(t, ['test'], { dir });
  assert.equal(code, 0, stdout + stderr);
});

test('a host without descriptors says so, and not that it was refused', async (t) => {
  const script = `local URL = %q
    return function()
      local calls = {}
      for i = 1, 60 do calls[i] = function() local ok, err = pcall(fetch, URL, { timeout = 1 }) return ok and "ok" or tostring(err) end end
      return json.encode({ parallel(table.unpack(calls)) })
    end`;
  const up = await rawUpstream(t, () => {});
  const h = await start(t, {
    files: deployment({ many: script.replace('%q', JSON.stringify(up.url)) }, { fields: { many: 'fetch = { "127.0.0.1" }' } }),
    under: ['sh', '-c', 'ulimit -n 64; exec "$0" "$@"'],
  });
  const errors = (await h.call('many')).json();
  assert.ok(errors.some((e) => /too many open files \(EMFILE\)/.test(e)), errors.join('\n'));
  assert.ok(errors.some((e) => /ETIMEDOUT/.test(e)));
  assert.ok(!errors.some((e) => /ECONNREFUSED/.test(e)), errors.join('\n'));
});

test('url.parse sees the host that fetch asks', async (t) => {
  const up = await rawUpstream(t, (request, conn) => conn.send(answer(request.headers.host)));
  const script = `return function(event)
    local u, why = url.parse(event.body)
    local ok, res = pcall(fetch, event.body, { timeout = 5 })
    return json.encode({ host = u and u.host, port = u and u.port, why = why, asked = ok and res:text(), error = not ok and tostring(res) })
  end`;
  const h = await start(t, { files: deployment({ both: script }, { fields: { both: 'fetch = { "127.0.0.1", "localhost", "::1", "b", "c" }' } }) });
  const both = async (body) => (await h.call('both', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body })).json();
  const { port } = up;
  for (const url of [`http:/127.0.0.1:${port}/`, `http:///127.0.0.1:${port}/`, `http://%3127.0.0.1:${port}/`, `http://127.1:${port}/`,
    `http://2130706433:${port}/`, `http://%31%32%37.1:${port}/`, `http://0x7f000001:${port}/`, `HTTP://LOCALHOST.:${port}/`, `http://a\\@127.0.0.1:${port}/`,
    `http://１２７.0.0.1:${port}/`, `http://u:p@127.0.0.1:${port}/a b`]) {
    const got = await both(url);
    assert.equal(got.asked, `${got.host}:${got.port}`, `${url}: ${JSON.stringify(got)}`);
  }
  for (const url of ['http://[::1%25eth0]/', 'http://a@b@c/', `http://%2531.0.0.1:${port}/`, 'http://:80/', 'http:////127.0.0.1/']) {
    const got = await both(url);
    assert.deepEqual([got.host, got.asked], [undefined, false], url);
    assert.equal(got.error, `fetch: ${got.why}`, url);
  }
});

test('lists of hosts do not mind how a host is written', async (t) => {
  const up = await rawUpstream(t, (request, conn) => conn.send(answer('ok')));
  const script = `return function(event)
    local ok, err = pcall(fetch, event.body, { timeout = 5 })
    return ok and "ok" or tostring(err)
  end`;
  const lists = {
    case: `"LOCALHOST:${up.port}"`, dot: '"localhost."', script: '"*.BÜCHER.localhost"', port: `"localhost:${up.port + 1}"`,
  };
  const h = await start(t, {
    files: deployment(Object.fromEntries(Object.keys(lists).map((n) => [n, script])), { fields: Object.fromEntries(Object.entries(lists).map(([n, l]) => [n, `fetch = { ${l} }`])) }),
  });
  const ask = async (name, url) => (await h.call(name, { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: url })).text;
  assert.equal(await ask('case', `http://localhost:${up.port}/`), 'ok');
  assert.equal(await ask('dot', `http://LocalHost.:${up.port}/`), 'ok');
  assert.equal(await ask('script', `http://shop.bücher.localhost:${up.port}/`), 'ok');
  assert.equal(await ask('script', `http://shop.xn--bcher-kva.localhost:${up.port}/`), 'ok');
  assert.match(await ask('script', `http://shop.bucher.localhost:${up.port}/`), /not listed for fetch/);
  assert.match(await ask('port', `http://localhost:${up.port}/`), /not listed for fetch/);
});

test('a trace goes on in what fetch asks for, whole or not at all', async (t) => {
  const url = await upstream(t, (req, res) => res.end(JSON.stringify([req.headers.traceparent ?? null, req.headers.tracestate ?? null])));
  const h = await start(t, { command: 'dev', files: deployment({ a: `return function() return fetch("${url}").body end` }) });
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const seen = async (...lines) => {
    const wire = await h.connect();
    wire.send(`GET /.netlify/functions/a HTTP/1.1\r\nHost: localhost\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`);
    const res = await wire.response();
    wire.close();
    return res.json();
  };
  const long = Array.from({ length: 33 }, (_, i) => `k${i}=v`).join(',');
  assert.deepEqual(await seen(`traceparent: ${trace}`), [trace, null]);
  assert.deepEqual(await seen(`traceparent: ${trace}`, 'tracestate: a=1', 'tracestate: b=2,c=3'), [trace, 'a=1,b=2,c=3']);
  assert.deepEqual(await seen(`traceparent: ${trace}`, `tracestate: ${long}`), [trace, null]);
  assert.deepEqual(await seen('traceparent: 00-x', 'tracestate: a=1'), [null, null]);
  assert.deepEqual(await seen(`traceparent: ${trace}`, `traceparent: ${trace}`, 'tracestate: a=1'), [null, null]);
  assert.deepEqual(await seen('tracestate: a=1'), [null, null]);
});
