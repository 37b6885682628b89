// Where a script was when it passed a limit: in the log, in `dev` in the answer, in `serve` never.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start } from '../lib/host.mjs';

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
    const h = await start(t, { command, files: deployment(SCRIPTS, { fields: { ...FIELDS, cpu: 'cpu = 0.1', memory: 'memory = "8MB", cpu = 10', waits: 'timeout = 0.2' } }) });
    for (const [name, type, lines, knob] of CASES) {
      const res = await h.call(name, { ms: 30000 });
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
