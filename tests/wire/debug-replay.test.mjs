// A recorded request under the debugger: forwards, backwards, and with the outside as it was.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { Dap } from '../lib/dap.mjs';
import { deployment, folder, launch, run, start, write } from '../lib/host.mjs';
import { records } from '../lib/journal.mjs';
import { later } from '../lib/later.mjs';
import { upstream } from '../lib/upstream.mjs';

const scripts = (url) => ({
  steps: `local kept = 0
local function add(list, n)
  list[#list + 1] = n
  return #list
end
return function(event)
  local list = {}
  local body = fetch("${url}").body
  add(list, body)
  kept = kept + kv.incr("n")
  for i = 1, 4 do
    add(list, i * kept)
  end
  return json.encode(list)
end
`,
  beside: `local function part(n)
  local key = "k" .. n
  local got = kv.incr(key)
  local twice = got * 2
  return twice
end
return function()
  local a, b = parallel(function() return part(1) end, function() return part(2) end)
  return a .. " " .. b
end
`,
  fails: `local function deep(x)
  local mine = x .. kv.incr("failed")
  error("broken " .. mine)
end
return function()
  local before = 1
  deep("here")
end
`,
  hidden: `return function()
  local t = setmetatable({}, { __tostring = function()
    local inner = "text"
    return inner
  end })
  local s = ("%s"):format(t)
  for n in coroutine.wrap(function() for i = 1, 2 do coroutine.yield(i) end end) do
    s = s .. n
  end
  return s
end
`,
  long: `return { cpu = 0.3, handler = function()
  local n = 0
  for i = 1, 1000000 do n = n + i % 7
    n = n + 1
  end
  return tostring(n)
end }
`,
});

// A folder where each was called once, by a host that has ended; .asked: how often the outside was.
async function recorded(t) {
  const made = { asked: 0 };
  const url = await upstream(t, (req, res) => { made.asked++; res.end(`answer ${made.asked}`); });
  made.dir = folder(t, deployment(scripts(url)));
  const h = await start(t, { command: 'dev', dir: made.dir });
  const names = Object.keys(scripts(url));
  for (const name of names) made[name] = (await h.call(name, { headers: { 'X-Request-Id': name } })).text;
  await records(h.dir, names.length);
  await h.stop();
  return made;
}

// The replay, with a client that has attached; it stands at its first line.
async function debug(t, { dir }, id, breakpoints = {}, { args = [], ...more } = {}) {
  const h = launch(dir, { command: 'replay', listen: null, args: [id, '--debug', '127.0.0.1:0', ...args] });
  h.listening.catch(() => {}); // there is none
  later(t, () => h.ended || h.kill('SIGKILL'));
  const list = Object.entries(breakpoints).map(([name, lines]) => [path.join(dir, 'scripts', `${name}.lua`), lines]);
  const d = await Dap.attach(t, h, Object.fromEntries(list), more);
  const { threadId: id1, reason } = more.stopOnEntry === false ? {} : await d.stopped();
  return { h, d, id: id1, reason, at: async (who = id1) => (await d.where(who)).map(([, line]) => line).join(' ') };
}

// Its exit status, and what it printed; beside that it says where to attach, and what a script raises.
async function ended({ h }) {
  const { code } = await h.exit;
  assert.match(h.stderr, /^a debugger can attach to .*\n(\{.*"msg":"handler raised".*\}\n)*$/);
  return [code, h.stdout];
}
async function over(s) {
  await s.d.event('terminated');
  await s.d.ask('disconnect');
  return ended(s);
}

test('steps lead forwards and backwards, over what was fetched and changed', async (t) => {
  const made = await recorded(t);
  const asked = made.asked;
  const s = await debug(t, made, 'steps');
  const { d, id, at } = s;
  const list = () => d.evaluate(id, 'json.encode(list)');
  assert.equal(s.reason, 'entry');
  const step = async (command, ...wanted) => {
    for (const line of wanted) {
      const { reason } = await d.step(command, id);
      assert.deepEqual([await at(), reason], [line, line === 'start' ? 'entry' : 'step']);
    }
  };
  assert.equal(await at(), '7');
  await step('next', '8', '9');
  const body = await d.evaluate(id, 'body');
  assert.match(body, /answer 1/);
  await step('next', '10');
  assert.equal(await list(), '"[\\"answer 1\\"]"');
  assert.equal((await d.scope(id, 'Upvalues')).kept.value, '0');
  await step('next', '11');
  assert.equal((await d.scope(id, 'Upvalues')).kept.value, '1');
  // One line back each time, through the function that was called: nothing of what came later is there.
  await step('stepBack', '10');
  assert.equal((await d.scope(id, 'Upvalues')).kept.value, '0');
  await step('stepBack', '4 9', '3 9');
  assert.deepEqual([(await d.scope(id, 'Locals')).list.value, await d.evaluate(id, '#list')], ['{ }', '0']);
  await step('stepBack', '9');
  assert.equal(await list(), '"{}"');
  await step('stepBack', '8');
  assert.equal((await d.scope(id, 'Locals')).body, undefined, 'it has not been fetched');
  await step('stepBack', '7');
  assert.equal((await d.step('stepBack', id)).reason, 'entry', 'nothing is before the first line');
  assert.equal(await at(), '7');
  // What was set by hand is not in the record: it is gone when a step leads back.
  await step('next', '8', '9');
  assert.equal(await d.evaluate(id, 'body'), body, 'and forwards it is the same again');
  await d.evaluate(id, 'body = "mine"');
  await step('stepIn', '3 9');
  assert.equal(await d.evaluate(id, 'n'), '"mine"');
  await step('stepBack', '9');
  assert.equal(await d.evaluate(id, 'body'), body);
  await step('next', '10');
  await d.ask('continue', { threadId: id });
  assert.deepEqual(await over(s), [0, 'the same: 200, after 2 calls\n']);
  assert.equal(made.asked, asked, 'nobody was asked again');
});

test('back to the breakpoint before, and to the start; hit counts, conditions and log points as they were', async (t) => {
  const made = await recorded(t);
  const steps = path.join(made.dir, 'scripts/steps.lua');
  const s = await debug(t, made, 'steps', { steps: [12] });
  const { d, id, at } = s;
  const go = async (command) => {
    const { reason, hitBreakpointIds } = await d.step(command, id);
    const i = reason === 'breakpoint' ? await d.evaluate(id, 'i') : await at();
    assert.equal(hitBreakpointIds?.length, reason === 'breakpoint' ? 1 : undefined);
    return `${reason} ${i}`;
  };
  for (const i of [1, 2, 3]) assert.equal(await go('continue'), `breakpoint ${i}`);
  assert.equal(await go('reverseContinue'), 'breakpoint 2');
  assert.equal(await d.evaluate(id, '#list'), '2', 'the answer, and one');
  assert.equal(await go('reverseContinue'), 'breakpoint 1');
  assert.equal(await go('reverseContinue'), 'entry 7');
  assert.equal(await go('reverseContinue'), 'entry 7');
  assert.equal(await go('continue'), 'breakpoint 1');
  await d.breakpoints(steps, [{ line: 12, hitCondition: '% 2' }, { line: 3, logMessage: 'adds {n}' }]);
  assert.equal(await go('reverseContinue'), 'entry 7', 'the first hit does not count');
  d.messages.length = 0;
  assert.equal(await go('continue'), 'breakpoint 2');
  const logged = () => d.messages.filter((m) => m.event === 'output').map((m) => m.body.output);
  assert.deepEqual(logged(), ['adds answer 1\n', 'adds 1\n']);
  assert.equal(await go('continue'), 'breakpoint 4');
  assert.equal(await go('reverseContinue'), 'breakpoint 2');
  assert.equal(await go('stepBack'), 'step 11');
  assert.equal(await go('continue'), 'breakpoint 2', 'it is the second hit, as it was');
  assert.deepEqual(logged(), ['adds answer 1\n', 'adds 1\n', 'adds 2\n', 'adds 3\n'], 'nothing is told twice');
  await d.breakpoints(steps, [{ line: 12, condition: 'i == 1' }]);
  assert.equal(await go('reverseContinue'), 'breakpoint 1');
  await d.ask('continue', { threadId: id });
  assert.deepEqual(await over(s), [0, 'the same: 200, after 2 calls\n']);
});

test('beside others, from an error, and through what cannot stand', async (t) => {
  const made = await recorded(t);
  let s = await debug(t, made, 'beside', { beside: [4] });
  await s.d.ask('continue', { threadId: s.id });
  const two = [await s.d.stopped(), await s.d.stopped()].map((one) => one.threadId);
  assert.deepEqual([...two].sort(), [2, 3]);
  // The first to be answered goes back to where it asks: then the other one has no answer yet, either. It comes later.
  const [first, second] = two;
  await s.d.step('stepBack', first);
  assert.deepEqual([await s.at(first), await s.d.refused('stackTrace', { threadId: second })], ['3', 'notStopped']);
  await s.d.step('next', first);
  assert.equal((await s.d.event('stopped', (b) => b.threadId === second)).reason, 'breakpoint');
  assert.deepEqual([await s.at(first), await s.at(second), await s.d.evaluate(second, 'got')], ['4', '4', '1']);
  // The second goes back: the first is where it was.
  await s.d.ask('stepBack', { threadId: second });
  const again = [await s.d.stopped(), await s.d.stopped()].map((one) => `${one.threadId} ${one.reason}`);
  assert.deepEqual(again.sort(), [`${first} breakpoint`, `${second} step`].sort());
  assert.deepEqual([await s.at(first), await s.at(second)], ['4', '3']);
  await s.d.step('next', second);
  for (const id of two) await s.d.ask('continue', { threadId: id });
  assert.deepEqual(await over(s), [0, 'the same: 200, after 2 calls\n']);

  s = await debug(t, made, 'fails', {}, { filters: ['uncaught'] });
  assert.equal((await s.d.step('continue', s.id)).reason, 'exception');
  assert.equal(await s.at(), '3 7');
  assert.equal((await s.d.step('stepBack', s.id)).reason, 'step');
  assert.equal(await s.at(), '3 7', 'before the line that raised it');
  await s.d.step('stepBack', s.id);
  assert.deepEqual(Object.keys(await s.d.scope(s.id, 'Locals')), ['x']);
  assert.equal((await s.d.step('continue', s.id)).reason, 'exception');
  await s.d.breakpoints(path.join(made.dir, 'scripts/fails.lua'), [6]);
  assert.equal((await s.d.step('reverseContinue', s.id)).reason, 'breakpoint');
  assert.equal(await s.at(), '6');
  await s.d.ask('disconnect'); // it goes on
  assert.deepEqual(await ended(s), [0, 'the same: 502, after 1 calls\n']);

  s = await debug(t, made, 'hidden');
  const seen = [await s.at()];
  while (seen.at(-1) !== '10') { await s.d.step('stepIn', s.id); seen.push(await s.at()); }
  assert.ok(seen.includes('6') && seen.includes('7 7') && !seen.includes('3 6'), seen.join(', '));
  for (const line of seen.slice(0, -1).reverse()) { await s.d.step('stepBack', s.id); assert.equal(await s.at(), line); }
  s.d.socket.destroy();
  assert.equal((await ended(s))[0], 0);

  s = await debug(t, made, 'long', { long: [6] }); // that it is watched is not counted as its own time
  assert.equal((await s.d.step('continue', s.id)).reason, 'breakpoint');
  const n = await s.d.evaluate(s.id, 'n');
  await s.d.step('stepBack', s.id);
  assert.equal(await s.d.evaluate(s.id, 'n'), n);
  await s.d.ask('continue', { threadId: s.id });
  assert.equal((await s.d.stopped()).reason, 'breakpoint');
  await s.d.ask('continue', { threadId: s.id });
  assert.deepEqual(await over(s), [0, 'the same: 200, after 0 calls\n']);
});

test('a script that was changed meanwhile, or asks for something else; no entry; who waits for nobody', async (t) => {
  const made = await recorded(t);
  let s = await debug(t, made, 'steps', { steps: [10] });
  await s.d.step('continue', s.id);
  const text = scripts('http://127.0.0.1:1/').steps;
  write(made.dir, { 'scripts/steps.lua': text.replace('local list = {}', 'local list = {}\n  time.now()') });
  await s.d.ask('stepBack', { threadId: s.id });
  const output = await s.d.event('output');
  assert.match(output.output, /script is another one/);
  await s.d.event('terminated');
  const told = s.d.messages.filter((m) => m.event === 'output').map((m) => m.body.output).join('');
  assert.match(told, /ended before it came to that place/);
  assert.match(told, /steps\.lua:8: the script calls time/);
  await s.d.ask('disconnect');
  const [other, why] = await ended(s);
  assert.deepEqual([other, /^another way: .*calls time/.test(why)], [1, true]);

  s = await debug(t, made, 'beside', {}, { stopOnEntry: false, args: ['--json'] });
  const [code, out] = await over(s);
  assert.deepEqual([code, JSON.parse(out).same], [0, true]);

  const able = await debug(t, made, 'beside');
  await able.d.ask('disconnect');
  assert.equal((await ended(able))[0], 0);
  const refused = await run(t, ['replay', 'steps', '--debug', '--test'], { dir: made.dir });
  assert.deepEqual([refused.code, /one of them at a time/.test(refused.stderr)], [2, true]);
  const missing = await run(t, ['replay', 'none', '--debug', '127.0.0.1:0'], { dir: made.dir });
  assert.deepEqual([missing.code, /has the id none/.test(missing.stderr)], [1, true]);
});
