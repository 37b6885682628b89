// A request to be changed and sent: as anybody, with a good token or a wrong one. Its answer beside the one before.
import { issuer, post } from './api.js';
import { diffView, pretty, showRecord, textOf } from './record.js';
import { kindOptions, makeToken, userOptions } from './tokens.js';
import { el, kindOf, withAttributes } from './view.js';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

// Those that the client adds by itself, and those that were not kept.
const OWN = /^(host|content-length|connection|transfer-encoding|accept-encoding|sec-.*|upgrade-insecure-requests|x-request-id|traceparent|tracestate)$/i;
// Those of an answer that are never twice the same.
const FLEETING = /^(date|age|x-request-id|x-luafn-generation|x-luafn-fault|content-length|ratelimit-.*)$/i;

let count = 0; // of controls: a label names its own by id

function field(label, control, className = '') {
  count += 1;
  return el('div', { className: `field ${className}` }, el('label', { htmlFor: `send-${count}`, textContent: label }), Object.assign(control, { id: `send-${count}` }));
}

const input = (props) => el('input', { autocomplete: 'off', spellcheck: false, ...props });

function headerLines(record) {
  return (record.request?.headers ?? [])
    .filter(([name, value]) => typeof name === 'string' && typeof value === 'string' && !OWN.test(name) && !value.includes('[redacted]'))
    .map(([name, value]) => `${name}: ${value}`).join('\n');
}

// What a record says, as a request that can be changed.
export const fromRecord = (record) => ({
  method: record.method, path: record.target, headers: headerLines(record), record,
  body: typeof record.request?.body === 'string' ? record.request.body : '',
  cut: record.request?.body && typeof record.request.body !== 'string',
  sub: record.claims?.sub, scope: typeof record.claims?.scope === 'string' ? record.claims.scope : '',
});

function readHeaders(text) {
  const headers = {};
  for (const line of text.split('\n').filter((each) => each.trim())) {
    const [, name, value] = /^\s*([^\s:]+)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (!name) throw new Error(`A header is written NAME: VALUE, not "${line}"`);
    headers[name.toLowerCase()] = headers[name.toLowerCase()] === undefined ? value : `${headers[name.toLowerCase()]}, ${value}`;
  }
  return headers;
}

const headerText = (headers) => (headers ?? []).map(([name, value]) => [textOf(name).toLowerCase(), textOf(value)])
  .filter(([name]) => !FLEETING.test(name)).map(([name, value]) => `${name}: ${value}`).sort().join('\n');

// Both answers, where they differ.
export function compared(was, is) {
  const whole = (record) => `${record.status}\n${headerText(record.answer?.headers)}\n\n${pretty(record.answer?.body ?? '')}`;
  return [el('h3', { textContent: 'Before and now' }), diffView(whole(was), whole(is))];
}

function answered(told, before, routeOf) {
  const { record } = told;
  const out = [];
  if (before && record) out.push(...compared(before, record));
  if (!record) {
    const body = told.body ?? '(no text)';
    out.push(el('p', {}, el('b', { className: kindOf(told.status), textContent: told.status })), withAttributes(el('pre', { tabIndex: 0 }, el('code', { textContent: pretty(body) })), { 'aria-label': 'Body of the answer' }));
    return out;
  }
  const one = el('article', { className: 'one' });
  showRecord(one, record, routeOf(record), { first: 'answer', heading: before ? 'h3' : 'h2', name: 'The request that was sent' });
  return [...out, el('p', {}, el('a', { href: `#/requests/${encodeURIComponent(record.id)}`, textContent: 'This request in the list' })), one];
}

function controls(from) {
  const known = METHODS.includes(from.method);
  return {
    method: el('select', {}, ...METHODS.map((name) => el('option', { textContent: name, selected: name === (known ? from.method : 'GET') }))),
    path: input({ value: from.path ?? '/' }),
    user: el('select', {}, el('option', { value: '', textContent: 'no token, or the one among the headers' })),
    kind: el('select', {}, ...kindOptions()),
    scope: input({ value: from.scope || 'openid profile' }),
    headers: el('textarea', { rows: 4, value: from.headers ?? '', spellcheck: false, placeholder: 'Name: value' }),
    body: el('textarea', { rows: 4, value: from.body ?? '', spellcheck: false }),
  };
}

async function offerUsers(c, sub) {
  const { users } = await issuer();
  c.user.append(...userOptions(users));
  if (users.some((user) => user.sub === sub)) c.user.value = sub;
}

// As the form is now: what is typed while the token is made is for the next one.
async function requestOf(c) {
  const request = { method: c.method.value, path: c.path.value, headers: readHeaders(c.headers.value), body: c.body.value };
  if (c.user.value) request.headers.authorization = `Bearer ${await makeToken(c.user.value, c.kind.value, c.scope.value)}`;
  return request;
}

// A form that sends. `from`: method, path, headers (lines), body, sub, scope; `record`: the answer before.
export function sendForm(from, routeOf, label = 'Send') {
  const c = controls(from);
  const out = withAttributes(el('div', { className: 'pane' }), { 'aria-live': 'polite' });
  const button = el('button', { type: 'submit', className: 'primary', textContent: label });
  const form = el(
    'form', { className: 'send' },
    field('Method', c.method), field('Path', c.path, 'wide'), field('As', c.user, 'wide'), field('Its token is', c.kind), field('Scope', c.scope),
    field('Headers', c.headers, 'row'), field('Body', c.body, 'row'),
    el('p', { className: 'row' }, button),
  );
  offerUsers(c, from.sub).catch(() => { /* without an issuer there is no token to be had */ });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      out.replaceChildren(...answered(await post('send', await requestOf(c)), from.record, routeOf));
    } catch ({ message }) {
      out.replaceChildren(el('p', { className: 'message', textContent: message }));
    }
    button.disabled = false;
  });
  return [form, out];
}
