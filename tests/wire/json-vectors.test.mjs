// json.decode against the JSONTestSuite, beside JSON.parse: what must be taken gives the same value, what must not is
// refused with its place, and what is free raises or gives something.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, ROOT, start } from '../lib/host.mjs';
import { requestText } from '../lib/wire.mjs';

const FOLDER = path.join(ROOT, '../shared/vectors/json/test_parsing');
const files = fs.existsSync(FOLDER) ? fs.readdirSync(FOLDER) : [];

// Made when read or at once: the same.
const DECODE = `return function(event)
  local text = base64.decode(event.body)
  local ok, value = pcall(json.decode, text)
  local ok_at_once, at_once = pcall(json.decode, text, { eager = true })
  local sorted = { sort_keys = true }
  assert(ok == ok_at_once and (ok or value == at_once))
  assert(not ok or json.encode(json.decode(json.encode(value)), sorted) == json.encode(at_once, sorted))
  return { statusCode = ok and 200 or 422, body = ok and json.encode(value) or value }
end`;

test('JSONTestSuite', { skip: files.length === 0 && 'no ../shared/vectors/json' }, async (t) => {
  const h = await start(t, { files: deployment({ decode: DECODE }) });
  const wire = await h.connect();
  const count = { y: 0, n: 0, i: 0 };
  for (const name of files) {
    const body = fs.readFileSync(path.join(FOLDER, name));
    wire.send(requestText({ path: '/.netlify/functions/decode', method: 'POST', headers: { 'content-type': 'application/octet-stream' }, body, close: false }));
    const { status, text } = await wire.response();
    count[name[0]]++;
    if (name[0] === 'y') assert.deepEqual([status, JSON.parse(text)], [200, JSON.parse(body)], name);
    else if (name[0] === 'n') assert.match(`${status} ${text}`, /^422 json\.decode: .* at line \d+ column \d+ \(byte \d+\)$/, name);
    else assert.ok(status === 200 || status === 422, `${name}: ${status} ${text}`);
  }
  wire.close();
  assert.deepEqual(count, { y: 95, n: 188, i: 35 });
});
