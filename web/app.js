// The demo page: calls the two functions and shows why they answer as they do.
import { decode, finishSignIn, renew, signIn, signOut, tokens } from './auth.js';

const MEANING = {
  200: 'The token is valid and has what the function asks for.',
  401: 'No valid token came with the request. The script never ran.',
  403: 'The token is good, but lacks what the function asks for.',
  502: 'The function failed, or what it calls did.',
  503: 'The host cannot answer right now.',
  504: 'The function took too long.',
};

const byId = (id) => document.getElementById(id);

// An element with properties and children; text goes in as text, never as HTML.
function el(name, props = {}, ...children) {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
}

function notify(message) {
  byId('notice').textContent = message;
  byId('notice').hidden = !message;
}

// Runs an action of a button; what goes wrong is said at the top of the page.
function on(id, action) {
  byId(id).addEventListener('click', async () => {
    notify('');
    try {
      await action();
    } catch (error) {
      notify(error.message);
    }
    showSession();
  });
}

/* ---- answers ---- */

function curl(path, token, shown = token) {
  const header = token ? ` \\\n  -H 'Authorization: Bearer ${shown}'` : '';
  return `curl -i ${location.origin}${path}${header}`;
}

const shorten = (token) => token && `${token.slice(0, 18)}…${token.slice(-6)}`;

function copyButton(text) {
  const button = el('button', { type: 'button', className: 'small', textContent: 'Copy' });
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = 'Copied';
  });
  return button;
}

// Shows become tiles, claims become a list; everything else is told by its JSON alone.
function picture(body) {
  if (Array.isArray(body)) {
    const tile = (show) => el('li', {}, el('small', { textContent: `#${show.id}` }), show.name);
    const tiles = body.map(tile);
    return el('ul', { className: 'tiles' }, ...tiles);
  }
  const text = body?.error_description ?? body?.errorMessage;
  if (text) return el('p', { className: 'said', textContent: text });
  const rows = Object.entries(body?.claims ?? {}).map(([name, value]) => el(
    'div', {}, el('dt', { textContent: name }),
    el('dd', { textContent: typeof value === 'string' ? value : JSON.stringify(value) }),
  ));
  return el('dl', { className: 'facts' }, ...rows);
}

function card(path, token, res, body) {
  const kind = res.ok ? 'ok' : res.status === 401 ? 'who' : 'no';
  return el(
    'article', { className: `answer ${kind}` },
    el(
      'header', {},
      el('span', { className: `status ${kind}`, textContent: res.status }),
      el('h3', {}, res.statusText || 'Answer', el('code', { textContent: `GET ${path}` })),
    ),
    el('p', { className: 'meaning', textContent: MEANING[res.status] ?? '' }),
    picture(body),
    el(
      'details', {}, el('summary', { textContent: 'Body' }),
      el('pre', { tabIndex: 0 }, el('code', { textContent: JSON.stringify(body, null, 2) })),
    ),
    el(
      'details', {}, el('summary', { textContent: 'As a curl command' }),
      el('pre', { tabIndex: 0 }, el('code', { textContent: curl(path, token, shorten(token)) })),
      copyButton(curl(path, token)),
    ),
  );
}

async function call(name) {
  const path = `/.netlify/functions/${name}`;
  const token = tokens()?.access_token;
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const res = await fetch(path, { headers });
  const text = await res.text();
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = text;
  }
  const answer = card(path, token, res, body);
  answer.id = `answer-${name}`;
  byId('empty')?.remove();
  byId(answer.id)?.remove();
  byId('answers').prepend(answer);
}

/* ---- token and users ---- */

function showSession() {
  const kept = tokens();
  const user = kept?.id_token ? decode(kept.id_token) : null;
  byId('who').textContent = user ? `Signed in as ${user.name}` : 'Not signed in';
  byId('sign-in').hidden = Boolean(kept);
  byId('sign-out').hidden = !kept;
  byId('renew').disabled = !kept;
  byId('token').hidden = !kept;
  byId('no-token').hidden = Boolean(kept);
  if (!kept) return;
  const claims = decode(kept.access_token);
  byId('claims').textContent = JSON.stringify(claims, null, 2);
  byId('expiry').textContent = `Good until ${new Date(claims.exp * 1000).toLocaleTimeString()}.`;
}

let audience;

async function switchRole(sub, role, active) {
  const res = await fetch('/dev/users', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ sub, role, on: active }),
  });
  if (!res.ok) throw new Error('The role could not be switched.');
  const kept = tokens();
  if (kept && decode(kept.id_token).sub === sub) {
    notify('The role has changed; the token has not. Get a new token to see the difference.');
  }
}

function userRow(user) {
  const role = 'TV Shows Viewer';
  const input = el('input', { type: 'checkbox', checked: user.roles.includes(role) });
  input.setAttribute('role', 'switch');
  input.addEventListener('change', async () => {
    try {
      await switchRole(user.sub, role, input.checked);
    } catch (error) {
      input.checked = !input.checked;
      notify(error.message);
    }
  });
  return el(
    'li', {}, el(
      'label', {},
      el('span', {}, user.name, el('small', { textContent: user.email })),
      el('span', { className: 'role', textContent: role }), input,
    ),
  );
}

async function showUsers() {
  const res = await fetch('/dev/users');
  if (!res.ok) throw new Error('The development issuer is not running here: start luafn dev.');
  const answer = await res.json();
  audience = answer.audience;
  byId('users').replaceChildren(...answer.users.map(userRow));
}

on('sign-in', () => signIn(audience));
on('sign-out', signOut);
on('renew', renew);
on('call-me', () => call('me'));
on('call-shows', () => call('shows'));

try {
  await showUsers();
  await finishSignIn();
} catch (error) {
  notify(error.message);
}
showSession();
