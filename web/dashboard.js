// The dashboard: requests as they come, functions, tokens.
import { ask } from './ask.js';
import { checkNames, examine } from './checks.js';
import { altered, parse, unsigned } from './jwt.js';
import { showRecord, textOf } from './record.js';
import { byId, checkList, claimRows, copyButton, el, facts, kindOf, withAttributes } from './view.js';

const MOST = 500; // requests in the list: as many as `dev` keeps

const records = new Map(); // by id, in the order in which they came
let routes = [];
let chosen = null;
let paused = false;

function notify(message) {
  byId('notice').textContent = message;
  byId('notice').hidden = !message;
}

async function json(path, options) {
  const res = await ask(path, options);
  const answer = await res.json();
  if (!res.ok) throw new Error(answer.error_description ?? `${path}: ${res.status}`);
  return answer;
}

const routeOf = (record) => routes.find((route) => route.function === record.function);

/* ---- requests ---- */

function isWanted(record) {
  const [name, status, text] = ['by-function', 'by-status', 'by-text'].map((id) => byId(id).value);
  return (!name || record.function === name) && (!status || String(record.status)[0] === status[0])
    && (!text || JSON.stringify(record).toLowerCase().includes(text.toLowerCase()));
}

function rowOf(record) {
  const note = record.fault ? textOf(record.fault.message) : record.error;
  const link = el(
    'a', { href: `#/requests/${encodeURIComponent(record.id)}` },
    el('b', { className: kindOf(record.status), textContent: record.status }),
    el('span', { className: 'target', textContent: `${record.method} ${textOf(record.target)}` }),
    el('small', { textContent: `${record.ms.toFixed(1)} ms` }),
    el('small', { className: 'note', textContent: [record.function, note].filter(Boolean).join(' · ') }),
  );
  if (record.id === chosen) link.setAttribute('aria-current', 'true');
  return withAttributes(el('li', {}, link), { 'data-id': record.id });
}

const rowFor = (id) => [...byId('rows').children].find((row) => row.dataset.id === id);

function showRows() {
  const focus = document.activeElement?.closest('#rows li')?.dataset.id;
  byId('rows').replaceChildren(...[...records.values()].reverse().filter(isWanted).map(rowOf));
  byId('none').hidden = records.size > 0;
  if (focus) rowFor(focus)?.querySelector('a').focus();
}

function showFunctionNames() {
  for (const [id, none] of [['by-function', 'all'], ['token-function', 'any function']]) {
    const select = byId(id);
    const { value } = select;
    const names = [...new Set(routes.map((route) => route.function).filter(Boolean))].sort();
    select.replaceChildren(el('option', { value: '', textContent: none }), ...names.map((name) => el('option', { value: name, textContent: name })));
    select.value = names.includes(value) ? value : '';
  }
}

// A burst of requests is one change of the list.
let due = false;
function showSoon() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    showRows();
  });
}

// Of a repeated id the newest counts.
function take(record) {
  if (record?.v !== 1) return;
  records.delete(record.id);
  records.set(record.id, record);
  if (records.size > MOST) records.delete(records.keys().next().value);
}

function come(record) {
  take(record);
  if (!paused) showSoon();
  if (record.function && routeOf(record)?.generation !== record.generation) loadRoutes().catch(() => { /* the list goes on without */ });
}

// All that is there; what comes meanwhile comes again.
async function catchUp() {
  const { records: list } = await json('/_luafn/journal');
  for (const record of list.sort((a, b) => a.time - b.time)) take(record);
  showRows();
  followHash();
}

function listen() {
  const source = new EventSource('/_luafn/journal/live');
  source.addEventListener('open', () => {
    byId('live').textContent = 'live';
    catchUp().catch(({ message }) => notify(message));
  });
  source.addEventListener('message', ({ data }) => come(JSON.parse(data)));
  source.addEventListener('error', () => { byId('live').textContent = 'luafn dev does not answer: waiting for it'; });
}

async function choose(id, tab) {
  const record = records.get(id) ?? await json(`/_luafn/journal/${encodeURIComponent(id)}`).catch(() => null);
  rowFor(chosen)?.querySelector('a').removeAttribute('aria-current');
  chosen = id;
  if (!record) {
    byId('one').replaceChildren(el('p', { className: 'empty', textContent: 'The journal has no record of that id any more.' }));
    return;
  }
  const link = rowFor(id)?.querySelector('a');
  link?.setAttribute('aria-current', 'true');
  link?.scrollIntoView({ block: 'nearest' });
  showRecord(byId('one'), record, routeOf(record), tab);
  byId('said').textContent = `${record.status} ${record.method} ${textOf(record.target)}`;
}

function go(step) {
  const rows = [...byId('rows').children];
  if (rows.length === 0) return;
  const at = rows.findIndex((row) => row.dataset.id === chosen);
  const next = rows[at < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, at + step))];
  location.hash = `#/requests/${encodeURIComponent(next.dataset.id)}`;
  next.querySelector('a').focus();
}

async function again() {
  if (!chosen) return;
  await choose(chosen, 'again');
  byId('pane').querySelector('button')?.click();
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea') || byId('requests').hidden) return;
  const act = { j: () => go(1), k: () => go(-1), r: again, '/': () => byId('by-text').focus() }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

for (const id of ['by-function', 'by-status', 'by-text']) byId(id).addEventListener('input', showRows);
byId('pause').addEventListener('click', () => {
  paused = !paused;
  byId('pause').setAttribute('aria-pressed', String(paused));
  byId('pause').textContent = paused ? 'Go on' : 'Pause';
  if (!paused) showRows();
});

/* ---- functions ---- */

function functionItem([name, list]) {
  const [first] = list;
  const rows = [
    ['routes', list.map(({ method, path }) => `${method} ${path}`).join(', ')], ['policy', first.auth], ['script', first.script],
    ['generation', first.generation], ['limits', Object.entries(first.limits ?? {}).map(([key, value]) => `${key} ${value}`).join(', ')],
    ['next run', first.next_run],
  ].filter(([, value]) => value !== undefined && value !== null && value !== '');
  const failed = first.error ? [el('p', { className: 'message', textContent: first.error }), el('p', { className: 'soft', textContent: first.serving ? `Generation ${first.generation} goes on meanwhile.` : 'It has never loaded.' })] : [];
  return el('li', {}, el('h2', { textContent: name }), ...failed, el('dl', { className: 'facts' }, ...facts(rows)));
}

async function loadRoutes() {
  routes = await json('/_luafn/routes');
  showFunctionNames();
  const byName = new Map();
  for (const route of routes) if (route.function) byName.set(route.function, [...byName.get(route.function) ?? [], route]);
  byId('function-list').replaceChildren(...[...byName].map(functionItem));
  const { faults } = await (await ask('/_luafn/ready')).json();
  notify((faults ?? []).join('\n'));
}

/* ---- tokens ---- */

let issuer; // what the host expects: issuer, audience

async function loadUsers() {
  const { users, ...expected } = await json('/_luafn/dev/api/users');
  issuer = expected;
  byId('audience').textContent = issuer.audience;
  byId('token-user').replaceChildren(...users.map(({ sub, name }) => el('option', { value: sub, textContent: `${name} (${sub})` })));
  byId('make').disabled = false;
}

async function makeToken() {
  const kind = byId('token-kind').value;
  const own = kind === 'expired' || kind === 'audience' ? { fault: kind } : { scope: byId('token-scope').value };
  const { access_token: token } = await json('/_luafn/dev/api/token', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ sub: byId('token-user').value, ...own }),
  });
  return { altered, unsigned }[kind]?.(token) ?? token;
}

async function explain(token) {
  const [, scope] = /^scope (\S+)$/.exec(routes.find((route) => route.function === byId('token-function').value)?.auth ?? '') ?? [];
  const { keys } = await json('/.well-known/jwks.json');
  let claims;
  try {
    ({ claims } = parse(token));
  } catch {
    return [el('p', { className: 'message', textContent: 'It is no JSON Web Token: those are three parts with a dot between them.' })];
  }
  const checks = await examine(token, { ...issuer, keys, scope });
  const words = byId('token-function').value ? ` --route ${byId('token-function').value}` : '';
  return [
    el('h2', { textContent: checks.every(({ ok }) => ok) ? 'It is let through' : 'It is refused' }),
    checkList({ names: checkNames(scope), checks, said: '' }),
    el('dl', { className: 'facts' }, ...claimRows(claims)),
    el('p', { className: 'copies' }, copyButton(token, 'Copy the token'), copyButton(`Authorization: Bearer ${token}`, 'Copy as header'), copyButton(`luafn explain '${token}'${words}`, 'Copy as luafn explain')),
  ];
}

async function showExplained() {
  notify('');
  const token = byId('token').value.trim().replace(/^(Authorization: *)?Bearer +/i, '');
  try {
    byId('explained').replaceChildren(...await explain(token));
    byId('said').textContent = byId('explained').querySelector('h2, p').textContent;
  } catch ({ message }) {
    notify(message);
  }
}

byId('explain').addEventListener('click', showExplained);
byId('make').addEventListener('click', async () => {
  notify('');
  try {
    byId('token').value = await makeToken();
    await showExplained();
  } catch ({ message }) {
    notify(message);
  }
});

/* ---- parts of the page ---- */

function followHash() {
  const [, part = 'requests', id] = /^#\/(requests|functions|tokens)(?:\/(.+))?$/.exec(location.hash) ?? [];
  for (const section of document.querySelectorAll('.part')) section.hidden = section.id !== part;
  for (const link of document.querySelectorAll('.parts a')) {
    if (link.hash === `#/${part}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (part === 'requests' && id && decodeURIComponent(id) !== chosen) choose(decodeURIComponent(id)).catch(({ message }) => notify(message));
}

addEventListener('hashchange', followHash);
followHash();
listen();
try {
  await loadRoutes();
  await loadUsers();
} catch ({ message }) {
  notify(message);
}
