// What html.render makes of attackers' texts, in a real browser: each payload in each context, each event sent to each
// element, and nothing of it has run.
import assert from 'node:assert/strict';
import test from 'node:test';
import { noBrowser, open } from '../lib/browser.mjs';
import { deployment, start } from '../lib/host.mjs';
import { CONTEXTS, PAYLOADS } from '../lib/xss.mjs';

const names = Object.keys(CONTEXTS);
const template = (name) => `<!doctype html><meta charset="utf-8"><script>
  window.hacks = 0; window.seenValues = [];
  function hacked() { top.hacks++; }
  function seen() { seenValues.push(arguments.length); }
</script>{% for x in xs %}${CONTEXTS[name][0].replace('X', '{{ x }}')}{% end %}`;

const SCRIPTS = {
  page: `local templates, payloads = json.decode(read.templates), json.decode(read.payloads)
  return function(event)
    return respond.html(html.render(templates[tonumber(event:query().c)], { xs = payloads }))
  end`,
};
const long = (text) => `[==========[${text}]==========]`;
SCRIPTS.page = `local read = { templates = ${long(JSON.stringify(names.map(template)))}, payloads = ${long(JSON.stringify(PAYLOADS))} }\n${SCRIPTS.page}`;

// In the page: every element gets the events that handlers wait for, and where its links lead is looked at.
function poke() {
  const bad = [];
  document.addEventListener('click', (event) => event.preventDefault(), true);
  document.addEventListener('submit', (event) => event.preventDefault(), true);
  for (const element of document.querySelectorAll('*')) {
    for (const name of ['href', 'src', 'action', 'formAction']) {
      const value = element[name]?.baseVal ?? element[name];
      if (typeof value !== 'string' || value === '') continue;
      const { protocol } = new URL(value, location.href);
      if (!['http:', 'https:', 'mailto:', 'tel:', 'about:'].includes(protocol)) bad.push(`${element.outerHTML}`);
    }
    for (const type of ['mouseover', 'focus', 'load', 'error', 'click', 'begin', 'toggle']) element.dispatchEvent(new Event(type, { bubbles: false, cancelable: true }));
  }
  return { bad, hacks: window.hacks, shown: document.querySelectorAll('p').length };
}

test('no payload runs in a browser', { skip: noBrowser }, async (t) => {
  const host = await start(t, { command: 'dev', files: deployment(SCRIPTS, { fields: { page: 'auth = "public"' } }) });
  const page = await open(t);
  await page.route((url) => !url.pathname.includes('/page'), (route) => route.fulfill({ status: 404, body: '' }));
  let count = 0;
  for (const [index, name] of names.entries()) {
    await page.goto(host.url(`/.netlify/functions/page?c=${index + 1}`), { waitUntil: 'load' });
    const { bad, hacks, shown } = await page.evaluate(poke);
    assert.deepEqual([bad, hacks], [[], 0], name);
    if (name === 'text') assert.equal(shown, PAYLOADS.length);
    count += PAYLOADS.length;
  }
  assert.equal(count, names.length * PAYLOADS.length);
  // The same look finds what is not escaped.
  await page.goto(host.url(`/.netlify/functions/page?c=${names.indexOf('text') + 1}`));
  await page.evaluate(() => { document.body.innerHTML = '<img src="x" onerror="hacked()"><a href="javascript:hacked()">x</a>'; });
  const { bad, hacks } = await page.evaluate(poke);
  assert.deepEqual([bad.length, hacks > 0], [1, true]);
});
