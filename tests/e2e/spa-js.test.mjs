// @auth0/auth0-spa-js, unmodified, against the dev issuer: an application on an origin of its own
// signs in and calls me and shows across origins.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { noBrowser, open } from '../lib/browser.mjs';
import { ownFiles } from '../lib/demo.mjs';
import { eventually, ROOT, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const AUDIENCE = 'https://api/tv-shows';
const SDK = path.join(ROOT, 'tests/node_modules/@auth0/auth0-spa-js/dist/auth0-spa-js.production.js');
const PAGE = '<!doctype html><html lang="en"><title>An application</title><link rel="icon" href="data:,"><script src="/sdk.js"></script>';

async function serveApp(t) {
  const sdk = fs.readFileSync(SDK);
  const server = http.createServer((req, res) => {
    const [type, body] = req.url === '/sdk.js' ? ['text/javascript', sdk] : ['text/html', PAGE];
    res.writeHead(200, { 'Content-Type': type }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}`;
}

function configuration(origin) {
  const text = ownFiles()['functions.lua'];
  assert.ok(text.includes('\n}\n'));
  return text.replace(/\n\}\n$/, `\n  cors = { origins = { "${origin}" } },\n}\n`);
}

// The application in a browser, before the dev issuer. `options` go to createAuth0Client.
class App {
  static async open(t, options = {}, params = {}) {
    const app = new App();
    app.origin = await serveApp(t);
    app.host = await start(t, { command: 'dev', files: { ...ownFiles(), 'functions.lua': configuration(app.origin) } });
    app.issuer = `http://127.0.0.1:${app.host.port}`;
    app.options = {
      domain: app.issuer,
      clientId: 'luafn-demo',
      httpTimeoutInSeconds: 60, // as long as it waits for its frame
      authorizationParams: { redirect_uri: app.origin, audience: AUDIENCE, scope: 'openid profile email read:shows', ...params },
      ...options,
    };
    app.page = await open(t);
    app.seen = []; // what the SDK asked the issuer, as "METHOD path"
    app.page.on('request', (req) => {
      const url = new URL(req.url());
      const silent = url.searchParams.get('prompt') === 'none' ? ' silently' : '';
      if (url.origin === app.issuer && req.method() !== 'OPTIONS') app.seen.push(`${req.method()} ${url.pathname}${silent}`);
    });
    await app.load();
    return app;
  }

  // The page anew: what the SDK held in memory is gone.
  async load() {
    await this.page.goto(this.origin);
    await this.create();
  }

  create() {
    return this.page.evaluate((options) => { window.client = new auth0.Auth0Client(options); }, this.options);
  }

  // Calls a method of the client; { value } or { error, description }.
  client(method, ...args) {
    return this.page.evaluate(async ([name, values]) => {
      try {
        return { value: (await window.client[name](...values)) ?? null };
      } catch (error) {
        return { error: error.error ?? error.message, description: error.error_description };
      }
    }, [method, args]);
  }

  // The same where the page is left for another: nothing comes back.
  leave(method, ...args) {
    return this.page.evaluate(([name, values]) => { window.client[name](...values); }, [method, args]);
  }

  async signIn(name) {
    await this.leave('loginWithRedirect', { appState: { to: '/shows' } });
    await this.page.getByRole('button', { name: new RegExp(`^${name}`) }).click();
    await this.page.waitForURL(`${this.origin}/?code=*`);
    await this.create();
    return this.client('handleRedirectCallback');
  }

  // The function's answer, with the token that the SDK has now.
  async call(name) {
    const { value } = await this.client('getTokenSilently');
    return this.page.evaluate(async ([url, token]) => {
      const res = await fetch(url, { headers: { Authorization: `Bearer ${token}` } });
      return { status: res.status, body: await res.json() };
    }, [`${this.issuer}/.netlify/functions/${name}`, value]);
  }

  async setRole(sub, on) {
    const answer = await this.host.request({
      method: 'POST', path: '/_luafn/dev/api/users', headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ sub, role: 'TV Shows Viewer', on }),
    });
    assert.equal(answer.status, 200);
  }

  async fresh() {
    this.seen.length = 0;
    return this.client('getTokenSilently', { cacheMode: 'off' });
  }

  async saw(...wanted) {
    await eventually(() => this.seen.length >= wanted.length, 10, wanted.join(', '));
    assert.deepEqual(this.seen, wanted);
  }

  async signOut() {
    await this.leave('logout', { logoutParams: { returnTo: `${this.origin}/?out` } });
    await this.page.waitForURL(`${this.origin}/?out`);
    await this.create();
  }
}

test('redirect, callback, silent renewal in an iframe, logout', { skip: noBrowser }, async (t) => {
  const app = await App.open(t);
  assert.equal((await app.client('getTokenSilently')).error, 'login_required');

  const back = await app.signIn('Vera Viewer');
  assert.deepEqual(back.value.appState, { to: '/shows' });
  const { value: user } = await app.client('getUser');
  assert.equal(user.name, 'Vera Viewer');
  assert.equal(user.email, 'vera@example.com');
  const { value: id } = await app.client('getIdTokenClaims');
  assert.equal(id.iss, `${app.issuer}/`);
  assert.equal(id.aud, 'luafn-demo');

  const me = await app.call('me');
  assert.equal(me.status, 200);
  assert.equal(me.body.claims.sub, 'auth0|vera');
  assert.deepEqual(me.body.claims.scope, ['openid', 'profile', 'email', 'read:shows']);
  const shows = await app.call('shows');
  assert.equal(shows.status, 200);
  assert.equal(shows.body.length, 20);

  await app.setRole('auth0|vera', false);
  assert.equal((await app.call('shows')).status, 200, 'a token keeps its scopes');
  assert.ok((await app.fresh()).value);
  await app.saw('GET /authorize silently', 'POST /oauth/token');
  const denied = await app.call('shows');
  assert.equal(denied.status, 403);
  assert.equal(denied.body.error_description, "Token does not contain the required 'read:shows' scope");

  await app.load();
  await app.client('checkSession');
  assert.equal((await app.client('getUser')).value.name, 'Vera Viewer');

  await app.signOut();
  assert.equal((await app.client('isAuthenticated')).value, false);
  assert.equal((await app.fresh()).error, 'login_required');
  assert.deepEqual(app.page.faults, []);
});

test('refresh tokens rotate, and one used twice ends them all', { skip: noBrowser }, async (t) => {
  const app = await App.open(t, { useRefreshTokens: true, cacheLocation: 'localstorage' });
  await app.signIn('Vera Viewer');
  const current = () => app.page.evaluate(() => Object.values(localStorage)
    .map((text) => JSON.parse(text).body?.refresh_token).find(Boolean));
  const first = await current();
  assert.ok((await app.fresh()).value);
  await app.saw('POST /oauth/token');
  const second = await current();
  assert.notEqual(second, first);
  assert.equal((await app.call('shows')).status, 200);

  await app.setRole('auth0|vera', false);
  assert.ok((await app.fresh()).value);
  assert.equal((await app.call('shows')).status, 403);

  const stolen = await app.host.request({
    method: 'POST', path: '/oauth/token', headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ grant_type: 'refresh_token', client_id: 'luafn-demo', refresh_token: first }),
  });
  assert.equal(stolen.status, 403);
  const ended = await app.fresh();
  assert.equal(ended.error, 'invalid_grant');
  assert.equal(ended.description, 'Unknown or invalid refresh token.');
});

test('without a refresh token that works the SDK falls back to its iframe', { skip: noBrowser }, async (t) => {
  const app = await App.open(t, { useRefreshTokens: true, useRefreshTokensFallback: true, cacheLocation: 'localstorage' });
  await app.signIn('Gus Guest');
  await app.page.evaluate(() => {
    for (const [key, text] of Object.entries(localStorage)) localStorage.setItem(key, text.replace(/"refresh_token":"[^"]+"/, '"refresh_token":"gone"'));
  });
  assert.ok((await app.fresh()).value);
  await app.saw('POST /oauth/token', 'GET /authorize silently', 'POST /oauth/token');
});

test('sign-in in a popup', { skip: noBrowser }, async (t) => {
  const app = await App.open(t);
  const popup = app.page.waitForEvent('popup');
  const done = app.client('loginWithPopup');
  await (await popup).getByRole('button', { name: /^Gus Guest/ }).click();
  assert.equal((await done).error, undefined);
  assert.equal((await app.call('me')).body.claims.sub, 'auth0|gus');
  assert.equal((await app.call('shows')).status, 403);
});

test('an audience that nobody serves comes back as an error', { skip: noBrowser }, async (t) => {
  const app = await App.open(t, {}, { audience: 'https://api/unknown' });
  await app.leave('loginWithRedirect');
  await app.page.waitForURL(`${app.origin}/?error=*`);
  await app.create();
  const back = await app.client('handleRedirectCallback');
  assert.equal(back.error, 'access_denied');
  assert.equal(back.description, 'Service not found: https://api/unknown');
});
