// The installed program, in a folder that has nothing of the repository.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { BIN, deployment, folder, Host, ROOT } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const FILES = [
  'bin/luafn', 'share/man/man1/luafn.1', 'share/luafn/luafn.lua', 'lib/systemd/system/luafn.service',
];

// `make install` copies the optimised program; another flavour is tested elsewhere.
const skip = BIN.includes('/asan/') || BIN.includes('/debug/') || BIN.includes('/cov/') ? 'only of the optimised program' : false;

test('make install, then luafn dev in any folder: issuer, pages, function', { skip }, async (t) => {
  const staged = folder(t);
  execFileSync('make', ['--no-print-directory', 'install', 'PREFIX=/opt/luafn', `DESTDIR=${staged}`], { cwd: ROOT, stdio: 'pipe' });
  const prefix = path.join(staged, 'opt/luafn');
  for (const file of FILES) assert.ok(fs.existsSync(path.join(prefix, file)), file);
  assert.match(fs.readFileSync(path.join(prefix, FILES[3]), 'utf8'), /\/opt\/luafn\/bin\/luafn/);

  const dir = folder(t, deployment({ hello: 'return function() return "hello" end' }));
  const child = spawn(path.join(prefix, 'bin/luafn'), ['dev', '--listen', '127.0.0.1:0'], { cwd: dir, env: { PATH: '/usr/bin:/bin' }, stdio: ['ignore', 'pipe', 'pipe'] });
  const host = new Host(child, dir);
  later(t, () => host.stop());
  await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', () => reject(new Error(host.stderr)));
    child.stderr.on('data', () => {
      const found = /listening on http:\/\/([\d.]+):(\d+)/.exec(host.stderr);
      if (found) resolve([host.address, host.port] = [found[1], Number(found[2])]);
    });
  });
  assert.equal((await host.call('hello')).text, 'hello');
  for (const page of ['/_luafn/dev/', '/_luafn/dev/try.html', '/_luafn/dev/issuer.html', '/_luafn/dev/auth0.html', '/_luafn/dev/issuer.js', '/_luafn/dev/style.css', '/_luafn/dev/api/users', '/.well-known/jwks.json']) {
    assert.equal((await host.get(page)).status, 200, page);
  }
  assert.ok(fs.existsSync(path.join(dir, 'dev/auth.lua')));
});
