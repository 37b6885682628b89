// The case table of tokens, J01 to J32, against `serve`, once with each backend, and with all that may be
// switched on beside it. Each refusal is
// held against a positive twin: the same request with a good token, before and after, on the same
// connection. The handlers count how often they run.
//
// J28 (bad keys in the configuration) and J32 (interleaving) have tests of their own below; J29
// (allocations that fail) belongs to tests/fault.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import net from 'node:net';
import test from 'node:test';
import { deployment, lua, PERF, run, SLOW, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer, keys } from '../lib/issuer.mjs';
import { b64, jws, newKey, signature, splitJws } from '../lib/jws.mjs';
import { later } from '../lib/later.mjs';
import { requestText, Wire } from '../lib/wire.mjs';

const COUNTER = `local n = 0
return function(event, context)
  n = n + 1
  local claims = context.identityContext.claims
  return json.encode({ n = n, sub = claims.sub, scope = claims.scope, exp = claims.exp })
end`;

const SECRET = 'a secret of at least 32 bytes, known to both';
const now = () => Math.floor(Date.now() / 1000);

const es = newKey('ES256', 'es');
const es384 = newKey('ES384', 'es384');
const ed = newKey('EdDSA', 'ed');
const rs512 = newKey('RS512', 'rs512');
const ps256 = newKey('PS256', 'ps256');
const foreign = newKey('RS256', 'k1');

// ---- what is served ----

// What may stand beside a policy, all of it switched on: no token is let in for it that was refused before.
const EVERYTHING = {
  auth: ', resource = "https://api.example", revocation = {}, dpop = { optional = true, nonce = true }',
  config: '  proxies = { from = "127.0.0.1", client_cert_header = "client-cert" },\n  protect = { { path = "/*", auth = true } },\n',
};

async function serve(t, backend, more = { auth: '', config: '' }) {
  const fixture = await Issuer.start(t);
  const issuer = fixture.tenant('main');
  const many = fixture.tenant('many');
  many.state.keys = [keys.k1.jwk, es.jwk, es384.jwk, ed.jwk, rs512.jwk, ps256.jwk];
  const own = (tenant, more) => `auth = { issuer = ${lua(tenant.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)}, ${more} }`;
  const fields = {
    me: 'auth = true',
    shows: 'auth = { scope = "read:shows" }',
    ns: 'auth = { namespace = "https://ns/" }',
    nsadmin: 'auth = { namespace = "https://ns/", scope = "admin" }',
    late: own(issuer, 'clock_tolerance = 300'),
    endless: own(issuer, 'require_exp = false'),
    at: own(issuer, 'profile = "at+jwt"'),
    es: own(many, 'algorithms = { "ES256" }'),
    many: own(many, 'algorithms = { "RS256", "RS512", "PS256", "ES256", "ES384", "EdDSA" }'),
    hs: own(issuer, `algorithms = { "HS256" }, secret = ${lua(SECRET)}`),
  };
  const scripts = Object.fromEntries(Object.keys(fields).map((name) => [name, COUNTER]));
  const h = await start(t, {
    files: deployment(scripts, { fields, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, backend = ${lua(backend)}${more.auth} },\n${more.config}` }),
  });
  if (more.auth) assert.equal((await run(t, ['revoke', '--jti', 'of another token'], { dir: h.dir })).code, 0);
  await h.keys();
  return { h, issuer, many };
}

// Tokens that are good for each function, each time with another subject.
let serial = 0;
function goodToken(world, fn, over = {}) {
  serial += 1;
  const claims = (tenant) => tenant.claims({ sub: `twin ${serial}`, ...over });
  const at = { client_id: 'cid', jti: `j${serial}` };
  switch (fn) {
    case 'es': return jws({ alg: 'ES256', kid: 'es' }, claims(world.many), ['ES256', es.privateKey]);
    case 'many': return jws({ alg: 'RS256', kid: 'k1' }, claims(world.many), ['RS256', keys.k1.privateKey]);
    case 'hs': return jws({ alg: 'HS256' }, claims(world.issuer), ['HS256', SECRET]);
    case 'at': return jws({ alg: 'RS256', typ: 'at+jwt', kid: 'k1' }, { ...claims(world.issuer), ...at }, ['RS256', keys.k1.privateKey]);
    case 'nsadmin': return world.issuer.token({ sub: `twin ${serial}`, scope: 'admin', ...over });
    default: return world.issuer.token({ sub: `twin ${serial}`, ...over });
  }
}

// ---- the harness ----

const PATH = (fn) => `/.netlify/functions/${fn}`;
const bearer = (token) => [['Authorization', `Bearer ${token}`]];

// One connection, made again only when the host closes it.
class Line {
  constructor(h) { this.h = h; this.made = 0; }

  async ask(fn, headers, query = '') {
    if (!this.wire || this.wire.ended) {
      this.wire = await this.h.connect();
      this.made += 1;
    }
    const t0 = performance.now();
    this.wire.send(requestText({ path: `${PATH(fn)}${query}`, headers, close: false }));
    const res = await this.wire.response();
    const ms = performance.now() - t0;
    if (res.header('connection') === 'close') await this.wire.closed();
    return { res, ms };
  }

  close() { this.wire?.close(); }
}

const REPEATS = 5;
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

// Words of the request's token that must not come back in a header.
function words(headers) {
  const found = headers.flatMap(([, value]) => value.split(/[ .]/)).filter((w) => w.length >= 8);
  for (const [, value] of headers) {
    try {
      const { header, payload } = splitJws(value.split(' ')[1]);
      found.push(...[header.kid, header.alg, payload.iss, payload.sub].filter((v) => typeof v === 'string' && v.length > 3 && v !== 'RS256'));
    } catch { /* not a token */ }
  }
  return found;
}

function checkAnswer(row, res, headers) {
  const { status = 401, error, kind = 'invalid_token' } = row;
  const wanted = [status].flat();
  assert.ok(wanted.includes(res.status), `${res.status} instead of ${wanted}: ${res.text.slice(0, 200)}`);
  if (res.status !== 401 && res.status !== 403) return;
  assert.match(res.header('content-type'), /^application\/json\b/);
  const body = res.json();
  assert.deepEqual(Object.keys(body), ['error', 'error_description']);
  if (error) assert.equal(body.error, error);
  assert.ok(Buffer.byteLength(body.error_description) <= 1024, 'bounded');
  const challenge = res.header('www-authenticate');
  if (res.status === 403) assert.match(challenge, /^Bearer realm="[^"]+", error="insufficient_scope"/);
  else if (kind === 'invalid_token') assert.match(challenge, /^Bearer realm="[^"]+", error="invalid_token"(, scope="[^"]+")?(, resource_metadata="[^"]+")?$/);
  else assert.match(challenge, /^Bearer realm="[^"]+"(, scope="[^"]+")?(, resource_metadata="[^"]+")?$/);
  for (const word of words(headers)) {
    assert.ok(!res.lines.some((line) => line.replace(/algs="[^"]*"/, '').includes(word)), `a header repeats ${JSON.stringify(word.slice(0, 60))}`);
  }
}

async function twin(world, line, fn, counts) {
  const { res } = await line.ask(fn, bearer(goodToken(world, fn)));
  assert.equal(res.status, 200, `the good token: ${res.status} ${res.text.slice(0, 200)}`);
  const { n, sub } = res.json();
  assert.equal(sub, `twin ${serial}`);
  if (counts[fn] !== undefined) assert.equal(n, counts[fn] + 1, 'the handler ran for nobody else');
  counts[fn] = n;
}

// row: { fn, token | headers, query, status, error, kind, ms }
async function refuse(world, line, row, counts, times) {
  const { fn = 'me', query } = row;
  const headers = row.headers ?? bearer(row.token);
  await twin(world, line, fn, counts);
  const measure = async () => {
    const taken = [];
    for (let i = 0; i < REPEATS; i++) {
      const { res, ms } = await line.ask(fn, headers, query);
      checkAnswer(row, res, headers);
      taken.push(ms);
    }
    return taken;
  };
  const limit = (row.ms ?? 10) * SLOW;
  let ms = median(await measure());
  // The machine may have been busy; a token that is slow is so each time.
  for (let again = 0; PERF && ms >= limit && again < 10; again++) ms = Math.min(...await measure());
  await twin(world, line, fn, counts);
  assert.ok(!PERF || ms < limit, `takes ${ms.toFixed(1)} ms`);
  times.push(ms);
}

async function accept(world, line, row, counts) {
  const { fn = 'me' } = row;
  const { res } = await line.ask(fn, row.headers ?? bearer(row.token), row.query);
  assert.equal(res.status, 200, res.text.slice(0, 200));
  counts[fn] = res.json().n;
  if (row.check) row.check(res.json());
}

// ---- the table: [id, name, row]; rows with `ok` must be let in ----

const K1 = ['RS256', keys.k1.privateKey];

function headerRows({ issuer }) {
  const good = issuer.token();
  const both = (a, b) => [['Authorization', a], ['Authorization', b]];
  const bad = { error: 'invalid_header', kind: 'none' };
  return [
    ['J01', 'valid', { ok: true, token: good }],
    ['J02', 'no header', { headers: [], ...bad }],
    ...['bearer', 'BEARER', 'bEaReR'].map((s) => ['J03', s, { ok: true, headers: [['Authorization', `${s} ${good}`]] }]),
    ['J03', 'Basic', { headers: [['Authorization', `Basic ${good}`]], ...bad }],
    ['J03', 'Bearer alone', { headers: [['Authorization', 'Bearer']], ...bad }],
    ['J03', 'two tokens', { headers: [['Authorization', `Bearer ${good} ${good}`]], ...bad }],
    ['J03', 'no scheme', { headers: [['Authorization', good]], ...bad }],
    ['J03', 'two headers, the same', { headers: both(`Bearer ${good}`, `Bearer ${good}`), ...bad }],
    ['J03', 'two headers, good first', { headers: both(`Bearer ${good}`, 'Bearer x'), ...bad }],
    ['J03', 'two headers, good last', { headers: both('Bearer x', `Bearer ${good}`), ...bad }],
    ['J03', 'in the query alone', { headers: [], query: `?access_token=${good}`, ...bad }],
    ['J03', 'in the query beside a good header', { ok: true, token: good, query: `?access_token=${good.slice(0, -4)}` }],
  ];
}

function algRows({ issuer }) {
  const claims = issuer.claims();
  const rows = [];
  for (const alg of ['none', 'None', 'NONE', 'nOnE', 'none ']) {
    rows.push(['J04', `${alg}, empty`, { token: jws({ alg, kid: 'k1' }, claims, '') }]);
    rows.push(['J04', `${alg}, junk`, { token: jws({ alg, kid: 'k1' }, claims, 'c2lnbmF0dXJl') }]);
    rows.push(['J04', `${alg}, signed`, { token: jws({ alg, kid: 'k1' }, claims, K1) }]);
  }
  const { publicKey, jwk } = keys.k1;
  const pem = publicKey.export({ type: 'spki', format: 'pem' });
  const secrets = {
    PEM: pem, 'PEM without newline': pem.trimEnd(), 'space and PEM': ` ${pem}`, 'PEM with CRLF': pem.replaceAll('\n', '\r\n'),
    DER: publicKey.export({ type: 'spki', format: 'der' }), 'PKCS#1 PEM': publicKey.export({ type: 'pkcs1', format: 'pem' }),
    'PKCS#1 DER': publicKey.export({ type: 'pkcs1', format: 'der' }), JWK: JSON.stringify(jwk),
    'n, bytes': Buffer.from(jwk.n, 'base64url'), 'n, text': jwk.n, empty: '', 'thirty-two zeros': Buffer.alloc(32),
  };
  for (const [name, secret] of Object.entries(secrets)) {
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      rows.push(['J05', `${alg} keyed with ${name}`, { token: jws({ alg, kid: 'k1' }, claims, [alg, secret]) }]);
    }
  }
  for (const alg of ['rs256', 'RS256 ', ' RS256', ['RS256'], 256, null, true, {}, undefined, 'HS1', 'RS2560', 'RS256\u0000', '']) {
    rows.push(['J06', `alg ${JSON.stringify(alg)}`, { token: jws({ alg, kid: 'k1' }, claims, K1) }]);
  }
  for (const alg of ['RS384', 'RS512', 'PS256', 'PS512']) {
    const token = jws({ alg, kid: 'k1' }, claims, [alg, keys.k1.privateKey]);
    rows.push(['J07', `${alg} by a key of RS256`, { token }]);
  }
  return rows;
}

function boundKeyRows({ many }) {
  const claims = many.claims();
  const rows = [];
  for (const [key, alg] of [[keys.k1, 'RS512'], [keys.k1, 'PS256'], [rs512, 'RS256'], [rs512, 'PS256'], [ps256, 'RS256'], [ps256, 'RS512']]) {
    rows.push(['J07', `${alg}, allowed, by the key ${key.kid}`, { fn: 'many', token: jws({ alg, kid: key.kid }, claims, [alg, key.privateKey]) }]);
  }
  for (const key of [keys.k1, rs512, ps256, es, es384, ed]) {
    const alg = key.alg ?? 'RS256';
    rows.push(['J07', `${alg} by its own key`, { ok: true, fn: 'many', token: jws({ alg, kid: key.kid }, claims, [alg, key.privateKey]) }]);
  }
  return rows;
}

function ecRows({ many }) {
  const claims = many.claims();
  const head = { alg: 'ES256', kid: 'es' };
  const input = `${b64(JSON.stringify(head))}.${b64(JSON.stringify(claims))}`;
  const good = signature(input, 'ES256', es.privateKey);
  const n = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const one = Buffer.concat([Buffer.alloc(31), Buffer.from([1])]);
  const der = crypto.sign('sha256', Buffer.from(input), es.privateKey);
  const signatures = {
    'r = s = 0': Buffer.alloc(64), 'r = n': Buffer.concat([n, good.subarray(32)]), 's = n': Buffer.concat([good.subarray(0, 32), n]),
    'r = 1, s = 1': Buffer.concat([one, one]), 'r = s = n': Buffer.concat([n, n]), DER: der, '65 bytes': Buffer.concat([good, Buffer.alloc(1)]),
    '65 bytes, zero first': Buffer.concat([Buffer.alloc(1), good]), '63 bytes': good.subarray(0, 63), '128 bytes': Buffer.concat([good, good]),
  };
  const rows = Object.entries(signatures).map(([name, sig]) => ['J08', name, { fn: 'es', token: `${input}.${b64(sig)}` }]);
  rows.push(['J08', 'the same, good', { ok: true, fn: 'es', token: `${input}.${b64(good)}` }]);
  const p384 = (alg) => jws({ alg, kid: 'es384' }, claims, [alg, es384.privateKey]);
  rows.push(['J08', 'ES256 by a key of P-384', { fn: 'es', token: p384('ES256') }]);
  rows.push(['J08', 'ES256 by a key of P-384, ES384 allowed', { fn: 'many', token: p384('ES256') }]);
  rows.push(['J08', 'ES384 where ES256 alone is', { fn: 'es', token: p384('ES384') }]);
  return rows;
}

function signatureRows(world) {
  const rows = [];
  for (const fn of ['me', 'es', 'hs']) {
    const { h, p, s, raw } = splitJws(goodToken(world, fn));
    const other = splitJws(goodToken(world, fn));
    const flipped = (i) => { const copy = Buffer.from(raw); copy[i] ^= 1; return b64(copy); };
    const bad = {
      'first byte flipped': flipped(0), 'last byte flipped': flipped(raw.length - 1), 'cut by a byte': b64(raw.subarray(0, -1)),
      'cut by four characters': s.slice(0, -4), extended: `${s}AAAA`, empty: '', "another token's": other.s, zeros: b64(Buffer.alloc(raw.length)),
      padded: s + '='.repeat((4 - (s.length % 4)) % 4 || 4), spaced: `${s}%20`, reversed: b64(Buffer.from(raw).reverse()),
    };
    if (s.length % 4 !== 0) {
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
      bad['unused bits'] = s.slice(0, -1) + alphabet[alphabet.indexOf(s.at(-1)) | 1];
    }
    for (const [name, sig] of Object.entries(bad)) rows.push(['J09', `${fn}: ${name}`, { fn, token: `${h}.${p}.${sig}` }]);
    rows.push(['J09', `${fn}: unchanged`, { ok: true, fn, token: `${h}.${p}.${s}` }]);
  }
  return rows;
}

function formRows({ issuer }) {
  const good = issuer.token();
  const { h, p, s } = splitJws(good);
  const shapes = {
    'no dot': good.replaceAll('.', ''), 'one dot': `${h}.${p}${s}`, 'three dots': `${good}.`, 'four dots': `${good}..`, 'four parts': `${good}.${s}`,
    dots: '..', 'no header': `.${p}.${s}`, 'no payload': `${h}..${s}`, '8 000 dots': '.'.repeat(8000), '10 000 dots': '.'.repeat(10000),
    'leading dot': `.${good}`, junk: 'x', 'one character short': `${h.slice(0, -1)}.${p}.${s}`,
  };
  const rows = Object.entries(shapes).map(([name, token]) => ['J11', name, { token }]);
  const flattened = JSON.stringify({ payload: p, protected: h, signature: s });
  const general = JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] });
  rows.push(['J12', 'flattened JSON', { token: flattened }], ['J12', 'general JSON', { token: general }]);
  rows.push(['J12', 'JWE', { token: `${b64('{"alg":"dir","enc":"A128GCM"}')}..${b64('0123456789ab')}.${b64('secret')}.${b64('0123456789abcdef')}` }]);
  rows.push(['J12', 'JWE header over three parts', { token: jws({ alg: 'RS256', enc: 'A128GCM', kid: 'k1' }, good, K1) }]);
  rows.push(['J12', 'nested', { token: jws({ alg: 'RS256', cty: 'JWT', kid: 'k1' }, good, K1) }]);
  for (const payload of ['[]', '5', '"x"', 'null', 'true', '', '{', '{}{}', `${JSON.stringify(issuer.claims())}\0x`, '\u{feff}{}']) {
    rows.push(['J12', `payload ${JSON.stringify(payload.slice(0, 12))}`, { token: jws({ alg: 'RS256', kid: 'k1' }, payload, K1) }]);
  }
  const bytes = Buffer.concat([Buffer.from(JSON.stringify(issuer.claims({ name: 'x' })).replace('"x"', '"\xff"'), 'latin1')]);
  rows.push(['J12', 'payload that is not UTF-8', { token: jws({ alg: 'RS256', kid: 'k1' }, bytes, K1) }]);
  rows.push(['J12', 'payload with names of many kinds', { ok: true, token: issuer.token({ name: 'Zoë 漢字', 'a"b': null }) }]);
  return rows;
}

function extensionRows({ issuer }, port) {
  const claims = issuer.claims();
  const head = (more) => ({ alg: 'RS256', kid: 'k1', ...more });
  const signed = (more) => ({ token: jws(head(more), claims, K1) });
  const crits = [[], 'x', [1], ['exp'], ['unknown'], ['b64'], ['x', 'x'], null, {}, ['']];
  const rows = crits.map((crit) => ['J13', `crit ${JSON.stringify(crit)}`, signed({ crit, x: 1 })]);
  rows.push(['J13', 'b64 false', signed({ b64: false })], ['J13', 'b64 false, crit', signed({ b64: false, crit: ['b64'] })]);
  rows.push(['J13', 'b64 true', signed({ b64: true })], ['J13', 'a member that means nothing', { ok: true, ...signed({ x: 1 }) }]);
  const url = `http://127.0.0.1:${port}/keys.json`;
  const own = foreign.publicKey.export({ format: 'jwk' });
  const brought = { jwk: { ...own, kid: 'k1' }, jku: url, x5u: url, x5c: ['MIIB'] };
  for (const [name, value] of Object.entries(brought)) {
    for (const kid of ['k1', 'own', undefined]) {
      rows.push(['J14', `${name}, kid ${kid}`, { token: jws(head({ kid, [name]: value }), claims, ['RS256', foreign.privateKey]) }]);
    }
    rows.push(['J14', `${name}, but a good signature`, { ok: true, ...signed({ [name]: value }) }]);
  }
  return rows;
}

function kidRows({ issuer }) {
  const claims = issuer.claims();
  const kids = ['unknown', '', 5, [], {}, null, true, 'K1', 'k1 ', 'k1\u0000', '../../dev/null', '/dev/null', "'--", "' UNION SELECT 'k1", '\u0000',
    '|sleep 10', '$(sleep 10)', '__proto__', 'k'.repeat(256), 'k'.repeat(257), 'k'.repeat(2000), 'http://127.0.0.1:9/', undefined];
  const rows = kids.map((kid) => ['J15', `kid ${JSON.stringify(kid)?.slice(0, 30)}`, { token: jws({ alg: 'RS256', kid }, claims, K1) }]);
  rows.push(['J15', '/dev/null, and the empty key', { token: jws({ alg: 'HS256', kid: '../../../dev/null' }, claims, ['HS256', '']) }]);
  rows.push(['J15', 'kid of 64 KB', { token: jws({ alg: 'RS256', kid: 'k'.repeat(65536) }, claims, K1), status: [401, 431] }]);
  rows.push(['J15', 'the other key', { token: jws({ alg: 'RS256', kid: 'k2' }, claims, K1) }]);
  rows.push(['J15', 'the other key, signed by it', { ok: true, token: jws({ alg: 'RS256', kid: 'k2' }, claims, ['RS256', keys.k2.privateKey]) }]);
  return rows;
}

function duplicateRows({ issuer }) {
  const rows = [];
  const claims = JSON.stringify(issuer.claims());
  const first = (text, member) => `{${member},${text.slice(1)}`;
  const last = (text, member) => `${text.slice(0, -1)},${member}}`;
  const head = '{"alg":"RS256","kid":"k1"}';
  for (const member of ['"alg":"none"', '"alg":"RS256"', '"kid":"k2"', '"kid":"k1"', '"\\u0061lg":"RS256"']) {
    for (const put of [first, last]) {
      rows.push(['J16', `header ${put.name} ${member}`, { token: jws(put(head, member), claims, K1) }]);
    }
  }
  for (const member of ['"sub":"admin"', '"exp":9999999999', '"scope":"admin"', `"aud":"${AUDIENCE}"`, '"\\u0073ub":"admin"', '"x":{"a":1,"a":2}']) {
    for (const put of [first, last]) {
      rows.push(['J16', `payload ${put.name} ${member}`, { token: jws(head, put(claims, member), K1) }]);
    }
  }
  rows.push(['J16', 'a member more in each', { ok: true, token: jws(last(head, '"x":1'), last(claims, '"x":{"a":1}'), K1) }]);
  return rows;
}

function sizeRows({ issuer }) {
  const base = JSON.stringify(issuer.claims());
  const with_ = (text) => jws({ alg: 'RS256', kid: 'k1' }, `${base.slice(0, -1)},"x":${text}}`, K1);
  const nested = (n) => '['.repeat(n) + ']'.repeat(n);
  const slow = { ms: 50 };
  const rows = [
    ['J18', 'depth 31', { ok: true, token: with_(nested(31)) }],
    ['J18', 'depth 32', { token: with_(nested(32)), ...slow }],
    ['J18', 'depth 100', { token: with_(nested(100)), ...slow }],
    ['J18', 'depth 2 000', { token: with_(nested(2000)), ...slow }],
    ['J18', 'depth 10 000', { token: with_(nested(10000)), status: [401, 431], ...slow }],
    ['J18', 'depth 100 in the header', { token: jws(`{"alg":"RS256","kid":"k1","x":${nested(100)}}`, base, K1), ...slow }],
    ['J18', '500 members', { ok: true, token: with_(JSON.stringify(Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`m${i}`, i])))) }],
    ['J18', '10 000 members', { token: with_(JSON.stringify(Object.fromEntries(Array.from({ length: 10000 }, (_, i) => [`m${i}`, 0])))), status: [401, 431], ...slow }],
    ['J18', '4 000 digits', { token: with_('9'.repeat(4000)), ...slow }],
    ['J18', '1e400', { token: with_('1e400'), ...slow }],
    ['J18', '-1e400', { token: with_('-1e400'), ...slow }],
    ['J18', 'NaN', { token: with_('NaN'), ...slow }],
    ['J18', '20 digits', { ok: true, token: with_('12345678901234567890') }],
  ];
  // Of exactly that length, or a byte or two less where base64url has none of it.
  const sized = (bytes) => {
    const room = bytes - 2 - 342; // for header and payload, beside the dots and a signature of RS256
    const payload = `${base.slice(0, -1)},"x":""}`;
    for (let extra = 0; ; extra++) {
      const head = JSON.stringify({ alg: 'RS256', kid: 'k1', p: 'x'.repeat(extra) });
      const left = room - Math.ceil((head.length * 4) / 3);
      const pad = Math.floor((left * 3) / 4) - payload.length;
      if (extra === 3 || Math.ceil(((payload.length + pad) * 4) / 3) === left) return jws(head, payload.replace('""', `"${'x'.repeat(pad)}"`), K1);
    }
  };
  const exact = sized(8192);
  assert.equal(exact.length, 8192);
  rows.push(['J27', `${exact.length} bytes`, { ok: true, token: exact }]);
  for (const bytes of [8193, 9000, 20000]) {
    const token = sized(bytes);
    assert.ok(token.length > 8192);
    rows.push(['J27', `${token.length} bytes`, { token }]);
  }
  rows.push(['J27', '64 KB', { token: sized(65536), status: [401, 431], ms: 50 }]);
  return rows;
}

function timeRows({ issuer }) {
  const at = (claims, row = {}) => ({ token: issuer.token(claims), ...row });
  const expired = { error: 'jwt_expired' };
  return [
    ['J19', 'no exp', at({ exp: undefined })], ['J19', 'no exp where none is asked for', at({ exp: undefined }, { ok: true, fn: 'endless' })],
    ['J19', 'exp now', at({ exp: now() }, expired)], ['J19', 'exp a second ago', at({ exp: now() - 1 }, expired)],
    ['J19', 'exp a second ago, within the tolerance', at({ exp: now() - 1 }, { ok: true, fn: 'late' })],
    ['J19', 'exp an hour ago, past the tolerance', at({ exp: now() - 3600 }, { fn: 'late', ...expired })],
    ['J19', 'exp far away', at({ exp: 253402300799 }, { ok: true })], ['J19', 'exp with a fraction', at({ exp: now() + 600.5 }, { ok: true })],
    ['J19', 'exp 0', at({ exp: 0 }, expired)], ['J19', 'exp negative', at({ exp: -5 }, expired)],
    ...[1e20, -1e20, 1e300, 253402300800, '9999999999', null, true, [], {}].map((exp) => ['J19', `exp ${JSON.stringify(exp)}`, at({ exp })]),
    ...[now() + 3600, now() + 3600.5, '1', `${now() + 3600}`, null, true, [], 9223372036854775807n, 1e20].map((nbf) => ['J21', `nbf ${typeof nbf} ${nbf}`, {
      token: jws({ alg: 'RS256', kid: 'k1' }, `${JSON.stringify(issuer.claims()).slice(0, -1)},"nbf":${typeof nbf === 'bigint' ? nbf : JSON.stringify(nbf)}}`, K1),
    }]),
    ['J21', 'nbf now', at({ nbf: now() }, { ok: true })], ['J21', 'nbf ahead, within the tolerance', at({ nbf: now() + 100 }, { ok: true, fn: 'late' })],
    ['J21', 'nbf ahead, past the tolerance', at({ nbf: now() + 3600 }, { fn: 'late' })],
    ['J21', 'iat ahead', at({ iat: now() + 3600 }, { ok: true })], ...['then', '1700000000', null, true, [], {}].map((iat) => ['J21', `iat ${JSON.stringify(iat)}`, at({ iat })]), ...[0, -5, 1.5, undefined].map((iat) => ['J21', `iat ${iat}`, at({ iat }, { ok: true })]),
  ];
}

function addresseeRows({ issuer }) {
  const at = (claims, row = {}) => ({ token: issuer.token(claims), ...row });
  const iss = [undefined, '', null, 5, 'https://other.example/', issuer.base, `${issuer.issuer}/`, issuer.issuer.toUpperCase(), [issuer.issuer],
    `${issuer.issuer}x`, issuer.issuer.slice(1), ` ${issuer.issuer}`, { issuer: issuer.issuer }];
  const bad = [[], ['other'], undefined, null, 5, {}, [[AUDIENCE]], { 0: AUDIENCE }, `${AUDIENCE}2`, `${AUDIENCE}/`, AUDIENCE.slice(0, -1),
    AUDIENCE.toUpperCase(), `x ${AUDIENCE}`, `${AUDIENCE} x`, '', Array.from({ length: 500 }, (_, i) => `a${i}`)];
  return [
    ...iss.map((v) => ['J22', `iss ${JSON.stringify(v)}`, at({ iss: v })]),
    ...bad.map((v) => ['J23', `aud ${JSON.stringify(v)?.slice(0, 40)}`, at({ aud: v })]),
    ['J23', 'aud in a list', at({ aud: ['other', AUDIENCE] }, { ok: true })],
    ['J23', 'aud among things that are none', at({ aud: [5, null, {}, AUDIENCE] }, { ok: true })],
    ['J23', 'aud last of 300', at({ aud: [...Array.from({ length: 300 }, (_, i) => `a${i}`), AUDIENCE] }, { ok: true })],
  ];
}

function scopeRows({ issuer }) {
  const at = (claims, row = {}) => ({ fn: 'shows', token: issuer.token(claims), ...row });
  const lacks = { status: 403, error: 'access_denied' };
  const bad = ['read:shows-all', 'xread:shows', 'READ:SHOWS', 'a\tread:shows', 'a\nread:shows', 'a,read:shows', 'read', '', 5, true, null, {}, [], undefined,
    ['a read:shows'], ['read:shows2'], [['read:shows']], 'read:shows\u00a0'];
  const good = ['read:shows', 'a read:shows', 'read:shows a', 'a  read:shows  b', ' read:shows ', ['read:shows'], ['a', 'read:shows'], ['read:shows', 5]];
  return [
    ...bad.map((scope) => ['J24', `scope ${JSON.stringify(scope)}`, at({ scope }, lacks)]),
    ...good.map((scope) => ['J24', `scope ${JSON.stringify(scope)}`, at({ scope }, { ok: true })]),
    ['J25', 'a namespaced sub', { ok: true, fn: 'ns', token: issuer.token({ 'https://ns/sub': 'admin' }), check: ({ sub }) => assert.equal(sub, 'auth0|1') }],
    ['J25', 'a namespaced exp', { ok: true, fn: 'ns', token: issuer.token({ exp: now() + 3600, 'https://ns/exp': 5 }), check: ({ exp }) => assert.ok(exp > now()) }],
    ['J25', 'a namespaced exp in place of one that is past', { fn: 'ns', token: issuer.token({ exp: 5, 'https://ns/exp': now() + 99 }), error: 'jwt_expired' }],
    ['J25', 'a namespaced exp in place of none', { fn: 'ns', token: issuer.token({ exp: undefined, 'https://ns/exp': now() + 99 }) }],
    ['J25', 'a namespaced iss', { fn: 'ns', token: issuer.token({ iss: 'x', 'https://ns/iss': issuer.issuer }) }],
    ['J25', 'a namespaced scope beside one', { fn: 'nsadmin', token: issuer.token({ scope: 'user', 'https://ns/scope': 'admin' }), ...lacks }],
    ['J25', 'a namespaced scope before one', { fn: 'nsadmin', token: issuer.token(undefined, {}).length && jws({ alg: 'RS256', kid: 'k1' }, { 'https://ns/scope': 'admin', ...issuer.claims({ scope: 'user' }) }, K1), ...lacks }],
    ['J25', 'a namespaced scope alone', { ok: true, fn: 'nsadmin', token: issuer.token({ scope: undefined, 'https://ns/scope': 'admin' }) }],
  ];
}

function typRows(world) {
  const { issuer } = world;
  const full = { client_id: 'cid', jti: 'j' };
  const at = (typ, row = {}, claims = full) => ({ fn: 'at', token: jws({ alg: 'RS256', typ, kid: 'k1' }, issuer.claims(claims), K1), ...row });
  const types = [undefined, 'JWT', 'jwt', 'at+jwt', 'application/AT+JWT', 'dpop+jwt', 5];
  return [
    ...types.map((typ) => ['J26', `typ ${typ}, any profile`, at(typ, { ok: true, fn: 'me' })]),
    ...types.filter((typ) => !/at\+jwt/i.test(typ)).map((typ) => ['J26', `typ ${typ}, at+jwt`, at(typ)]),
    ...['at+jwt', 'AT+JWT', 'application/AT+JWT'].map((typ) => ['J26', `typ ${typ}, at+jwt`, at(typ, { ok: true })]),
    ['J26', 'an ID token', { fn: 'at', token: issuer.token({ nonce: 'n', ...full }) }],
    ...['exp', 'sub', 'client_id', 'iat', 'jti'].map((name) => ['J26', `at+jwt without ${name}`, at('at+jwt', {}, { ...full, [name]: undefined })]),
  ];
}

// ---- the tests ----

const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'))[1]) / 1024;

async function trap(t) {
  const listener = { hits: 0 };
  const server = net.createServer((socket) => { listener.hits += 1; socket.destroy(); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  listener.port = server.address().port;
  later(t, () => server.close());
  return listener;
}

for (const [name, backend, more] of [['openssl', 'openssl'], ['libjwt', 'libjwt'], ['everything switched on', 'openssl', EVERYTHING]]) {
  test(`${name}: the case table`, async (t) => {
    const world = await serve(t, backend, more);
    const listener = await trap(t);
    const rows = [headerRows, algRows, boundKeyRows, ecRows, signatureRows, formRows, extensionRows, kidRows, duplicateRows, sizeRows, timeRows,
      addresseeRows, scopeRows, typRows].flatMap((make) => make(world, listener.port)).map(([id, what, row]) => {
      const tooOld = more !== undefined && /^iat (0|-5|1\.5)$/.test(what); // revocations are kept for 30 days
      return [id, what, tooOld ? { token: row.token, status: 401, error: 'jwt_invalid', kind: 'invalid_token' } : row];
    });
    const line = new Line(world.h);
    later(t, () => line.close());
    for (let i = 0; i < 50; i++) await line.ask('me', bearer(goodToken(world, 'me')));
    const workers = world.h.workers();
    const before = rss(workers[0]);
    const counts = {};
    const times = [];
    for (const [id, what, row] of rows) {
      await t.test(`${id} ${what}`, () => (row.ok ? accept(world, line, row, counts) : refuse(world, line, row, counts, times)));
    }
    assert.ok(!PERF || median(times) < 10 * SLOW, `a refusal takes ${median(times)} ms`);
    assert.equal(listener.hits, 0, 'nobody followed a URL of a token');
    assert.deepEqual(world.h.workers(), workers, 'the same process');
    if (SLOW === 1) assert.ok(rss(workers[0]) - before < 64, 'memory stays');
    const refused = rows.filter(([, , row]) => !row.ok).length;
    t.diagnostic(`${refused} refused, ${rows.length - refused} let in; a refusal takes ${median(times).toFixed(2)} ms`);
  });
}

for (const backend of ['openssl', 'libjwt']) {
  test(`${backend}: J32 64 connections, good and bad tokens between each other`, async (t) => {
    const world = await serve(t, backend);
    const { issuer } = world;
    await Promise.all(Array.from({ length: 64 }, async (_, c) => {
      const line = new Line(world.h);
      for (let i = 0; i < 20; i++) {
        const sub = `user ${c} ${i}`;
        const bad = (c + i) % 3 === 0;
        const { res } = await line.ask('me', bearer(bad ? jws({ alg: 'RS256', kid: 'k1' }, issuer.claims({ sub }), ['RS256', foreign.privateKey]) : issuer.token({ sub })));
        assert.equal(res.status, bad ? 401 : 200);
        if (!bad) assert.equal(res.json().sub, sub);
      }
      assert.equal(line.made, 1, 'one connection for all');
      line.close();
    }));
  });
}

test('J27 a head of 16 MB: 431, and the next request is served', async (t) => {
  const world = await serve(t, 'openssl');
  const wire = await world.h.connect();
  wire.send(`GET ${PATH('me')} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer `);
  const piece = Buffer.alloc(65536, 'A');
  for (let i = 0; i < 256 && !wire.ended; i++) {
    wire.send(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  const left = (await wire.closed()).toString('latin1');
  assert.ok(left === '' || left.startsWith('HTTP/1.1 431 '), left.slice(0, 100));
  const line = new Line(world.h);
  later(t, () => line.close());
  assert.equal((await line.ask('me', bearer(goodToken(world, 'me')))).res.status, 200);
});

test('J28 a key that is none: serve refuses to start, with one line', async (t) => {
  const pem = keys.k1.publicKey.export({ type: 'spki', format: 'pem' });
  const encrypted = keys.k1.privateKey.export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' });
  const legacy = keys.k1.privateKey.export({ type: 'pkcs1', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' });
  const small = crypto.generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ type: 'spki', format: 'pem' });
  const files = (key) => deployment({ me: 'return function() return "me" end' }, {
    fields: { me: 'auth = true' }, more: `  auth = { issuer = "https://issuer.example/", audience = "a", ${key} },\n`,
  });
  const wrong = {
    empty: 'public_key = ""', junk: 'public_key = "junk"', truncated: `public_key = ${lua(pem.slice(0, 200))}`, encrypted: `public_key = ${lua(encrypted)}`,
    'encrypted, of old': `public_key = ${lua(legacy)}`, 'of another type': `public_key = ${lua(es.publicKey.export({ type: 'spki', format: 'pem' }))}`,
    'too small': `public_key = ${lua(small)}`, 'a short secret': 'secret = "short"', 'a secret for RS256': `secret = ${lua(SECRET)}, algorithms = { "RS256" }`,
  };
  for (const [name, key] of Object.entries(wrong)) {
    await t.test(name, async () => {
      const { code, signal, stdout, stderr } = await run(t, ['serve', '--listen', '127.0.0.1:0', '--workers', '1'], { files: files(key) });
      assert.equal(signal, null, 'it ends by itself');
      assert.notEqual(code, 0);
      assert.equal(stdout, '');
      assert.doesNotMatch(stderr, /listening/);
      assert.ok(stderr.trim().split('\n').length <= 2, stderr);
      assert.doesNotMatch(stderr, /pass ?phrase:/i);
    });
  }
  const good = await start(t, { files: files(`public_key = ${lua(pem)}`) });
  const tok = jws({ alg: 'RS256' }, { iss: 'https://issuer.example/', aud: 'a', exp: now() + 60 }, K1);
  assert.equal((await good.call('me', { headers: { Authorization: `Bearer ${tok}` } })).status, 200);
});

// All tokens are made before, so that the requests come as fast as the host takes them: what comes
// slowly is no flood, and up to three such kids may cause a fetch each in a cooldown.
test('1,000 random kids at once: one fetch a cooldown, good tokens pass throughout', async (t) => {
  const world = await serve(t, 'openssl');
  const { issuer, h } = world;
  assert.equal((await h.call('me', { headers: issuer.bearer() })).status, 200);
  const before = issuer.hits.jwks;
  const claims = issuer.claims();
  const lines = Array.from({ length: 50 }, () => ({
    line: new Line(h),
    bad: Array.from({ length: 20 }, () => jws({ alg: 'RS256', kid: crypto.randomUUID() }, claims, b64(Buffer.alloc(256)))),
    good: Array.from({ length: 5 }, () => goodToken(world, 'me')),
  }));
  let refused = 0, passed = 0;
  await Promise.all(lines.map(async ({ line, bad, good }) => {
    for (const [i, token] of bad.entries()) {
      const { res } = await line.ask('me', bearer(token));
      assert.equal(res.status, 401, res.text);
      assert.equal(res.json().error, 'jwt_invalid');
      refused += 1;
      if (i % 4 !== 3) continue;
      assert.equal((await line.ask('me', bearer(good.pop()))).res.status, 200);
      passed += 1;
    }
    line.close();
  }));
  const fetches = issuer.hits.jwks - before;
  assert.deepEqual([refused, passed], [1000, 250]);
  assert.ok(fetches <= 1, `${fetches} fetches`);
  assert.equal(issuer.hits.oidc, 1);
});
