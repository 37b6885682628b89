// The wall clock jumps; libfaketime plays it. Tokens follow it, timers do not.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { folder, SLOW } from '../lib/host.mjs';
import { SANITIZED } from './fault.mjs';
import { world } from './world.mjs';

const LIBRARY = ['x86_64', 'aarch64'].map((cpu) => `/usr/lib/${cpu}-linux-gnu/faketime/libfaketime.so.1`).find((f) => fs.existsSync(f));
const skip = SANITIZED ? 'libfaketime and a sanitizer do not go together' : !LIBRARY && 'the package faketime is not installed';
const HOUR = 3600;
const YEAR = 365 * 24 * HOUR;

test('the wall clock jumps by an hour and by ten years', { skip }, async (t) => {
  const stamp = path.join(folder(t), 'offset');
  let offset = 0;
  const jump = (seconds) => {
    offset = seconds;
    fs.writeFileSync(`${stamp}.new`, `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}s\n`);
    fs.renameSync(`${stamp}.new`, stamp);
  };
  jump(0);
  const { host, issuer, worker } = await world(t, {
    faults: { env: {} },
    env: { LD_PRELOAD: LIBRARY, FAKETIME_TIMESTAMP_FILE: stamp, DONT_FAKE_MONOTONIC: '1', FAKETIME_NO_CACHE: '1' },
    scripts: { nap: 'return function() sleep(0.5) return tostring(os.time()) end' },
  });
  // A token that is good for ten minutes from the host's idea of now.
  const token = (over = {}) => {
    const now = Math.floor(Date.now() / 1000) + offset;
    return issuer.token({ iat: now - 10, exp: now + 600, ...over });
  };
  const ask = (tok) => host.call('me', { headers: { Authorization: `Bearer ${tok}` } });
  const status = async (tok) => { const r = await ask(tok); return r.status === 401 ? r.json().error : r.status; };

  const old = token();
  assert.equal(await status(old), 200);
  for (const to of [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, 0]) {
    const t0 = process.hrtime.bigint();
    const napping = host.call('nap', { ms: 8000 });
    await new Promise((resolve) => { setTimeout(resolve, 100); });
    jump(to);
    const slept = await napping;
    const took = Number(process.hrtime.bigint() - t0) / 1e9;
    assert.equal(slept.status, 200, `a sleeper over a jump to ${to} s: ${slept.text}`);
    assert.ok(took > 0.45 && took < 2 * SLOW, `slept ${took} s`);
    assert.ok(Math.abs(Number(slept.text) - (Date.now() / 1000 + to)) < 5, 'scripts see the new time');

    assert.equal(await status(token()), 200, `a token of that time, ${to}`);
    assert.equal(await status(token({ exp: Math.floor(Date.now() / 1000) + to - 100 })), 'jwt_expired', `${to}`);
    assert.notEqual(await status(token({ nbf: Math.floor(Date.now() / 1000) + to + 300 })), 200, `${to}`);
    assert.equal(await status(old), to > 0 ? 'jwt_expired' : 200, `one made before the jump, ${to}`);
    assert.deepEqual(host.workers(), [worker]);
  }
});
