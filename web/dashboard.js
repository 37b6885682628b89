// The dashboard: requests as they come, functions, and what one does with them.
import { again } from './again.js';
import { json } from './api.js';
import { ask } from './ask.js';
import { showNav } from './nav.js';
import { showRecord, textOf } from './record.js';
import { sendForm } from './send.js';
import { fillTokens, scopeOf, startTokens } from './tokens.js';
import { openAudit, openKv, startTools } from './tools.js';
import { byId, el, facts, fill, kindOf, withAttributes } from './view.js';

const MOST = 500; // requests in the list: as many as `dev` keeps

const records = new Map(); // by id, in the order in which they came
let routes = [];
let chosen = null;
let paused = false;

function notify(message) {
  byId('notice').textContent = message;
  byId('notice').hidden = !message;
}

const routeNamed = (name) => routes.find((route) => route.function === name);
const routeOf = (record) => routeNamed(record.function);

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
  fill(byId('rows'), [...records.values()].reverse().filter(isWanted).map(rowOf));
  byId('none').hidden = records.size > 0;
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
  const faulty = record.answer?.headers?.some(([name]) => name === 'X-Luafn-Fault') && byId('notice').hidden;
  if (record.function && (faulty || routeOf(record)?.generation !== record.generation)) loadRoutes().catch(() => { /* the list goes on without */ });
}

// All that is there, the newest first; what comes meanwhile is newer still.
async function catchUp() {
  const before = new Set(records.keys());
  const { records: list } = await json('/_luafn/journal');
  const there = new Set(list.map(({ id }) => id));
  const newer = [...records.values()].filter(({ id }) => !before.has(id) && !there.has(id));
  for (const record of [...list.reverse(), ...newer]) take(record);
  showRows();
}

function listen() {
  const source = new EventSource('/_luafn/journal/live');
  source.addEventListener('open', () => {
    catchUp().catch(({ message }) => notify(message)).then(() => {
      if (source.readyState === EventSource.OPEN) byId('live').textContent = 'live';
    });
  });
  source.addEventListener('message', ({ data }) => come(JSON.parse(data)));
  source.addEventListener('error', () => { byId('live').textContent = 'luafn dev does not answer: waiting for it'; });
}

async function choose(id, tab) {
  rowFor(chosen)?.querySelector('a').removeAttribute('aria-current');
  chosen = id;
  const link = rowFor(id)?.querySelector('a');
  link?.setAttribute('aria-current', 'true');
  link?.scrollIntoView({ block: 'nearest' });
  const record = records.get(id) ?? await json(`/_luafn/journal/${encodeURIComponent(id)}`).catch(() => null);
  if (id !== chosen) return; // another one, meanwhile
  if (!record) {
    byId('one').replaceChildren(el('p', { className: 'empty', textContent: 'The journal has no record of that id any more.' }));
    return;
  }
  showRecord(byId('one'), record, routeOf(record), { ...tab && { first: tab }, more: [again] });
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

async function runAgain() {
  if (!chosen) return;
  await choose(chosen, 'again');
  byId('one').querySelector('[role=tabpanel] button')?.click();
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest('input, select, textarea') || byId('requests').hidden) return;
  const act = { j: () => go(1), k: () => go(-1), r: runAgain, '/': () => byId('by-text').focus() }[event.key];
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

// Of the requests that are in the list.
function tally(name) {
  const own = [...records.values()].filter((record) => record.function === name);
  const bad = own.filter(({ status }) => status >= 500);
  return own.length > 0 && { text: `${bad.length} of ${own.length} failed`, last: bad.at(-1) };
}

// Sizes in megabytes, times in seconds.
function limitsOf({ limits = {} }) {
  const unit = { memory: 1048576, body: 1048576 };
  const said = { memory: ' MB', body: ' MB', timeout: ' s', cpu: ' s' };
  return Object.entries(limits).map(([key, value]) => `${key} ${Math.round((value / (unit[key] ?? 1)) * 10) / 10}${said[key] ?? ''}`).join(', ');
}

function functionItem([name, list]) {
  const [first] = list;
  const seen = tally(name);
  const rows = [
    ['routes', list.map(({ method, path }) => `${method} ${path}`).join(', ')], ['policy', first.auth], ['script', first.script],
    ['generation', first.generation], ['limits', limitsOf(first)],
    ['requests', seen && seen.text], ['schedule', first.schedule], ['next run', first.next_run && `${first.next_run} (${new Date(first.next_run).toLocaleString()})`],
  ].filter(([, value]) => value !== undefined && value !== null && value !== '' && value !== false);
  const failed = first.error ? [el('p', { className: 'message', textContent: first.error }), el('p', { className: 'soft', textContent: first.serving ? `Generation ${first.generation} goes on meanwhile.` : 'It has never loaded.' })] : [];
  const links = [el('a', { href: `#/try/${encodeURIComponent(name)}`, textContent: `Try ${name}` })];
  if (seen?.last) links.push(el('a', { href: `#/requests/${encodeURIComponent(seen.last.id)}`, textContent: `The last failure of ${name}` }));
  return withAttributes(el('li', {}, el('h2', { textContent: name }), ...failed, el('dl', { className: 'facts' }, ...facts(rows)), el('p', { className: 'links' }, ...links)), { 'data-id': name });
}

function byName() {
  const names = new Map();
  for (const route of routes) if (route.function) names.set(route.function, [...names.get(route.function) ?? [], route]);
  return names;
}

function showFunctions() {
  fill(byId('function-list'), [...byName()].map(functionItem));
}

async function loadRoutes() {
  routes = await json('/_luafn/routes');
  showFunctionNames();
  showFunctions();
  const { faults } = await (await ask('/_luafn/ready')).json();
  notify((faults ?? []).join('\n'));
}

/* ---- try it ---- */

// A method that the route takes, and its path without what a pattern leaves open.
function firstRequest({ method, path, auth }) {
  const [first] = method === '*' || method === '-' ? ['GET'] : /[A-Z]+/.exec(method) ?? ['GET'];
  return { method: first, path: path.replace(/\/(:\w+\?|\*)$/, '') || '/', scope: scopeOf(auth), headers: /POST|PUT|PATCH/.test(first) ? 'Content-Type: application/json' : '' };
}

function openTry(name = byId('try-function').value) {
  const known = [...byName().keys()];
  byId('try-function').replaceChildren(...known.map((each) => el('option', { value: each, textContent: each, selected: each === name })));
  const route = routeNamed(byId('try-function').value);
  if (!route || byId('try-form').dataset.function === route.function) return;
  byId('try-form').dataset.function = route.function;
  byId('try-form').replaceChildren(...sendForm(firstRequest(route), routeOf));
}

byId('try-function').addEventListener('change', () => { location.hash = `#/try/${encodeURIComponent(byId('try-function').value)}`; });

/* ---- parts of the page ---- */

const opened = { functions: showFunctions, kv: openKv, try: openTry, audit: () => openAudit(routes) };

function followHash() {
  const [, part = 'requests', id] = /^#\/(requests|functions|try|tokens|kv|tests|audit)(?:\/(.+))?$/.exec(location.hash) ?? [];
  const name = id && decodeURIComponent(id);
  for (const section of document.querySelectorAll('.part')) section.hidden = section.id !== part;
  showNav(byId('nav'), `#/${part}`);
  document.title = `luafn: ${byId(`${part}-title`).textContent}`;
  if (part === 'requests' && name && name !== chosen) choose(name).catch(({ message }) => notify(message));
  Promise.resolve(opened[part]?.(name)).catch(({ message }) => notify(message));
}

addEventListener('hashchange', followHash);
showNav(byId('nav'), '');
startTools(notify);
startTokens(routeNamed, notify);
try {
  await loadRoutes();
} catch ({ message }) {
  notify(message);
}
followHash(); // once: it would begin a form that somebody is at anew
listen();
try {
  await fillTokens();
} catch ({ message }) {
  notify(message);
}
