// How the page shows things. Text goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

// An element with properties and children.
export function el(name, props = {}, ...children) {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
}

export function withAttributes(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Makes these the children. Which is there already, by data-id, and is the same stays: a click that is under way on it
// counts, and it keeps the focus.
export function fill(node, children) {
  const there = new Map([...node.children].map((child) => [child.dataset.id, child]));
  const next = children.map((child) => (there.get(child.dataset.id)?.isEqualNode(child) ? there.get(child.dataset.id) : child));
  for (const child of [...node.children]) if (!next.includes(child)) child.remove();
  next.forEach((child, i) => { if (node.children[i] !== child) node.insertBefore(child, node.children[i] ?? null); });
}

const text = (value) => (typeof value === 'string' ? value : JSON.stringify(value));

export function facts(rows) {
  return rows.map(([name, value, note]) => el(
    'div', {},
    el('dt', { textContent: name }),
    el('dd', {}, el('code', { textContent: text(value) }), note ? el('small', { textContent: note }) : ''),
  ));
}

/* ---- the claims of a token ---- */

const time = (seconds) => new Date(seconds * 1000).toLocaleString();

const NOTES = {
  iss: () => 'who issued it; compared as text, slash and all',
  sub: () => 'who it is about',
  aud: () => 'for whom it is; one of them must be this API',
  azp: () => 'the application that asked for it',
  scope: () => 'what it opens',
  permissions: () => 'what the user may do in this API',
  iat: (value) => `issued ${time(value)}`,
  exp: (value) => `good until ${time(value)}`,
};

// In the order of NOTES, then all others.
export function claimRows(claims) {
  const known = Object.keys(NOTES).filter((name) => name in claims);
  const others = Object.keys(claims).filter((name) => !(name in NOTES)).sort();
  return facts([...known, ...others].map((name) => [name, claims[name], NOTES[name]?.(claims[name])]));
}

/* ---- an answer ---- */

const MEANING = {
  200: 'The token is valid and has what the function asks for. The handler ran.',
  401: 'No valid token came with the request. The handler never ran.',
  403: 'The token is good, but does not open this. Signing in again does not help; a role does.',
  404: 'There is no such function: this page expects me and shows in functions.lua.',
  502: 'The function failed, or what it calls did.',
  503: 'The host cannot answer right now.',
  504: 'The function took too long.',
};

const shorten = (token) => token && `${token.slice(0, 16)}…${token.slice(-6)}`;

function curl(path, token) {
  const header = token ? ` \\\n  -H 'Authorization: Bearer ${token}'` : '';
  return `curl -i ${location.origin}${path}${header}`;
}

export function copyButton(content, label = 'Copy') {
  const button = el('button', { type: 'button', className: 'small', textContent: label });
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(content);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'The browser does not allow it';
    }
  });
  return button;
}

function checkRow(name, check, said) {
  if (!check) {
    return el(
      'li', { className: 'skipped' }, el('b', { textContent: name }),
      el('span', { textContent: 'not reached' }),
    );
  }
  const detail = check.ok
    ? [el('code', { textContent: check.got })]
    : [
      el('span', {}, 'wants ', el('code', { textContent: check.want }), ', got ', el('code', { textContent: check.got })),
      el('q', { textContent: said }),
    ];
  const state = el('i', { className: 'hidden', textContent: check.ok ? 'passed: ' : 'failed: ' });
  return el(
    'li', { className: check.ok ? 'passed' : 'failed' },
    el('b', {}, state, name), ...detail,
  );
}

export function checkList({ names, checks, said }) {
  const rows = names.map((name) => checkRow(name, checks.find((check) => check.name === name), said));
  return el('ol', { className: 'checks' }, ...rows);
}

// Shows become tiles, claims become a list; errors are told beside the check that failed.
function picture(body) {
  if (Array.isArray(body)) {
    return el('ul', { className: 'tiles' }, ...body.map((show) => el('li', { textContent: show.name })));
  }
  return body?.claims ? el('dl', { className: 'facts' }, ...claimRows(body.claims)) : '';
}

function fold(title, content, ...more) {
  const pre = el('pre', { tabIndex: 0 }, el('code', { textContent: content }));
  pre.setAttribute('aria-label', title);
  return el('details', {}, el('summary', { textContent: title }), pre, ...more);
}

export const kindOf = (status) => (status < 400 ? 'ok' : status === 401 ? 'who' : 'no');

// `visit`: path, token, status, statusText, milliseconds, headers (text), body, and from checks.js
// names and checks; said is the host's own reason.
export function answerCard(visit) {
  const { path, token, status, body } = visit;
  const kind = kindOf(status);
  const explained = status === 200
    || ([401, 403].includes(status) && visit.checks.some((check) => !check.ok));
  return el(
    'article', { className: `answer ${kind}` },
    el(
      'header', {},
      el('span', { className: `status ${kind}`, textContent: status }),
      el('h3', { textContent: visit.statusText || 'Answer' }),
      el('code', { textContent: `GET ${path}` }),
      el('small', { textContent: `${visit.milliseconds} ms` }),
    ),
    el('p', { className: 'meaning', textContent: MEANING[status] ?? '' }),
    explained ? checkList(visit) : el('q', { className: 'said', textContent: visit.said }),
    picture(body),
    el(
      'div', { className: 'folds' },
      fold('The request as curl', curl(path, shorten(token)), copyButton(curl(path, token))),
      fold('Headers of the answer', visit.headers),
      fold('Body of the answer', typeof body === 'string' ? body : JSON.stringify(body, null, 2)),
    ),
  );
}
