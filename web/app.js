// The demo page: calls the two functions and shows why they answer as they do.
import { ask } from './ask.js';
import { finishSignIn, isElsewhere, issuerKeys, renew, signIn, signOut, tokens } from './auth.js';
import { checkNames, examine, scopesOf } from './checks.js';
import { altered, parse, unsigned } from './jwt.js';
import { answerCard, byId, claimRows, el } from './view.js';

const ROLE = 'TV Shows Viewer';
const SCOPES = { shows: 'read:shows' };

let issuer; // what the host expects of tokens: issuer, audience

function notify(message) {
  byId('notice').textContent = message;
  byId('notice').hidden = !message;
}

// Runs an action; what goes wrong is said at the top of the page.
async function attempt(action) {
  notify('');
  try {
    await action();
  } catch (error) {
    notify(error.message);
  }
  showSession();
}

const on = (id, action) => byId(id).addEventListener('click', () => attempt(action));

async function send(path, body) {
  const res = await ask(path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const answer = await res.json();
  if (!res.ok) throw new Error(answer.error_description);
  return answer;
}

/* ---- calls ---- */

const chosenKind = () => document.querySelector('input[name=kind]:checked').value;

// The token to send: the user's own, one made wrong here, or one that the issuer makes wrong.
async function tokenOfKind(kind) {
  const own = tokens()?.access_token;
  if (kind === 'none' || !own) return null;
  if (kind === 'token') return own;
  if (kind === 'altered') return altered(own);
  if (kind === 'unsigned') return unsigned(own);
  return (await send('/_luafn/dev/api/token', { sub: parse(own).claims.sub, fault: kind })).access_token;
}

function bodyOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

let latest = 0; // the call whose answer is shown: one that comes late does not take its place

function showWaiting(path) {
  const answers = document.querySelector('.answers');
  answers.setAttribute('aria-busy', String(Boolean(path)));
  if (!path) return;
  byId('said').textContent = `Waiting for ${path}`;
  if (!byId('answer').querySelector('article')) byId('answer').replaceChildren(el('p', { className: 'empty', textContent: `Waiting for ${path} …` }));
}

async function call(path, scope) {
  const mine = ++latest;
  showWaiting(path);
  try {
    await callNow(path, scope, () => mine === latest);
  } finally {
    if (mine === latest) showWaiting(null);
  }
}

async function callNow(path, scope, isLatest) {
  const token = await tokenOfKind(chosenKind());
  const begun = performance.now();
  const res = await ask(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  const text = await res.text();
  const milliseconds = Math.round(performance.now() - begun);
  const expected = { ...issuer, keys: await issuerKeys(), scope };
  const checks = await examine(token, expected);
  if (!isLatest()) return;
  const body = bodyOf(text);
  const said = body?.error_description ?? body?.errorMessage ?? '';
  byId('answer').replaceChildren(answerCard({
    path, token, body, said, milliseconds,
    status: res.status,
    statusText: res.statusText,
    headers: [...res.headers].map((pair) => pair.join(': ')).join('\n'),
    names: checkNames(expected.scope),
    checks,
  }));
  byId('said').textContent = `${res.status} ${res.statusText}. ${said}`;
}

/* ---- a project without the demo's functions: its own routes ---- */

// What can be called as it stands: with GET, and without a parameter that has to be filled in.
function callable({ method, path }) {
  const plain = path.replace(/\/:\w+\?$/, '').replace(/\/\*$/, '');
  return /(^|,)(GET|\*)(,|$)/.test(method) && !plain.includes(':') ? plain || '/' : null;
}

function routeButton(route) {
  const path = callable(route);
  const button = el(
    'button', { type: 'button', className: 'call', disabled: !path },
    el('strong', {}, route.function),
    el('code', {}, `${path ? 'GET' : route.method} ${path ?? route.path}`),
    el('span', {}, `auth: ${route.auth}`),
  );
  const [, scope] = /^scope (\S+)$/.exec(route.auth) ?? []; // one, or all that is asked for is not one check
  if (path) button.addEventListener('click', () => attempt(() => call(path, scope)));
  return button;
}

async function showRoutes() {
  const res = await ask('/_luafn/routes');
  const routes = res.ok ? await res.json() : [];
  if (routes.length === 0 || routes.some(({ function: name }) => name === 'me' || name === 'shows')) return;
  document.querySelector('.buttons').replaceChildren(...routes.map(routeButton));
  document.querySelector('h1').textContent = 'Your functions, one token.';
}

/* ---- session, users ---- */

function showSession() {
  const kept = tokens();
  byId('who').textContent = kept ? `Signed in as ${parse(kept.id_token).claims.name}` : 'Not signed in';
  byId('sign-in').hidden = Boolean(kept);
  byId('sign-out').hidden = !kept;
  byId('renew').disabled = !kept;
  byId('no-token').hidden = Boolean(kept);
  byId('claims').hidden = !kept;
  byId('claims').replaceChildren(...kept ? claimRows(parse(kept.access_token).claims) : []);
  for (const input of document.querySelectorAll('input[name=kind]')) {
    input.disabled = !kept && input.value !== 'none';
  }
  if (!kept) document.querySelector('input[name=kind][value=none]').checked = true;
}

function showStale(isStale) {
  byId('stale').textContent = isStale ? 'Your token still says what it said before.' : '';
  byId('renew').classList.toggle('primary', isStale);
}

// Does the user's token open what a new one would open, under these settings of the issuer?
function compare({ users, rbac }) {
  const kept = tokens();
  if (!kept) return;
  const { claims } = parse(kept.access_token);
  const user = users.find(({ sub }) => sub === claims.sub);
  const would = !rbac || user.roles.includes(ROLE);
  showStale(scopesOf(claims).includes(SCOPES.shows) !== would);
}

// A switch of the issuer: sent when it is moved, moved back when that fails.
function connect(input, path, fields) {
  input.addEventListener('change', () => attempt(async () => {
    try {
      compare(await send(path, { ...fields, on: input.checked }));
    } catch (error) {
      input.checked = !input.checked;
      throw error;
    }
  }));
}

function userRow(user) {
  const input = el('input', { type: 'checkbox', checked: user.roles.includes(ROLE) });
  input.setAttribute('role', 'switch');
  connect(input, '/_luafn/dev/api/users', { sub: user.sub, role: ROLE });
  return el(
    'li', {},
    el('label', {}, el('span', {}, user.name, el('small', { textContent: user.email })), input),
  );
}

async function showUsers() {
  const res = await ask('/_luafn/dev/api/users');
  if (!res.ok) throw new Error('The development issuer is not running here: start luafn dev.');
  const { users, rbac, ...expected } = await res.json();
  issuer = expected;
  byId('rbac').checked = rbac;
  byId('users').replaceChildren(...users.map(userRow));
}

connect(byId('rbac'), '/_luafn/dev/api/rbac');
on('sign-in', () => signIn(issuer.audience));
on('sign-out', signOut);
on('renew', async () => {
  await renew();
  showStale(false);
});
on('call-me', () => call('/.netlify/functions/me'));
on('call-shows', () => call('/.netlify/functions/shows', SCOPES.shows));

await attempt(async () => {
  await showRoutes();
  await showUsers();
  if (await isElsewhere()) return;
  await finishSignIn();
  if (tokens()) document.querySelector('input[name=kind][value=token]').checked = true;
});
// What is clicked before all this is there would be lost, or ask nobody.
for (const id of ['sign-out', 'call-me', 'call-shows']) if (byId(id)) byId(id).disabled = false;
for (const id of ['sign-in', 'rbac']) byId(id).disabled = !issuer;
