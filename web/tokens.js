// Tokens of the development issuer: made good or wrong, and explained.
import { issuer, json, post } from './api.js';
import { checkNames, examine } from './checks.js';
import { altered, parse, unsigned } from './jwt.js';
import { byId, checkList, claimRows, copyButton, el, facts } from './view.js';

const KINDS = [['good', 'a good one'], ['expired', 'expired'], ['audience', 'for another audience'], ['altered', 'altered after it was signed'], ['unsigned', 'unsigned']];

export const kindOptions = () => KINDS.map(([value, textContent]) => el('option', { value, textContent }));

export const userOptions = (users) => users.map(({ sub, name }) => el('option', { value: sub, textContent: `${name} (${sub})` }));

// `kind`: one of KINDS.
export async function makeToken(sub, kind, scope) {
  const own = kind === 'expired' || kind === 'audience' ? { fault: kind } : { scope };
  const { access_token: token } = await post('token', { sub, ...own });
  return { altered, unsigned }[kind]?.(token) ?? token;
}

// The scope that a policy names, where it names one.
export const scopeOf = (policy) => /^scope (\S+)$/.exec(policy ?? '')?.[1];

async function explain(token, route) {
  const scope = scopeOf(route?.auth);
  const [expected, { keys }] = [await issuer(), await json('/.well-known/jwks.json')];
  let claims;
  try {
    ({ claims } = parse(token));
  } catch {
    return [el('p', { className: 'message', textContent: 'It is no JSON Web Token: those are three parts with a dot between them.' })];
  }
  const checks = await examine(token, { ...expected, keys, scope });
  const words = route ? ` --route ${route.function}` : '';
  return [
    el('h2', { textContent: checks.every(({ ok }) => ok) ? 'It is let through' : 'It is refused' }),
    checkList({ names: checkNames(scope), checks, said: '' }),
    el('dl', { className: 'facts' }, ...claimRows(claims)),
    el('p', { className: 'copies' }, copyButton(token, 'Copy the token'), copyButton(`Authorization: Bearer ${token}`, 'Copy as header'), copyButton(`luafn explain '${token}'${words}`, 'Copy as luafn explain')),
  ];
}

// `routeNamed(name)`: its route, or nothing. `notify(message)`: what went wrong.
export function startTokens(routeNamed, notify) {
  const guarded = (act) => async () => {
    notify('');
    try {
      await act();
    } catch ({ message }) {
      notify(message);
    }
  };
  const showExplained = async () => {
    const token = byId('token').value.trim().replace(/^(Authorization: *)?Bearer +/i, '');
    byId('explained').replaceChildren(...await explain(token, routeNamed(byId('token-function').value)));
    byId('said').textContent = byId('explained').querySelector('h2, p').textContent;
  };
  byId('token-kind').replaceChildren(...kindOptions());
  byId('explain').addEventListener('click', guarded(showExplained));
  byId('make').addEventListener('click', guarded(async () => {
    byId('token').value = await makeToken(byId('token-user').value, byId('token-kind').value, byId('token-scope').value);
    await showExplained();
  }));
}

export async function fillTokens() {
  const { users, audience, differs } = await issuer();
  byId('audience').textContent = audience;
  byId('token-user').replaceChildren(...userOptions(users));
  byId('issuer-differs').hidden = !differs;
  byId('make').disabled = false;
}
