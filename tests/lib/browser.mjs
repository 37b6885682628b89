// A headless Chromium for the tests of pages. Debian's package is used, nothing is downloaded.
import fs from 'node:fs';
import { after } from 'node:test';
import { chromium } from 'playwright-core';
import { SLOW } from './host.mjs';
import { later } from './later.mjs';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const ARGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  // A page that wants a font from elsewhere has not to wait for a network that may be slow, or none.
  '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
];

// For node:test's `skip`: false, or why there is nothing to test with.
export const noBrowser = fs.existsSync(CHROMIUM) ? false : `${CHROMIUM} is missing; apt-get install chromium`;

// HOLD=700 make e2e: what a page waits for comes up to so many milliseconds late. A test that clicks
// or looks too early fails then, as it would once in a while on a busy machine.
const HOLD = Number(process.env.HOLD ?? 0);

function holdBack(context) {
  return context.route('**', (route) => {
    setTimeout(() => route.continue().catch(() => { /* the page is gone */ }), Math.random() * HOLD);
  });
}

// Holds back the first request of a page to there: `made`, once it is, and go() lets it go on, or answers it with
// `answer`; by then the page has done what it does with what came.
export async function held(page, where) {
  let come;
  const made = new Promise((resolve) => { come = resolve; });
  await page.route(where, come, { times: 1 });
  const go = async (answer) => {
    const route = await made;
    await (answer ? route.fulfill(answer) : route.continue());
    await (await route.request().response()).finished();
    await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 0); }));
  };
  return { made, go };
}

// Does what leads from this document to another, and waits for that one: what the old one still shows counts no more.
export async function leave(page, act) {
  await page.evaluate(() => { document.documentElement.id = 'left'; });
  await act();
  await page.locator('html:not(#left)').waitFor({ state: 'attached' });
  await page.waitForLoadState('load');
}

// A name or a text that is given as a string is meant whole, in all pages: what a part of it finds may be two things as
// soon as the page shows more.
let whole = false;
function nameWhole(page) {
  if (whole) return;
  whole = true;
  for (const prototype of [page, page.locator('html')].map(Object.getPrototypeOf)) {
    for (const name of ['getByRole', 'getByText', 'getByLabel']) {
      const find = prototype[name];
      prototype[name] = function (what, options) { return find.call(this, what, { exact: true, ...options }); };
    }
  }
}

let browser; // one for all tests of a file
after(async () => (await browser)?.close());

// Opens a page in a fresh profile. page.faults collects what a page that is right never has:
// uncaught errors, refused content, requests that got no answer.
export async function open(t, options = {}) {
  browser ??= chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGS, timeout: 60000 * SLOW });
  const context = await (await browser).newContext({ viewport: { width: 1200, height: 860 }, ...options });
  later(t, () => context.close());
  context.setDefaultTimeout(60000 * SLOW); // as `eventually`: what comes late beside a load comes
  if (HOLD > 0) await holdBack(context);
  const page = await context.newPage();
  nameWhole(page);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('console', (message) => {
    // A 401 is logged as an error too; here it is part of the story.
    if (message.type() === 'error' && !/status of 40[13]/.test(message.text())) page.faults.push(message.text());
  });
  page.on('requestfailed', (request) => {
    // Aborted is what the page itself took back, as when it is left with a request under way.
    const { errorText } = request.failure();
    if (errorText !== 'net::ERR_ABORTED') page.faults.push(`${request.url()}: ${errorText}`);
  });
  return page;
}
