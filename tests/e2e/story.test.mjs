// A request fails in production's way: what the upstream sends is not what the script expects. It is understood without
// touching the code, mended, and kept from coming back: dashboard, replay, debugger, test.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { noBrowser, open } from '../lib/browser.mjs';
import { Dap } from '../lib/dap.mjs';
import { ownFiles } from '../lib/demo.mjs';
import { eventually, run, start, write } from '../lib/host.mjs';
import { looks } from '../lib/looks.mjs';
import { upstream } from '../lib/upstream.mjs';

const LIST = '[{"id":1,"url":"https://example.test/1","name":"Under the Dome"},404]'; // its second show is none
const LINE = 'shows[i] = { id = show.id, url = show.url, name = show.name }';
const MENDED = `if type(show) == "table" then shows[#shows + 1] = ${LINE.slice(LINE.indexOf('{'))} end`;

test('shows and a broken upstream: seen, replayed, stepped to the line, mended, replayed green, kept as a test', { skip: noBrowser }, async (t) => {
  let asked = 0;
  const api = await upstream(t, (req, res) => { asked++; res.writeHead(200, { 'Content-Type': 'application/json' }).end(LIST); });
  const host = await start(t, { command: 'dev', args: ['--debug', '127.0.0.1:0'], files: { ...ownFiles(), '.env': `TV_API_URL=${api}\n` } });
  const page = await open(t);
  const see = (name) => looks(page, `story-${name}`);
  const script = path.join(host.dir, 'scripts/shows.lua');
  const source = fs.readFileSync(script, 'utf8');
  const line = source.split('\n').findIndex((text) => text.includes(LINE)) + 1;
  const pane = page.locator('#one > .pane');
  const send = async (place) => {
    await place.locator('option[value="auth0|vera"]').waitFor({ state: 'attached' });
    await place.getByLabel('As').selectOption('auth0|vera');
    await place.getByLabel('Scope').fill('openid read:shows');
    await place.getByRole('button', { name: /^Send/ }).click();
  };

  await page.goto(host.url('/_luafn/dev/#/try'));
  await page.locator('#live', { hasText: /^live$/ }).waitFor({ state: 'attached' });
  await page.locator('#try-function').selectOption('shows');
  await send(page.locator('#try-form[data-function="shows"]'));
  await page.locator('#try-form .status', { hasText: '502' }).waitFor();
  assert.equal(asked, 1);

  // Seen.
  await page.getByRole('navigation').getByRole('link', { name: 'Requests' }).click();
  const row = page.locator('#rows a', { hasText: 'shows' }); // there is one so far
  const id = decodeURIComponent((await row.getAttribute('href')).split('/').pop());
  await row.click();
  await pane.locator('.source li[aria-current]', { hasText: LINE }).waitFor();
  assert.match(await pane.locator('.message').textContent(), /attempt to index a number value \(local 'show'\)/);
  await see('error');
  await page.locator('#one > .tabs').getByRole('tab', { name: 'Timeline' }).click();
  await pane.locator('.bars .name', { hasText: 'fetch' }).waitFor();

  // Replayed: the same, and nobody is asked.
  await page.locator('#one > header').click();
  await page.keyboard.press('r');
  await pane.getByText('Both answers are the same.').waitFor();
  assert.equal(asked, 1);

  // Sent again, it stands where it went wrong, and says what it has there.
  const dap = await Dap.attach(t, host, { [script]: [{ line, condition: 'type(show) ~= "table"' }] });
  await send(page.locator('#one'));
  const { threadId } = await dap.stopped();
  assert.deepEqual((await dap.where(threadId))[0], ['shows.lua', line]);
  assert.equal(await dap.evaluate(threadId, 'show'), '404');
  assert.equal((await dap.scope(threadId, 'Locals')).i.value, '2');
  assert.match(await dap.evaluate(threadId, 'list[1].name'), /Under the Dome/);
  await dap.ask('continue', { threadId });
  await pane.locator('.send + .pane .status', { hasText: '502' }).waitFor();
  await dap.ask('disconnect', {});
  assert.equal(asked, 2);

  // Mended, replayed green.
  write(host.dir, { 'scripts/shows.lua': source.replace(LINE, MENDED) });
  await pane.getByRole('button', { name: 'Run it again' }).click();
  await pane.locator('.diff .is', { hasText: /^is: \+ 200$/ }).waitFor();
  await pane.locator('.diff .was', { hasText: /^was: - 502$/ }).waitFor();
  await see('green');
  assert.equal(asked, 2, 'a replay asks nobody');
  const again = await run(t, ['replay', id], { dir: host.dir });
  assert.match(again.stdout, /^status\n {2}was {2}502\n {2}is {3}200\n/);

  // Kept as a test, which fails where the mending is taken back.
  const kept = await run(t, ['replay', id, '--test'], { dir: host.dir });
  const [, file] = /^wrote (\S+shows_\S+_test\.lua)\n$/.exec(kept.stdout) ?? assert.fail(kept.stdout + kept.stderr);
  assert.match(fs.readFileSync(file, 'utf8'), /since it was mended; it was 502 before[^]*t\.equal\(res\.status, 200\)[^]*Under the Dome/);
  const good = await run(t, ['test', file], { dir: host.dir });
  assert.equal(good.code, 0, good.stdout + good.stderr);
  await page.getByRole('navigation').getByRole('link', { name: 'Tests' }).click();
  await page.getByRole('button', { name: 'Run the tests' }).click();
  await page.locator('#test-said', { hasText: '1 passed, 0 failed' }).waitFor();
  await see('test');
  write(host.dir, { 'scripts/shows.lua': source });
  const bad = await run(t, ['test', file], { dir: host.dir });
  assert.equal(bad.code, 1, bad.stdout);

  // The mended script answers for real.
  write(host.dir, { 'scripts/shows.lua': source.replace(LINE, MENDED) });
  const token = (await run(t, ['token', '--sub', 'auth0|vera', '--scope', 'read:shows'], { dir: host.dir })).stdout.trim();
  await eventually(async () => (await host.call('shows', { headers: { Authorization: `Bearer ${token}` } })).status === 200, 10, 'the mended script');
  assert.deepEqual(page.faults.filter((fault) => !/status of 5/.test(fault)), []);
});
