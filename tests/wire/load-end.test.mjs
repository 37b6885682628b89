// A script's top level may wait: what becomes of a load when its function, or the host, ends before it does.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, folder, launch, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

// Takes requests and answers none, tells of each, and of its end.
async function silent(t) {
  const seen = { asked: 0, left: 0 };
  const server = http.createServer((req) => {
    seen.asked += 1;
    req.socket.on('close', () => { seen.left += 1; });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  seen.host = `127.0.0.1:${server.address().port}`;
  return seen;
}

const asks = (peer) => `local one <close> = setmetatable({}, { __close = function() log.info("closed") end })
  pcall(fetch, "http://${peer.host}/", { timeout = 60 }) return function() return "late" end`;
const lists = (peer) => ({ fields: { a: `fetch = { "${peer.host}" }` } });
const wakes = `log.info("begun") sleep(0.5) local t = os.clock() while os.clock() - t < 0.3 do end return function() return "late" end`;
const sleeps = 'log.info("begun") sleep(30) return function() return "late" end';
const one = 'return function() return "one" end';

async function ends(h) {
  await h.stop(); // one SIGTERM; a second one would end it by force
  assert.doesNotMatch(h.stderr, /loop has stopped|ended badly|left open/);
}

test('SIGTERM while the first load waits for an answer: it is cancelled', async (t) => {
  const peer = await silent(t);
  const h = launch(folder(t, deployment({ a: asks(peer) }, lists(peer))));
  h.listening.catch(() => {});
  await eventually(() => peer.asked === 1, 5, 'the request of the top level');
  await ends(h);
  await h.says(/"msg":"closed"/);
  await eventually(() => peer.left === 1, 5, 'its end');
});

for (const [what, text] of Object.entries({ 'and then works': wakes, 'for long': sleeps })) {
  test(`SIGTERM while the first load sleeps ${what}`, async (t) => {
    const h = launch(folder(t, deployment({ a: text, b: one })));
    h.listening.catch(() => {});
    await eventually(() => h.stderr.includes('"begun"'), 5, 'the top level');
    await ends(h);
  });
}

test('SIGTERM while a reload waits: what serves ends as ever, the load with it', async (t) => {
  const peer = await silent(t);
  const files = deployment({ a: one, b: one }, lists(peer));
  for (const watch of [true, false]) {
    const before = peer.left;
    const dir = folder(t, files);
    const h = await start(t, { dir, args: watch ? ['--watch'] : [] });
    write(dir, { 'scripts/a.lua': asks(peer) });
    if (!watch) h.kill('SIGHUP');
    await eventually(() => peer.asked === before + 1, 5, 'the request of the top level');
    assert.equal((await h.call('a')).text, 'one');
    await ends(h);
    await eventually(() => peer.left === before + 1, 5, 'its end');
  }
});

test('a deployment that is replaced takes its loads along', async (t) => {
  const peer = await silent(t);
  const files = deployment({ a: one, b: one }, lists(peer));
  const dir = folder(t, files);
  const h = await start(t, { dir, args: ['--watch'] });
  write(dir, { 'scripts/a.lua': asks(peer) });
  await eventually(() => peer.asked === 1, 5, 'the load of `a` alone');
  write(dir, deployment({ a: 'return function() return "two" end', b: one }, { ...lists(peer), more: 'limits = { body = "1MB" },' }));
  await eventually(async () => (await h.call('a')).text === 'two', 5, 'the new configuration');
  await eventually(() => peer.left === 1, 5, 'the end of the load that nobody wants');
  assert.equal((await h.call('a')).text, 'two');
  assert.doesNotMatch(h.stderr, /does not load/);
});
