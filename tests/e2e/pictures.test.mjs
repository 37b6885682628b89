// examples/pictures in a real browser: sign in, hang up a picture, and see it at once on another's page.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { leave, noBrowser, open } from '../lib/browser.mjs';
import { folder, ROOT, run, start } from '../lib/host.mjs';
import { looks } from '../lib/looks.mjs';

const PNG = fs.readFileSync(path.join(ROOT, 'docs/pictures', fs.readdirSync(path.join(ROOT, 'docs/pictures')).find((name) => name.endsWith('.png'))));
const file = (buffer, name = 'dashboard.png') => ({ name, mimeType: 'image/png', buffer });
const LONG = 'Rindfleischetikettierungsueberwachungsaufgabenuebertragung';

async function signIn(page, h, who) {
  await page.goto(h.url('/'));
  await page.getByRole('button', { name: who }).click();
  await page.getByRole('heading', { name: 'Pictures' }).waitFor();
}

async function hangUp(page, caption, picture) {
  await page.getByLabel('Picture').setInputFiles(picture);
  await page.getByLabel('Caption').fill(caption);
  await leave(page, () => page.getByRole('button', { name: 'Hang it up' }).click());
}

test('signs in, hangs up a picture; another sees it without a click; out', { skip: noBrowser }, async (t) => {
  const dir = folder(t);
  fs.cpSync(path.join(ROOT, 'examples/pictures'), dir, { recursive: true, filter: (name) => !/\.luafn|\.env$|pictures\.db/.test(name) });
  fs.copyFileSync(path.join(dir, '.env.example'), path.join(dir, '.env'));
  assert.equal((await run(t, ['migrate', '--dev'], { dir })).code, 0);
  const h = await start(t, { dir, command: 'dev' });
  const vera = await open(t);
  const gus = await open(t, { viewport: { width: 360, height: 780 }, colorScheme: 'dark' });
  await signIn(vera, h, /Vera Viewer/);
  await signIn(gus, h, /Gus Guest/);
  await hangUp(vera, 'A <b>dashboard</b> & more', file(PNG));
  const shown = (page, caption) => page.locator('#wall li').filter({ hasText: caption });
  for (const page of [vera, gus]) {
    await shown(page, 'A <b>dashboard</b> & more').waitFor();
    await page.waitForFunction(() => document.querySelector('#wall img').naturalWidth > 0);
  }
  await hangUp(vera, LONG, file(Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>')));
  await vera.getByRole('alert').filter({ hasText: 'That file is no PNG' }).waitFor();
  assert.equal(await vera.getByLabel('Caption').inputValue(), LONG, 'what was typed is still there');
  await hangUp(vera, LONG, file(PNG));
  await shown(gus, LONG).waitFor();
  for (const [page, name] of [[vera, 'wide'], [gus, 'phone']]) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      await looks(page, `${name}-${colorScheme}`, 9);
    }
  }
  await vera.getByRole('button', { name: 'Sign out' }).click();
  await vera.getByRole('button', { name: /Vera Viewer/ }).waitFor();
  assert.deepEqual([vera.faults.filter((fault) => !/422/.test(fault)), gus.faults], [[], []]);
});
