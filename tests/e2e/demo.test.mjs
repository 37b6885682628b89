// The demo page of `luafn dev` in a real browser: the story that a person goes through.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { held, leave, noBrowser, open } from '../lib/browser.mjs';
import { ownFiles } from '../lib/demo.mjs';
import { deployment, ROOT, start } from '../lib/host.mjs';
import { looks } from '../lib/looks.mjs';

const CHECKS = ['Header', 'Algorithm', 'Issuer', 'Audience', 'Signature', 'Expiry', 'Scope'];

const dev = (t) => start(t, { command: 'dev', files: ownFiles() });

// It listens, and knows the issuer; somebody is signed in or nobody.
const ready = (page) => page.locator('#sign-out:enabled').waitFor({ state: 'attached' });

const TRY = '/_luafn/dev/try.html';

async function visit(t, url, options) {
  const page = await open(t, options);
  await page.goto(url);
  await ready(page);
  return page;
}

const named = (page, role, name) => page.getByRole(role, { name: new RegExp(`^${name}`) }); // more is told below it
const chosen = (page) => page.locator('input[name=kind]:checked').inputValue();

async function signIn(page, name) {
  await page.click('#sign-in');
  await named(page, 'button', name).click();
  await page.locator('#sign-out').waitFor();
  assert.equal(await page.textContent('#who'), `Signed in as ${name}`);
}

// What the card says after `act`, which calls a function.
async function answerOf(page, act) {
  await page.evaluate(() => document.querySelector('.answer')?.remove());
  await act();
  const card = page.locator('.answer');
  await card.waitFor();
  return card.evaluate((node) => ({
    status: Number(node.querySelector('.status').textContent),
    passed: node.querySelectorAll('.passed').length,
    failed: node.querySelector('.failed b')?.lastChild.textContent,
    skipped: node.querySelectorAll('.skipped').length,
    said: node.querySelector('q')?.textContent,
    shows: node.querySelectorAll('.tiles li').length,
    claims: Object.fromEntries([...node.querySelectorAll('.facts div')].map((row) => [
      row.querySelector('dt').textContent, row.querySelector('code').textContent,
    ])),
    curl: node.querySelector('details code').textContent,
  }));
}

const call = (page, name) => answerOf(page, () => page.click(`#call-${name}`));

async function switchRole(page, name) {
  const [answer] = await Promise.all([
    page.waitForResponse((res) => res.url().endsWith('/_luafn/dev/api/users')),
    named(page, 'switch', name).click(),
  ]);
  assert.equal(answer.status(), 200);
}

async function renew(page) {
  const [answer] = await Promise.all([
    page.waitForResponse((res) => res.url().endsWith('/oauth/token')),
    page.click('#renew'),
  ]);
  assert.equal(answer.status(), 200);
  await page.waitForFunction(() => document.querySelector('#stale').textContent === '');
}

// The page says that nobody is signed in before it is left for the issuer, which leads back to it.
async function signOut(page) {
  await leave(page, () => page.click('#sign-out'));
  await ready(page);
  assert.equal(await page.textContent('#who'), 'Not signed in');
}

async function story(page, origin) {
  const anonymous = await call(page, 'me');
  assert.equal(anonymous.status, 401);
  assert.equal(anonymous.failed, 'Header');
  assert.equal(anonymous.said, 'The Authorization header is missing or empty');
  assert.equal(anonymous.curl, `curl -i ${origin}/.netlify/functions/me`);

  await signIn(page, 'Vera Viewer');
  assert.equal(await chosen(page), 'token');
  const me = await call(page, 'me');
  assert.equal(me.status, 200);
  assert.equal(me.passed, CHECKS.length - 1);
  assert.equal(me.claims.sub, 'auth0|vera');
  assert.equal(me.claims.roles, '["TV Shows Viewer"]');
  assert.match(me.curl, /^curl -i .*\/me \\\n {2}-H 'Authorization: Bearer [\w.-]+….{6}'$/);
  const shows = await call(page, 'shows');
  assert.equal(shows.status, 200);
  assert.equal(shows.passed, CHECKS.length);
  assert.equal(shows.shows, 20);

  // the role goes, the token keeps its scope; a new token has it no more
  await switchRole(page, 'Vera Viewer');
  await page.getByText('Your token still says what it said before.').waitFor();
  assert.equal((await call(page, 'shows')).status, 200);
  await renew(page);
  const denied = await call(page, 'shows');
  assert.equal(denied.status, 403);
  assert.equal(denied.failed, 'Scope');
  assert.equal(denied.said, "Token does not contain the required 'read:shows' scope");
  assert.equal((await call(page, 'me')).status, 200);
  await switchRole(page, 'Vera Viewer');

  await signOut(page);
  assert.equal(await chosen(page), 'none');
  assert.equal((await call(page, 'shows')).status, 401);

  // without RBAC nobody needs the role
  await signIn(page, 'Gus Guest');
  assert.equal((await call(page, 'shows')).status, 403);
  await named(page, 'switch', 'RBAC').click();
  await page.getByText('Your token still says what it said before.').waitFor();
  await renew(page);
  assert.equal((await call(page, 'shows')).status, 200);
  await named(page, 'switch', 'RBAC').click();
  await page.locator('#renew.primary').waitFor();
  await signOut(page);

  // out is out: the issuer asks again, and the other user may not see shows
  await signIn(page, 'Gus Guest');
  assert.equal((await call(page, 'me')).claims.sub, 'auth0|gus');
  assert.equal((await call(page, 'shows')).status, 403);
  await page.reload();
  await page.locator('#sign-out').waitFor();
  assert.equal((await call(page, 'me')).status, 200);
  await signOut(page);
  assert.deepEqual(page.faults, []);
}

test('the story, on the origin of the issuer', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const origin = `http://127.0.0.1:${host.port}`;
  await story(await visit(t, origin + TRY), origin);
});

test('under another name of this machine the page goes to the issuer\'s own origin', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const origin = `http://127.0.0.1:${host.port}`;
  const page = await open(t);
  await page.goto(`http://localhost:${host.port}${TRY}`);
  await page.waitForURL(origin + TRY);
  await ready(page);
  await story(page, origin);
});

test('Back after a sign-in is no alarm, and keeps the token', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await visit(t, host.url(TRY));
  await signIn(page, 'Vera Viewer');
  await page.goto(`http://127.0.0.1:${host.port}${TRY}?code=used&state=older`);
  await ready(page);
  assert.equal(await page.textContent('#who'), 'Signed in as Vera Viewer');
  assert.ok(await page.locator('#notice').isHidden());
  await signOut(page);
  await page.goto(`http://127.0.0.1:${host.port}${TRY}?code=used&state=foreign`);
  await ready(page);
  assert.match(await page.textContent('#notice'), /not begun here/, 'the twin: one that nobody began');
});

test('a slow call looks busy, and its late answer does not take the place of a newer one', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await visit(t, host.url(TRY));
  const slow = await held(page, '**/functions/me');
  await page.click('#call-me');
  await slow.made;
  assert.equal(await page.getAttribute('.answers', 'aria-busy'), 'true');
  await page.click('#call-shows');
  await page.locator('.answer header code', { hasText: '/shows' }).waitFor();
  assert.equal(await page.getAttribute('.answers', 'aria-busy'), 'false');
  await slow.go();
  assert.match(await page.textContent('.answer header code'), /\/shows$/);
});

test('a project without me and shows: its own routes; its own style.css leaves the pages alone', { skip: noBrowser }, async (t) => {
  const auth = fs.readFileSync(path.join(ROOT, 'scripts/dev/auth.lua'), 'utf8').replace('scopes = { ', '$&"read:orders", ').replace('permissions = { [api] = { "create:shows" } }, blocked = true,', '\n      permissions = { [api] = { "read:orders" } },');
  const host = await start(t, { command: 'dev', files: {
    'dev/auth.lua': auth,
    ...deployment({ hello: 'return function() return "hello" end', item: 'return function(e) return e.params.id end', orders: 'return function() return "[]" end' }, {
      fields: { hello: 'auth = "public"', item: 'auth = "public", path = "/item/:id"', orders: 'auth = { scope = "read:orders" }' },
      more: '  publish = "site", auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },',
    }),
    'site/style.css': 'body { display: none }', 'site/app.js': 'throw new Error("mine")',
  } });
  const page = await open(t);
  await page.goto(host.url(TRY));
  await ready(page);
  await named(page, 'button', 'hello').click();
  await page.locator('.answer .status', { hasText: '200' }).waitFor();
  assert.ok(await named(page, 'button', 'item').isDisabled(), 'it wants a parameter');
  await signIn(page, 'Vera Viewer');
  const { status, failed } = await answerOf(page, () => named(page, 'button', 'orders').click());
  assert.deepEqual([status, failed], [403, 'Scope']);
  await signOut(page);
  await signIn(page, 'Gus Guest');
  const twin = await answerOf(page, () => named(page, 'button', 'orders').click());
  assert.deepEqual([twin.status, twin.failed, twin.passed], [200, undefined, CHECKS.length], 'he may, though the page did not ask for it');
  await page.goto(`http://127.0.0.1:${host.port}/_luafn/dev/issuer.html`);
  await named(page, 'group', 'Gus Guest').waitFor();
  assert.deepEqual(page.faults, []);
});

test('nothing can be clicked before the scripts listen and know the issuer; a click that waits counts', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await open(t);
  const users = await held(page, '**/_luafn/dev/api/users');
  await page.goto(host.url(TRY));
  assert.equal(await page.locator('button:enabled, #rbac:enabled').count(), 0);
  const answer = call(page, 'me');
  await users.go();
  assert.equal((await answer).status, 401);
  assert.equal(await page.locator('#sign-in:enabled, .call:enabled').count(), 3);
  assert.deepEqual(page.faults, []);
});

test('each wrong token fails at its check, with the reason', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await visit(t, host.url(TRY));
  await signIn(page, 'Vera Viewer');
  const cases = [
    ['none', 'Header', /missing or empty/],
    ['unsigned', 'Algorithm', /Invalid 'alg' provided, got 'none'/],
    ['audience', 'Audience', /Invalid audience \(aud\) provided, got 'https:\/\/api\/another'/],
    ['altered', 'Signature', /invalid signature/],
    ['expired', 'Expiry', /The provided token expired at '20/],
  ];
  for (const [kind, check, reason] of cases) {
    await page.check(`input[value=${kind}]`);
    const answer = await call(page, 'shows');
    assert.equal(answer.status, 401, kind);
    assert.equal(answer.failed, check, kind);
    assert.match(answer.said, reason, kind);
    assert.equal(answer.passed, CHECKS.indexOf(check), kind);
    assert.equal(answer.skipped, CHECKS.length - 1 - CHECKS.indexOf(check), kind);
  }
  await page.check('input[value=token]');
  assert.equal((await call(page, 'shows')).status, 200);
  assert.deepEqual(page.faults, []);
});

// Presses Tab until the element has the focus; what has it on the way shows that.
async function tabTo(page, selector) {
  await page.waitForLoadState('load'); // with the style of what has the focus
  for (let i = 0; i < 30; i += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate((wanted) => {
      const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
      const visible = outlineStyle === 'solid' && parseFloat(outlineWidth) >= 2;
      return { found: document.activeElement.matches(wanted), visible, id: document.activeElement.outerHTML.slice(0, 80) };
    }, selector);
    assert.ok(at.visible, `the focus is not seen on ${at.id}`);
    if (at.found) return;
  }
  assert.fail(`Tab does not reach ${selector}`);
}

test('all of it with the keyboard alone', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await visit(t, host.url(TRY));
  const press = (key) => page.keyboard.press(key);
  await tabTo(page, '#sign-in');
  await press('Enter');
  await page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await page.locator(':focus', { hasText: /^Vera Viewer/ }).waitFor();
  await tabTo(page, 'button[value="auth0|gus"]');
  await press('Enter');
  await page.locator('#sign-out').waitFor();

  await tabTo(page, '#call-shows');
  assert.equal((await answerOf(page, () => press('Enter'))).status, 403);
  await tabTo(page, '#users li:nth-child(2) input');
  await press('Space');
  await page.locator('#renew.primary').waitFor();
  await tabTo(page, '#renew');
  await press('Enter');
  await page.locator('#renew:not(.primary)').waitFor();
  await page.reload();
  await page.locator('#sign-out').waitFor();
  await tabTo(page, '#call-shows');
  assert.equal((await answerOf(page, () => press('Space'))).status, 200);

  await page.reload();
  await page.locator('#sign-out').waitFor();
  await tabTo(page, 'input[name=kind]');
  await press('ArrowDown');
  assert.equal(await chosen(page), 'none');
  await tabTo(page, '#call-me');
  assert.equal((await answerOf(page, () => press('Enter'))).status, 401);
  await tabTo(page, 'summary');
  await press('Enter');
  await page.locator('details[open] pre').waitFor();
});

for (const colorScheme of ['light', 'dark']) {
  test(`legible and within a narrow window, ${colorScheme}`, { skip: noBrowser }, async (t) => {
    const host = await dev(t);
    const page = await visit(t, host.url(TRY), { colorScheme, viewport: { width: 360, height: 740 } });
    await call(page, 'me');
    await looks(page, 'refused', 20);
    await page.click('#sign-in');
    await named(page, 'button', 'Gus Guest').waitFor();
    await looks(page, 'sign-in', 6);
    await named(page, 'button', 'Gus Guest').click();
    await page.locator('#sign-out').waitFor();
    await call(page, 'shows');
    for (const summary of await page.locator('summary').all()) await summary.click();
    await looks(page, 'unfolded', 60);
    await named(page, 'link', 'With a real Auth0 tenant').click();
    await page.getByRole('heading', { name: 'What each mistake looks like' }).waitFor();
    await looks(page, 'auth0', 30);
    assert.deepEqual(page.faults, []);
  });
}

test('the host may want tokens of another issuer; then the page shows that it does', { skip: noBrowser }, async (t) => {
  const host = await start(t, { command: 'dev', files: { ...ownFiles(), '.env': 'JWT_ISSUER=http://localhost:1/\n' } });
  const page = await visit(t, host.url(TRY));
  await signIn(page, 'Vera Viewer');
  const answer = await call(page, 'me');
  assert.equal(answer.status, 401);
  assert.equal(answer.failed, 'Issuer');
  assert.equal(answer.said, `Invalid issuer (iss) provided, got 'http://127.0.0.1:${host.port}/'`);
});

test('what goes wrong is told on the page', { skip: noBrowser }, async (t) => {
  const host = await dev(t);
  const page = await visit(t, host.url(TRY));
  await signIn(page, 'Vera Viewer');
  await page.evaluate(() => {
    const kept = JSON.parse(sessionStorage.getItem('luafn.tokens'));
    sessionStorage.setItem('luafn.tokens', JSON.stringify({ ...kept, refresh_token: 'gone' }));
  });
  await page.click('#renew');
  await page.getByText('Unknown or invalid refresh token. Sign in again.').waitFor();
  assert.equal(await page.textContent('#who'), 'Not signed in');
  await page.goto(host.url(`${TRY}?state=forged&code=x`));
  await page.getByText('This sign-in was not begun here.').waitFor();
  await page.waitForURL(host.url(TRY));
  await host.stop();
  await page.click('#call-me');
  await page.getByText(/does not answer\. Is luafn dev still running\?$/).waitFor();
});
