// Each delivery of a webhook runs once: on all workers, on all machines, and whatever becomes of the first one.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import test from 'node:test';
import { deployment, eventually, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';
import { auth, post, SIGN } from '../lib/webhooks.mjs';

const PATH = '/.netlify/functions/';

// A server that handlers ask, and that answers when the test says so.
async function gate(t) {
  const waiting = [];
  const server = http.createServer((req, res) => { waiting.push(res); server.emit('asked'); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.closeAllConnections(); server.close(); });
  return {
    url: `http://127.0.0.1:${server.address().port}/`, waiting,
    asked: async (count) => { while (waiting.length < count) await once(server, 'asked'); },
    open: () => { for (const res of waiting.splice(0)) res.end('go'); },
  };
}
const REACH = 'fetch = "127.0.0.1:*"';
const WAITS = (url) => `return function(event)
  local res = fetch(${lua(url)})
  if event.queryStringParameters.fail == "raise" then error("no") end
  return { statusCode = tonumber(event.queryStringParameters.fail) or 200, body = "ran" }
end`;

test('while it runs a repeat is 503; after an answer it is 200, after a failure it runs', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }), workers: 2 });
  const ask = (id, query = '') => post(h, 'github', 'x', SIGN.github('x', { id }), { path: `${PATH}github${query}` });
  for (const [n, [query, status]] of [['', 200], ['?fail=204', 204], ['?fail=raise', 502], ['?fail=404', 404], ['?fail=302', 302]].entries()) {
    const first = ask(`id ${n}`, query);
    await g.asked(1);
    for (let i = 0; i < 4; i++) {
      const busy = await ask(`id ${n}`);
      assert.deepEqual([busy.status, busy.json().error, busy.header('retry-after')], [503, 'delivery_running', '5']);
    }
    g.open();
    assert.equal((await first).status, status);
    const again = ask(`id ${n}`);
    if (status >= 300) {
      await g.asked(1);
      g.open();
    }
    assert.deepEqual([(await again).status, (await again).text], [200, status < 300 ? '' : 'ran'], query);
  }
  await eventually(async () => await h.metric('webhook_repeats_total') === 5 * 4 + 2, 10, 'they are counted');
});

test('a client that leaves ends its run, and the next one runs', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }) });
  const headers = Object.entries(SIGN.github('x')).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const wire = await h.connect();
  wire.send(`POST ${PATH}github HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n${headers}\r\nx`);
  await g.asked(1);
  const [gone] = g.waiting.splice(0);
  wire.socket.resetAndDestroy();
  await once(gone, 'close');
  const again = post(h, 'github', 'x', SIGN.github('x'));
  await g.asked(1);
  g.open();
  assert.equal((await again).text, 'ran');
});

test('a worker that is killed leaves its delivery to the next repeat', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }) });
  const first = post(h, 'github', 'x', SIGN.github('x')).catch(() => null);
  await g.asked(1);
  process.kill(h.workers()[0], 'SIGKILL');
  await first;
  g.waiting.splice(0);
  const statuses = new Set();
  const again = eventually(async () => {
    const res = await post(h, 'github', 'x', SIGN.github('x')).catch(() => null);
    statuses.add(res?.status);
    return res?.status === 200 ? res : null;
  }, 10, 'it runs again');
  await g.asked(1);
  g.open();
  assert.equal((await again).text, 'ran');
  assert.ok(statuses.has(503), 'meanwhile nobody knows whether it runs');
});

test('a job in the background counts when it has ended well', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}, background = true` } }) });
  const ask = (query = '') => post(h, 'github', 'x', SIGN.github('x'), { path: `${PATH}github${query}` });
  for (const query of ['?fail=raise', '?fail=500', '']) { // the last one is the first that ends well
    await eventually(async () => (await ask(query)).status === 202, 10, 'the one before has ended');
    await g.asked(1);
    assert.equal((await ask()).status, 503);
    g.open();
  }
  const done = await eventually(async () => { const res = await ask(); return res.status === 503 ? null : res; }, 10, 'it has ended');
  assert.deepEqual([done.status, done.text], [200, '']);
  assert.equal(g.waiting.length, 0);
});

test('a thousand deliveries, each sent three times at once: each runs once', async (t) => {
  const h = await start(t, { files: deployment({ standard: 'return function() sleep(0.001) return "ran" end' }, { fields: { standard: auth('standard') } }), workers: 2 });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 48 });
  const send = (id) => new Promise((resolve, reject) => {
    const headers = { ...SIGN.standard('{}', { id }), 'Content-Length': 2 };
    const req = http.request({ host: h.address, port: h.port, path: `${PATH}standard`, method: 'POST', agent, headers }, async (res) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve([res.statusCode, text]);
    });
    req.on('error', reject);
    req.end('{}');
  });
  const ids = Array.from({ length: 1000 }, (_, i) => `msg_${i}`);
  const answers = await Promise.all(ids.map((id) => Promise.all([send(id), send(id), send(id)])));
  agent.destroy();
  for (const [i, three] of answers.entries()) {
    assert.equal(three.filter(([, text]) => text === 'ran').length, 1, `${ids[i]}: ${JSON.stringify(three)}`);
    for (const [status, text] of three) assert.ok((status === 200 && (text === 'ran' || text === '')) || status === 503, text);
  }
});

// What is left of the lease grows again.
async function renewed(redis) {
  let before = Infinity;
  await eventually(async () => {
    const left = Number(await redis.ask('EVAL', `local most = -1
      for _, key in ipairs(redis.call("KEYS", "*")) do most = math.max(most, redis.call("PTTL", key)) end
      return most`, '0'));
    const grown = left > before;
    before = left;
    return grown;
  }, 10, 'the lease is renewed');
}

test('with KV_URL all machines know it; without the server each knows its own', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const files = deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } });
  const [a, b] = await Promise.all([1, 2].map(() => start(t, { files, env: { KV_URL: redis.url } })));
  const ask = (h, id, query = '') => post(h, 'github', 'x', SIGN.github('x', { id }), { path: `${PATH}github${query}` });
  for (const [id, query, then] of [['one', '', ''], ['two', '?fail=500', 'ran']]) {
    const first = ask(a, id, query);
    await g.asked(1);
    assert.equal((await ask(b, id)).status, 503);
    assert.equal((await ask(a, id)).status, 503);
    if (id === 'one') await renewed(redis);
    g.open();
    await first;
    const again = eventually(async () => { const res = await ask(b, id); return res.status === 200 ? res : null; }, 10, id);
    if (then) {
      await g.asked(1);
      g.open();
    }
    assert.equal((await again).text, then);
    // The answer may be here before the store has what b tells it.
    await eventually(async () => (await ask(a, id)).status === 200, 10, `${id} has ended for a, too`);
    assert.deepEqual([(await ask(a, id)).text, (await ask(b, id)).text], ['', '']);
  }
  await redis.stop();
  const alone = ask(a, 'three');
  await g.asked(1);
  g.open();
  assert.equal((await alone).text, 'ran');
  assert.equal((await ask(a, 'three')).text, '');
});

test('a client that leaves while the store is asked is not run for', async (t) => {
  const mute = net.createServer(() => mute.emit('asked')); // says nothing: it is given up after a while
  const asked = once(mute, 'asked');
  await new Promise((resolve) => mute.listen(0, '127.0.0.1', resolve));
  later(t, () => mute.close());
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }), env: { KV_URL: `redis://127.0.0.1:${mute.address().port}` } });
  const headers = Object.entries(SIGN.github('x')).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const wire = await h.connect();
  wire.send(`POST ${PATH}github HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n${headers}\r\nx`);
  await asked;
  assert.equal((await post(h, 'github', 'x', SIGN.github('x'))).status, 503);
  wire.socket.resetAndDestroy();
  const again = eventually(async () => { const res = await post(h, 'github', 'x', SIGN.github('x')); return res.status === 503 ? null : res; }, 10, 'the store is given up');
  await g.asked(1);
  assert.equal(g.waiting.length, 1);
  g.open();
  assert.deepEqual([(await again).status, (await again).text], [200, 'ran']);
  assert.equal(g.waiting.length, 0, 'nothing ran for who left');
});
