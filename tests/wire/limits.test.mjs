// Where a script was when it passed a limit: in the log, in `dev` in the answer, in `serve` never. And how many
// connections an address may have.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import tls from 'node:tls';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, eventually, folder, start } from '../lib/host.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const SCRIPTS = {
  cpu: 'local function spin()\n  while true do end\nend\nreturn function()\n  spin()\nend',
  caught: 'return function()\n  pcall(function()\n    while true do end\n  end)\n  return "on"\nend',
  inner: 'return function()\n  coroutine.wrap(function()\n    while true do end\n  end)()\nend',
  library: 'return function()\n  while true do\n    table.concat({ ("x"):rep(1000):gsub(".", "y") })\n  end\nend',
  memory: 'return function()\n  local t = {}\n  for i = 1, 1e9 do t[i] = { i } end\nend',
  waits: 'return function()\n  local x = 1\n  sleep(60)\nend',
  later: 'return function()\n  after_response(function()\n    while true do end\n  end)\n  return "sent"\nend',
};
// [function, errorType, lines that it may be at, the knob]
const CASES = [
  ['cpu', 'CpuLimitExceeded', [2], 'cpu'], ['caught', 'CpuLimitExceeded', [3], 'cpu'], ['inner', 'CpuLimitExceeded', [3], 'cpu'],
  ['library', 'CpuLimitExceeded', [2, 3], 'cpu'], ['memory', 'MemoryLimitExceeded', [3], 'memory'], ['waits', 'TimeoutError', [3], 'timeout'],
];
const FIELDS = Object.fromEntries(Object.keys(SCRIPTS).map((name) => [name, 'cpu = 0.1, memory = "8MB", timeout = 60']));

for (const command of ['serve', 'dev']) {
  test(`${command}: a limit names its knob, and the line in the log`, async (t) => {
    const h = await start(t, { command, files: deployment(SCRIPTS, { fields: { ...FIELDS, cpu: 'cpu = 0.1, timeout = 60', memory: 'memory = "8MB", cpu = 10, timeout = 60', waits: 'timeout = 0.2' } }) });
    for (const [name, type, lines, knob] of CASES) {
      const res = await h.call(name, { ms: 60000 });
      const { errorType, errorMessage, trace } = res.json();
      assert.equal(errorType, type, name);
      assert.match(errorMessage, new RegExp(`limit: \`${knob}\` of this function`));
      const places = lines.map((line) => `scripts/${name}.lua:${line}`);
      if (command === 'dev') assert.ok(trace.length === 1 && places.includes(trace[0]), `${name}: ${trace}`);
      else assert.doesNotMatch(res.text, /\.lua/);
      const said = new RegExp(`passed a limit.*(${places.map((p) => p.replaceAll('.', '\\.')).join('|')})\\b`);
      await eventually(() => said.test(h.stderr), 5, `${name}: ${said}`);
    }
    assert.equal((await h.call('later')).text, 'sent');
    await eventually(() => /after_response of later passed a limit at scripts\/later\.lua:3/.test(h.stderr), 5, 'the line of what came later');
  });
}

// Each holds 2 MB in the end, and gives up its slice a few times on the way: 32 MB, if all went on in turn.
test('runs that need much memory side by side need no more than one after the other', async (t) => {
  const heavy = `return function(event)
  local held = {}
  for i = 1, 4 do
    held[i] = event.body .. i
    local from = os.clock()
    repeat until os.clock() - from > 0.012
  end
  return tostring(#held[4])
end`;
  const h = await start(t, { files: deployment({ heavy, light: 'return function() return "light" end' }, { fields: { heavy: 'memory = "8MB", timeout = 120', light: 'timeout = 120' } }) });
  const body = 'x'.repeat(512 * 1024);
  const upload = () => h.call('heavy', { method: 'POST', headers: { 'content-type': 'text/plain' }, body, ms: 120000 });
  const all = await Promise.all([...Array.from({ length: 16 }, upload), ...Array.from({ length: 4 }, () => h.call('light', { ms: 120000 }))]);
  assert.deepEqual(all.map((res) => res.text), [...Array(16).fill(`${body.length + 1}`), ...Array(4).fill('light')]);
});

for (const secure of [false, true]) {
  test(`limits.connections_per_address, ${secure ? 'TLS' : 'plain'}: the one over it is turned away, other addresses and the admin pages are not`, async (t) => {
    const dir = folder(t, deployment({ hello: 'return function() return "hello" end' }, { more: '  limits = { connections_per_address = 2 },' }));
    const h = await start(t, { dir, args: secure ? tlsArgs(certificate(dir)) : [] });
    // A connection of one's own address, for one request after the other.
    const open = (localAddress) => new Promise((resolve, reject) => {
      const options = { host: h.address, port: h.port, localAddress, rejectUnauthorized: false };
      const socket = secure ? tls.connect(options, () => resolve(new Wire(socket))) : net.connect(options, () => resolve(new Wire(socket)));
      socket.once('error', reject);
    });
    const works = async (wire) => { wire.send(requestText({ path: '/.netlify/functions/hello', close: false })); assert.equal((await wire.response()).text, 'hello'); };
    const turnedAway = async () => {
      if (secure) { await assert.rejects(open('127.0.0.1')); return; }
      const text = (await (await open('127.0.0.1')).closed()).toString('latin1');
      assert.match(text, /^HTTP\/1\.1 503 [^]*\r\nRetry-After: 1\r\n/);
    };
    const mine = [await open('127.0.0.1'), await open('127.0.0.1')];
    for (const wire of mine) await works(wire);
    for (let i = 0; i < 3; i++) await turnedAway();
    const others = [await open('127.0.0.2'), await open('127.0.0.2'), await open('127.0.0.3')];
    for (const wire of [...mine, ...others]) await works(wire);
    await eventually(async () => /^luafn_connections_refused_total 3$/m.test((await h.admin('metrics')).text), 5, 'their count');
    mine[0].close();
    const again = await eventually(async () => {
      const wire = await open('127.0.0.1').catch(() => null);
      return wire && works(wire).then(() => wire, () => wire.close());
    }, 5, 'room again');
    await works(again);
    await works(mine[1]);
    for (const wire of [again, mine[1], ...others]) wire.close();
  });
}
