// Every page of `dev`, light and dark, wide and on a phone: nothing is cut off, and every text can be
// read on what is behind it (WCAG 2.2, 1.4.3: 4.5 to 1; a disabled control is exempt).
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { noBrowser, open, ownFiles } from '../lib/browser.mjs';
import { ROOT, start } from '../lib/host.mjs';

// In the page: the texts whose contrast is too low, and how far the page is wider than its window.
function look() {
  const parse = (color) => (color.match(/[\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  const faint = [];
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    const disabled = node.closest(':disabled, fieldset:disabled, label:has(:disabled)');
    if (!walker.currentNode.data.trim() || disabled || !node.checkVisibility()) continue;
    texts += 1;
    const [a, b] = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return { faint, texts, wider: document.documentElement.scrollWidth - innerWidth };
}

// The pages in the order that a person meets them; each is looked at.
async function tour(page, host, see) {
  const named = (name) => page.getByRole('button', { name });
  const gone = async (path_, name) => {
    await page.goto(host.url(path_));
    await see(name);
  };
  await page.goto(host.url('/'));
  await page.locator('#users li').nth(1).waitFor();
  await see('not signed in');
  await page.click('#call-me');
  await page.locator('.answer').waitFor();
  await see('401');
  await page.click('#sign-in');
  await named('Vera Viewer').waitFor();
  await see('sign in');
  await named('Vera Viewer').click();
  await named('Accept').waitFor();
  await see('consent');
  await named('Accept').click();
  await page.locator('#sign-out').waitFor();
  await page.click('#call-shows');
  await page.locator('.tiles li').first().waitFor();
  await see('200');
  await page.getByRole('switch', { name: 'Vera Viewer' }).click();
  await page.getByText('Your token still says what it said before.').waitFor();
  await page.click('#renew');
  await page.waitForFunction(() => document.querySelector('#stale').textContent === '');
  await page.click('#call-shows');
  await page.locator('.answer .failed').waitFor();
  await see('403');
  await page.getByRole('switch', { name: 'Vera Viewer' }).click();
  await page.goto(host.url('/issuer.html'));
  await page.getByRole('group', { name: 'Gus Guest' }).waitFor();
  await see('roles');
  await gone('/auth0.html', 'auth0');
  await gone('/authorize?client_id=nobody&response_type=code', 'unknown client');
  await gone('/v2/logout?client_id=luafn-demo', 'signed out');
}

for (const colorScheme of ['light', 'dark']) {
  test(`every page can be read, ${colorScheme}`, { skip: noBrowser }, async (t) => {
    const auth = fs.readFileSync(path.join(ROOT, 'scripts/dev/auth.lua'), 'utf8').replace('-- consent = true', 'consent = true');
    for (const width of [1200, 390]) {
      const host = await start(t, { command: 'dev', files: { ...ownFiles(), 'dev/auth.lua': auth } });
      const page = await open(t, { viewport: { width, height: 860 }, colorScheme });
      await tour(page, host, async (name) => {
        const { faint, texts, wider } = await page.evaluate(look);
        assert.ok(texts >= 3, `${name}: ${texts} texts`);
        assert.deepEqual(faint, [], `${name}, ${width} px`);
        assert.ok(wider <= 0, `${name}: wider than ${width} px by ${wider}`);
      });
    }
  });
}
