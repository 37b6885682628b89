// A save that does not load: what served goes on, the fault is visible where one looks, and sound changes are not held up.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, folder, start, write } from '../lib/host.mjs';

const says = (text) => `return function() return "${text}" end`;
const FAULT = 'x-luafn-fault';

test('dev: X-Luafn-Fault on every answer of the function, ready, routes; gone when it is mended', async (t) => {
  const dir = folder(t, deployment({ a: says('a'), b: says('b'), never: 'return 5' }, { more: 'cors = { origins = { "https://app.example" } },' }));
  const h = await start(t, { dir, command: 'dev' });
  const ready = async () => (await h.get('/_luafn/ready')).json();
  const never = await h.call('never');
  assert.equal(never.status, 500);
  assert.match(never.header(FAULT), /^scripts\/never\.lua:1: /);
  assert.equal((await h.call('a')).header(FAULT), undefined);
  write(dir, { 'scripts/a.lua': 'local x = 1\nreturn function( x' });
  const res = await eventually(async () => { const r = await h.call('a'); return r.header(FAULT) && r; }, 5, 'the header');
  assert.equal(res.text, 'a');
  assert.match(res.header(FAULT), /^scripts\/a\.lua:2: [\x20-\x7e]+$/);
  for (const [method, status] of [['HEAD', 200], ['OPTIONS', 204]]) {
    const other = await h.call('a', { method, headers: { Origin: 'https://app.example', 'Access-Control-Request-Method': 'GET' } });
    assert.equal(other.status, status);
    if (method === 'HEAD') assert.equal(other.header(FAULT), res.header(FAULT));
  }
  assert.equal((await h.call('b')).header(FAULT), undefined, 'the neighbour is not blamed');
  assert.ok((await ready()).faults.includes(res.header(FAULT)));
  assert.equal((await h.get('/_luafn/routes')).json().find((r) => r.function === 'a').error, res.header(FAULT));
  write(dir, { 'scripts/a.lua': says('mended'), 'scripts/never.lua': says('at last') });
  await eventually(async () => (await h.call('a')).text === 'mended' && (await h.call('never')).text === 'at last', 5, 'the mended ones');
  assert.equal((await h.call('a')).header(FAULT), undefined);
  assert.equal((await h.call('never')).header(FAULT), undefined);
  assert.deepEqual((await ready()).faults, []);
});

test('dev: a functions.lua that does not load is told by every function, in one line', async (t) => {
  const files = deployment({ a: says('a') });
  const dir = folder(t, files);
  const h = await start(t, { dir, command: 'dev' });
  write(dir, { 'functions.lua': 'return { functions = "scripts", tiemout = 1, pubilsh = "grün\\n" }' });
  const res = await eventually(async () => { const r = await h.call('a'); return r.header(FAULT) && r; }, 5, 'the header');
  assert.equal(res.text, 'a');
  assert.match(res.header(FAULT), /^functions\.lua:1: [\x20-\x7e]+$/);
  write(dir, files);
  await eventually(async () => (await h.call('a')).header(FAULT) === undefined, 5, 'mended');
});

test('serve tells callers nothing of it', async (t) => {
  const dir = folder(t, deployment({ a: says('a') }));
  const h = await start(t, { dir, args: ['--watch'] });
  write(dir, { 'scripts/a.lua': 'return function(' });
  await eventually(async () => (await h.admin('ready')).json().faults.length === 1, 5, 'the fault');
  assert.equal((await h.call('a')).header(FAULT), undefined);
});

for (const way of ['--watch', 'SIGHUP']) {
  test(`a broken script does not stop sound changes of functions.lua, which count for what still serves: ${way}`, async (t) => {
    const dir = folder(t, deployment({ a: says('a'), b: says('b') }));
    const h = await start(t, { dir, args: way === '--watch' ? ['--watch'] : [] });
    const take = () => { if (way === 'SIGHUP') h.kill('SIGHUP'); };
    const { 'functions.lua': more, ...scripts } = deployment({ b: says('b'), c: says('c') }, { fields: { b: 'path = "/b"' } });
    write(dir, { 'scripts/a.lua': 'return function(', ...scripts });
    write(dir, { 'functions.lua': more.replace('functions = {', 'functions = { a = { script = "scripts/a.lua", path = "/here", auth = { issuer = "http://127.0.0.1:9/", audience = "x" } },') });
    take();
    await eventually(async () => (await h.get('/b')).text === 'b', 5, 'the new path of another one');
    assert.equal((await h.call('c')).text, 'c', 'a new function');
    assert.equal((await h.get('/here')).status, 401, 'the new policy of the one that is broken');
    assert.equal((await h.call('a')).status, 404);
    const ready = (await h.admin('ready')).json();
    assert.match(ready.faults.join(), /scripts\/a\.lua:1/);
    write(dir, { 'functions.lua': more.replace('functions = {', 'functions = { a = { script = "scripts/a.lua", path = "/here" },') });
    take();
    await eventually(async () => (await h.get('/here')).text === 'a', 5, 'what served, at its new path');
    write(dir, { 'scripts/a.lua': says('mended') });
    take();
    await eventually(async () => (await h.get('/here')).text === 'mended', 5, 'the mended one');
    await eventually(async () => (await h.admin('ready')).json().faults.length === 0, 5, 'no fault is left, nor that issuer');
  });
}

test('a change of functions.lua under which a sound script does not load is refused', async (t) => {
  const files = (list) => deployment({ a: 'assert(env.WORD, "no WORD") return function() return env.WORD end' }, { fields: { a: `env = { ${list} }` }, files: { '.env': 'WORD=here\n' } });
  const dir = folder(t, files('"WORD"'));
  const h = await start(t, { dir, args: ['--watch'] });
  write(dir, files('"OTHER"'));
  await eventually(() => /no WORD[^\n]*the configuration before stays/.test(h.stderr), 5, 'the refusal');
  assert.equal((await h.call('a')).text, 'here');
  write(dir, files('"WORD", "OTHER"'));
  await eventually(async () => (await h.admin('ready')).json().faults.length === 0, 5, 'mended');
});

test('dev ends with its terminal, unless it was told to outlive it; serve loads anew', async (t) => {
  const files = deployment({ a: says('a') });
  const dev = await start(t, { files, command: 'dev' });
  dev.kill('SIGHUP');
  assert.deepEqual(await eventually(() => dev.ended, 10, 'the end'), { code: 0, signal: null });
  const stays = await start(t, { files, command: 'dev', under: ['sh', '-c', 'trap "" HUP; exec "$0" "$@"'] });
  stays.kill('SIGHUP');
  await stays.says(/"function loaded","function":"a","generation":2/);
  assert.equal((await stays.call('a')).text, 'a');
});
