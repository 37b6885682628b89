// replay_before_reload: what a new version must stand before it serves.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start, write } from '../lib/host.mjs';
import { records } from '../lib/journal.mjs';
import { upstream } from '../lib/upstream.mjs';

const lines = (h, pattern) => [...h.stderr.matchAll(new RegExp(`^.*${pattern}.*\n`, 'gm'))].map((found) => JSON.parse(found[0]));
// The newest line of the log that says so, once there are `count` of them.
const told = (h, pattern, count) => eventually(() => lines(h, pattern).length >= count && lines(h, pattern).at(-1), 10, `${pattern}, ${count} times`);
const tried = (h, count) => told(h, 'recorded requests run again', count);
const refused = (h, count) => told(h, 'function is not taken up', count);
const counts = ({ same, other, left_out: out }) => [same, other, out];

const script = (url, rest) => `return function(event)
  local n = kv.incr("n")
  local res = fetch("${url}?x=" .. event.queryStringParameters.x)
  sleep(0.001)
  ${rest}
end`;

test('a version that fails where the one before did well does not serve', async (t) => {
  let asked = 0;
  const url = await upstream(t, (req, res) => { asked++; res.end('{"from":"there"}'); });
  const good = 'return json.encode { n = n, from = res:json().from }';
  const h = await start(t, { command: 'dev', args: ['--log', 'json'], files: deployment({ a: script(url, good), b: 'return function(event, context) return "b" end' }, { more: 'replay_before_reload = 4,' }) });
  for (let i = 1; i <= 5; i++) assert.equal((await h.call('a', { suffix: `?x=${i}`, headers: { 'X-Request-Id': `number-${i}` } })).json().n, i);
  assert.equal((await h.call('b')).text, 'b');
  await records(h.dir, 6);
  const save = (rest) => write(h.dir, { 'scripts/a.lua': script(url, rest) });

  await t.test('it raises', async () => {
    save(`if event.queryStringParameters.x == "3" then log.error("not to be seen") error("boom") end ${good}`);
    const line = await refused(h, 1);
    assert.match(line.error, /^a: it is answered with 502, which was answered with 200: GET \/\S+\?x=3 \(`luafn replay number-3`\): scripts\/a\.lua:5: boom$/);
    assert.deepEqual([line.function, line.serving], ['a', 'the generation before']);
    const res = await h.call('a', { suffix: '?x=3' });
    assert.deepEqual([res.status, res.json().from], [200, 'there'], 'it serves as before');
    assert.match(res.header('x-luafn-fault'), /^a: it is answered with 502/);
    assert.match(JSON.stringify((await h.get('/_luafn/ready')).json().faults), /answered with 502/);
    assert.ok(!h.stderr.includes('not to be seen') && !h.stderr.includes('handler raised'), 'a trial logs nothing of its own');
  });
  await records(h.dir, 7);

  await t.test('it does the same', async () => {
    const before = asked;
    save(`local x = 1 ${good}`);
    assert.deepEqual(counts(await tried(h, 1)), [4, 0, 0]);
    await eventually(async () => (await h.get('/_luafn/ready')).json().faults.length === 0, 10, 'the new version');
    const res = await h.call('a', { suffix: '?x=9' }); // once: it is one of the records of what follows
    assert.equal(res.header('x-luafn-fault'), undefined);
    assert.deepEqual([res.json().n, asked], [before + 1, before + 1], 'only requests of clients asked the outside');
  });
  await records(h.dir, 8);

  await t.test('it answers otherwise', async () => {
    save('return { statusCode = event.queryStringParameters.x == "9" and 404 or 200, body = json.encode { n = n, from = res:json().from } }');
    const line = await tried(h, 2);
    assert.deepEqual(counts(line), [3, 1, 0]);
    assert.match(line.first, /^\S+: status was 200, is 404$/);
  });

  await t.test('it asks for what was not recorded, and would fail with it', async () => {
    save(`kv.get("more") error("boom")`);
    assert.deepEqual(counts(await tried(h, 3)), [0, 0, 4]);
    await eventually(async () => (await h.call('a', { suffix: '?x=1' })).status === 502, 10, 'it serves');
  });
  assert.equal(lines(h, 'function is not taken up').length, 1);
  assert.equal((await h.call('b')).header('x-luafn-generation'), 'b@1', 'the others were left alone');
});

test('what fails without its secrets fails on both, and keeps nothing out', async (t) => {
  const basic = (rest) => `return function(event)
  local user = base64.decode(event.headers.authorization:match("^Basic (.*)")):match("^(.-):")
  ${rest}
  return user
end`;
  const state = (rest) => `local seen = 0 return function() seen = seen + 1 ${rest} return "x" end`;
  const h = await start(t, { command: 'dev', args: ['--log', 'json'], files: deployment({ basic: basic(''), state: state(''), at: 'return { handler = function(event) return event.params.id:upper() end, path = "/items/:id" }',
    'work-background': 'return function(event) local n = kv.incr("n") end' }, { more: 'replay_before_reload = 10,' }) });
  const authorization = `Basic ${Buffer.from('ada:lovelace-0123').toString('base64')}`;
  assert.equal((await h.call('basic', { headers: { Authorization: authorization } })).text, 'ada');
  for (let i = 0; i < 3; i++) await h.call('state');
  assert.equal((await h.get('/items/one')).text, 'ONE');
  assert.equal((await h.call('work-background', { method: 'POST', headers: { 'Content-Type': 'text/plain' }, body: 'x' })).status, 202);
  await records(h.dir, 6);
  write(h.dir, { 'scripts/basic.lua': basic('local x = 1') });
  assert.deepEqual(counts(await tried(h, 1)), [0, 0, 1]);
  write(h.dir, { 'scripts/state.lua': state('if seen > 1 then error("a second time") end') });
  assert.deepEqual(counts(await tried(h, 2)), [3, 0, 0], 'each has a state of its own');
  write(h.dir, { 'scripts/at.lua': 'return { handler = function(event) return event.params.name:upper() end, path = "/things/:name" }' });
  assert.deepEqual(counts(await tried(h, 3)), [0, 0, 1], 'its address is another one');
  write(h.dir, { 'scripts/work-background.lua': 'return function(event) local n = kv.incr("n") error("boom") end' });
  assert.match((await refused(h, 1)).error, /boom$/);
});

test('a configuration under which a function fails is not taken up', async (t) => {
  const files = { ...deployment({ a: 'return function() return env.MODE:upper() end' }, { more: 'replay_before_reload = 3,' }), '.env': 'MODE=good\n' };
  const h = await start(t, { command: 'dev', args: ['--log', 'json'], files });
  assert.equal((await h.call('a')).text, 'GOOD');
  await records(h.dir, 1);
  write(h.dir, { '.env': 'OTHER=good\n' });
  await h.says(/the configuration before stays/);
  assert.match((await refused(h, 1)).error, /attempt to index a nil value/);
  assert.equal((await h.call('a')).text, 'GOOD');
  write(h.dir, { '.env': 'MODE=better\n' });
  await eventually(async () => (await h.call('a')).text === 'BETTER', 10, 'the new configuration');
});

test('serve: by the sample, in each worker, behind the sandbox', async (t) => {
  const files = deployment({ a: 'return function(event) return event.queryStringParameters.x end' }, { more: 'journal = { sample = 1 }, replay_before_reload = 20,' });
  const h = await start(t, { files, workers: 2, args: ['--sandbox'] });
  for (let i = 0; i < 6; i++) assert.equal((await h.call('a', { suffix: `?x=${i}` })).text, String(i));
  await records(h.dir, 6);
  const save = (code) => { write(h.dir, { 'scripts/a.lua': code }); h.child.kill('SIGHUP'); };
  save('return function(event) return event.queryStringParameters.x:rep(2 // (tonumber(event.queryStringParameters.x) - 4)) end');
  await eventually(() => lines(h, 'function is not taken up').length === 2, 10, 'both refuse');
  for (let i = 0; i < 6; i++) assert.equal((await h.call('a', { suffix: `?x=${i}` })).text, String(i));
  save('return function(event) return "now " .. event.queryStringParameters.x end');
  await eventually(() => lines(h, 'recorded requests run again').length === 2, 10, 'both take it up');
  for (let i = 0; i < 6; i++) assert.equal((await h.call('a', { suffix: `?x=${i}` })).text, `now ${i}`);
});

test('without records, or without the key, a version serves at once', async (t) => {
  const h = await start(t, { command: 'dev', args: ['--log', 'json'], files: deployment({ a: 'return function() return "one" end', b: 'return function() return "one" end' }, { more: 'replay_before_reload = 4,' }) });
  const loaded = (name, generation) => told(h, `"function loaded","function":"${name}","generation":${generation}`, 1);
  write(h.dir, { 'scripts/a.lua': 'return function() error("boom") end' });
  await loaded('a', 2);
  assert.equal((await h.call('a')).status, 502);
  assert.equal((await h.call('b')).text, 'one');
  await records(h.dir, 2);
  write(h.dir, deployment({ a: 'return function() return "one" end', b: 'return function() return "one" end' }));
  await loaded('a', 3);
  await loaded('b', 2);
  write(h.dir, { 'scripts/b.lua': 'return function() error("boom") end' });
  await loaded('b', 3);
  assert.equal((await h.call('b')).status, 502);
});
