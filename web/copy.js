// A recorded request as something to paste into a shell.

const quote = (text) => `'${String(text).replaceAll('\'', '\'\\\'\'')}'`;

// Those that the client adds by itself, and those that were not kept.
const OWN = /^(host|content-length|connection|accept-encoding|user-agent|sec-.*|cookie|dpop|upgrade-insecure-requests|x-request-id|traceparent)$/i;

const kept = ({ request }) => (request?.headers ?? []).filter(([name, value]) => !OWN.test(name) && !/^authorization$/i.test(name) && typeof value === 'string');

// Its scopes and its user, so that a token of the same kind can be made.
function tokenWords({ claims }) {
  if (!claims) return [];
  return [['sub', claims.sub], ['scope', claims.scope]].filter(([, value]) => typeof value === 'string' && value);
}

const isText = (body) => typeof body === 'string' && body !== '';

export function asCurl(record, origin) {
  const words = tokenWords(record).map(([name, value]) => ` --${name} ${quote(value)}`).join('');
  const parts = [`curl -i ${quote(origin + (record.target ?? '/'))}`];
  if (record.method !== 'GET') parts.push(`-X ${quote(record.method)}`);
  if (record.claims) parts.push(`-H "Authorization: Bearer $(luafn token${words})"`);
  for (const [name, value] of kept(record)) parts.push(`-H ${quote(`${name}: ${value}`)}`);
  if (isText(record.request?.body)) parts.push(`--data-binary ${quote(record.request.body)}`);
  return parts.join(' \\\n  ');
}

export function asInvoke(record) {
  const parts = [`luafn invoke ${quote(record.function)} --method ${quote(record.method)} --path ${quote(record.target)}`];
  for (const [name, value] of tokenWords(record)) parts.push(`--${name === 'sub' ? 'as' : name} ${quote(value)}`);
  for (const [name, value] of kept(record).slice(0, 16)) parts.push(`--header ${quote(`${name}: ${value}`)}`);
  // "@" would name a file
  if (isText(record.request?.body) && !record.request.body.startsWith('@')) parts.push(`--payload ${quote(record.request.body)}`);
  return parts.join(' \\\n  ');
}

export const asTest = (record) => `luafn replay ${quote(record.id)} --test`;
