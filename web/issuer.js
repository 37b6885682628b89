// The issuer's page: what it knows, with switches for roles, API settings and the key that signs.
import { ask } from './ask.js';
import { byId, el, facts } from './view.js';

function notify(message) {
  byId('notice').textContent = message;
  byId('notice').hidden = !message;
}

async function read(res) {
  const answer = await res.json();
  if (!res.ok) throw new Error(answer.error_description ?? 'The development issuer is not running here: start luafn dev.');
  return answer;
}

const send = async (path, fields) => read(await ask(path, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(fields),
}));

// A switch that is sent when it is moved, and moved back when that fails.
function toggle(label, note, checked, path, fields) {
  const input = el('input', { type: 'checkbox', checked });
  input.setAttribute('role', 'switch');
  input.addEventListener('change', async () => {
    notify('');
    try {
      byId('differs').hidden = !(await send(path, { ...fields, on: input.checked })).differs;
      byId('said').textContent = `${label} is ${input.checked ? 'on' : 'off'}`;
    } catch (error) {
      input.checked = !input.checked;
      notify(error.message);
    }
  });
  return el('li', {}, el('label', {}, el('span', {}, label, el('small', { textContent: note })), input));
}

// A group of switches under the name of what they belong to.
function card(title, note, switches) {
  const legend = el('legend', {}, title, el('small', { textContent: note }));
  return el('fieldset', { className: 'card' }, legend, el('ul', { className: 'users' }, ...switches));
}

const scopesOf = (permits) => Object.entries(permits)
  .map(([api, scopes]) => `${scopes.join(' ')} in ${api}`).join(', ');

function userCard(user, roles) {
  const note = [user.email, user.sub, user.blocked && 'blocked'].filter(Boolean).join(' · ');
  return card(user.name, note, roles.map((role) => toggle(
    role.name, scopesOf(role.permits), user.roles.includes(role.name),
    '/_luafn/dev/api/users', { sub: user.sub, role: role.name },
  )));
}

function apiCard(api) {
  const change = (name, label, note) => toggle(label, note, api[name], '/_luafn/dev/api/rbac', { audience: api.id, name });
  return card(api.name ?? api.id, `${api.id} · ${api.scopes.join(' ')} · tokens live ${api.token_lifetime} s, those of pages ${api.browser_lifetime} s`, [
    change('rbac', 'RBAC', 'While it is off, whoever asks for a scope gets it.'),
    change('add_permissions', 'Add Permissions in the Access Token', 'While it is on, a token names all that the user may do there; without RBAC it names none.'),
  ]);
}

const KINDS = { spa: 'a page', web: 'a server with a secret', m2m: 'a program' };

function applicationRow({ id, name, type, callbacks, grants }) {
  const more = grants ? scopesOf(grants) : `callbacks: ${callbacks?.join(', ') ?? 'any on this machine'}`;
  return [id, name ?? id, `${KINDS[type]}; ${more}`];
}

function showKeys([current, next]) {
  byId('keys').replaceChildren(...facts([['signs', current], ['next', next, 'published already']]));
}

function show(all) {
  byId('differs').hidden = !all.differs;
  byId('users').replaceChildren(...all.users.map((user) => userCard(user, all.roles)));
  byId('apis').replaceChildren(...all.apis.map(apiCard));
  byId('roles').replaceChildren(...facts(all.roles.map(({ name, permits }) => [name, scopesOf(permits)])));
  byId('applications').replaceChildren(...facts(all.applications.map(applicationRow)));
  showKeys(all.keys);
}

byId('rotate').addEventListener('click', async () => {
  notify('');
  try {
    showKeys((await send('/_luafn/dev/api/rotate', { rotate: true })).keys);
    byId('said').textContent = 'The other key signs now. Tokens of both are good.';
  } catch (error) {
    notify(error.message);
  }
});

byId('reset').addEventListener('click', async () => {
  notify('');
  try {
    show(await send('/_luafn/dev/api/reset', { reset: true }));
    byId('said').textContent = 'All switches are as dev/auth.lua has them.';
  } catch (error) {
    notify(error.message);
  }
});

try {
  show(await read(await ask('/_luafn/dev/api/issuer')));
  byId('rotate').disabled = false;
} catch (error) {
  notify(error.message);
}
