// One recorded request, in tabs. Whatever it contains goes in as text.
import { json } from './api.js';
import { ask } from './ask.js';
import { asCurl, asInvoke, asTest } from './copy.js';
import { diff } from './diff.js';
import { claimRows, copyButton, el, facts, kindOf, withAttributes } from './view.js';

const ms = (us) => `${(us / 1000).toFixed(us < 10000 ? 2 : 1)} ms`;
const lua = (value) => (value && typeof value === 'object' ? JSON.stringify(value, null, 2) : String(value));

// A text of the record, which may have been cut or be no text at all.
export function textOf(body) {
  if (body === null || body === undefined) return '';
  if (typeof body !== 'object') return String(body);
  if (typeof body.cut === 'number') return `${textOf(body.text)}\n… ${body.cut} bytes in all`;
  return typeof body.base64 === 'string' ? `(base64) ${body.base64}` : JSON.stringify(body, null, 2);
}

// JSON with a member a line, other texts as they are.
export function pretty(body) {
  const text = textOf(body);
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

const pre = (label, content) => withAttributes(el('pre', { tabIndex: 0 }, el('code', { textContent: content })), { 'aria-label': label });
export const soft = (text) => el('p', { className: 'soft', textContent: text });

/* ---- checks ---- */

const step = (kind, name, text, said) => el(
  'li', { className: kind },
  el('b', {}, el('i', { className: 'hidden', textContent: { passed: 'passed: ', failed: 'failed: ', skipped: 'not reached: ' }[kind] }), name),
  el('span', { textContent: text }),
  said ? el('q', { textContent: said }) : '',
);

// What the host itself said to the client.
function said(record) {
  try {
    const answer = JSON.parse(textOf(record.answer?.body));
    return String(answer.error_description ?? answer.errorMessage ?? '');
  } catch {
    return '';
  }
}

function checksPane(record, route) {
  const ran = record.start_us !== undefined;
  const found = Boolean(record.function);
  const failed = record.fault || (ran && record.status >= 500);
  const policy = route?.auth ?? 'as functions.lua has it';
  const steps = [
    step(found ? 'passed' : 'failed', 'Route', found ? `${record.method} leads to ${record.function}, generation ${record.generation}` : 'no function has this path and method', found ? '' : said(record)),
    found ? step(ran ? 'passed' : 'failed', 'Policy', ran ? `${policy}${record.user ? `: let in ${textOf(record.user)}` : ''}` : `${policy}: refused with ${record.error ?? record.status}`, ran ? '' : said(record)) : step('skipped', 'Policy', ''),
    ran ? step('passed', 'Queue', `waited ${ms(record.queue_us)}`) : step('skipped', 'Queue', ''),
    ran ? step(failed ? 'failed' : 'passed', 'Handler', failed ? `ended with ${record.error ?? record.status}` : `answered ${record.status}`, textOf(record.fault?.message)) : step('skipped', 'Handler', ''),
  ];
  const claims = record.claims ? [el('h3', { textContent: 'Claims of its token' }), el('dl', { className: 'facts' }, ...claimRows(record.claims))] : [];
  return [el('ol', { className: 'checks' }, ...steps), ...claims];
}

/* ---- timeline ---- */

// Begin and end of a call are two entries: here they are one.
export function callsOf(record) {
  const list = [];
  const byNumber = new Map();
  for (const entry of record.calls ?? []) {
    if (entry.call) {
      const call = { ...entry, from: entry.us };
      byNumber.set(entry.n, call);
      list.push(call);
    } else if (byNumber.has(entry.n)) {
      Object.assign(byNumber.get(entry.n), { to: entry.us, answer: entry.answer, ended: true });
    }
  }
  return list;
}

function bar(name, from, to, whole, { note = '', more } = {}) {
  const mark = el('i');
  const share = (us) => `${Math.min(100, Math.max(0, (us / whole) * 100)).toFixed(2)}%`;
  mark.style.setProperty('left', share(from));
  mark.style.setProperty('width', share(Math.max(to - from, 0)));
  return el(
    'li', {},
    el('span', { className: 'name', textContent: name }), withAttributes(el('span', { className: 'track' }, mark), { 'aria-hidden': 'true' }),
    el('span', { className: 'took', textContent: note || ms(to - from) }), more ?? '',
  );
}

function callBar(call, whole) {
  const parts = [call.at ? `at ${call.at}` : '', call.args === undefined ? '' : `with ${lua(call.args)}`, call.ended ? `gave ${lua(call.answer)}` : ''].filter(Boolean);
  const more = el('details', {}, el('summary', { textContent: `from ${ms(call.from)}` }), pre(`${call.call}: arguments and answer`, parts.join('\n')));
  return bar(`${call.task > 0 ? `[${call.task}] ` : ''}${call.call}`, call.from, call.ended ? call.to : whole, whole, { note: call.ended ? '' : 'never ended', more });
}

function timelinePane(record) {
  const calls = callsOf(record);
  const slices = record.slices ?? [];
  const ends = [record.ms * 1000, ...calls.map((call) => call.to ?? call.from), ...slices.map(([began, took]) => began + took), 1];
  const whole = Math.max(...ends);
  const rows = [bar('the whole request', 0, record.ms * 1000, whole)];
  if (record.start_us !== undefined) {
    const called = Math.max(0, record.start_us - record.queue_us);
    rows.push(bar('policy', 0, called, whole), bar('queue and body', called, record.start_us, whole));
  }
  rows.push(...slices.map(([began, took], i) => bar(`Lua, slice ${i + 1}`, began, began + took, whole)), ...calls.map((call) => callBar(call, whole)));
  const used = record.memory ? [el('dl', { className: 'facts' }, ...facts([
    ['processor time', ms(record.cpu_us)], ['memory', `${Math.ceil(record.memory.used / 1024)} of ${Math.ceil(record.memory.limit / 1024)} KB`],
  ]))] : [];
  return [el('ol', { className: 'bars' }, ...rows), ...used];
}

/* ---- logs: tables unfolded ---- */

const DEPTH = 8;

function tree(value, depth = 0) {
  if (value === null || typeof value !== 'object') return el('code', { textContent: JSON.stringify(value) });
  const members = Object.entries(value);
  if (depth === DEPTH || members.length === 0) return el('code', { textContent: JSON.stringify(value) });
  return el('ul', { className: 'tree' }, ...members.map(([name, member]) => el('li', {}, el('b', { textContent: name }), ' ', tree(member, depth + 1))));
}

function logsPane(record) {
  const rows = (record.logs ?? []).map((entry) => el(
    'li', {}, el('div', {}, el('small', { textContent: `${ms(entry.us)} ${entry.level} ` }), textOf(entry.message)), entry.fields ? tree(entry.fields) : '',
  ));
  return rows.length > 0 ? [el('ul', { className: 'logs' }, ...rows)] : [soft('The script logged nothing.')];
}

/* ---- error, with its source ---- */

const PLACE = /([\w./-]+\.lua):(\d+)/;
const AROUND = 6;

async function sourceOf(file, line) {
  const res = await ask(`/_luafn/dev/source/${file.split('/').map(encodeURIComponent).join('/')}`);
  if (!res.ok) return soft(`${file} is none of the scripts that are loaded.`);
  const lines = (await res.text()).split('\n');
  const first = Math.max(1, line - AROUND);
  const rows = lines.slice(first - 1, line + AROUND).map((text, i) => {
    const row = withAttributes(el('li', { textContent: text }), { 'data-line': first + i });
    return first + i === line ? withAttributes(row, { 'aria-current': 'true' }) : row;
  });
  return withAttributes(el('ol', { className: 'source' }, ...rows), { 'aria-label': `${file}, line ${line}` });
}

// Where the deployment is on this machine, for links that an editor follows.
let place;
const rootOf = () => {
  place ??= json('/_luafn/dev/api/state').then(({ root }) => root, () => undefined);
  return place;
};

async function sourceParts(file, line) {
  const [node, root] = await Promise.all([sourceOf(file, line), rootOf()]);
  const path = root && `${root}/${file}`.split('/').map(encodeURIComponent).join('/');
  const link = path ? [el('a', { href: `vscode://file${path}:${line}`, textContent: 'Open in VS Code' })] : [];
  return [el('h3', { textContent: `${file}:${line}` }), node, el('p', { className: 'copies' }, ...link, copyButton(`${root ? `${root}/` : ''}${file}:${line}`, 'Copy the place'))];
}

export function faultParts(record, route) {
  const { fault } = record;
  const all = `${textOf(fault.message)}\n${textOf(fault.trace)}`;
  const [, file, line] = PLACE.exec(all) ?? [];
  const where = el('div', { className: 'pane' });
  if (file) sourceParts(file, Number(line)).then((parts) => where.append(...parts), () => { /* the message tells the place */ });
  const changed = route && route.generation !== record.generation ? [soft(`The script has changed since: this was generation ${record.generation}, now it is ${route.generation}.`)] : [];
  const trace = fault.trace ? [el('h3', { textContent: 'Trace' }), pre('Trace', textOf(fault.trace))] : [];
  return [el('p', { className: 'message', textContent: `${textOf(fault.type)}: ${textOf(fault.message)}` }), ...changed, where, ...trace];
}

const faultPane = (record, route) => (record.fault ? faultParts(record, route) : [soft(record.error ? `No error of the script: the host answered ${record.error}.` : 'The script raised no error.')]);

/* ---- request and answer ---- */

const headerFacts = (headers) => el('dl', { className: 'facts' }, ...facts((headers ?? []).map(([name, value]) => [textOf(name), textOf(value)])));

function requestPane(record) {
  const copies = [copyButton(asCurl(record, location.origin), 'Copy as curl')];
  if (record.function) copies.push(copyButton(asInvoke(record), 'Copy as luafn invoke'));
  if (record.start_us !== undefined) copies.push(copyButton(asTest(record), 'Copy as test'));
  const body = record.request?.body;
  return [el('div', { className: 'copies' }, ...copies), headerFacts(record.request?.headers), body ? pre('Body of the request', pretty(body)) : soft('It had no body.')];
}

function answerPane(record) {
  const { answer } = record;
  if (!answer) return [soft('No answer was kept.')];
  const body = answer.file ? soft('It was a file.') : answer.body ? pre('Body of the answer', pretty(answer.body)) : soft('It had no body.');
  return [headerFacts(answer.headers), body];
}

/* ---- what differs ---- */

// Both answers, where they differ.
export function diffView(was, is) {
  const rows = diff(was, is);
  if (rows.every(({ kind }) => kind === 'same')) return soft('Both answers are the same.');
  const names = { same: '', was: 'was: ', is: 'is: ' };
  const signs = { same: '  ', was: '- ', is: '+ ' };
  return withAttributes(el('ol', { className: 'diff' }, ...rows.map(({ kind, text }) => el(
    'li', { className: kind }, el('i', { className: 'hidden', textContent: names[kind] }), withAttributes(el('span', { textContent: signs[kind] }), { 'aria-hidden': 'true' }), text,
  ))), { 'aria-label': 'What differs: the recorded answer and the new one' });
}

/* ---- the tabs ---- */

const PANES = [
  ['checks', 'Checks', checksPane], ['timeline', 'Timeline', timelinePane], ['logs', 'Logs', logsPane], ['error', 'Error', faultPane],
  ['request', 'Request', requestPane], ['answer', 'Answer', answerPane],
];

let count = 0; // of those on the page: a tab and its panel find each other by id

function tabsOf(record, route, { first, more, name }) {
  const panes = [...PANES, ...more];
  const number = count;
  count += 1;
  const pane = withAttributes(el('div', { className: 'pane', id: `pane-${number}`, tabIndex: 0 }), { role: 'tabpanel' });
  const tabs = panes.map(([key, title]) => withAttributes(el('button', { type: 'button', id: `tab-${key}-${number}`, textContent: title }), { role: 'tab', 'aria-controls': pane.id }));
  const choose = (index, focus) => {
    tabs.forEach((tab, i) => {
      tab.setAttribute('aria-selected', String(i === index));
      tab.tabIndex = i === index ? 0 : -1;
    });
    pane.setAttribute('aria-labelledby', tabs[index].id);
    pane.replaceChildren(...panes[index][2](record, route));
    if (focus) tabs[index].focus();
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener('click', () => choose(i));
    tab.addEventListener('keydown', ({ key }) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
      if (step) choose((i + step + tabs.length) % tabs.length, true);
    });
  });
  choose(Math.max(0, panes.findIndex(([key]) => key === first)));
  return [withAttributes(el('div', { className: 'tabs' }, ...tabs), { role: 'tablist', 'aria-label': name }), pane];
}

// `first`: the tab to begin with; `more`: tabs behind those that all have; `heading`, `name`: where it stands within another,
// the level of its heading and what its tabs are of.
export function showRecord(node, record, route, { first = record.fault ? 'error' : 'checks', more = [], heading = 'h2', name = 'The request' } = {}) {
  const about = [new Date(record.time * 1000).toLocaleTimeString(), `${record.ms.toFixed(1)} ms`, record.function && `${record.function}@${record.generation}`, record.error, record.id].filter(Boolean).join(' · ');
  node.replaceChildren(
    el('header', {}, el('b', { className: `status ${kindOf(record.status)}`, textContent: record.status }), el(heading, { textContent: `${record.method} ${textOf(record.target)}` }), el('p', { textContent: about })),
    ...record.cut ? [soft('Not all of it was kept: it was too long.')] : [],
    ...tabsOf(record, route, { first, more, name }),
  );
}
