// measures time
// What editors, deployments and accidents do to files: the last good version serves meanwhile, the
// new one within a second.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { config, deployment, eventually, folder, sleep, start, write } from '../lib/host.mjs';
import { atomicWrite } from '../lib/drill.mjs';

const says = (text) => `return function() return ${JSON.stringify(text)} end\n`;
const faults = async (h) => (await h.get('/_luafn/ready')).json().faults;

async function world(t, files = deployment({ a: says('one') }), { dir = folder(t, files), args = [] } = {}) {
  const h = await start(t, { command: 'dev', dir, args: ['--log', 'json', ...args] });
  const at = (name) => path.join(dir, name);
  return {
    h, dir, at, script: at('scripts/a.lua'),
    says: async (wanted, name = 'a') => {
      let last;
      await eventually(async () => { last = (await h.call(name)).text; return last === wanted; }, 1, `${name} to say ${wanted}`)
        .catch((e) => { throw new Error(`${e.message}; says ${last}; ${h.stderr}`); });
    },
    // A fault is shown, and what was there before serves.
    keeps: async (text, fault) => {
      await eventually(async () => fault.test((await faults(h)).join('\n')), 1, `a fault like ${fault}`)
        .catch(async (e) => { throw new Error(`${e.message}; faults: ${await faults(h)}`); });
      assert.equal((await h.call('a')).text, text);
      assert.equal((await h.get('/_luafn/ready')).status, 200);
    },
    isWell: async () => assert.deepEqual(await faults(h), []),
  };
}

// How editors save, each with a name; `text` is what shall be there.
const EDITORS = {
  'writes in place': (file, text) => fs.writeFileSync(file, text),
  'writes beside, renames over (sed -i, VS Code with atomic saves)': (file, text) => atomicWrite(file, text),
  'renames the old one away, writes, removes it (vim)': (file, text) => {
    fs.renameSync(file, `${file}~`);
    fs.writeFileSync(file, text);
    fs.rmSync(`${file}~`);
  },
  'copies the old one, truncates, writes (emacs with a backup by copy)': (file, text) => {
    fs.copyFileSync(file, `${file}~`);
    fs.truncateSync(file);
    fs.writeFileSync(file, text);
  },
  'tries whether it may write (vim\'s 4913), then renames': (file, text) => {
    const probe = path.join(path.dirname(file), '4913');
    fs.writeFileSync(probe, '');
    fs.rmSync(probe);
    atomicWrite(file, text);
  },
  'writes in pieces': (file, text) => {
    const fd = fs.openSync(file, 'w');
    for (const c of text) fs.writeSync(fd, c);
    fs.closeSync(fd);
  },
  'removes and makes it again': (file, text) => {
    fs.rmSync(file);
    fs.writeFileSync(file, text);
  },
};

test('how editors save', async (t) => {
  const w = await world(t);
  for (const [how, save] of Object.entries(EDITORS)) {
    await t.test(how, async () => {
      save(w.script, says(how));
      await w.says(how);
      await w.isWell();
    });
  }
});

test('half of a file is not served', async (t) => {
  const w = await world(t);
  for (const half of ['', 'return function() return "ha']) {
    fs.writeFileSync(w.script, half);
    await w.keeps('one', /scripts\/a\.lua/);
    fs.writeFileSync(w.script, says('one'));
    await w.says('one');
    await eventually(async () => (await faults(w.h)).length === 0, 1, 'no fault any more');
  }
  fs.writeFileSync(w.script, says('whole'));
  await w.says('whole');
});

test('edits of the same length, one after the other, and with the time of before', async (t) => {
  const w = await world(t);
  const { atime, mtime } = fs.statSync(w.script);
  for (const text of ['two', 'six', 'ten']) {
    fs.writeFileSync(w.script, says(text));
    fs.utimesSync(w.script, atime, mtime);
    await w.says(text);
  }
});

test('in the place of a script: a folder, a link to nowhere, a link in a circle, what may not be read', async (t) => {
  const w = await world(t);
  const places = {
    'a folder': () => fs.mkdirSync(w.script),
    'a link to nowhere': () => fs.symlinkSync('nowhere.lua', w.script),
    'a link to itself': () => fs.symlinkSync('a.lua', w.script),
    'a link to a terminal, a pipe or nothing': () => fs.symlinkSync('/dev/stdin', w.script),
    'a named pipe that nobody writes to': () => execFileSync('mkfifo', [w.script]),
    'a device that never ends': () => fs.symlinkSync('/dev/zero', w.script),
    'a file that cannot be read at its beginning': () => fs.symlinkSync('/proc/self/mem', w.script),
  };
  if (process.getuid() !== 0) {
    places['a file of mode 000'] = () => { fs.writeFileSync(w.script, says('secret')); fs.chmodSync(w.script, 0); };
  }
  let before = 'one';
  for (const [what, make] of Object.entries(places)) {
    await t.test(what, async () => {
      fs.rmSync(w.script, { recursive: true });
      make();
      await w.keeps(before, /scripts\/a\.lua/);
      fs.rmSync(w.script, { recursive: true, force: true });
      fs.writeFileSync(w.script, says(what));
      await w.says(what);
      await w.isWell();
      before = what;
    });
  }
});

test('volumes of Kubernetes: files are links into a folder that is a link which is swapped', async (t) => {
  const files = deployment({});
  const dir = folder(t, { 'functions.lua': config({ a: 'script = "scripts/a.lua"' }), 'scripts/..v1/a.lua': says('v1') });
  fs.symlinkSync('..v1', path.join(dir, 'scripts/..data'));
  fs.symlinkSync('..data/a.lua', path.join(dir, 'scripts/a.lua'));
  const w = await world(t, files, { dir });
  await w.says('v1');
  for (let n = 2; n < 6; n++) {
    write(dir, { [`scripts/..v${n}/a.lua`]: says(`v${n}`) });
    fs.symlinkSync(`..v${n}`, w.at('scripts/..data_tmp'));
    fs.renameSync(w.at('scripts/..data_tmp'), w.at('scripts/..data'));
    fs.rmSync(w.at(`scripts/..v${n - 1}`), { recursive: true });
    await w.says(`v${n}`);
    await w.isWell();
  }
});

test('releases as Capistrano makes them: the whole deployment is a link that is swapped', async (t) => {
  const dir = folder(t);
  const release = (n) => {
    for (const [name, text] of Object.entries(deployment({
      a: `local m = require "lib.m" return function() return m .. " ${n} " .. env.WORD end`,
    }, { files: { 'lib/m.lua': `return "lib ${n}"`, '.env': `WORD=word-${n}\n` } }))) write(dir, { [`releases/${n}/${name}`]: text });
    fs.symlinkSync(`releases/${n}`, path.join(dir, 'next'));
    fs.renameSync(path.join(dir, 'next'), path.join(dir, 'current'));
  };
  release(1);
  const w = await world(t, {}, { dir, args: ['--config', 'current/functions.lua'] });
  await w.says('lib 1 1 word-1');
  for (let n = 2; n < 5; n++) {
    release(n);
    await w.says(`lib ${n} ${n} word-${n}`);
    await w.isWell();
  }
  fs.rmSync(w.at('releases/1'), { recursive: true });
  write(dir, { 'releases/4/lib/m.lua': 'return "edited"' });
  await w.says('edited 4 word-4');
});

test('a required file in a folder within a folder: edited, moved away with its folder, brought back', async (t) => {
  const w = await world(t, deployment({ a: 'local m = require "lib.deep.er.m" return function() return m end' },
    { files: { 'scripts/lib/deep/er/m.lua': 'return "one"' } }));
  await w.says('one');
  atomicWrite(w.at('scripts/lib/deep/er/m.lua'), 'return "two"');
  await w.says('two');
  fs.renameSync(w.at('scripts/lib/deep'), w.at('scripts/lib/gone'));
  await w.keeps('two', /lib\.deep\.er\.m/);
  fs.renameSync(w.at('scripts/lib/gone'), w.at('scripts/lib/deep'));
  await eventually(async () => (await faults(w.h)).length === 0, 1, 'no fault any more');
  write(w.dir, { 'lib/deep/er/m.lua': 'return "beside functions.lua"' });
  fs.rmSync(w.at('scripts/lib/deep'), { recursive: true });
  await w.says('beside functions.lua');
});

test('script, required file, functions.lua and .env at once: all of it, each time', async (t) => {
  const version = (n) => deployment({
    a: `local m = require "lib.m" return function() return "${n} " .. m .. " " .. env.WORD end`,
  }, { fields: { a: `path = "/v${n}"` }, files: { 'lib/m.lua': `return "${n}"`, '.env': `WORD=${n}\n` } });
  const w = await world(t, version(1));
  const page = async (n) => (await w.h.get(`/v${n}`)).text;
  assert.equal(await page(1), '1 1 1');
  for (let n = 2; n < 8; n++) {
    const names = Object.entries(version(n));
    for (const [name, text] of n % 2 ? names : names.reverse()) write(w.dir, { [name]: text });
    await eventually(async () => (await page(n)) === `${n} ${n} ${n}`, 1, `version ${n}`);
    assert.equal((await w.h.get(`/v${n - 1}`)).status, 404, 'the old path is gone');
    await w.isWell();
  }
});

test('a flood of changes beside the scripts: nothing is loaded for it, the one that counts is', async (t) => {
  const w = await world(t);
  for (let n = 0; n < 3000; n++) fs.writeFileSync(w.at(`scripts/noise-${n % 50}.txt`), String(n));
  atomicWrite(w.script, says('two'));
  await w.says('two');
  assert.equal((await w.h.call('a')).header('x-luafn-generation'), 'a@2');
  for (let n = 0; n < 300; n++) {
    atomicWrite(w.script, says(`fast ${n}`));
    if (n % 50 === 0) await sleep(0.01);
  }
  await w.says('fast 299');
});
