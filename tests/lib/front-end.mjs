// What a person does in the front ends of examples/, whoever the issuer is.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { AUDIENCE, auth0Peer } from './auth0-peer.mjs';
import { leave, noBrowser, open } from './browser.mjs';
import { ownFiles } from './demo.mjs';
import { folder, ROOT, start } from './host.mjs';

// The examples are bundled once, for an issuer at this address (tools/examples.sh); each test puts that
// of its own issuer in its place.
const BUILT_FOR = 'http://127.0.0.1:18431';

const built = (name) => path.join(ROOT, 'build/examples', name, 'public');

// For node:test's `skip`.
export function cannotRun(name) {
  if (noBrowser) return noBrowser;
  return fs.existsSync(path.join(built(name), 'index.html'))
    ? false : `examples/${name} is not built: the npm registry was out of reach`;
}

// The example in a folder laid out like the repository, since it uses scripts/ of the demo.
function deployment(t, name, env = '') {
  const files = { [`examples/${name}/.env`]: env };
  for (const [file, text] of Object.entries(ownFiles())) {
    if (file.startsWith('scripts/')) files[file] = text;
  }
  files[`examples/${name}/functions.lua`] = fs.readFileSync(path.join(ROOT, 'examples', name, 'functions.lua'), 'utf8');
  const dir = path.join(folder(t, files), 'examples', name);
  fs.cpSync(built(name), path.join(dir, 'public'), { recursive: true });
  return dir;
}

function nameIssuer(dir, issuer) {
  for (const entry of fs.readdirSync(path.join(dir, 'public'), { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (!/\.(js|html|json)$/.test(file)) continue;
    const text = fs.readFileSync(file, 'utf8');
    if (text.includes(BUILT_FOR)) fs.writeFileSync(file, text.replaceAll(BUILT_FOR, issuer));
  }
}

export async function withDevIssuer(t, name) {
  const dir = deployment(t, name);
  const host = await start(t, { command: 'dev', dir });
  nameIssuer(dir, `http://127.0.0.1:${host.port}`);
  const choose = (page, user) => page.getByRole('button', { name: new RegExp(`^${user}`) }).click();
  return { host, choose };
}

export async function withPeer(t, name) {
  const { issuer, serve } = await auth0Peer(t);
  const tv = await start(t, { command: 'dev', files: ownFiles() }); // lends its TV API
  const env = `JWT_ISSUER=${issuer}\nJWT_AUDIENCE=${AUDIENCE}\nTV_API_URL=http://localhost:${tv.port}/_luafn/dev/tv/shows\n`;
  const dir = deployment(t, name, env);
  nameIssuer(dir, new URL(issuer).origin);
  const file = path.join(dir, 'functions.lua');
  const text = fs.readFileSync(file, 'utf8');
  fs.writeFileSync(file, text.replace(/script = "([^"]*shows\.lua)"/, 'script = "$1", fetch = { "localhost" }'));
  const host = await start(t, { dir });
  serve(`http://127.0.0.1:${host.port}`);
  const choose = async (page, user) => {
    await page.fill('input[name=login]', user.split(' ')[0].toLowerCase());
    await page.fill('input[name=password]', 'any');
    await page.getByRole('button', { name: /sign-in/i }).click();
  };
  return { host, choose };
}

// What the page shows after a click on that button.
async function answer(page, button, name) {
  await page.getByRole('button', { name: button }).click();
  return JSON.parse(await page.locator(`pre[data-of=${name}]`).textContent());
}

async function signIn(page, user, choose) {
  await page.getByRole('button', { name: 'Login' }).click();
  await choose(page, user);
  await page.getByRole('button', { name: 'Logout' }).waitFor();
  await page.getByText(user).waitFor();
}

async function signOut(page) {
  await leave(page, () => page.getByRole('button', { name: 'Logout' }).click());
  await page.getByRole('button', { name: 'Login' }).waitFor();
}

export async function story(t, { host, choose }) {
  const page = await open(t);
  // the login page of oidc-provider wants a font from elsewhere
  await page.route(/^https:/, (route) => route.fulfill({ contentType: 'text/css', body: '' }));
  await page.goto(host.url());
  await page.getByText('Not signed in').waitFor();
  assert.match((await answer(page, 'My Profile', 'me')).error, /^(Login required|End-User authentication is required)$/);

  await signIn(page, 'Vera Viewer', choose);
  const me = await answer(page, 'My Profile', 'me');
  assert.equal(me.status, 200);
  assert.match(me.body.claims.sub, /vera$/);
  assert.ok(me.body.claims.scope.includes('read:shows'));
  const shows = await answer(page, 'TV Shows', 'shows');
  assert.equal(shows.status, 200);
  assert.equal(shows.body.length, 20);
  assert.deepEqual(Object.keys(shows.body[0]).sort(), ['id', 'name', 'url']);

  // the token was held in memory: a new one comes through the SDK's frame, without a question
  await page.reload();
  await page.getByText('Vera Viewer').waitFor();
  assert.equal((await answer(page, 'TV Shows', 'shows')).status, 200);
  await signOut(page);

  await signIn(page, 'Gus Guest', choose);
  assert.equal((await answer(page, 'My Profile', 'me')).status, 200);
  const denied = await answer(page, 'TV Shows', 'shows');
  assert.equal(denied.status, 403);
  assert.equal(denied.statusText, 'Forbidden');
  assert.deepEqual(denied.body, {
    error: 'access_denied', error_description: "Token does not contain the required 'read:shows' scope",
  });
  await signOut(page);
  // oidc-provider says that a login is required with a 400
  assert.deepEqual(page.faults.filter((fault) => !/status of 400/.test(fault)), []);
}
