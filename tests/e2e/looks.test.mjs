// Every page of `dev`, light and dark, wide and on a phone: nothing is cut off, and every text can be
// read.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { held, noBrowser, open } from '../lib/browser.mjs';
import { ownFiles } from '../lib/demo.mjs';
import { ROOT, start } from '../lib/host.mjs';
import { looks } from '../lib/looks.mjs';

const LONG = 'Rindfleischetikettierungsueberwachungsaufgabenuebertragung';

// The pages in the order that a person meets them; each is looked at.
async function tour(page, host, see) {
  const vera = (role) => page.getByRole(role, { name: /^Vera Viewer/ });
  const accept = page.getByRole('button', { name: 'Accept' });
  const gone = async (path_, name) => {
    await page.goto(host.url(path_));
    await see(name);
  };
  await page.goto(host.url('/_luafn/dev/try.html'));
  await page.locator('#users li').nth(2).waitFor();
  await see('not signed in');
  await page.click('#call-me');
  await page.locator('.answer').waitFor();
  await see('401');
  await page.click('#sign-in');
  await vera('button').waitFor();
  await see('sign in');
  await vera('button').click();
  await accept.waitFor();
  await see('consent');
  await accept.click();
  await page.locator('#sign-out').waitFor();
  await page.click('#call-shows');
  await page.locator('.tiles li').first().waitFor();
  await see('200');
  await vera('switch').click();
  await page.getByText('Your token still says what it said before.').waitFor();
  await page.click('#renew');
  await page.waitForFunction(() => document.querySelector('#stale').textContent === '');
  await page.click('#call-shows');
  await page.locator('.answer .failed').waitFor();
  await see('403');
  await page.goto(host.url('/_luafn/dev/issuer.html'));
  await page.getByRole('group', { name: /^Gus Guest/ }).waitFor();
  await see('roles');
  await gone('/_luafn/dev/auth0.html', 'auth0');
  await gone('/authorize?client_id=nobody&response_type=code', 'unknown client');
  await gone('/v2/logout?client_id=luafn-demo', 'signed out');
}

for (const colorScheme of ['light', 'dark']) {
  test(`every page can be read, ${colorScheme}`, { skip: noBrowser }, async (t) => {
    const auth = fs.readFileSync(path.join(ROOT, 'scripts/dev/auth.lua'), 'utf8').replace('-- consent = true', 'consent = true').replace('  users = {\n', `  users = {\n    { sub = "auth0|long", name = "${LONG}", email = "${LONG}@${LONG}.example.com", roles = { "TV Shows Viewer" } },\n`);
    for (const width of [1200, 390]) {
      const host = await start(t, { command: 'dev', files: { ...ownFiles(), 'dev/auth.lua': auth } });
      const page = await open(t, { viewport: { width, height: 860 }, colorScheme });
      await tour(page, host, (name) => looks(page, `${name}, ${width} px`, 3));
    }
  });
}

test('a style sheet that is late is waited for', { skip: noBrowser }, async (t) => {
  const host = await start(t, { command: 'dev', files: ownFiles() });
  const page = await open(t, { colorScheme: 'dark' });
  const sheet = await held(page, '**/style.css');
  await page.goto(host.url('/_luafn/dev/auth0.html'), { waitUntil: 'commit' });
  await page.getByRole('heading', { name: 'What each mistake looks like' }).waitFor();
  const seen = looks(page, 'a late sheet');
  await sheet.go();
  await seen;
});

test('a long name leaves the button beside it whole; colours and movement are as the system wants them', { skip: noBrowser }, async (t) => {
  const auth = fs.readFileSync(path.join(ROOT, 'scripts/dev/auth.lua'), 'utf8').replaceAll('Vera Viewer', LONG + LONG);
  const host = await start(t, { command: 'dev', files: { ...ownFiles(), 'dev/auth.lua': auth } });
  const seen = [];
  for (const options of [{ viewport: { width: 700, height: 860 } }, { forcedColors: 'active' }, { reducedMotion: 'reduce' }]) {
    const page = await open(t, options);
    await page.goto(host.url('/_luafn/dev/try.html'));
    await page.locator('#sign-in:enabled').click();
    await page.getByRole('button', { name: new RegExp(`^${LONG}`) }).click();
    await page.locator('#sign-out').waitFor();
    assert.equal(await page.locator('#sign-out').evaluate((node) => { const range = document.createRange(); range.selectNodeContents(node); return range.getClientRects().length; }), 1, 'on one line');
    seen.push(await page.locator('#rbac').evaluate((node) => { return [getComputedStyle(node).appearance, getComputedStyle(node, '::before').transitionProperty]; }));
  }
  assert.deepEqual(seen, [['none', 'translate'], ['auto', 'translate'], ['none', 'none']]);
});
