// Bytes that are not UTF-8, in a query, a parameter, a header or a text body, are no server error: a handler
// sees U+FFFD where Node would, and can write it into JSON.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import test from 'node:test';
import { deployment, start } from '../lib/host.mjs';
import { requestText } from '../lib/wire.mjs';

const SEEN = `return function(event)
  return json.encode { q = event.queryStringParameters, many = event.multiValueQueryStringParameters, id = event.params.id,
    header = event.headers["x-name"], body = event.body }
end`;

// What Node makes of the bytes.
const shown = (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
const escaped = (bytes) => [...bytes].map((b) => `%${b.toString(16).padStart(2, '0')}`).join('');

// Beginnings of characters, their ends, and what begins none.
const ODD = ['e9', 'ff', 'c3', 'c0af', 'e282', 'e28228', 'e282ac', 'f09f98', 'f09f9880', 'f0908080', 'f4908080', 'eda080', 'edbfbf', 'e08080', '80bf', 'f8888080', 'c3c3a9', 'f09f41', 'e2e282ac', 'efbbbf41']
  .map((hex) => Buffer.from(hex, 'hex'));

test('a query, a text body and a header with foreign bytes are U+FFFD, as in Node', async (t) => {
  const host = await start(t, { files: deployment({ seen: SEEN }, { fields: { seen: 'auth = "public", path = "/seen/:id?"' } }) });
  const cases = [...ODD, ...Array.from({ length: 150 }, (_, i) => randomBytes(1 + (i % 40)))];
  for (const bytes of cases) {
    const hex = bytes.toString('hex');
    const query = (await host.get(`/seen?${escaped(bytes)}=1&name=${escaped(bytes)}`));
    assert.equal(query.status, 200, hex);
    assert.equal(query.json().q.name ?? '', shown(bytes), hex);
    assert.deepEqual(query.json().many.name, [shown(bytes)], hex);
    assert.equal(query.json().q[shown(bytes)], shown(bytes) === 'name' ? undefined : '1', hex);
    const body = await host.request({ method: 'POST', path: '/seen', headers: { 'Content-Type': 'text/plain' }, body: bytes });
    assert.deepEqual([body.status, body.json().body], [200, shown(bytes)], hex);
  }
});

test('a header with foreign bytes; in a path they are refused', async (t) => {
  const host = await start(t, { files: deployment({ seen: SEEN }, { fields: { seen: 'auth = "public", path = "/seen/:id?"' } }) });
  const wire = await host.connect();
  for (const [bytes, right] of [[Buffer.from('caf\xe9', 'latin1'), 'caf\ufffd'], [Buffer.from('café'), 'café']]) {
    const [before, after] = String(requestText({ path: '/seen', headers: { 'X-Name': 'HERE' }, close: false })).split('HERE');
    wire.send(Buffer.concat([Buffer.from(before), bytes, Buffer.from(after)]));
    const res = await wire.response();
    assert.deepEqual([res.status, res.json().header], [200, right]);
  }
  wire.close();
  assert.equal((await host.get('/seen/%C3%A9')).json().id, 'é');
  assert.equal((await host.get('/seen/%E9')).status, 400);
});
