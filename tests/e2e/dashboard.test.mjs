// The dashboard of `luafn dev`: what a person sees of requests, and that nothing of a request runs there.
import assert from 'node:assert/strict';
import test from 'node:test';
import { held, noBrowser, open } from '../lib/browser.mjs';
import { deployment, eventually, start, write } from '../lib/host.mjs';
import { looks } from '../lib/looks.mjs';

const HOME = '/_luafn/dev/';
const SCRIPTS = {
  shop: `return function(event)
  log.info("order", { id = 7, lines = { { sku = "a", count = 2 } } })
  kv.set("last", event.path)
  sleep(0.01)
  if event.queryStringParameters.bad then
    error("no such article")
  end
  return json.encode { name = "Ada", items = { 1, 2 } }
end`,
  echo: 'return function(event) log.info(event.body or "nothing", event.queryStringParameters) error({ message = event.body or "x" }) end',
  locked: 'return function() return "in" end',
  nightly: 'return function() return "ran" end',
};
const TEST = 'test("is in", function(t) t.equal(t.invoke("locked", { as = "auth0|vera", scope = "read:shows" }).status, 200) end)\ntest("is not so", function(t) t.equal(t.invoke("locked").status, 200) end)';

async function visit(t, options, hash = '') {
  const host = await start(t, { command: 'dev', files: deployment(SCRIPTS, { files: { 'scripts/locked_test.lua': TEST, 'site/reach.html': '<title>mine</title>' }, fields: { nightly: 'schedule = "@daily"', shop: 'auth = "public"', echo: 'auth = "public"', locked: 'auth = { scope = "read:shows" }' }, more: '  auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE },\n  publish = "site",' }) });
  const page = await open(t, options);
  await page.goto(host.url(HOME + hash));
  await page.locator('#live', { hasText: /^live$/ }).waitFor({ state: 'attached' });
  const rows = page.locator('#rows li');
  const see = (name, least = 10) => looks(page, name, least);
  // An answer that is shown within the record has a heading and tabs of its own.
  const tabs = page.locator('#one > .tabs');
  const tab = (name) => tabs.getByRole('tab', { name }).click();
  const pane = page.locator('#one > .pane');
  return { host, page, rows, see, tabs, tab, pane };
}

test('a failing request: seen as it comes, understood, mended, run again', { skip: noBrowser }, async (t) => {
  const { host, page, rows, see, tabs, tab, pane } = await visit(t);
  await host.call('shop', { suffix: '?x=1' });
  await host.call('shop', { suffix: '?bad=1' });
  await host.call('locked');
  await rows.nth(2).waitFor();
  await rows.first().filter({ hasText: /^401GET .*locked/ }).waitFor();
  await page.getByRole('combobox', { name: 'Status' }).selectOption('5xx');
  await page.waitForFunction(() => document.querySelectorAll('#rows li').length === 1);
  await page.keyboard.press('Tab');
  await rows.first().getByRole('link').click();
  await pane.locator('.source li[aria-current]', { hasText: 'error("no such article")' }).waitFor();
  assert.match(await pane.locator('.message').textContent(), /no such article/);
  await see('error');
  await tab('Checks');
  assert.deepEqual(await pane.locator('.checks li').evaluateAll((list) => list.map((li) => li.className)), ['passed', 'passed', 'passed', 'failed']);
  await tab('Timeline');
  for (const name of ['kv.set', 'sleep']) await pane.locator('.bars .name', { hasText: name }).waitFor();
  await see('timeline');
  await tab('Logs');
  await pane.locator('.tree b', { hasText: 'sku' }).waitFor(); // tables are unfolded
  await see('logs');
  await tabs.getByRole('tab', { name: 'Logs' }).focus();
  await page.keyboard.press('ArrowRight');
  await tabs.getByRole('tab', { name: 'Error', selected: true }).waitFor(); // tabs by arrow keys
  await tab('Request');
  await see('request');
  await tab('Answer');
  await pane.getByLabel('Body of the answer').waitFor();

  await page.locator('#one > header').click();
  await page.keyboard.press('r');
  await pane.getByText('Both answers are the same.').waitFor();
  write(host.dir, { 'scripts/shop.lua': SCRIPTS.shop.replace('error("no such article")', 'return { statusCode = 404, body = "none" }') });
  await pane.getByRole('button', { name: 'Run it again' }).click();
  await pane.locator('.diff .is', { hasText: /^is: \+ 404$/ }).waitFor();
  await pane.locator('.diff .was', { hasText: /^was: - 50\d$/ }).waitFor();
  await see('replay');
  assert.deepEqual(page.faults.filter((fault) => !/status of 5/.test(fault)), []);
});

test('j and k go through the list, filters leave out; copies; a refusal tells its check', { skip: noBrowser }, async (t) => {
  const { host, page, rows, tab, pane } = await visit(t, { permissions: ['clipboard-read', 'clipboard-write'] });
  await host.call('shop', { suffix: '?x=it%27s' });
  await rows.nth(0).waitFor();
  await host.call('locked');
  await rows.nth(1).waitFor();
  await page.keyboard.press('j');
  await page.locator('#rows [aria-current]', { hasText: 'locked' }).waitFor();
  assert.match(await pane.locator('.failed').textContent(), /Policy.*refused with/);
  await page.keyboard.press('j');
  await page.locator('#rows [aria-current]', { hasText: 'shop' }).waitFor();
  await page.keyboard.press('k');
  await page.locator('#rows [aria-current]', { hasText: 'locked' }).waitFor();
  await page.keyboard.press('j');
  await page.locator('#one > header', { hasText: 'shop' }).waitFor();

  // What comes late does not take the place of what was chosen since.
  const record = { v: 1, id: 'late', time: 0, ms: 1, method: 'GET', target: '/late', status: 200 };
  const late = await held(page, '**/_luafn/journal/late');
  const choose = (id) => page.evaluate((to) => { location.hash = `#/requests/${to}`; }, id);
  const { id } = await rows.filter({ hasText: 'shop' }).evaluate((row) => row.dataset);
  await choose('late');
  await late.made;
  await choose(id);
  await page.locator('#rows [aria-current]', { hasText: 'shop' }).waitFor();
  await late.go({ json: record });
  assert.match(await page.locator('#one > header').textContent(), /shop/);
  await page.route('**/_luafn/journal/late', (route) => route.fulfill({ json: record }));
  await choose('late');
  await page.locator('#one > header', { hasText: '/late' }).waitFor();
  await choose(id);
  await page.locator('#one > header', { hasText: 'shop' }).waitFor();

  await tab('Request');
  await pane.getByRole('button', { name: 'Copy as curl' }).click();
  await pane.getByRole('button', { name: 'Copied' }).waitFor();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^curl -i 'http:\/\/127\.0\.0\.1:\d+\/\.netlify\/functions\/shop\?x=it%27s'/);
  await page.locator('#one > header').click();
  await page.keyboard.press('/');
  await page.keyboard.type('read:shows');
  await page.waitForFunction(() => document.querySelectorAll('#rows li').length < 2);
  assert.deepEqual(page.faults, []);
});

test('sent again: as it was, edited, as another user, with wrong tokens; both answers side by side', { skip: noBrowser }, async (t) => {
  const { host, page, rows, see, tab, pane } = await visit(t);
  await host.call('locked');
  await rows.first().getByRole('link').click();
  await tab('Replay');
  const answer = pane.locator('.send + .pane');
  // Sends what the form has, and waits for the answer to that: one from before is taken away.
  const send = async (selector, hasText) => {
    await answer.evaluate((node) => node.replaceChildren());
    await pane.getByRole('button', { name: 'Send it' }).click();
    await answer.locator(selector, { hasText }).waitFor();
  };
  await send('.soft', 'Both answers are the same.');
  await pane.getByLabel('As').selectOption('auth0|vera');
  await pane.getByLabel('Scope').fill('read:shows');
  await send('.status', '200');
  await answer.locator('.diff .was', { hasText: /^was: - 401$/ }).waitFor();
  await answer.locator('.diff .is', { hasText: /^is: \+ 200$/ }).waitFor();
  await see('sent-again');
  await pane.getByLabel('As').selectOption('auth0|gus');
  await send('.status', '403');
  await pane.getByLabel('As').selectOption('auth0|vera');
  for (const kind of ['expired', 'audience', 'altered', 'unsigned']) {
    await pane.getByLabel('Its token is').selectOption(kind);
    await send('.status', '401');
  }
  await rows.nth(7).waitFor(); // all of them are in the list, too
  await pane.getByLabel('Headers').fill('no header');
  await send('.message', 'A header is written NAME: VALUE');
  await pane.getByLabel('Headers').fill('X-Mine: edited');
  await pane.getByLabel('Its token is').selectOption('good');
  await pane.getByLabel('Path').fill('/.netlify/functions/shop?bad=1');
  const token = await held(page, '**/_luafn/dev/api/token');
  const sent = send('.status', '502');
  await token.made;
  await pane.getByLabel('Path').fill('/of/the/next');
  await token.go();
  await sent;
  await answer.getByRole('link', { name: 'This request in the list' }).click();
  await page.locator('#one > header', { hasText: 'shop?bad=1' }).waitFor();
  await tab('Request');
  await pane.locator('.facts', { hasText: 'edited' }).waitFor();
  assert.doesNotMatch(await page.locator('#one').textContent(), /eyJ/, 'no token is in the record');
  assert.deepEqual(page.faults, []);
});

test('functions are tried from their cards; kv, tests and the audit as tables', { skip: noBrowser }, async (t) => {
  const { host, page, rows, see } = await visit(t);
  await host.call('shop', { suffix: '?bad=1' });
  await rows.first().waitFor();
  const nav = (name) => page.getByRole('navigation').getByRole('link', { name }).click();
  await nav('Functions');
  const card = (name) => page.locator('.things li').filter({ has: page.getByRole('heading', { name }) });
  await card('shop').filter({ hasText: '1 of 1 failed' }).waitFor();
  await card('nightly').filter({ hasText: /@daily.*next run.*T00:00:00Z/ }).waitFor();
  await page.getByRole('link', { name: 'The last failure of shop' }).click();
  await page.locator('#one > header', { hasText: 'shop?bad=1' }).waitFor();
  assert.match(await page.getByRole('link', { name: 'Open in VS Code' }).getAttribute('href'), new RegExp(`^vscode://file${host.dir}/scripts/shop\\.lua:6$`));
  await nav('Functions');
  await page.getByRole('link', { name: 'Try shop' }).click();
  const form = page.locator('#try-form[data-function="shop"]');
  assert.equal(await form.getByLabel('Path').inputValue(), '/.netlify/functions/shop');
  await form.getByRole('button', { name: 'Send' }).click();
  await form.locator('pre', { hasText: 'Ada' }).waitFor();
  await see('try');
  const late = await held(page, '**/api/kv?space=echo');
  await nav('KV');
  await late.made;
  await page.locator('#kv-space').selectOption('shop');
  await page.getByRole('rowheader', { name: 'last' }).waitFor();
  await late.go(); // and does not take its place
  await page.getByRole('row', { name: /last/ }).filter({ hasText: /\/\.netlify\/functions\/shop.*text, 24 bytes/ }).waitFor();
  await see('kv');
  await nav('Tests');
  await page.getByRole('button', { name: 'Run the tests' }).click();
  await page.locator('#test-said', { hasText: '1 passed, 1 failed' }).waitFor();
  assert.match(await page.locator('#test-list .failed').textContent(), /is not so.*locked_test\.lua:2/s);
  await page.getByRole('rowheader', { name: 'scripts/locked.lua' }).waitFor();
  await see('tests');
  await nav('Audit');
  await page.locator('#audit-user').selectOption('auth0|vera');
  assert.equal(await page.locator('#audit-scope').inputValue(), 'read:shows');
  await page.getByRole('button', { name: 'Attack' }).click();
  await page.locator('#audit-said', { hasText: 'as expected, 0 not' }).waitFor();
  await page.getByRole('columnheader', { name: 'GET /.netlify/functions/locked' }).waitFor();
  assert.ok(await page.locator('#audit tbody td b.ok').count() > 20);
  await see('audit');
  await nav('Issuer');
  await page.getByRole('navigation').locator('[aria-current=page]', { hasText: 'Issuer' }).waitFor();
  await page.getByRole('group', { name: /^Gus Guest/ }).getByRole('switch').first().check();
  await page.locator('#differs:visible').waitFor();
  await nav('Tokens');
  await page.locator('#issuer-differs:visible').waitFor();
  assert.deepEqual(page.faults, []);
});

test('a page of the user\'s gets no hold of it: no window, no frame, no style', { skip: noBrowser }, async (t) => {
  const { host, page } = await visit(t);
  await page.goto(host.url('/reach.html'));
  const [opened, held] = await Promise.all([
    page.context().waitForEvent('page'),
    page.evaluate(() => { window.other = window.open('/_luafn/dev/'); return Boolean(window.other); }),
  ]);
  assert.ok(held, 'there was a window');
  await opened.getByText('live').waitFor();
  await page.waitForFunction(() => window.other.closed);
  assert.equal(await opened.evaluate(() => window.opener), null);
  const framed = await page.evaluate(async () => {
    const frame = document.createElement('iframe');
    frame.src = '/_luafn/dev/';
    await new Promise((resolve) => { frame.addEventListener('load', resolve); document.body.append(frame); });
    try {
      return frame.contentDocument?.getElementById('rows') ? 'reached' : 'kept out';
    } catch {
      return 'kept out';
    }
  });
  assert.equal(framed, 'kept out');
});

test('nothing that a request contains runs or is shown as markup', { skip: noBrowser }, async (t) => {
  const { host, page, rows, tab, pane } = await visit(t);
  await page.evaluate(() => { window.ran = 0; });
  const evil = '<img src=x onerror="ran=1"><script>ran=2</script>"\'><svg/onload=ran=3>javascript:ran=4';
  await host.call('echo', { method: 'POST', suffix: `?${new URLSearchParams({ [evil]: evil, __proto__: '1' })}`, headers: { 'Content-Type': 'text/plain', 'X-Evil': evil, 'X-Request-Id': '"><b id=evil>' }, body: evil });
  await host.get(`/${encodeURIComponent(evil.replaceAll('/', ' '))}`);
  await host.call('echo', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"__proto__":{"x":1},"constructor":null,"cut":"x"}' });
  await rows.nth(2).waitFor();
  const links = await rows.locator('a').evaluateAll((list) => list.map((a) => a.hash));
  for (const hash of links) {
    await page.evaluate((to) => { location.hash = to; }, hash);
    await page.locator(`#rows a[aria-current][href="${hash}"]`).waitFor();
    for (const name of ['Checks', 'Timeline', 'Logs', 'Error', 'Request', 'Answer', 'Replay']) {
      await tab(name);
      for (const summary of await pane.locator('summary').all()) await summary.click();
      assert.equal(await page.locator('#evil, #rows img, #one img, #one svg, #one script').count(), 0, name);
    }
  }
  assert.equal(await page.evaluate(() => window.ran), 0);
  assert.ok((await page.content()).includes('&lt;script&gt;'), 'the twin: it is shown, as text');
  assert.deepEqual(page.faults.filter((fault) => !/status of 5/.test(fault)), []);
});

test('functions with policy and error; a token is made and explained', { skip: noBrowser }, async (t) => {
  const { host, page, see } = await visit(t, {}, '#/functions');
  await page.locator('#function-list li', { has: page.getByRole('heading', { name: 'locked' }), hasText: 'scope read:shows' }).waitFor();
  await see('functions');
  write(host.dir, { 'scripts/shop.lua': 'return function( oops' });
  await eventually(async () => (await host.call('shop')).header('x-luafn-fault'), 10, 'a script that does not load');
  await page.locator('#notice', { hasText: 'shop.lua' }).waitFor(); // by the request that says so
  await page.goto(host.url(`${HOME}#/tokens`));
  await page.reload();
  await page.locator('#notice', { hasText: 'shop.lua' }).waitFor();
  await page.locator('#token-function').selectOption('locked');
  await page.locator('#make:enabled').click();
  await page.getByRole('heading', { name: 'It is let through' }).waitFor();
  const token = await page.locator('#token').inputValue();
  assert.equal((await host.call('locked', { headers: { Authorization: `Bearer ${token}` } })).text, 'in');
  await see('token');
  await page.locator('#token-kind').selectOption('altered');
  await page.locator('#make').click();
  await page.getByRole('heading', { name: 'It is refused' }).waitFor();
  assert.match(await page.locator('#explained .failed').textContent(), /Signature/);
  await page.locator('#token').fill('nonsense');
  await page.locator('#explain').click();
  await page.locator('#explained', { hasText: 'It is no JSON Web Token' }).waitFor();
  assert.deepEqual(page.faults, []);
});

test('a fault is a page with its source, a 404 lists the routes; programs get JSON', { skip: noBrowser }, async (t) => {
  const { host, page, see } = await visit(t);
  await page.goto(host.url('/.netlify/functions/shop?bad=1'));
  await page.locator('.source li[aria-current]', { hasText: 'no such article' }).waitFor();
  await see('fault');
  await page.goto(host.url('/nowhere'));
  await page.locator('#routes', { hasText: 'scope read:shows' }).waitFor();
  await see('nowhere');
  const html = { Accept: 'text/html,*/*;q=0.8' };
  const evil = await host.call('echo', { method: 'POST', headers: { ...html, 'Content-Type': 'text/plain', 'X-Request-Id': '"><b>' }, body: '<script>ran=1</script>' });
  assert.match(evil.header('content-type'), /^text\/html/);
  assert.doesNotMatch(evil.text, /<script>|"><b>/);
  assert.match(evil.text, /&lt;script>ran=1/, 'the twin: it is shown, as text');
  assert.match((await host.call('shop', { suffix: '?bad=1' })).header('content-type'), /json/);
  assert.equal((await host.call('shop', { headers: html })).json().name, 'Ada');
  assert.deepEqual(page.faults.filter((fault) => !/status of (404|5)/.test(fault)), []);
});

for (const options of [{ colorScheme: 'light' }, { colorScheme: 'dark' }, { forcedColors: 'active' }]) {
  test(`within 360 px, ${Object.values(options)}`, { skip: noBrowser }, async (t) => {
    const { host, page, rows, see, tab } = await visit(t, { ...options, viewport: { width: 360, height: 740 } });
    const name = `narrow-${Object.values(options)}`;
    await see(`${name}-empty`, 8);
    await host.call('shop', { suffix: `?bad=1&long=${'x'.repeat(300)}` });
    await rows.first().getByRole('link').click();
    await page.locator('#one .source li[aria-current]').waitFor();
    await see(`${name}-error`);
    await tab('Timeline');
    await see(`${name}-timeline`);
    const parts = { functions: '#function-list li', try: '#try-form option[value="auth0|vera"]', tokens: '#make:enabled', kv: '#kv-space option', tests: '#test-run', audit: '#audit-user option[value="auth0|vera"]' };
    for (const [part, there] of Object.entries(parts)) {
      await page.goto(host.url(`${HOME}#/${part}`));
      await page.locator(there).first().waitFor({ state: 'attached' });
      await see(`${name}-${part}`);
    }
    assert.deepEqual(page.faults, []);
  });
}
