// The issuer's page: roles, API settings and keys, switched by a person.
import assert from 'node:assert/strict';
import test from 'node:test';
import { noBrowser, open } from '../lib/browser.mjs';
import { ownFiles } from '../lib/demo.mjs';
import { start } from '../lib/host.mjs';

async function visit(t, options) {
  const host = await start(t, { command: 'dev', files: ownFiles() });
  const page = await open(t, options);
  await page.goto(host.url('/_luafn/dev/issuer.html'));
  await page.getByRole('group', { name: /^Gus Guest/ }).waitFor();
  return { host, page };
}

test('roles, RBAC and keys are switched, and stay so', { skip: noBrowser }, async (t) => {
  const { host, page } = await visit(t);
  const state = async () => (await host.get('/_luafn/dev/api/issuer')).json();
  const role = page.getByRole('group', { name: /^Gus Guest/ }).getByRole('switch', { name: /^TV Shows Viewer/ });
  await role.focus();
  await page.keyboard.press('Space');
  await page.getByText('TV Shows Viewer is on').waitFor({ state: 'attached' });
  assert.deepEqual((await state()).users.map(({ roles }) => roles.length), [1, 1]);
  assert.ok(await page.locator('#differs').isVisible(), 'it says that it differs from the file');
  await page.getByRole('switch', { name: /^RBAC/ }).click();
  await page.getByText('RBAC is off').waitFor({ state: 'attached' });
  assert.equal((await state()).apis[0].rbac, false);
  const before = (await state()).keys;
  await page.getByRole('button', { name: 'Sign with the next key' }).click();
  await page.getByText(/^The other key signs now\./).waitFor({ state: 'attached' });
  assert.deepEqual((await state()).keys, [...before].reverse());
  await page.reload();
  await page.getByRole('group', { name: /^Gus Guest/ }).waitFor();
  assert.ok(await role.isChecked());
  assert.ok(!await page.getByRole('switch', { name: /^RBAC/ }).isChecked());
  await page.getByRole('button', { name: 'Back to the file' }).click();
  await page.getByText(/^All switches are as/).waitFor({ state: 'attached' });
  assert.ok(!await role.isChecked());
  assert.ok(await page.locator('#differs').isHidden());
  assert.equal((await state()).apis[0].rbac, true);
  assert.deepEqual(page.faults, []);
});

test('within a narrow window; no secret is shown', { skip: noBrowser }, async (t) => {
  const { page } = await visit(t, { viewport: { width: 360, height: 740 } });
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  assert.doesNotMatch(await page.content(), /luafn-machine-secret/);
});

test('a switch that cannot be sent moves back', { skip: noBrowser }, async (t) => {
  const { host, page } = await visit(t);
  await host.stop();
  const rbac = page.getByRole('switch', { name: /^RBAC/ });
  await rbac.click();
  await page.getByText(/does not answer\. Is luafn dev still running\?$/).waitFor();
  assert.ok(await rbac.isChecked());
});
