// Tokens that are wrong in every way a generator thinks of, judged by luafn and by npm jose. Where
// they disagree luafn must be the stricter one, by a rule of this file; and what a rule of this
// file says must be refused, is.
//
// LUAFN_DIFF   how many tokens (2000)
// LUAFN_SEED   of the generator (1)
import assert from 'node:assert/strict';
import test from 'node:test';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { deployment, lua, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { b64, jws, newKey } from '../lib/jws.mjs';
import { requestText } from '../lib/wire.mjs';

const COUNT = Number(process.env.LUAFN_DIFF ?? 2000);
const SEED = Number(process.env.LUAFN_SEED ?? 1);
const BACKENDS = ['openssl', 'libjwt'];
const ALGS = ['RS256', 'ES256', 'PS256', 'EdDSA'];

// ---- the generator: mulberry32, so that a seed means the same tokens everywhere but for the keys ----

function generator(seed) {
  let a = seed >>> 0;
  const next = () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let x = Math.imul(a ^ (a >>> 15), a | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
  const below = (n) => Math.floor(next() * n);
  return { below, pick: (list) => list[below(list.length)], chance: (p) => next() < p };
}

// Values of all kinds, for members that should be something else.
const ODD = [null, true, false, 0, -1, 5, 1.5, '', 'x', [], {}, ['x'], { a: 1 }];

const member = (text, name, value, first) => {
  const put = `${JSON.stringify(name)}:${JSON.stringify(value)}`;
  if (text === '{}') return `{${put}}`;
  return first ? `{${put},${text.slice(1)}` : `${text.slice(0, -1)},${put}}`;
};

// Each changes a draft { header, claims, headerText(h), payloadText(p), key, alg }.
const BEFORE = {
  'another key': (d, r, keys) => { d.key = keys[r.pick(ALGS)]; },
  'another alg': (d, r, keys) => { d.header.alg = r.pick([...ALGS, 'none', 'HS256', 'RS512', 'rs256', 'ES384', 'Ed25519', ...ODD]); },
  'a key and its alg': (d, r, keys) => { d.alg = r.pick(ALGS); d.key = keys[d.alg]; d.header.alg = d.alg; d.header.kid = d.key.kid; },
  'a stranger\'s key': (d, r, keys) => { d.key = keys.stranger; d.alg = 'RS256'; },
  kid: (d, r, keys) => { d.header.kid = r.pick([undefined, 'unknown', keys[r.pick(ALGS)].kid, `${d.header.kid} `, ...ODD]); },
  typ: (d, r) => { d.header.typ = r.pick(['jwt', 'at+jwt', 'JWE', undefined, ...ODD]); },
  'header member': (d, r) => {
    const [name, value] = r.pick([['crit', []], ['crit', ['exp']], ['crit', ['b64']], ['crit', 'x'], ['b64', true], ['b64', false], ['cty', 'JWT'], ['zip', 'DEF'],
      ['enc', 'A128GCM'], ['jku', 'http://127.0.0.1:9/'], ['jwk', {}], ['x5c', []], ['x', { deep: [1] }]]);
    d.header[name] = value;
    if (name === 'crit' && Array.isArray(value) && value.includes('b64')) d.header.b64 = r.pick([true, false]);
  },
  exp: (d, r) => { d.claims.exp = r.pick([undefined, undefined, undefined, d.now - 60, d.now + 60.5, d.now - 60.5, 0, -1, 1e12, 1e20, -1e20, 253402300799, 253402300800, `${d.now + 60}`, ...ODD]); },
  nbf: (d, r) => { d.claims.nbf = r.pick([d.now - 60, d.now + 60, d.now + 60.5, 0, -1e300, 1e300, -62167219200, -62167219201, '0', ...ODD]); },
  iat: (d, r) => { d.claims.iat = r.pick([undefined, 0, d.now + 9999, -5, 1.5, `${d.now}`, ...ODD]); },
  iss: (d, r) => { const i = d.claims.iss; d.claims.iss = r.pick([undefined, i.slice(0, -1), `${i}/`, i.toUpperCase(), `${i} `, [i], { i }, 'https://other.example/', ...ODD]); },
  aud: (d, r) => { d.claims.aud = r.pick([undefined, [AUDIENCE], ['x', AUDIENCE], ['x'], [[AUDIENCE]], `${AUDIENCE}2`, AUDIENCE.slice(1), { 0: AUDIENCE }, [5, AUDIENCE], ...ODD]); },
  sub: (d, r) => { d.claims.sub = r.pick([undefined, ...ODD]); },
  'duplicate header member': (d, r) => {
    const [name, first, value] = [r.pick(['alg', 'kid', 'typ', 'x']), r.chance(0.5), r.pick(['none', 'RS256', d.header.kid, 1])];
    d.headerText.push((t) => member(member(t, name === 'x' ? 'y' : 'x', 1, false), name, value, first));
  },
  'duplicate claim': (d, r) => {
    const [name, first, value] = [r.pick(['sub', 'exp', 'iss', 'aud', 'scope', 'y']), r.chance(0.5), r.pick([d.claims.iss, AUDIENCE, d.now + 99, 'admin'])];
    d.payloadText.push((t) => member(t, name, value, first));
  },
  'duplicate inside': (d) => d.payloadText.push((t) => `${t.slice(0, -1)},"z":{"a":1,"b":[{"a":1,"a":2}]}}`),
  'same name, other spelling': (d) => d.payloadText.push((t) => `${t.slice(0, -1)},"\\u0073ub":"admin"}`),
  'white space in JSON': (d, r) => d[r.pick(['headerText', 'payloadText'])].push((t) => r.pick([` ${t}`, `${t}\n`, t.replace('{', '{ \t'), t.replaceAll(':', ' : ')])),
  'text behind the JSON': (d, r) => d[r.pick(['headerText', 'payloadText'])].push((t) => t + r.pick(['x', '{}', '\0', '\0x', ',', '//'])),
  'byte order mark': (d, r) => d[r.pick(['headerText', 'payloadText'])].push((t) => `\ufeff${t}`),
  'not an object': (d, r) => d[r.pick(['headerText', 'payloadText'])].push(() => r.pick(['[]', '5', '"x"', 'null', 'true', '', '{', '[{}]'])),
  'escaped names': (d, r) => d[r.pick(['headerText', 'payloadText'])].push((t) => t.replace('"alg"', '"\\u0061lg"').replace('"iss"', '"i\\u0073s"')),
  depth: (d, r) => { const n = r.pick([2, 20, 31, 32, 60, 500]); d[r.pick(['headerText', 'payloadText'])].push((t) => `${t.slice(0, -1)},"q":${'['.repeat(n)}${']'.repeat(n)}}`); },
  numbers: (d, r) => { const n = r.pick(['1e400', '-1e400', '1e-400', '1e308', '12345678901234567890', '9'.repeat(400), '-0', '0.1', '01', '+1', '.5', '1.', 'NaN', 'Infinity']); d.payloadText.push((t) => `${t.slice(0, -1)},"q":${n}}`); },
  'exp in figures': (d, r) => { const n = r.pick(['1e400', '1e11', '4102444800.0', '4.1024448e9', '41024448e2', '99999999999999999999', '0x7fffffff']); delete d.claims.exp; d.payloadText.push((t) => `${t.slice(0, -1)},"exp":${n}}`); },
  strings: (d, r) => { const s = r.pick(['"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\/"', '"\\x41"', '"\t"', '"é漢😀"', '"\u2028"', "'x'"]); d[r.pick(['headerText', 'payloadText'])].push((t) => `${t.slice(0, -1)},"q":${s}}`); },
  'odd names': (d, r) => { const s = r.pick(['""', '"__proto__"', '"a\\u0000"', '"\\ud800"', 'x', '5']); d.payloadText.push((t) => `${t.slice(0, -1)},${s}:1}`); },
  'bytes that are not UTF-8': (d, r) => { d.bytes = r.pick([[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]); },
  size: (d, r) => { d.claims.pad = 'x'.repeat(r.pick([100, 3000, 5000, 6000, 9000])); },
};

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const replaceAt = (s, i, c) => s.slice(0, i) + c + s.slice(i + 1);

// Each changes the finished text.
const AFTER = {
  'one character': (t, r) => replaceAt(t, r.below(t.length), r.pick([...ALPHABET])),
  'a strange character': (t, r) => replaceAt(t, r.below(t.length), r.pick(['=', '+', '/', ' ', '%', '~', '.', '!', '\t'])),
  'a character more': (t, r) => { const i = r.below(t.length + 1); return t.slice(0, i) + r.pick([...ALPHABET, '=', ' ', '.']) + t.slice(i); },
  'a character less': (t, r) => { const i = r.below(t.length); return t.slice(0, i) + t.slice(i + 1); },
  cut: (t, r) => t.slice(0, 1 + r.below(t.length)),
  padding: (t, r) => { const p = t.split('.'); const i = r.below(p.length); p[i] += '='.repeat(r.pick([1, 2, (4 - (p[i].length % 4)) % 4])); return p.join('.'); },
  'unused bits': (t, r) => {
    const p = t.split('.');
    const i = r.below(p.length);
    const at = ALPHABET.indexOf(p[i].at(-1) ?? '');
    if (at < 0 || p[i].length % 4 === 0) return t;
    p[i] = p[i].slice(0, -1) + ALPHABET[at ^ 1];
    return p.join('.');
  },
  'ordinary Base64': (t, r) => { const p = t.split('.'); const i = r.below(p.length); p[i] = p[i].replaceAll('-', '+').replaceAll('_', '/'); return p.join('.'); },
  'parts exchanged': (t, r) => { const p = t.split('.'); return r.pick([[p[1], p[0], p[2]], [p[0], p[2], p[1]], [p[0], p[1]], [...p, p[2]], ['', ...p], [p[0], p[1], '']]).join('.'); },
  'signature flipped': (t, r) => { const [h, p, s] = t.split('.'); const raw = Buffer.from(s ?? '', 'base64url'); if (raw.length) raw[r.below(raw.length)] ^= 1 << r.below(8); return `${h}.${p}.${b64(raw)}`; },
  'signature of another length': (t, r) => { const [h, p, s] = t.split('.'); const raw = Buffer.from(s ?? '', 'base64url'); return `${h}.${p}.${b64(r.pick([raw.subarray(1), raw.subarray(0, -1), Buffer.concat([raw, Buffer.alloc(1)]), Buffer.alloc(raw.length), Buffer.concat([Buffer.alloc(1), raw])]))}`; },
  'case changed': (t, r) => { const i = r.below(t.length); const c = t[i]; return replaceAt(t, i, c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase()); },
};

function make(r, keys, issuer) {
  const alg = r.pick(ALGS);
  const now = Math.floor(Date.now() / 1000);
  const d = {
    now, alg, key: keys[alg], header: { alg, typ: 'JWT', kid: keys[alg].kid }, headerText: [], payloadText: [], names: [],
    claims: { iss: issuer, aud: AUDIENCE, sub: `user ${r.below(1000)}`, iat: now - 10, exp: now + 3600, scope: 'a b' },
  };
  const before = r.pick([0, 1, 1, 1, 1, 2, 2, 3]);
  for (let i = 0; i < before; i++) {
    const name = r.pick(Object.keys(BEFORE).filter((x) => !d.names.includes(x)));
    d.names.push(name);
    BEFORE[name](d, r, keys);
  }
  const apply = (text, list) => list.reduce((t, f) => f(t), text);
  const header = apply(JSON.stringify(d.header), d.headerText);
  let payload = Buffer.from(apply(JSON.stringify(d.claims), d.payloadText));
  if (d.bytes) payload = Buffer.concat([payload.subarray(0, -1), Buffer.from(',"q":"'), Buffer.from(d.bytes), Buffer.from('"}')]);
  const by = d.key.alg === 'RS256' && d.alg === 'PS256' ? 'RS256' : d.key.alg;
  let token = jws(header, payload, [by, d.key.privateKey]);
  const after = before === 0 ? r.pick([0, 1, 1]) : r.pick([0, 0, 0, 0, 1]);
  for (let i = 0; i < after; i++) {
    const name = r.pick(Object.keys(AFTER));
    d.names.push(name);
    token = AFTER[name](token, r);
  }
  return { token, names: d.names };
}

// ---- the rules by which luafn is stricter, found in the token by means of this file's own ----

// Walks JSON text that JSON.parse takes: { depth, duplicates }.
function walk(text) {
  let at = 0, deepest = 0, duplicates = false;
  const space = () => { while (/\s/.test(text[at] ?? '')) at += 1; };
  const string = () => {
    const from = at;
    for (at += 1; text[at] !== '"'; at += text[at] === '\\' ? 2 : 1);
    at += 1;
    return JSON.parse(text.slice(from, at));
  };
  const value = (depth) => {
    space();
    const open = text[at];
    if (open === '"') string();
    else if (open === '{' || open === '[') {
      deepest = Math.max(deepest, depth);
      const seen = new Set();
      at += 1;
      for (space(); text[at] !== '}' && text[at] !== ']'; space()) {
        if (open === '{') {
          const name = string();
          duplicates ||= seen.has(name);
          seen.add(name);
          space();
          at += 1;
        }
        value(depth + 1);
        space();
        if (text[at] === ',') { at += 1; space(); }
      }
      at += 1;
    } else while (at < text.length && !/[\s,\]}]/.test(text[at])) at += 1;
  };
  value(1);
  return { depth: deepest, duplicates };
}

function everyValue(v, fn) {
  fn(v);
  if (v && typeof v === 'object') for (const [k, x] of Object.entries(v)) { fn(k); everyValue(x, fn); }
}

function jsonRules(bytes, rules) {
  let text;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    rules.add('UTF-8 alone');
    return null;
  }
  if (text.startsWith('\ufeff')) {
    rules.add('no byte order mark');
    text = text.slice(1);
  }
  let parsed;
  try { parsed = JSON.parse(text); } catch { return null; }
  const { depth, duplicates } = walk(text);
  if (duplicates) rules.add('no member twice');
  if (depth > 32) rules.add('at most 32 levels');
  everyValue(parsed, (v) => {
    if (typeof v === 'number' && !Number.isFinite(v)) rules.add('finite numbers');
    if (typeof v === 'string' && v.includes('\0')) rules.add('no U+0000');
    if (typeof v === 'string' && !v.isWellFormed()) rules.add('no lone surrogates');
  });
  return parsed;
}

const outside = (v) => typeof v === 'number' && (v > 253402300799 || v < -62167219200);

function rulesOf(token) {
  const rules = new Set();
  const parts = token.split('.');
  if (token.length > 8192) rules.add('at most 8 KiB');
  if (parts.some((p) => Buffer.from(p, 'base64url').toString('base64url') !== p)) rules.add('one spelling in base64url');
  if (parts.length !== 3) return rules;
  const header = jsonRules(Buffer.from(parts[0], 'base64url'), rules);
  const claims = jsonRules(Buffer.from(parts[1], 'base64url'), rules);
  if (header && typeof header === 'object') {
    if (Object.hasOwn(header, 'crit')) rules.add('no crit');
    if (Object.hasOwn(header, 'b64')) rules.add('no b64');
    // RFC 8017 section 8: OpenSSL, and so jose, takes one without its leading zero bytes.
    const rsa = header.alg === 'RS256' || header.alg === 'PS256';
    if (rsa && Buffer.from(parts[2], 'base64url').length !== 256) rules.add('RSA signatures as long as the modulus');
    if (typeof header.kid !== 'string') rules.add('kid names the key');
  }
  if (claims && typeof claims === 'object') {
    if (claims.exp === undefined) rules.add('exp is required');
    if (outside(claims.exp) || outside(claims.nbf)) rules.add('dates that can be printed');
  }
  return rules;
}

// ---- the two judges ----

async function ask(wire, backend, token) {
  wire.send(requestText({ path: `/.netlify/functions/${backend}`, headers: [['Authorization', `Bearer ${token}`]], close: false }));
  return wire.response();
}

test(`${COUNT} tokens, seed ${SEED}: both backends and jose agree, or luafn is stricter by a rule`, async (t) => {
  const keys = Object.fromEntries(ALGS.map((alg) => [alg, newKey(alg, `key-${alg}`)]));
  keys.stranger = newKey('RS256', 'key-RS256');
  const tenant = (await Issuer.start(t)).tenant();
  tenant.state.keys = ALGS.map((alg) => keys[alg].jwk);
  const set = createLocalJWKSet({ keys: tenant.state.keys });
  const h = await start(t, {
    files: deployment(Object.fromEntries(BACKENDS.map((b) => [b, 'return function() return "in" end'])), {
      fields: Object.fromEntries(BACKENDS.map((b) => [b, `auth = { issuer = ${lua(tenant.issuer)}, audience = ${lua(AUDIENCE)}, algorithms = ${lua(ALGS)}, backend = ${lua(b)} }`])),
    }),
  });
  await h.keys();
  const r = generator(SEED);
  const counts = { 'both accept': 0, 'both refuse': 0 };
  const stricter = {};
  const faults = [];
  let left = COUNT;
  await Promise.all(Array.from({ length: 16 }, async () => {
    const wire = await h.connect();
    while (left-- > 0) {
      const { token, names } = make(r, keys, tenant.issuer);
      // Not always the same first: the verdict of one must not be what the other has cached.
      const [first, second] = r.chance(0.5) ? BACKENDS : [...BACKENDS].reverse();
      const theirs = await jwtVerify(token, set, { issuer: tenant.issuer, audience: AUDIENCE, algorithms: ALGS }).then(() => true, () => false);
      const res = await ask(wire, first, token);
      const again = await ask(wire, second, token);
      const ours = res.status === 200;
      const rules = [...rulesOf(token)];
      const about = () => `${names.join(', ')} | ${rules.join(', ')} | ${res.status} ${res.text.slice(0, 120)} | ${token.slice(0, 300)}`;
      if (res.status !== again.status || res.text !== again.text) faults.push(`${first} and ${second} (${again.status}) differ: ${about()}`);
      else if (res.status !== 200 && res.status !== 401) faults.push(`neither 200 nor 401: ${about()}`);
      else if (ours && !theirs) faults.push(`jose refuses it: ${about()}`);
      else if (ours && rules.length > 0) faults.push(`a rule was not kept: ${about()}`);
      else if (!ours && theirs && rules.length === 0) faults.push(`refused for no rule: ${about()}`);
      else if (ours === theirs) counts[ours ? 'both accept' : 'both refuse'] += 1;
      else for (const rule of rules) stricter[rule] = (stricter[rule] ?? 0) + 1;
    }
    wire.close();
  }));
  console.log(`seed ${SEED}: ${Object.entries(counts).map(([k, v]) => `${v} ${k}`).join(', ')}; stricter by rule:`);
  for (const [rule, n] of Object.entries(stricter).sort((a, b) => b[1] - a[1])) console.log(`  ${String(n).padStart(5)}  ${rule}`);
  assert.deepEqual(faults.slice(0, 10), [], `${faults.length} disagreements`);
  assert.ok(counts['both accept'] > COUNT / 10 && counts['both refuse'] > COUNT / 10, 'a test of both kinds');
});
