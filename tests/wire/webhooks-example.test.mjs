// examples/webhooks: its own tests, and what it does when the shop calls.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { Webhook } from 'standardwebhooks';
import { eventually, folder, ROOT, run, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { request } from '../lib/wire.mjs';

const SECRET = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX';

const example = (t) => {
  const dir = folder(t);
  fs.cpSync(path.join(ROOT, 'examples/webhooks'), dir, { recursive: true, filter: (file) => !file.endsWith('.luafn') });
  return dir;
};

test('its tests pass, and it has no fault', async (t) => {
  const dir = example(t);
  const tested = await run(t, ['test'], { dir });
  assert.match(tested.stdout, /# 3 passed, 0 failed/, tested.stdout + tested.stderr);
  fs.copyFileSync(path.join(dir, '.env.example'), path.join(dir, '.env'));
  const checked = await run(t, ['check'], { dir });
  assert.deepEqual([checked.code, checked.stderr], [0, '']);
  assert.match((await run(t, ['routes'], { dir })).stdout, /POST +\/hooks\/paid +paid +scripts\/paid\.lua +webhook standard/);
});

test('the shop is answered at once, and its repeats make no second mail', async (t) => {
  const mails = [];
  const server = http.createServer(async (req, res) => {
    let text = '';
    for await (const chunk of req) text += chunk;
    mails.push({ key: req.headers['idempotency-key'], ...JSON.parse(text), send: () => res.end('{}') });
    server.emit('mail');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.closeAllConnections(); server.close(); });
  const h = await start(t, { dir: example(t), env: { SHOP_SECRET: SECRET, MAIL_URL: `http://127.0.0.1:${server.address().port}/send` }, workers: 2 });
  const body = JSON.stringify({ type: 'order.paid', data: { id: '7', email: 'ada@example.com', total: '40.00 EUR' } });
  const deliver = () => {
    const at = new Date();
    const headers = { 'Content-Type': 'application/json', 'webhook-id': 'msg_7', 'webhook-timestamp': String(Math.floor(at / 1000)), 'webhook-signature': new Webhook(SECRET).sign('msg_7', at, body) };
    return request(h, { method: 'POST', path: '/hooks/paid', body, headers });
  };
  assert.deepEqual((await Promise.all([deliver(), deliver(), deliver()])).map((res) => res.status).sort(), [202, 503, 503]);
  while (mails.length < 1) await once(server, 'mail');
  assert.equal((await deliver()).status, 503);
  mails[0].send();
  const again = await eventually(async () => { const res = await deliver(); return res.status === 503 ? null : res; }, 10, 'it has ended');
  assert.equal(again.status, 200);
  assert.deepEqual(mails.map(({ key, to }) => [key, to]), [['receipt-7', 'ada@example.com']]);
});
