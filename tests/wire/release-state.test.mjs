// What the host keeps outlives a release: .luafn beside functions.lua, or beside the link that leads to its folder.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, launch, run, start } from '../lib/host.mjs';

const visits = (n) => deployment({ a: `return function() return "r${n} " .. kv.incr("visits") end` });

function link(dir, name, target) {
  const next = path.join(dir, 'next');
  fs.symlinkSync(target, next);
  fs.renameSync(next, path.join(dir, name));
}

function releases(t) {
  const dir = folder(t, Object.fromEntries([1, 2, 3].flatMap((n) => Object.entries(visits(n)).map(([name, text]) => [`releases/${n}/${name}`, text]))));
  link(dir, 'current', 'releases/1');
  return dir;
}

const says = (h, text) => eventually(async () => (await h.call('a').catch(() => ({}))).text?.startsWith(text), 5, text);
const count = async (h) => Number((await h.call('a')).text.split(' ')[1]);

for (const sandbox of [[], ['--sandbox']]) {
  test(`kv goes on over releases, replaced workers and restarts ${sandbox.join()}`, async (t) => {
    const dir = releases(t);
    const args = ['--watch', '--config', 'current/functions.lua', ...sandbox];
    let h = await start(t, { dir, args });
    assert.equal(await count(h), 1);
    link(dir, 'current', 'releases/2');
    fs.rmSync(path.join(dir, 'releases/1'), { recursive: true });
    await says(h, 'r2');
    const before = await count(h);
    assert.ok(before > 1);
    const [worker] = h.workers();
    process.kill(worker, 'SIGKILL');
    await eventually(() => h.workers().length === 1 && h.workers()[0] !== worker, 5, 'another worker');
    await says(h, 'r2');
    const after = await count(h);
    assert.ok(after > before, `${after} after ${before}`);
    await h.stop();
    link(dir, 'current', 'releases/3');
    h = launch(dir, { args });
    t.after(() => h.stop());
    await h.listening;
    assert.equal((await h.call('a')).text, `r3 ${after + 1}`);
    assert.ok(fs.existsSync(path.join(dir, '.luafn/current/kv.mdb')));
    for (const n of [2, 3]) assert.ok(!fs.existsSync(path.join(dir, `releases/${n}/.luafn`)), 'a release is left as it came');
    fs.rmSync(path.join(dir, 'releases/3'), { recursive: true });
  });
}

test('a project that is reached by a link and has its .luafn keeps it; two links beside each other share nothing', async (t) => {
  const dir = folder(t, Object.fromEntries(['one', 'two', 'three'].flatMap((p) => Object.entries(visits(p)).map(([name, text]) => [`${p}/${name}`, text]))));
  const own = launch(path.join(dir, 'one'));
  await own.listening;
  assert.equal(await count(own), 1);
  await own.stop();
  for (const p of ['one', 'two', 'three']) link(dir, `to-${p}`, p);
  for (const [p, wanted] of [['one', 2], ['two', 1], ['three', 1], ['two', 2]]) {
    const h = launch(dir, { args: ['--config', `to-${p}/functions.lua`] });
    await h.listening;
    assert.equal(await count(h), wanted, p);
    await h.stop();
  }
});

test('every command finds the same keys', async (t) => {
  const dir = releases(t);
  const config = ['--config', 'current/functions.lua'];
  assert.equal((await run(t, ['token', ...config], { dir })).code, 0, 'makes the key');
  const first = await run(t, ['token', '--jwks', ...config], { dir });
  assert.equal(first.code, 0, first.stderr);
  assert.equal(JSON.parse(first.stdout).keys.length, 1);
  link(dir, 'current', 'releases/2');
  const second = await run(t, ['token', '--jwks', ...config], { dir });
  assert.equal(second.stdout, first.stdout);
});
