// A browser signs in at a strict provider: rotation of what renews its session, out from either side.
import assert from 'node:assert/strict';
import test from 'node:test';
import { Visitor } from '../lib/cookies.mjs';
import { eventually } from '../lib/host.mjs';
import { site } from '../lib/login-peer.mjs';

const HTML = { accept: 'text/html' };

async function signIn(h, login) {
  const browser = new Visitor();
  const page = (more) => browser.go(h.url('/page?a=1'), { headers: { ...HTML, ...more } });
  const first = await page();
  assert.equal(first.status, 302, first.text());
  const back = await browser.signIn(first.headers.get('location'), h.url('/_luafn/callback'), login);
  const res = await browser.go(h.url(`/_luafn/callback?${back}`), { headers: HTML });
  assert.deepEqual([res.status, res.headers.get('location')], [303, '/page?a=1'], res.text());
  return { browser, page, copy: () => [...browser.cookies].filter(([name]) => name === '__Host-luafn').map(([k, v]) => `${k}=${v}`).join('; ') };
}

const spoil = (token) => `${token.slice(0, -9)}${token.at(-9) === 'A' ? 'B' : 'A'}${token.slice(-8)}`;

// As a person who is asked whether he wants to.
async function confirm(browser, url, back) {
  const asked = await browser.follow(url, back);
  const action = /<form[^>]*action="([^"]+)"/.exec(asked.html)[1], xsrf = /name="xsrf" value="(\w+)"/.exec(asked.html)[1];
  return browser.follow(action, back, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `xsrf=${xsrf}&logout=yes` });
}

test('oidc-provider: in, renewed with rotation, out here and there', async (t) => {
  const { idp, h } = await site(t);
  idp.life = 1;
  const ann = await signIn(h, 'ann');
  idp.life = 600;
  const bob = await signIn(h, 'bob');
  idp.life = 1;
  assert.deepEqual([(await ann.page()).text(), (await bob.page()).text()], ['ann', 'bob']);
  const renewed = () => idp.grants.filter((grant) => grant === 'refresh_token').length;
  for (const wanted of [1, 2]) {
    await eventually(async () => {
      const all = await Promise.all([ann.page(), ann.page(), ann.page()]);
      for (const res of all) assert.equal(res.text(), 'ann');
      return renewed() >= wanted;
    }, 20, 'the next access token');
  }
  assert.equal(idp.refused, 0, 'nothing was used twice');

  const copy = ann.copy();
  const out = await ann.browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { origin: h.url('').replace(/\/$/, '') } });
  assert.equal(out.status, 303);
  assert.equal((await h.get('/page', { cookie: copy })).status, 401);
  const wrong = new URL(out.headers.get('location'));
  assert.deepEqual([wrong.searchParams.get('post_logout_redirect_uri'), wrong.searchParams.get('client_id')], [h.url('/'), 'host']);
  wrong.searchParams.set('id_token_hint', spoil(wrong.searchParams.get('id_token_hint')));
  assert.equal((await ann.browser.go(wrong.href)).status, 400, 'it looks at whose session is to end');
  assert.equal((await confirm(ann.browser, out.headers.get('location'), h.url('/'))).url.split('?')[0], h.url('/'));
  const again = await ann.page();
  const form = await ann.browser.follow(again.headers.get('location'), h.url('/_luafn/callback'));
  assert.match(form.html, /name="login"/, 'the issuer has forgotten him, too');

  assert.equal((await bob.page()).text(), 'bob', 'it was ann alone');
  const kept = bob.copy(), { told } = idp;
  await confirm(bob.browser, `${idp.issuer}session/end`, `${idp.issuer}session/end/success`);
  assert.deepEqual([idp.told, idp.error], [told + 1, undefined]);
  assert.equal((await h.get('/page', { cookie: kept })).status, 401, 'its word counts at once');
  assert.equal((await bob.page()).status, 302);
});
