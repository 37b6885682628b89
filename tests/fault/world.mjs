// The deployment that the sweeps ask, what they ask it, and who judges the answers.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import zlib from 'node:zlib';
import { deployment, folder, lua, ROOT, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { jws, newKey } from '../lib/jws.mjs';
import { OFFER, text } from '../lib/websocket.mjs';
import { later } from '../lib/later.mjs';
import { requestText } from '../lib/wire.mjs';
import { Faults, isFrame } from './fault.mjs';

export const FN = '/.netlify/functions/';
const lib = fs.readFileSync(path.join(ROOT, 'scripts/lib/auth.lua'), 'utf8');
const shows = fs.readFileSync(path.join(ROOT, 'scripts/shows.lua'), 'utf8');
const ECHO = `return function(event)
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" },
    body = json.encode(json.decode(event.body)) }
end`;
const CLAIMS = `return function(event, context)
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" },
    body = json.encode({ sub = context.identityContext.claims.sub }) }
end`;
const UPLOAD = `return function(event)
  local total = 0
  for piece in event:chunks() do total = total + #piece end
  return tostring(total)
end`;
const ROWS = `local db = sql.open(env.DATABASE_URL)
return function()
  return json.encode { db:query("select $1 as a, 'x' as b", 7), db:transaction(function(tx) return tx:one("select 1.5 as c").c end) }
end`;
const TALK = 'return function() return { websocket = function(ws) for m in ws:messages() do ws:send(m) end end } end';
// In the host's own name, once more where that fails; and signed, in pieces.
const PARTNER = `local COUNT = env.TV_API_URL:gsub("shows$", "count")
return function()
  local n = 0
  local named = fetch(COUNT, { as = "partner", json = { a = 1 }, retry = { times = 1, backoff = 0 } })
  local signed = fetch(COUNT .. "?b&a=1", { method = "PUT", sign = "aws4", access_key = "a", secret_key = "b", region = "c", service = "s3",
    length = 3000, body = function() n = n + 1 if n < 4 then return ("x"):rep(1000) end end })
  return named:text():match("^%d+") .. " " .. signed:text():match("^%d+")
end`;
const TOOL = 'return function(event) return { n = event.arguments.n } end';
const KEY = 'return function() return base64.encode(crypto.pbkdf2("sha256", "a", "b", 1, 8)) end';
const NUMBER = '{ type = "object", properties = { n = { type = "integer" } }, required = { "n" } }';
// A file that is sent in pieces, and two that are compressed: by the loop, and by a thread.
const FILES = { 'large.bin': crypto.randomBytes(200000), 'small.css': crypto.randomBytes(10000).toString('hex'), 'large.css': crypto.randomBytes(60000).toString('hex') };
const SHOWS = [{ id: 1, url: 'http://tv/1', name: 'one' }, { id: 2, url: 'http://tv/2', name: 'two' }];

async function upstream(t) {
  const server = http.createServer((req, res) => {
    // The whole question first: an end that closes on bytes it has not read resets the connection.
    let length = 0;
    req.on('data', (d) => { length += d.length; }).on('end', () => {
      if (req.url === '/token') {
        res.writeHead(200, { 'Content-Type': 'application/json', Connection: 'close' });
        res.end(JSON.stringify({ access_token: 'a-token-of-the-partner', token_type: 'Bearer' })); // good for once
        return;
      }
      if (req.url.startsWith('/count')) {
        res.writeHead(200, { 'Content-Type': 'text/plain', 'Content-Encoding': 'identity', Connection: 'close' });
        res.end(`${length}`.padEnd(100000, '.'));
        return;
      }
      res.writeHead(200, { 'Content-Type': 'application/json', Connection: 'close' });
      res.end(JSON.stringify(req.method === 'POST' ? { active: false } : SHOWS));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}/shows`;
}

// The folder, the issuer and the server behind `shows`; nothing is started. `scripts` are public, unless
// `fields` says more of them, which is made of the issuer.
export async function prepare(t, { backend = 'openssl', scripts = {}, fields = () => ({}), tv } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const url = tv ?? await upstream(t);
  const open = 'auth = "public"';
  const dir = folder(t, deployment({
    hello: 'return function() return "hello" end',
    echo: ECHO,
    upload: UPLOAD,
    rows: ROWS,
    talk: TALK,
    key: KEY,
    tool: TOOL,
    partner: PARTNER,
    raise: 'return function() error("on purpose") end',
    me: CLAIMS,
    bound: CLAIMS,
    opaque: CLAIMS,
    shows,
    ...scripts,
  }, {
    fields: {
      hello: open, echo: open, upload: `${open}, stream_body = true`, rows: `${open}, sql = { "DATABASE_URL" }`, talk: open, key: open, raise: open,
      tool: `auth = true, tool = { description = "x", input = ${NUMBER}, output = ${NUMBER} }`, me: 'auth = true', bound: 'auth = { dpop = true }',
      opaque: `auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, introspection = { url = ${lua(url)}, client_id = "a", client_secret = "b" } }`,
      shows: `${open}, fetch = { "127.0.0.1" }, env = { "JWT_*", "TV_API_URL" }`,
      partner: `${open}, fetch = { "127.0.0.1" }, env = { "TV_API_URL" }`,
      ...Object.fromEntries(Object.keys(scripts).map((name) => [name, open])),
      ...fields(issuer),
    },
    more: `  publish = "web", redirects = { { from = "/px/*", to = "${new URL(url).origin}/:splat", status = 200 } }, outbound = { partner = { hosts = { "127.0.0.1" }, token_url = "${new URL(url).origin}/token", client_id = "a", client_secret = "b" } }, auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)} },\n`,
    files: {
      'scripts/lib/auth.lua': lib,
      'web/page.txt': 'a page',
      ...Object.fromEntries(Object.entries(FILES).map(([name, bytes]) => [`web/${name}`, bytes])),
      '.env': `JWT_ISSUER=${issuer.issuer}\nJWT_AUDIENCE=${AUDIENCE}\nTV_API_URL=${url}\nDATABASE_URL=sqlite:rows.db\n`,
    },
  }));
  return { issuer, dir };
}

// The same, served by one worker under `faults`.
export async function world(t, { faults = new Faults(t), env = {}, ...rest } = {}) {
  const { issuer, dir } = await prepare(t, rest);
  const host = await start(t, { dir, env: { ...faults.env, ...env } });
  await host.keys();
  [faults.pid] = host.workers();
  return { faults, issuer, host, worker: faults.pid };
}

// A token bound to a key, and a proof made for it; `over` changes the proof's claims.
const holder = newKey('ES256', 'holder');
const { kty, crv, x, y } = holder.jwk;
const sha256 = (text) => crypto.createHash('sha256').update(text).digest('base64url');
export const jkt = sha256(JSON.stringify({ crv, kty, x, y }));
export function withProof(host, token, over = {}) {
  const claims = { jti: crypto.randomUUID(), htm: 'GET', htu: host.url(`${FN}bound`), iat: Math.floor(Date.now() / 1000), ath: sha256(token), ...over };
  return { Authorization: `DPoP ${token}`, DPoP: jws({ alg: 'ES256', typ: 'dpop+jwt', jwk: { kty, crv, x, y } }, claims, ['ES256', holder.privateKey]) };
}

const CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"tool","arguments":{"n":7}}}';
let serial = 0;
const fresh = () => ({ jti: `${serial += 1}` });
const bearer = (token) => ({ Authorization: `Bearer ${token}` });
export const spoil = (token) => `${token.slice(0, -9)}${token.at(-9) === 'A' ? 'B' : 'A'}${token.slice(-8)}`;

// Each makes a request (a new one each time, where caches would hide work), says what the right
// answer is, whether 200 would be a breach, and the seconds after which a fetch that failed, or found
// nothing, may be made again.
export const types = (w) => {
  const { issuer } = w;
  const kept = { good: issuer.token(), bad: spoil(issuer.token()) };
  const post = JSON.stringify({ list: [1, 2.5, 'x', true, { a: [] }], text: 'é'.repeat(100) });
  const is = (status, check = () => true) => (res) => res.status === status && check(res);
  const me = is(200, (r) => r.json().sub === 'auth0|1');
  const refused = (code) => is(401, (r) => r.json().error === code);
  const bytesOf = (r) => (r.header('content-encoding') === 'gzip' ? zlib.gunzipSync(r.body) : r.body);
  // Just written, so that nothing of it is kept.
  const file = (name, headers = {}) => () => {
    fs.utimesSync(path.join(w.host.dir, 'web', name), new Date(), new Date());
    return { request: { path: `/${name}`, headers }, right: is(200, (r) => bytesOf(r).equals(Buffer.from(FILES[name]))) };
  };
  const guarded = (token, right, bad = false) => () => ({ request: { path: `${FN}me`, headers: bearer(token()) }, right, bad });
  return {
    hello: () => ({ request: { path: `${FN}hello` }, right: is(200, (r) => r.text === 'hello') }),
    'echo of JSON': () => ({
      request: { method: 'POST', path: `${FN}echo`, headers: { 'Content-Type': 'application/json' }, body: post },
      right: is(200, (r) => { assert.deepEqual(r.json(), JSON.parse(post)); return true; }),
    }),
    'an upload in pieces': () => ({
      request: { method: 'POST', path: `${FN}upload`, body: 'x'.repeat(150000) }, right: is(200, (r) => r.text === '150000'),
    }),
    'a body of somebody without a token': () => ({
      request: { method: 'POST', path: `${FN}me`, body: 'x'.repeat(150000) }, right: is(401), bad: true,
    }),
    'a rewrite, with a body each way': () => ({
      request: { method: 'POST', path: '/px/count', body: 'x'.repeat(150000) }, right: is(200, (r) => /^150000\.{99994}$/.test(r.text)),
    }),
    'rows of a database': () => ({ request: { path: `${FN}rows` }, right: is(200, (r) => { assert.deepEqual(r.json(), [[{ a: 7, b: 'x' }], 1.5]); return true; }) }),
    'a token of the host\'s own, and a signed body in pieces': () => ({ request: { path: `${FN}partner` }, right: is(200, (r) => r.text === '7 3000'), pause: 90 }),
    'a key of a password': () => ({ request: { path: `${FN}key` }, right: is(200, (r) => r.text === crypto.pbkdf2Sync('a', 'b', 1, 8, 'sha256').toString('base64')) }),
    'a WebSocket, and a message': () => ({
      request: { bytes: Buffer.concat([requestText({ path: `${FN}talk`, headers: OFFER, close: false }), text('x'.repeat(100000))]) }, right: is(101),
    }),
    'a call of a tool': () => ({
      request: { method: 'POST', path: '/mcp', headers: { ...bearer(issuer.token(fresh())), 'Content-Type': 'application/json' }, body: CALL },
      // What its handler runs into is a result, too.
      right: is(200, ({ json }) => { const { result } = json(); return result.structuredContent?.n === 7 || (result.isError && /memory/.test(result.content[0].text)); }),
    }),
    'a call of a tool, bad signature': () => ({
      request: { method: 'POST', path: '/mcp', headers: { ...bearer(spoil(issuer.token(fresh()))), 'Content-Type': 'application/json' }, body: CALL }, right: is(401), bad: true,
    }),
    'a function that raises': () => ({ request: { path: `${FN}raise` }, right: is(502, (r) => typeof r.json().errorType === 'string') }),
    'a static file': () => ({ request: { path: '/page.txt' }, right: is(200, (r) => r.text === 'a page') }),
    'a large file': file('large.bin'),
    'a file to be compressed': file('small.css', { 'Accept-Encoding': 'gzip' }),
    'a large file to be compressed': file('large.css', { 'Accept-Encoding': 'gzip' }),
    'no such function': () => ({ request: { path: `${FN}nothing` }, right: is(404) }),
    'me, token in the cache': guarded(() => kept.good, me),
    'me, token not seen before': guarded(() => issuer.token(fresh()), me),
    'me, bad signature': guarded(() => spoil(issuer.token(fresh())), refused('jwt_invalid'), true),
    'me, bad signature seen before': guarded(() => kept.bad, refused('jwt_invalid'), true),
    'me, expired': guarded(() => issuer.token({ exp: 1595000000, ...fresh() }), refused('jwt_expired'), true),
    'me, wrong audience': guarded(() => issuer.token({ aud: 'https://other', ...fresh() }), refused('jwt_invalid'), true),
    'me, unknown kid, asked for with a fetch': () => ({
      request: { path: `${FN}me`, headers: bearer(issuer.token(fresh(), { kid: 'kx', by: 'k3' })) }, right: (r) => r.status === 401 || r.status === 503, bad: true, pause: 61,
    }),
    'bound, with its proof': () => {
      const token = issuer.token({ cnf: { jkt }, ...fresh() });
      return { request: { path: `${FN}bound`, headers: () => withProof(w.host, token) }, right: me };
    },
    'bound, a proof for another method': () => ({
      request: { path: `${FN}bound`, headers: withProof(w.host, issuer.token({ cnf: { jkt } }), { htm: 'PUT' }) }, right: refused('invalid_dpop_proof'), bad: true,
    }),
    "bound, another's token": () => {
      const token = issuer.token({ cnf: { jkt: sha256('x') } });
      return { request: { path: `${FN}bound`, headers: withProof(w.host, token) }, right: refused('jwt_invalid'), bad: true };
    },
    'opaque, asked for with a fetch': () => ({
      request: { path: `${FN}opaque`, headers: bearer(`opaque-${fresh().jti}`) }, right: (r) => r.status === 401, bad: true, pause: 2,
    }),
    'me, no token': () => ({ request: { path: `${FN}me` }, right: is(401), bad: true }),
    'shows, with a fetch': () => ({
      request: { path: `${FN}shows`, headers: bearer(issuer.token(fresh())) },
      right: is(200, (r) => { assert.deepEqual(r.json(), SHOWS); return true; }),
    }),
    'shows, bad signature': () => ({
      request: { path: `${FN}shows`, headers: bearer(spoil(issuer.token(fresh()))) }, right: is(401), bad: true,
    }),
  };
};

export function judge(w, what, { right, bad }, out, struck) {
  assert.ok(!out.hung, `${what}: hangs: ${out.why}`);
  assert.deepEqual(w.host.workers(), [w.worker], `${what}: the worker is gone; stderr:\n${w.host.stderr.slice(-3000)}`);
  if (out.closed) return 'closed';
  const { res } = out;
  assert.ok(!(bad && res.status < 400), `${what}: a bad token got ${res.status}`);
  let good = false;
  try { good = right(res); } catch { /* not the right body */ }
  if (good) return 'right';
  assert.ok(struck > 0, `${what}: wrong without a fault: ${res.status} ${res.text}`);
  assert.ok(isFrame(res), `${what}: not the frame of an error: ${res.status} ${JSON.stringify(res.headers)} ${res.text}`);
  return `${res.status}`;
}
