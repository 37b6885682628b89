// What a handler asks of its event: JSON, forms, cookies and the query as tables; what cannot be read
// is answered without it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start } from '../lib/host.mjs';

const SCRIPTS = {
  json: 'return function(event) return json.encode { got = event:json() } end',
  pass: 'return function(event) return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = json.encode(event:json()) } end',
  form: `return function(event)
    local form = event:form()
    for _, v in pairs(form) do if type(v) == "table" then v.data = base64.encode(v.data) end end
    return json.encode(form)
  end`,
  lists: 'return function(event) return json.encode(event:form { lists = true }) end',
  typo: 'return function(event) return json.encode(event:form { list = true }) end',
  cookies: 'return function(event) return json.encode(event:cookies()) end',
  query: 'return function(event) return json.encode(event:query()) end',
  caught: 'return function(event) local ok, e = pcall(event.json, event) return json.encode { ok, e } end',
  streams: 'return function(event) return json.encode { pcall(event.json, event) } end',
  late: 'return function(event) after_response(function() local ok, e = pcall(event.query, event) log.info(tostring(ok) .. " " .. tostring(e)) end) return "x" end',
};
const host = (t) => start(t, { files: deployment(SCRIPTS, { fields: { streams: 'stream_body = true', form: 'memory = "64MB"' } }) });
const post = (h, name, type, body) => h.call(name, { method: 'POST', headers: type === undefined ? {} : { 'Content-Type': type }, body });

test('event:json: any JSON type or none; else 415, and 400 with the place', async (t) => {
  const h = await host(t);
  for (const type of [undefined, 'application/json', 'Application/JSON; charset=utf-8', 'application/problem+json', 'text/json']) {
    assert.deepEqual((await post(h, 'json', type, '{"a":[1,{}]}')).json(), { got: { a: [1, {}] } }, type);
  }
  assert.equal((await post(h, 'pass', 'application/json', '{"b":1.10,"a":[]}')).text, '{"b":1.10,"a":[]}', 'as it came');
  const large = JSON.stringify({ all: Array.from({ length: 40000 }, (_, i) => ({ i, text: 'x'.repeat(20) })) });
  assert.equal((await post(h, 'pass', 'application/json', large)).text, large, `${large.length} bytes`);
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=b', 'application/jsonx']) {
    const res = await post(h, 'json', type, '{}');
    assert.deepEqual([res.status, res.json().error], [415, 'unsupported_media_type'], type);
    assert.match(res.header('content-type'), /^application\/json/);
  }
  for (const body of ['', '{', '{"a":1}x', '{"a":\n  tru}']) {
    const res = await post(h, 'json', 'application/json', body);
    assert.deepEqual([res.status, res.json().error], [400, 'invalid_json'], body);
  }
  assert.match((await post(h, 'json', 'application/json', '{"a":\n  tru}')).json().error_description, /line 2/);
  const [ok, e] = (await post(h, 'caught', 'application/json', '{')).json();
  assert.deepEqual([ok, e.statusCode], [false, 400], 'pcall sees the answer');
  assert.doesNotMatch(h.stderr, /handler raised/);
});

test('event:form: fields and files as browsers send them; the first of several, or lists', async (t) => {
  const h = await host(t);
  const encoded = 'application/x-www-form-urlencoded';
  assert.deepEqual((await post(h, 'form', encoded, 'a=1&b=%C3%B6+x&a=2&c=&d')).json(), { a: '1', b: 'ö x', c: '', d: '' });
  assert.deepEqual((await post(h, 'lists', `${encoded};charset=utf-8`, 'a=1&a=2&b=3')).json(), { a: ['1', '2'], b: ['3'] });
  assert.deepEqual((await post(h, 'form', encoded, 'a=%ff')).json(), { a: '\ufffd' });
  assert.equal((await post(h, 'form', encoded, '')).text, '{}');

  const send = async (name, form) => {
    const request = new Request('http://x/', { method: 'POST', body: form });
    return post(h, name, request.headers.get('content-type'), Buffer.from(await request.arrayBuffer()));
  };
  const bytes = Buffer.from(Array.from({ length: 70000 }, (_, i) => i % 256));
  const form = new FormData();
  form.append('text', 'ö\r\nx');
  form.append('more', 'one');
  form.append('more', 'two');
  form.append('file', new Blob([bytes], { type: 'image/png' }), 'ä"b.png');
  const got = (await send('form', form)).json();
  assert.deepEqual(Object.keys(got).sort(), ['file', 'more', 'text']);
  assert.deepEqual([got.text, got.more], ['ö\r\nx', 'one']);
  assert.deepEqual(got.file, { filename: 'ä%22b.png', type: 'image/png', size: bytes.length, data: bytes.toString('base64') });
  const none = '--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n\r\n--b--\r\n';
  assert.deepEqual((await post(h, 'form', 'multipart/form-data; boundary=b', none)).json(), { file: { filename: '', type: 'application/octet-stream', size: 0, data: '' } }, 'no file was chosen');
  const two = new FormData();
  two.append('more', 'one');
  two.append('more', 'two');
  assert.deepEqual((await send('lists', two)).json(), { more: ['one', 'two'] });
});

test('event:form: what is no form, has no end, or has too many fields', async (t) => {
  const h = await host(t);
  const multipart = 'multipart/form-data; boundary=b';
  for (const type of [undefined, 'application/json', 'multipart/form-data', 'multipart/mixed; boundary=b']) {
    const res = await post(h, 'form', type, 'a=1');
    assert.deepEqual([res.status, res.json().error], [415, 'unsupported_media_type'], type);
  }
  const part = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n';
  for (const body of ['', 'a=1', part, `${part}--b`, '--b\r\n\r\nx\r\n--b--']) {
    const res = await post(h, 'form', multipart, body);
    assert.deepEqual([res.status, res.json().error], [400, 'invalid_form'], body);
  }
  assert.deepEqual((await post(h, 'form', multipart, `${part}--b--`)).json(), { a: 'x' });
  for (const [type, body, good] of [
    [multipart, `${part.repeat(1001)}--b--`, false], [multipart, `${part.repeat(1000)}--b--`, true],
    ['application/x-www-form-urlencoded', 'a=1&'.repeat(1000) + 'b', false], ['application/x-www-form-urlencoded', 'a=1&'.repeat(999) + 'b', true],
  ]) {
    const res = await post(h, 'form', type, body);
    assert.equal(res.status, good ? 200 : 413, res.text.slice(0, 100));
    if (!good) assert.equal(res.json().error, 'too_large');
  }
  const typo = await post(h, 'typo', 'application/x-www-form-urlencoded', 'a=1');
  assert.equal(typo.status, 502);
  assert.match(typo.text, /unknown option 'list'; write \{ lists = true \}/);
});

test('event:cookies and event:query', async (t) => {
  const h = await host(t);
  const cookies = async (...lines) => (await h.call('cookies', { headers: lines.map((l) => ['Cookie', l]) })).json();
  assert.deepEqual(await cookies('a=1; b="x y"; c=%C3%B6; d=a=b; a=2; e; =f; g='), { a: '1', b: 'x y', c: 'ö', d: 'a=b', g: '' });
  assert.deepEqual(await cookies('a=1', 'b=2'), { a: '1', b: '2' });
  assert.equal((await h.call('cookies')).text, '{}');
  const query = async (text) => (await h.call('query', { suffix: text })).json();
  assert.deepEqual(await query('?a=1&b=2&a=3&c=%C3%B6+x&d'), { a: ['1', '3'], b: '2', c: 'ö x', d: '' });
  assert.deepEqual(await query('?a[]=1&a[]=2'), { 'a[]': ['1', '2'] });
  assert.equal((await h.call('query')).text, '{}');
  assert.equal((await h.call('query', { suffix: `?${'a&'.repeat(1000)}` })).status, 413);
});

test('none of it where the body is a stream, or the answer is out', async (t) => {
  const h = await host(t);
  const [ok, why] = (await post(h, 'streams', 'application/json', '{}')).json();
  assert.equal(ok, false);
  assert.match(why, /event:json: the body comes as a stream; read it with event:chunks\(\)/);
  assert.equal((await h.call('late')).text, 'x');
  await eventually(() => /can only be read while the request is handled/.test(h.stderr), 5, 'the work after the answer says why');
});
