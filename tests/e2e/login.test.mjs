// A person signs in in a real browser, by `luafn dev`'s own issuer, with nothing configured; works; is logged out.
import assert from 'node:assert/strict';
import test from 'node:test';
import { noBrowser, open } from '../lib/browser.mjs';
import { config, start } from '../lib/host.mjs';
import { site as peer } from '../lib/login-peer.mjs';

const PAGE = `return function(event, context)
  local claims = context.identityContext.claims
  if event.httpMethod == "POST" then kv.set("said", event:form().said) return respond.redirect("/page", 303) end
  return respond.html(html.render([[<!doctype html><title>{{ sub }}</title><p id="who">{{ sub }}</p><p id="said">{{ said }}</p>
    <form method="post"><input name="said"><button>Say it</button></form>
    <form method="post" action="/_luafn/logout"><button>Sign out</button></form>]], { sub = claims.sub, said = kv.get("said") or "" }))
end`;

async function site(t) {
  const h = await start(t, { command: 'dev', files: {
    'functions.lua': config({
      page: 'script = "page.lua", auth = { login = true }, path = "/page"',
    }, '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n  publish = "web",\n  protect = { { path = "/files/*", auth = { login = true } } },'),
    'page.lua': PAGE, 'web/favicon.ico': 'none',
    'web/files/index.html': '<!doctype html><title>files</title><p>for those who signed in</p>', 'web/index.html': '<!doctype html><title>open</title><p>open</p>',
  } });
  return h;
}

async function signIn(page, h, at) {
  await page.goto(h.url(at));
  await page.getByRole('button', { name: /Vera Viewer/ }).click();
  await page.waitForURL(h.url(at));
}

test('in, a form, files, and out', { skip: noBrowser }, async (t) => {
  const h = await site(t);
  const page = await open(t);
  await signIn(page, h, '/page?a=1');
  assert.equal(await page.locator('#who').textContent(), 'auth0|vera');
  const [session, ...more] = (await page.context().cookies()).filter(({ name }) => name.startsWith('__Host-luafn'));
  assert.deepEqual([more.length, session.httpOnly, session.secure, session.sameSite, session.path], [0, true, true, 'Lax', '/']);
  assert.equal(await page.evaluate(() => document.cookie.includes('luafn')), false, 'no script of a page sees it');
  await page.locator('input').fill('hello');
  await page.getByRole('button', { name: 'Say it' }).click();
  await page.waitForURL(h.url('/page'));
  assert.equal(await page.locator('#said').textContent(), 'hello');
  await page.goto(h.url('/files/'));
  assert.equal(await page.title(), 'files');
  await page.goto(h.url('/page'));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.waitForURL(h.url('/'));
  assert.equal(await page.title(), 'open');
  await page.goto(h.url('/files/'));
  await page.getByRole('button', { name: /Vera Viewer/ }).waitFor();
  assert.deepEqual(page.faults, []);
});

test('oidc-provider: what a page of another site posts does nothing; the issuer logs him out', { skip: noBrowser }, async (t) => {
  const { idp, h } = await peer(t, PAGE);
  idp.life = 600;
  const page = await open(t);
  await page.goto(h.url('/page'));
  await page.locator('[name=login]').fill('ann');
  await page.locator('[name=password]').fill('any');
  await page.locator('[type=submit]').click();
  await page.locator('[type=submit]', { hasText: 'Continue' }).click();
  await page.waitForURL(h.url('/page'));
  assert.equal(await page.locator('#who').textContent(), 'ann');
  const evil = await page.context().newPage();
  await evil.goto(`${idp.issuer}.well-known/openid-configuration`); // another origin
  await evil.setContent(`<form method="post" action="${h.url('/page')}"><input name="said" value="evil"><button>go</button></form>`);
  const [posted] = await Promise.all([evil.waitForResponse((res) => res.request().method() === 'POST'), evil.getByRole('button').click()]);
  assert.equal(posted.status(), 403);
  await page.reload();
  assert.equal(await page.locator('#said').textContent(), '');
  await page.locator('input').fill('mine');
  await page.getByRole('button', { name: 'Say it' }).click();
  await page.locator('#said', { hasText: 'mine' }).waitFor();
  await evil.goto(`${idp.issuer}session/end`);
  await evil.getByRole('button', { name: /sign me out/i }).click();
  await evil.waitForURL(/success/);
  assert.equal(idp.told, 1);
  await page.reload();
  await page.locator('[name=login]').waitFor();
});
