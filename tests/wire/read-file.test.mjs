// read_file: what `files` lists, and nothing else of the machine.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, folder, run, start, write } from '../lib/host.mjs';

const SCRIPTS = {
  listed: 'return function(event) local text, why = read_file(event.queryStringParameters.p) return json.encode { text = text and base64.encode(text), why = why } end',
  unlisted: 'return function(event) return read_file(event.queryStringParameters.p) end',
  own: 'return { files = "data/a.txt", handler = function() return read_file("data/a.txt") end }',
  loads: 'local text = assert(read_file("data/a.txt")) return { files = {}, handler = function() return text end }',
};
const files = { 'data/a.txt': 'A', 'data/deep/b.bin': Buffer.from([0, 255, 10]), 'data/.hidden': 'no', 'data/large': Buffer.alloc((1 << 20) + 1), 'data/most': Buffer.alloc(1 << 20), '.env': 'SECRET=1', 'other.txt': 'no' };

test('listed files, and no others', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment(SCRIPTS, { files, fields: { listed: 'files = { "data/*", "*.txt2" }', loads: 'files = { "data/a.txt" }' } }) });
  const get = async (p, name = 'listed') => h.call(`${name}?p=${encodeURIComponent(p)}`);
  assert.equal(Buffer.from((await get('data/a.txt')).json().text, 'base64').toString(), 'A');
  assert.deepEqual([...Buffer.from((await get('data/deep/b.bin')).json().text, 'base64')], [0, 255, 10]);
  assert.equal(Buffer.from((await get('data/most')).json().text, 'base64').length, 1 << 20);
  assert.match((await get('data/none')).json().why, /^data\/none: cannot be opened: No such file/);
  assert.match((await get('data/large')).json().why, /^data\/large: is larger than 1048576 bytes/);
  assert.match((await get('data/deep')).json().why, /^data\/deep: /);
  for (const p of ['other.txt', '.env', 'data/.hidden', 'data/../.env', 'data/../other.txt', '../data/a.txt', '/etc/passwd', 'data//a.txt', 'data/./a.txt', '', 'data/\0', '.txt2', 'data/a.txt\0']) {
    const res = await get(p);
    assert.equal(res.status, 502, p);
    assert.match(res.json().errorMessage, /is not among the `files` of this function/, p);
  }
  assert.equal((await get('data/a.txt', 'unlisted')).status, 502);
  assert.equal((await get('', 'own')).text, 'A');
  assert.equal((await get('', 'loads')).text, 'A');
  write(h.dir, { 'data/a.txt': 'B' });
  await eventually(async () => (await get('', 'own')).text === 'B' && (await get('', 'loads')).text === 'B', 10, 'the new bytes');
});

test('what `files` must not name', async (t) => {
  const dir = folder(t, { 'scripts/a.lua': 'return function() end' });
  for (const [list, faulty] of [['"/etc/*"', true], ['{ "a/*", "../*" }', true], ['".env"', true], ['"a/.git/*"', true], ['""', true], ['"a/*"', false], ['{ "a.b", "*/c" }', false]]) {
    write(dir, { 'functions.lua': `return { functions = { a = { script = "scripts/a.lua", auth = "public",\nfiles = ${list} } } }` });
    const { stderr } = await run(t, ['check'], { dir });
    assert.equal(/functions\.lua:2: functions\.a\.files: .* leads out of the folder/.test(stderr), faulty, list);
  }
});
