// What signing in, staying in and signing out need to keep secret is written down nowhere.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { collector, exporting } from '../lib/collector.mjs';
import { Visitor } from '../lib/cookies.mjs';
import { config, eventually, run, start } from '../lib/host.mjs';
import { AUDIENCE } from '../lib/issuer.mjs';
import { journalLines } from '../lib/journal.mjs';
import { HTML, provider, SECRET, session, signIn } from '../lib/sign-in.mjs';

const CLIENT_SECRET = 'what-the-host-proves-itself-with';
const PAGE = `return function(event, context)
  log.info("asked", { headers = event.headers, query = event.rawQuery, cookies = event:cookies() })
  print(event.headers.cookie, event.headers.authorization)
  return { statusCode = event.rawQuery == "fail" and 500 or 200, body = context.identityContext.claims.sub }
end`;

// All that a host may tell: its files but for those that it was given, its output, what a collector hears.
function texts(h, c, own) {
  const files = fs.readdirSync(h.dir, { recursive: true }).filter((name) => !own.includes(name) && fs.statSync(path.join(h.dir, name)).isFile());
  return [...files.map((name) => [name, fs.readFileSync(path.join(h.dir, name), 'latin1')]), ['stdout', h.stdout], ['stderr', h.stderr], ...c.requests.map((r) => [r.path, r.raw.toString('latin1')])];
}

for (const command of ['serve', 'dev']) {
  test(`${command}: no code, state, nonce, verifier, token, cookie or secret in journal, log, span or page`, async (t) => {
    const op = await provider(t);
    op.clientSecret = CLIENT_SECRET;
    const c = await collector(t);
    const files = {
      '.env': `CLIENT_SECRET=${CLIENT_SECRET}\n`,
      'page.lua': PAGE,
      'functions.lua': config({ page: 'script = "page.lua", auth = { login = true }, path = "/page"' }, `  auth = { issuer = "${op.issuer}", audience = "${AUDIENCE}",
      revocation = { backchannel_logout = "/hooks/logout", client_id = "host" }, login = { client_id = "host", client_secret = env.CLIENT_SECRET, secret = "${SECRET}" } },
      journal = { errors = true, sample = 1 },`),
    };
    const h = await start(t, { command, files, env: exporting(c), args: ['--log-level', 'debug'] });
    await h.keys();
    const browsers = [];
    const visitor = () => { const browser = new Visitor(); browsers.push(browser); return browser; };
    const cookies = () => { for (const browser of browsers) for (const [name, value] of browser.cookies) if (name.startsWith('__Host-luafn')) op.secrets.set(value, name); };
    const halfway = async () => {
      const browser = visitor();
      const begun = await browser.go(h.url('/page'), { headers: HTML });
      cookies();
      return { browser, back: (await browser.go(begun.headers.get('location'))).headers.get('location') };
    };
    op.secrets.set(CLIENT_SECRET, 'client_secret').set(SECRET, 'secret').set(Buffer.from(`host:${CLIENT_SECRET}`).toString('base64'), 'Basic');
    for (const access of [{}, { more: 'x'.repeat(5000) }]) {
      Object.assign(op, { access, refresh: 1e-9 });
      const { browser, res } = await signIn(h, '/page', visitor());
      assert.equal(res.status, 200);
      cookies();
      op.refresh = 3600;
      assert.equal((await browser.go(h.url('/page?fail'))).status, 500);
      cookies();
      assert.equal((await browser.go(h.url('/page'), { method: 'POST', headers: { origin: 'https://evil.example' } })).status, 403);
      assert.equal((await browser.go(h.url('/_luafn/logout'), { headers: { 'sec-fetch-site': 'cross-site' } })).status, 403);
      const kept = session(browser);
      assert.equal((await browser.go(h.url('/_luafn/logout'), { method: 'POST', headers: { 'sec-fetch-site': 'same-origin' } })).status, 303);
      assert.equal((await h.get('/page', { cookie: `__Host-luafn=${kept}` })).status, 401);
    }
    op.access = {};
    const spent = await halfway();
    assert.equal((await visitor().go(spent.back, { headers: HTML })).status, 400);
    assert.equal((await spent.browser.go(`${spent.back}&error=access_denied`)).status, 403);
    const refused = await halfway();
    op.codes.clear();
    assert.equal((await refused.browser.go(refused.back, { headers: HTML })).status, 403);
    const other = await halfway();
    op.id = { nonce: 'not-that-of-this-sign-in' };
    assert.equal((await other.browser.go(other.back, { headers: HTML })).status, 403);
    op.id = {};
    const over = await signIn(h, '/page', visitor());
    cookies();
    op.refresh = 1e-9;
    const stolen = await signIn(h, '/page', visitor());
    cookies();
    op.live.clear();
    assert.equal((await stolen.browser.go(h.url('/page'))).status, 401);
    Object.assign(op, { refresh: 1e-9 });
    const away = await halfway();
    assert.equal((await away.browser.go(away.back, { headers: HTML })).status, 303);
    cookies();
    op.down = true;
    assert.equal((await away.browser.go(h.url('/page'))).status, 503);
    assert.equal(over.res.status, 200);

    assert.deepEqual([...new Set(op.secrets.values())].map((what) => what.replace(/-flow-.*/, '-flow')).filter((what, i, all) => all.indexOf(what) === i).sort(),
      ['Basic', 'ID token', '__Host-luafn', '__Host-luafn-flow', 'access token', 'client_secret', 'code', 'nonce', 'refresh token', 'secret', 'state', 'verifier'], 'all kinds were there');
    await eventually(() => journalLines(h.dir).some((line) => JSON.parse(line).error === 'session_unavailable'), 10, 'the last record');
    await eventually(() => c.requests.some((r) => r.raw.includes('session_unavailable')), 10, 'the last span');
    const pages = [];
    for (const at of ['metrics', 'journal', ...journalLines(h.dir).map((line) => `journal/${JSON.parse(line).id}`)]) {
      const page = command === 'serve' ? await h.admin(at) : await h.get(`/_luafn/${at}`);
      pages.push([at, page.text]);
    }
    for (const line of journalLines(h.dir)) pages.push(['luafn journal', (await run(t, ['journal', JSON.parse(line).id], { dir: h.dir })).stdout]);
    const found = new Set();
    for (const [where, text] of [...texts(h, c, Object.keys(files)), ...pages]) {
      for (const [secret, what] of op.secrets) {
        for (const form of [secret, encodeURIComponent(secret)]) if (text.includes(form)) found.add(`${what} in ${where}: ${text.slice(Math.max(0, text.indexOf(form) - 100), text.indexOf(form) + 20)}`);
      }
    }
    assert.deepEqual([...found], []);
  });
}
