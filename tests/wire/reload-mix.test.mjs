// What is under way while deployments are replaced: a drill for the sanitizers above all.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, sleep, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { reloadMix } from '../lib/reload-mix.mjs';
import { gate } from '../lib/upstream.mjs';
import { requestText } from '../lib/wire.mjs';

test('calls of every kind, some of them left, while everything is replaced', async (t) => {
  const statuses = [200, 202, 401, 502, 504];
  const got = await reloadMix(t, { seconds: 6, enough: (so) => so.answers > 200 && so.changes > 40 && statuses.every((status) => so.statuses[status] > 0) });
  t.diagnostic(`${got.answers} answers, ${got.reloaded} reloads in the worker that was asked`);
  assert.deepEqual(got.faults.slice(0, 5), []);
  assert.ok(got.answers > 100 && got.reloaded > 10);
  for (const status of statuses) assert.ok(got.statuses[status] > 0, `${status} was never seen`);
});

// Pipelined requests are answered in their order. What is ready waits for the one before; the deployment that it came from may be
// replaced, and freed within a second, before it is its turn.
test('answers that wait for their turn outlive their deployment', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const rest = await gate(t);
  const files = (turn) => deployment({
    nap: `return function() fetch("${rest.url}", { timeout = 60 }) return "rested" end`, quick: `return function() return { statusCode = 200, headers = { ["X-Own"] = "turn ${turn}" }, body = "quick ${turn}" } end`,
    scoped: 'return function() end', limited: 'return function() return "in" end', raises: 'return function() error("boom") end',
  }, {
    fields: { nap: 'fetch = { "127.0.0.1" }, timeout = 60', scoped: 'auth = { scope = "write:shows" }', limited: 'rate_limit = { limit = 100, window = 60 }' },
    more: `  auth = { issuer = "${issuer.issuer}", audience = "${AUDIENCE}" }, publish = "web", cors = { origins = { "https://app.example" }, credentials = true },
  redirects = { { from = "/old/*", to = "/new/:splat", status = 302 }, { from = "/gone", to = "/404.html", status = 404 } },
  headers = { { ["for"] = "/*", values = { ["X-Turn-Of-The-Rule"] = "rule ${turn}" } } },`,
    files: { 'web/page.html': `page ${turn}`, 'web/404.html': `no page ${turn}` },
  });
  const h = await start(t, { files: files(1), args: ['--log', 'json'] });
  await h.keys();
  assert.equal((await h.call('scoped', { headers: issuer.bearer() })).status, 403);
  const reload = async (turn) => {
    write(h.dir, files(turn));
    h.kill('SIGHUP');
    await eventually(async () => (await h.call('quick')).text === `quick ${turn}`, 5, `turn ${turn}`);
  };
  const wire = await h.connect();
  const fn = (name) => `/.netlify/functions/${name}`;
  const Origin = 'https://app.example';
  wire.send(requestText({ path: fn('nap'), close: false }));
  await rest.asked();
  await reload(2);
  const wanted = [
    [{ path: '/page.html' }, 200], [{ path: fn('quick') }, 200], [{ path: fn('scoped') }, 401], [{ path: fn('scoped'), headers: issuer.bearer() }, 403],
    [{ path: '/old/x' }, 302], [{ path: '/gone' }, 404], [{ path: '/nowhere' }, 404], [{ path: fn('limited') }, 200],
    [{ path: fn('quick'), method: 'OPTIONS', headers: { 'Access-Control-Request-Method': 'GET' } }, 204], [{ path: fn('raises') }, 502],
  ];
  for (const [options] of wanted) wire.send(requestText({ ...options, headers: { Origin, ...options.headers }, close: false }));
  await eventually(() => h.stderr.includes('boom'), 5, 'the last of them is ready');
  await reload(3);
  await sleep(1.1);
  rest.open();
  assert.equal((await wire.response()).text, 'rested');
  for (const [options, status] of wanted) {
    const res = await wire.response();
    assert.equal(res.status, status, options.path);
    assert.equal(res.header('x-turn-of-the-rule'), 'rule 2', options.path);
    assert.equal(res.header('access-control-allow-origin'), Origin, options.path);
  }
  wire.close();
});
