// Reads tests/data/serverless-jwt.json: what the published verifier answers, recorded, and what
// luafn answers where it differs on purpose. Here a record becomes a Lua function, a token, and a
// comparison; wire/cases.test.mjs sends them.
import fs from 'node:fs';
import { AUDIENCE, keys, sign } from './issuer.mjs';
import { lua } from './host.mjs';

const FILE = new URL('../data/serverless-jwt.json', import.meta.url);
export const { cases, not_to_copy: notToCopy } = JSON.parse(fs.readFileSync(FILE));

const ABSENT = '<absent>';

// ---- behaviours that the file describes in words ----
const MAP_CLAIMS = {
  article: `function(claims)
    claims = jwt.remove_namespaces("http://schemas.sandrino.dev/", claims)
    claims.scope = jwt.claim_to_array(claims.scope)
    claims.roles = jwt.claim_to_array(claims.roles)
    return claims
  end`,
  'return an object with a = 1 and s = the scope claim': 'function(c) return { a = 1, s = c.scope } end',
  'after an asynchronous step, return an object with a = 2': 'function() sleep(0.01) return { a = 2 } end',
  'return null': 'function() return nil end',
  'return undefined': 'function() end',
  'return false': 'function() return false end',
  'return an empty object': 'function() return {} end',
  'raise boom': 'function() error("boom", 0) end',
  'raise the bare string str': 'function() error("str", 0) end',
};
const HANDLE_ERROR = {
  'return 418 with the JSON body {c: err.code, m: err.message}':
    'function(err) return { statusCode = 418, body = json.encode({ c = err.code, m = err.message }) } end',
  'after an asynchronous step, return 419 with err.code as body':
    'function(err) sleep(0.01) return { statusCode = 419, body = err.code } end',
  'raise he': 'function() error("he", 0) end',
  'return a result with statusCode 1': 'function() return { statusCode = 1 } end',
};
const HANDLER = {
  identity: 'function(event, context) return { statusCode = 200, body = json.encode(context.identityContext) } end',
  'raise handler boom': 'function() error("handler boom", 0) end',
  'return nothing': 'function() end',
  scope: `function(event, context)
    for _, scope in ipairs(context.identityContext.claims.scope) do
      if scope == "read:shows" then return { statusCode = 200, body = "OK" } end
    end
    return { statusCode = 403, headers = { ["Content-Type"] = "application/json" },
      body = '{"error":"access_denied","error_description":"Token does not contain the required \\'read:shows\\' scope"}' }
  end`,
};

function words(table, text, what) {
  const code = table[text];
  if (!code) throw new Error(`${what} in words that have no Lua yet: ${text}`);
  return code;
}

// The verifier's argument as a Lua expression.
function options(config, iss) {
  if (config === null || typeof config !== 'object') return lua(config);
  if (Array.isArray(config)) return lua(config);
  const text = (v) => (typeof v === 'string' ? v.replaceAll('$ISS', iss) : v);
  const all = { issuer: `${iss}/`, audience: AUDIENCE, ...config };
  const parts = [];
  for (const [k, v] of Object.entries(all)) {
    if (v === ABSENT || v === null) continue;
    if (k === 'mapClaims' && typeof v === 'string') parts.push(`map_claims = ${words(MAP_CLAIMS, v, k)}`);
    else if (k === 'mapClaims') parts.push(`map_claims = ${lua(v)}`);
    else if (k === 'handleError') parts.push(`handle_error = ${words(HANDLE_ERROR, v, k)}`);
    else parts.push(`${k} = ${lua(text(v))}`);
  }
  return `{ ${parts.join(', ')} }`;
}

// Whether the host's own scope rule answers this record, instead of a verifier in Lua.
export const hostRule = (record) => record.input.handler === 'scope' && record.input.config?.mapClaims !== 'article';

// The function that a record asks for.
export function script(record, iss) {
  if (hostRule(record)) return 'return function() return { statusCode = 200, body = "OK" } end\n';
  const config = record.input.config === undefined ? {} : record.input.config;
  const handler = words(HANDLER, record.input.handler ?? 'identity', 'handler');
  return `local verified = jwt.verifier(${options(config, iss)})\nreturn verified(${handler})\n`;
}

// Calls the three helpers with arguments from the request's body: { call, args = { { value = } } }.
export const HELPERS = `
local calls = { claimToArray = jwt.claim_to_array, removeNamespaces = jwt.remove_namespaces,
  getTokenFromHeader = jwt.token_from_header }
return function(event)
  local input = json.decode(event.body)
  local args = {}
  for i = 1, input.n do args[i] = input.args[i].value end
  local ok, value, fault = pcall(calls[input.call], table.unpack(args, 1, input.n))
  if not ok then fault = value end
  if not ok or (value == nil and fault ~= nil) then
    if type(fault) ~= "table" then fault = { message = tostring(fault) } end
    return json.encode({ throws = { code = fault.code, message = fault.message } })
  end
  return json.encode({ value = value })
end
`;

// ---- tokens ----
const time = (text, now) => {
  const m = /^now([+-][\d.]+)?$/.exec(text);
  return m ? now + Number(m[1] ?? 0) : undefined;
};

function fillTimes(v, now) {
  if (typeof v === 'string') {
    if (v.startsWith('text:')) return String(time(v.slice(5), now));
    return time(v, now) ?? v;
  }
  if (Array.isArray(v)) return v.map((x) => fillTimes(x, now));
  if (v && typeof v === 'object') {
    return Object.fromEntries(Object.entries(v).map(([k, x]) => [k, fillTimes(x, now)]));
  }
  return v;
}

const keyText = (text) => text.replace(/<n of (k\d)>/g, (_, k) => keys[k].jwk.n)
  .replace(/"?<(k\d)>"?/g, (_, k) => JSON.stringify(keys[k].jwk));

function part(v, iss, now) {
  if (v && typeof v === 'object' && 'raw' in v) {
    return keyText(v.raw.replaceAll('$ISS', iss).replace(/now([+-][\d.]+)?/g, (m) => String(time(m, now))));
  }
  return keyText(JSON.stringify(fillTimes(v, now)).replaceAll('$ISS', iss));
}

const flip = (s) => (s[0] === 'A' ? 'B' : 'A') + s.slice(1);

function change(token, { op, text = '', chars = 0, name, value } = {}) {
  const [h, p, s] = token.split('.');
  switch (op) {
    case undefined: return token;
    case 'append': return token + text;
    case 'cut': return token.slice(0, -chars);
    case 'append-to-header': return [h + text, p, s].join('.');
    case 'signature-alphabet': {
      // Only a signature that has such characters differs: the caller signs again until it does.
      return [h, p, s.replaceAll('-', '+').replaceAll('_', '/')].join('.');
    }
    case 'flip-first-signature-char': return [h, p, flip(s)].join('.');
    case 'set-claim': {
      const claims = JSON.parse(Buffer.from(p, 'base64url'));
      claims[name] = value;
      return [h, Buffer.from(JSON.stringify(claims)).toString('base64url'), s].join('.');
    }
    default: throw new Error(`unknown change: ${op}`);
  }
}

// { token, claims } for a record's input; claims are those that were sent, where they are JSON.
export function make(input, iss, now = Math.floor(Date.now() / 1000)) {
  if (input.jwtClaims === undefined) return { token: '', claims: {} };
  const b64 = (s) => Buffer.from(s).toString('base64url');
  const payload = part(input.jwtClaims, iss, now);
  const text = `${b64(part(input.jwtHeader, iss, now))}.${b64(payload)}`;
  let signature = sign(text, input.signedBy);
  if (input.change?.op === 'signature-alphabet' && !/[-_]/.test(signature)) signature = `-${signature.slice(1)}`;
  const token = change(`${text}.${signature}`, input.change);
  let claims = {};
  try { claims = JSON.parse(payload) ?? {}; } catch { /* sent on purpose */ }
  return { token, claims };
}

export const DEFAULT = {
  jwtHeader: { alg: 'RS256', typ: 'JWT', kid: 'k1' },
  jwtClaims: {
    iss: '$ISS/', aud: AUDIENCE, sub: 'auth0|1', azp: 'cid', iat: 'now-10', exp: 'now+3600',
    scope: 'openid profile read:shows',
  },
};

// ---- comparison: a list of differences, empty when the answer is as expected ----
const iso = (seconds) => new Date(seconds * 1000).toISOString();

function sameText(want, got, sent, iss) {
  let text = want.replaceAll('$ISS', iss).replaceAll('<t>', sent.token);
  text = text.replace(/<iso of (\w+)>/g, (_, k) => iso(sent.claims[k]));
  if (!text.includes('<engine text>')) return text === got;
  const [before, after] = text.split('<engine text>');
  return typeof got === 'string' && got.startsWith(before) && got.endsWith(after);
}

export function differences(want, got, sent, iss, at = 'body', key = '') {
  const say = () => [`${at}: wanted ${JSON.stringify(want)}, got ${JSON.stringify(got)}`];
  if (want === '<ts>') return got === sent.claims[key] ? [] : say();
  if (typeof want === 'string') return typeof got === 'string' && sameText(want, got, sent, iss) ? [] : say();
  if (want === null || typeof want !== 'object') return Object.is(want, got) ? [] : say();
  if (got === null || typeof got !== 'object' || Array.isArray(want) !== Array.isArray(got)) return say();
  const names = new Set([...Object.keys(want), ...Object.keys(got)]);
  return [...names].flatMap((k) => (
    Object.hasOwn(want, k) && Object.hasOwn(got, k)
      ? differences(want[k], got[k], sent, iss, `${at}.${k}`, k)
      : say()));
}

export function parse(text) {
  try { return JSON.parse(text); } catch { return text; }
}

const oneOf = (allowed, v) => (Array.isArray(allowed) ? allowed.includes(v) : allowed === v);

// An answer against { status, error }, each one value or a list.
function loosely({ status, error }, answer, body) {
  const out = [];
  if (!oneOf(status, answer.status)) out.push(`status: wanted ${status}, got ${answer.status}`);
  if (error !== undefined && answer.status >= 400 && !oneOf(error, body?.error)) {
    out.push(`error: wanted ${error}, got ${body?.error}`);
  }
  return out;
}

// An HTTP answer against a record.
export function judge(record, answer, sent, iss) {
  const body = parse(answer.text);
  if (record.expect?.status !== undefined) {
    const out = loosely(record.expect, answer, body);
    if (answer.status === 503 && answer.text.includes(iss)) out.push('the 503 tells the issuer\'s URL');
    return out;
  }
  if (record.http) return loosely(record.http, answer, body);
  const out = [];
  if (answer.status !== record.res.statusCode) {
    out.push(`status: wanted ${record.res.statusCode}, got ${answer.status} ${answer.text.slice(0, 200)}`);
  }
  out.push(...differences(parse(record.res.body), body, sent, iss));
  if (out.length === 0) return out;
  const also = (record.also_accepted ?? []).filter((x) => typeof x === 'object');
  return also.some((x) => loosely(x, answer, body).length === 0) ? [] : out;
}
