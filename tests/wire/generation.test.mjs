// One version of a function has one number, whichever worker answers, and however often workers or states are replaced.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, start } from '../lib/host.mjs';
import { atomicWrite } from '../lib/drill.mjs';

const says = (text) => `return function(event, context) return "${text} " .. context.functionVersion end`;
const two = (h) => eventually(() => { const w = h.workers(); return w.length === 2 && w; }, 5, 'two workers');

// What a function says over many connections: each answer once, sorted.
async function answers(h, name, count = 40) {
  const seen = new Set();
  for (let i = 0; i < count; i++) seen.add((await h.call(name)).text);
  return [...seen].sort();
}

const only = (h, name, text) => eventually(async () => JSON.stringify(await answers(h, name)) === JSON.stringify([text]), 5, `${name} to say ${text} everywhere`);

test('workers agree on the number of a version, also one that comes later', async (t) => {
  const dir = folder(t, deployment({ a: says('one'), b: says('still') }));
  const h = await start(t, { dir, workers: 2, args: ['--watch'] });
  const [first] = await two(h);
  assert.deepEqual(await answers(h, 'a'), ['one 1']);
  atomicWrite(path.join(dir, 'scripts/a.lua'), says('two'));
  const loaded = (count) => eventually(() => h.stderr.match(/"function loaded","function":"a","generation":2/g)?.length === count, 5, `generation 2 to be loaded ${count} times`);
  await loaded(2);
  await only(h, 'a', 'two 2');
  process.kill(first, 'SIGKILL');
  await loaded(3);
  await only(h, 'a', 'two 2');
  assert.deepEqual(await answers(h, 'b'), ['still 1']);
  atomicWrite(path.join(dir, 'scripts/a.lua'), says('one'));
  await only(h, 'a', 'one 3'); // what comes back is a version of its own
});

test('SIGHUP makes the next number, the same in both', async (t) => {
  const h = await start(t, { files: deployment({ a: says('one') }), workers: 2 });
  await two(h);
  h.kill('SIGHUP');
  await only(h, 'a', 'one 2');
});

test('a fresh state for the same version keeps its number', async (t) => {
  const dir = folder(t, deployment({
    a: `local runs = 0
return function(event, context)
  if event.queryStringParameters.grow then local t = {} for i = 1, 1e9 do t[i] = { i } end end
  runs = runs + 1
  return runs .. " " .. context.functionVersion
end`,
  }, { fields: { a: 'memory = "2MB"' } }));
  const h = await start(t, { dir, command: 'dev' });
  assert.equal((await h.call('a')).text, '1 1');
  assert.equal((await h.call('a')).text, '2 1');
  const grown = await h.call('a', { suffix: '?grow=1' });
  assert.equal(grown.status, 500);
  assert.equal(grown.json().errorType, 'MemoryLimitExceeded');
  assert.equal((await h.call('a')).text, '1 1', 'a new state, the old version');
  atomicWrite(path.join(dir, 'scripts/a.lua'), says('two'));
  await eventually(async () => (await h.call('a')).text === 'two 2', 2, 'the next version');
});
