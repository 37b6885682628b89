// A revocation while memory fails, or calls of the kernel, at every point of it: what was said to be revoked is, and
// who was not is let in afterwards as before.
import assert from 'node:assert/strict';
import test from 'node:test';
import { attempt, ERRNO, KIND, LONG, SANITIZED } from './fault.mjs';
import { FN, judge, world } from './world.mjs';

const scripts = { end: 'return function(event) return tostring(jwt.revoke { jti = event.queryStringParameters.jti }) end' };
let serial = 0;

test('what is said to be revoked is, whatever fails', async (t) => {
  const w = await world(t, { scripts });
  const me = (jti) => ({ path: `${FN}me`, headers: { Authorization: `Bearer ${w.issuer.token({ jti })}` } });
  const status = async (jti) => (await attempt(w.faults, w.host, me(jti))).res?.status;
  assert.equal(await status('kept'), 200);
  const kinds = [{ kinds: KIND.write, error: ERRNO.ENOBUFS }, { kinds: KIND.write, error: ERRNO.EPIPE }];
  if (!SANITIZED) kinds.push({ kinds: KIND.alloc });
  for (const what of kinds) {
    for (let n = 1; ; n += LONG || n < 12 ? 1 : 3) {
      const jti = `j${serial += 1}`;
      const end = { request: { path: `${FN}end?jti=${jti}` }, right: (r) => r.status === 200 && /^(true|nil)$/.test(r.text) };
      w.faults.arm({ ...what, n });
      const out = await attempt(w.faults, w.host, end.request, { patience: 8000 });
      const { struck } = w.faults;
      w.faults.disarm();
      const kind = judge(w, `${JSON.stringify(what)} ${n}`, end, out, struck);
      if (kind === 'right' && out.res.text === 'true') assert.equal(await status(jti), 401, `${JSON.stringify(what)} ${n}: it said so`);
      assert.equal((await attempt(w.faults, w.host, end.request)).res?.text, 'true', `${JSON.stringify(what)} ${n}, and then again`);
      assert.equal(await status(jti), 401);
      assert.equal(await status('kept'), 200);
      if (struck === 0) break;
      assert.ok(n < 2000);
    }
  }
  assert.deepEqual(w.faults.crashes(), []);
});
