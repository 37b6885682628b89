// kv, tests and the audit: each asked for when it is wanted.
import { issuer, json, post } from './api.js';
import { scopeOf, userOptions } from './tokens.js';
import { byId, el, withAttributes } from './view.js';

const soft = (text) => el('p', { className: 'soft', textContent: text });

// A button that works on something, and says so while it does.
function whileBusy(id, busy, act, notify) {
  byId(id).addEventListener('click', async () => {
    notify('');
    byId(id).disabled = true;
    byId('said').textContent = busy;
    try {
      byId('said').textContent = await act();
    } catch ({ message }) {
      notify(message);
    }
    byId(id).disabled = false;
  });
}

// ---- kv ----

function pretty(row) {
  try {
    return row.kind === 'json' && !row.cut ? JSON.stringify(JSON.parse(row.value), null, 2) : row.value;
  } catch {
    return row.value;
  }
}

function valueRow(row) {
  const note = `${row.kind}, ${row.bytes} bytes${row.cut ? ', not all of it is shown' : ''}`;
  return el('tr', {}, withAttributes(el('th', { textContent: row.key }), { scope: 'row' }), el('td', {}, el('pre', {}, el('code', { textContent: pretty(row) })), el('small', { textContent: note })));
}

async function showSpace(after = '') {
  const space = byId('kv-space').value;
  const { rows, after: next } = await json(`/_luafn/dev/api/kv?${new URLSearchParams({ space, ...(after && { after }) })}`);
  if (byId('kv-space').value !== space) return ''; // another one was chosen meanwhile
  if (after) byId('kv-rows').append(...rows.map(valueRow));
  else byId('kv-rows').replaceChildren(...rows.map(valueRow));
  byId('kv-none').hidden = byId('kv-rows').children.length > 0;
  byId('kv-table').hidden = !byId('kv-none').hidden;
  byId('kv-more').hidden = !next;
  byId('kv-more').dataset.after = next ?? '';
  return `${rows.length} keys`;
}

export async function openKv() {
  const { spaces } = await json('/_luafn/dev/api/kv');
  const before = byId('kv-space').value;
  byId('kv-space').replaceChildren(...spaces.map(({ name, functions }) => el('option', { value: name, textContent: functions.length === 1 && functions[0] === name ? name : `${name} (${functions.join(', ')})` })));
  if (spaces.some(({ name }) => name === before)) byId('kv-space').value = before;
  if (spaces.length > 0) await showSpace();
}

// ---- tests ----

function testRow({ name, ok, said }) {
  const mark = el('b', { className: ok ? 'ok' : 'no', textContent: ok ? 'passed' : 'failed' });
  return el('li', { className: ok ? 'passed' : 'failed' }, mark, el('span', { textContent: name }), said ? el('pre', { tabIndex: 0 }, el('code', { textContent: said })) : '');
}

function coverRow({ script, hit, total }) {
  const share = total > 0 ? (100 * hit) / total : 100;
  const bar = withAttributes(el('meter', { min: 0, max: 100, value: share }), { 'aria-hidden': 'true' });
  return el('tr', {}, withAttributes(el('th', { textContent: script }), { scope: 'row' }), el('td', { textContent: `${hit} of ${total}` }), el('td', {}, bar, ` ${share.toFixed(1)} %`));
}

async function runTests() {
  const { ok, tests, covered, log } = await post('tests', { filter: byId('test-filter').value });
  const failed = tests.filter((one) => !one.ok).length;
  const said = tests.length === 0 ? 'There is no test: luafn new NAME writes one.' : `${tests.length - failed} passed, ${failed} failed`;
  byId('test-said').textContent = said;
  byId('test-list').replaceChildren(...tests.map(testRow), ...(!ok && failed === 0 && log ? [el('li', { className: 'failed' }, el('pre', { tabIndex: 0 }, el('code', { textContent: log })))] : []));
  byId('cover-rows').replaceChildren(...covered.map(coverRow));
  byId('cover').hidden = covered.length === 0;
  return said;
}

// ---- audit ----

// A row an attack, a column a route.
function grid(rows) {
  const routes = [...new Set(rows.map(({ route }) => route))];
  const attacks = [...new Set(rows.map(({ attack }) => attack))];
  const head = el('tr', {}, withAttributes(el('th', { textContent: 'attack' }), { scope: 'col' }), ...routes.map((route) => withAttributes(el('th', { textContent: route }), { scope: 'col' })));
  const cells = new Map(rows.map((row) => [`${row.attack}\n${row.route}`, row]));
  const cell = (row) => (row ? withAttributes(el('td', {}, el('b', { className: row.result === 'ok' ? 'ok' : 'no', textContent: row.result }), el('small', { textContent: row.actual.slice(0, 160) })), { title: `expected ${row.expected}` }) : el('td'));
  return el('table', {}, el('thead', {}, head), el('tbody', {}, ...attacks.map((attack) => el('tr', {}, withAttributes(el('th', { textContent: attack }), { scope: 'row' }), ...routes.map((route) => cell(cells.get(`${attack}\n${route}`)))))));
}

async function runAudit() {
  const sub = byId('audit-user').value;
  const { rows, notes, log } = await post('audit', sub ? { sub, scope: byId('audit-scope').value } : {});
  const bad = rows.filter(({ result }) => result !== 'ok').length;
  const said = rows.length === 0 ? log || 'No route is protected.' : `${rows.length} requests: ${rows.length - bad} as expected, ${bad} not`;
  byId('audit-said').textContent = said;
  byId('audit-grid').replaceChildren(...rows.length > 0 ? [grid(rows)] : [], ...notes.map(soft));
  return said;
}

export async function openAudit(routes) {
  const scopes = [...new Set(routes.map((route) => scopeOf(route.auth)).filter(Boolean))];
  if (!byId('audit-scope').value) byId('audit-scope').value = scopes.join(' ');
  const { users } = await issuer();
  if (byId('audit-user').options.length === 1) byId('audit-user').append(...userOptions(users));
}

export function startTools(notify) {
  byId('kv-space').addEventListener('change', () => showSpace().catch(({ message }) => notify(message)));
  whileBusy('kv-again', 'looking', () => showSpace(), notify);
  whileBusy('kv-more', 'looking', () => showSpace(byId('kv-more').dataset.after), notify);
  whileBusy('test-run', 'the tests run', runTests, notify);
  whileBusy('audit-run', 'the attacks are under way', runAudit, notify);
}
