// Whoever was let in by one version of a script runs on no other that would not let him in: a change of a policy and of
// the code behind it come together, also for those who wait at that moment.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start, write } from '../lib/host.mjs';
import { gate } from '../lib/upstream.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const script = (name, auth, held) => `return {
  auth = ${auth}, ${name === 'tool' ? 'tool = { description = "x" }, ' : ''}concurrency = 1, fetch = { "127.0.0.1" },
  handler = function(event)
    if event.headers["x-first"] then fetch("${held}") end
    return "by ${auth.replace(/"/g, "'")}"
  end,
}`;

const loaded = (h, name, n) => eventually(() => h.stderr.includes(`"function":"${name}","generation":${n}`), 10, `${name}, generation ${n}`);

// What was sent before is read by then: each turn of the loop reads all that came.
const settle = async (h) => { for (let i = 0; i < 2; i++) assert.equal((await h.get('/_luafn/live')).status, 200); };

const more = '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },';

const ASK = {
  plain: { path: '/.netlify/functions/plain' },
  body: { method: 'POST', path: '/.netlify/functions/body', body: 'x', headers: { 'Content-Type': 'text/plain' } },
  tool: { method: 'POST', path: '/mcp', body: '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool"}}', headers: { 'Content-Type': 'application/json' } },
};

for (const [name, ask] of Object.entries(ASK)) {
  test(`who waits for a slot: ${name}`, async (t) => {
    const held = await gate(t);
    const h = await start(t, { command: 'dev', files: deployment({ [name]: script(name, '"public"', held.url) }, { more }) });
    const send = async (headers = {}) => {
      const wire = await h.connect();
      wire.send(requestText({ ...ask, headers: { ...ask.headers, ...headers } }));
      return wire;
    };
    const first = await send({ 'X-First': '1' });
    await held.asked();
    const second = await send();
    await settle(h);
    write(h.dir, { [`scripts/${name}.lua`]: script(name, '{ scope = "none" }', held.url) });
    await loaded(h, name, 2);
    assert.equal((await (await send()).response()).status, 401, 'the new one asks for a token');
    held.open();
    for (const wire of [first, second]) assert.match((await wire.response()).text, /by 'public'/, 'on the version that let it in');
  });
}

test('who comes while a script loads that says itself who may call it', async (t) => {
  const held = await gate(t);
  const h = await start(t, { command: 'dev', files: deployment({ f: 'syntax error' }, { more, fields: { f: 'fetch = { "127.0.0.1" }' } }) });
  write(h.dir, { 'scripts/f.lua': `fetch("${held.url}")\nreturn { auth = { scope = "none" }, handler = function() return "it ran" end }` });
  await held.asked();
  const wire = await h.connect();
  wire.send(requestText({ path: '/.netlify/functions/f' }));
  await settle(h);
  held.open();
  const res = await wire.response();
  assert.deepEqual([res.status, res.header('retry-after')], [503, '1'], res.text);
  assert.equal((await h.call('f')).status, 401);
});
