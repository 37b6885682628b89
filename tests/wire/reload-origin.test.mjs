// What a deployment is made from is more than bytes: the scripts of a folder, the targets of links, files that are missing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, start, write } from '../lib/host.mjs';

const says = (text) => `return function() return "${text}" end`;

// A link to another target, as `ln -sfn` and `mv -T` swap it.
function link(dir, name, target) {
  const next = path.join(dir, 'next');
  fs.symlinkSync(target, next);
  fs.renameSync(next, path.join(dir, name));
}

// How a change is taken up: `dev`, `serve --watch`, or SIGHUP.
const WAYS = {
  dev: { command: 'dev' },
  '--watch': { args: ['--watch'] },
  SIGHUP: { hup: true },
};

for (const [way, { command = 'serve', args = [], hup }] of Object.entries(WAYS)) {
  const up = (t, dir, config = 'functions.lua') => start(t, { dir, command, args: [...args, '--config', config] });
  const becomes = async (h, pathname, wanted) => {
    if (hup) h.kill('SIGHUP');
    let last;
    await eventually(async () => {
      const res = await h.get(pathname);
      last = typeof wanted === 'number' ? res.status : res.text;
      return last === wanted;
    }, 2, `${pathname}: ${wanted}`).catch((e) => { throw new Error(`${e.message}; is ${last}`); });
  };
  const fn = '/.netlify/functions/';

  test(`${way}: functions of a folder that come, are renamed and go`, async (t) => {
    const dir = folder(t, { 'functions.lua': 'return { functions = "fn" }', 'fn/a.lua': says('a') });
    const h = await up(t, dir);
    await becomes(h, `${fn}a`, 'a');
    write(dir, { 'fn/b.lua': says('b') });
    await becomes(h, `${fn}b`, 'b');
    fs.renameSync(path.join(dir, 'fn/a.lua'), path.join(dir, 'fn/c.lua'));
    await becomes(h, `${fn}c`, 'a');
    await becomes(h, `${fn}a`, 404);
    write(dir, { 'fn/b/index.lua': says('folder') });
    await becomes(h, `${fn}b`, 'folder');
    fs.rmSync(path.join(dir, 'fn/b'), { recursive: true });
    await becomes(h, `${fn}b`, 'b');
    fs.rmSync(path.join(dir, 'fn/b.lua'));
    await becomes(h, `${fn}b`, 404);
  });

  test(`${way}: releases behind a link that is swapped, the old ones removed`, async (t) => {
    const dir = folder(t, Object.fromEntries([1, 2, 3].flatMap((n) => Object.entries({
      ...deployment({ a: 'local n = require "lib.n" return function() return "release " .. n end' }, { more: 'publish = "web",' }),
      'lib/n.lua': `return ${n}`, 'web/index.html': `page ${n}`, 'web/_headers': `/*\n  X-Release: ${n}\n`,
    }).map(([name, text]) => [`releases/${n}/${name}`, text]))));
    link(dir, 'current', 'releases/1');
    const h = await up(t, dir, 'current/functions.lua');
    await becomes(h, `${fn}a`, 'release 1');
    link(dir, 'current', 'releases/2');
    await becomes(h, `${fn}a`, 'release 2');
    await becomes(h, '/', 'page 2');
    link(dir, 'current', 'releases/3');
    fs.rmSync(path.join(dir, 'releases/1'), { recursive: true });
    fs.rmSync(path.join(dir, 'releases/2'), { recursive: true });
    await becomes(h, `${fn}a`, 'release 3');
    const page = await h.get('/');
    assert.equal(page.text, 'page 3');
    assert.equal(page.header('x-release'), '3');
  });

  test(`${way}: files that are links to links, as mounted secrets and configurations are`, async (t) => {
    const files = (n) => ({ ...deployment({ a: 'return function() return env.WORD end' }), '.env': `WORD=${n}\n` });
    const dir = folder(t);
    const mount = (n) => {
      for (const [name, text] of Object.entries(files(n))) write(dir, { [`..${n}/${name.replaceAll('/', '_')}`]: text });
      link(dir, '..data', `..${n}`);
    };
    mount('one');
    fs.mkdirSync(path.join(dir, 'scripts'));
    for (const name of Object.keys(files('one'))) fs.symlinkSync(path.join(name.includes('/') ? '..' : '', '..data', name.replaceAll('/', '_')), path.join(dir, name));
    const h = await up(t, dir);
    await becomes(h, `${fn}a`, 'one');
    mount('two');
    fs.rmSync(path.join(dir, '..one'), { recursive: true });
    await becomes(h, `${fn}a`, 'two');
  });

  test(`${way}: publish is a link`, async (t) => {
    const dir = folder(t, { ...deployment({ a: says('a') }, { more: 'publish = "web",' }), 'builds/1/index.html': 'one', 'builds/2/index.html': 'two' });
    link(dir, 'web', 'builds/1');
    const h = await up(t, dir);
    await becomes(h, '/', 'one');
    link(dir, 'web', 'builds/2');
    fs.rmSync(path.join(dir, 'builds/1'), { recursive: true });
    await becomes(h, '/', 'two');
  });

  test(`${way}: what is missing comes`, async (t) => {
    const files = deployment({ a: says('a') });
    const dir = folder(t, files);
    const h = await up(t, dir);
    write(dir, { 'functions.lua': deployment({ a: '', b: '' }, { more: 'publish = "web",' })['functions.lua'] });
    if (hup) h.kill('SIGHUP');
    await eventually(() => /scripts\/b\.lua': no such file/.test(h.stderr), 5, 'the fault');
    write(dir, { 'scripts/b.lua': says('b') });
    if (hup) h.kill('SIGHUP');
    await eventually(() => /publish: 'web' is not a folder here/.test(h.stderr.split('no such file').at(-1)), 5, 'the next one');
    write(dir, { 'web/index.html': 'page' });
    await becomes(h, `${fn}b`, 'b');
    await becomes(h, '/', 'page');
  });
}
