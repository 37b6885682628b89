// Logout tokens (OpenID Connect Back-Channel Logout) and security events (CAEP, pushed as RFC 8935 says):
// what is taken, what each ends, and what each bad one is answered, beside a good one.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { Redis } from '../lib/redis.mjs';
import { request, requestText } from '../lib/wire.mjs';

const LOGOUT = '/hooks/logout', EVENTS = '/hooks/events';
const BCL = 'http://schemas.openid.net/event/backchannel-logout';
const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/';
const SSF = 'https://schemas.openid.net/secevent/ssf/event-type/';
const OWN = `revocation = { backchannel_logout = "${LOGOUT}", events = "${EVENTS}", client_id = "cid", audience = "https://api/events" }`;
const now = () => Math.floor(Date.now() / 1000);
let serial = 0;
const id = () => `id-${++serial}`;

async function world(t, { own = OWN, more = '', state = {}, ...options } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  issuer.state = state;
  const files = deployment({ me: 'return function() return "ok" end', all: 'return function() return "all" end' }, {
    fields: { me: 'auth = true', all: 'path = "/*"' },
    more: `  auth = { { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, ${own} }${more} },`,
  });
  const h = await start(t, { files, ...options });
  if (!state.jwks) await h.keys();
  return { issuer, h };
}

function logoutToken(issuer, over = {}, header = {}) {
  const claims = { iss: issuer.issuer, aud: 'cid', iat: now(), exp: now() + 120, jti: id(), events: { [BCL]: {} }, sid: 's', ...over };
  return issuer.token({ sub: undefined, azp: undefined, scope: undefined, ...claims }, { header: { typ: 'logout+jwt', ...header } });
}

function event(issuer, type, subject, { members = {}, over = {}, header = {} } = {}) {
  const claims = {
    iss: issuer.issuer, aud: 'https://api/events', iat: now(), jti: id(), txn: 't', sub_id: subject,
    events: { [type.includes(':') ? type : CAEP + type]: members },
  };
  return issuer.token({ sub: undefined, azp: undefined, exp: undefined, scope: undefined, ...claims, ...over },
    { header: { typ: 'secevent+jwt', ...header } });
}

const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
const post = (h, path, headers, body) => request(h, { path, method: 'POST', headers, body });
// Of a length that its head does not say.
const unannounced = async (h, path, headers, body) => {
  const wire = await h.connect();
  wire.send(requestText({ method: 'POST', path, headers: { ...headers, 'Transfer-Encoding': 'chunked' } }), `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`);
  const res = await wire.response();
  wire.close();
  return res;
};
const sendLogout = (h, token, more = '') => post(h, LOGOUT, form, `logout_token=${token}${more}`);
const sendEvent = (h, token) => post(h, EVENTS, { 'Content-Type': 'application/secevent+jwt', Accept: 'application/json' }, token);

async function ask(h, headers, count = 8) {
  const seen = await Promise.all(Array.from({ length: count }, () => h.call('me', { headers })));
  return [...new Set(seen.map((res) => res.status))].sort();
}

function assertLogout(res, status, pattern) {
  assert.equal(res.status, status, res.text);
  assert.deepEqual(res.headers['cache-control'], ['no-store']);
  if (status === 200) return assert.equal(res.text, '');
  assert.equal(res.json().error, 'invalid_request');
  assert.match(res.json().error_description, pattern);
}

function assertEvent(res, err, pattern) {
  assert.equal(res.status, err ? 400 : 202, res.text);
  if (!err) return assert.equal(res.text, '');
  assert.match(res.headers['content-type'][0], /^application\/json/);
  assert.deepEqual(res.headers['content-language'], ['en']);
  assert.equal(res.json().err, err);
  assert.match(res.json().description, pattern);
}

test('a logout token ends its session, or all of a user until then, on all workers', async (t) => {
  const { issuer, h } = await world(t, { workers: 2 });
  const own = issuer.bearer({ sub: 'u', sid: 's1' }), other = issuer.bearer({ sub: 'u', sid: 's2' });
  const before = issuer.bearer({ sub: 'v', iat: now() - 5 }), later = issuer.bearer({ sub: 'v', iat: now() + 60 });
  for (const headers of [own, other, before, later]) assert.deepEqual(await ask(h, headers), [200]);
  assertLogout(await sendLogout(h, logoutToken(issuer, { sid: 's1', sub: 'u' })), 200);
  assert.deepEqual(await ask(h, own), [401]);
  assert.deepEqual(await ask(h, other), [200], 'the session, not the user');
  assertLogout(await sendLogout(h, logoutToken(issuer, { sid: undefined, sub: 'v' }, { typ: undefined }), '&more=1'), 200);
  assert.deepEqual(await ask(h, before), [401]);
  assert.deepEqual(await ask(h, later), [200]);
  assert.equal(await h.metric('revocations_total'), 2);
});

test('logout tokens that are none', async (t) => {
  const { issuer, h } = await world(t);
  const stranger = (await Issuer.start(t)).tenant();
  const mine = issuer.bearer({ sub: 'u', sid: 's' });
  const good = logoutToken(issuer, { sid: 'another' });
  const bad = [
    [logoutToken(issuer, { nonce: 'n' }), /no `nonce`/],
    [logoutToken(issuer, {}, { typ: 'at+jwt' }), /`typ` is not/],
    [logoutToken(issuer, {}, { typ: 'secevent+jwt' }), /`typ` is not/],
    [logoutToken(issuer, {}, { alg: 'none' }), /`alg` is not/],
    [`${logoutToken(issuer, {}, { alg: 'none' }).split('.').slice(0, 2).join('.')}.`, /`alg` is not/],
    [`${logoutToken(issuer).split('.').slice(0, 2).join('.')}.`, /no signature/],
    [issuer.token({ sub: undefined, ...{ aud: 'cid', jti: id(), events: { [BCL]: {} }, sid: 's', iat: now(), exp: now() + 60 } },
      { by: 'k3', kid: 'k1' }), /signature is not the issuer's/],
    [logoutToken(issuer, {}, { kid: 'k9' }), /no such key/],
    [logoutToken(issuer, { aud: 'other' }), /`aud` does not name/],
    [logoutToken(issuer, { aud: AUDIENCE }), /`aud` does not name/],
    [logoutToken(issuer, { iss: stranger.issuer }), /`iss` is no issuer/],
    [logoutToken(stranger), /`iss` is no issuer/],
    [logoutToken(issuer, { iat: undefined }), /`iat` is missing/],
    [logoutToken(issuer, { iat: now() + 3600, exp: now() + 7200 }), /in the future/],
    [logoutToken(issuer, { exp: undefined }), /times are not/],
    [logoutToken(issuer, { exp: now() - 1 }), /expired/],
    [logoutToken(issuer, { jti: undefined }), /`jti` is missing/],
    [logoutToken(issuer, { sid: undefined }), /`sub` or `sid` is needed/],
    [logoutToken(issuer, { sid: 7 }), /are texts/],
    [logoutToken(issuer, { sub: '' }), /are texts/],
    [logoutToken(issuer, { events: undefined }), /`events` is missing/],
    ...[null, [], 'x', true].map((value) => [logoutToken(issuer, { events: { [BCL]: value } }), /no back-channel logout/]),
    [logoutToken(issuer, { events: { other: {} } }), /no back-channel logout/],
    [logoutToken(issuer, { events: [BCL] }), /`events` is missing, empty or no object/],
    [issuer.token({ sid: 's' }), /`jti` is missing/],
    ['', /no signed token/], ['x.y', /no signed token/], ['a.b.c.d.e', /no signed token/], ['A'.repeat(9000), /no signed token/],
  ];
  for (const [token, pattern] of bad) assertLogout(await sendLogout(h, token), 400, pattern);
  assertLogout(await post(h, LOGOUT, form, 'token=x'), 400, /one `logout_token`/);
  assertLogout(await post(h, LOGOUT, form, ''), 400, /one `logout_token`/);
  assertLogout(await post(h, LOGOUT, form, `logout_token=${good}&logout_token=${good}`), 400, /one `logout_token`/);
  assertLogout(await post(h, LOGOUT, { 'Content-Type': 'application/json' }, JSON.stringify({ logout_token: good })), 400, /should be a form/);
  assertLogout(await post(h, LOGOUT, form, `x=${'y'.repeat(70000)}&logout_token=${good}`), 400, /longer than 64 KiB/);
  assertLogout(await unannounced(h, LOGOUT, form, `x=${'y'.repeat(300000)}&logout_token=${good}`), 400, /longer than 64 KiB/);
  const get = await request(h, { path: `${LOGOUT}?logout_token=${good}` });
  assert.deepEqual([get.status, get.headers.allow], [405, ['POST']]);
  assert.deepEqual(await ask(h, mine), [200], 'none of them did anything');
  assertLogout(await sendLogout(h, good, `&pad=${'y'.repeat(30000)}`), 200);
  assertLogout(await sendLogout(h, good), 400, /was here before/);
  assertLogout(await sendLogout(h, logoutToken(issuer, { events: { [BCL]: {}, revoke_offline_access: true } })), 200);
  assert.deepEqual(await ask(h, mine), [401]);
});

test('what an event ends: by subject, session and token; what is only acknowledged', async (t) => {
  const { issuer, h } = await world(t, { workers: 2 });
  const iss = issuer.issuer;
  const user = (sub) => ({ format: 'iss_sub', iss, sub });
  const rows = [ // event, its subject, members, claims of a token that ends by it
    ['session-revoked', user('a'), {}, { sub: 'a' }],
    ['session-revoked', { format: 'jwt_id', iss, jti: 'j1' }, {}, { jti: 'j1' }],
    ['session-revoked', { format: 'complex', session: { format: 'opaque', id: 'c1' }, user: user('b') }, {}, { sub: 'b', sid: 'c1' }],
    ['session-revoked', { format: 'complex', user: user('c'), device: { format: 'opaque', id: 'd' } }, {}, { sub: 'c' }],
    ['session-revoked', { format: 'opaque', id: 'o1' }, {}, { sid: 'o1' }],
    ['session-revoked', { format: 'opaque', id: 'o2' }, {}, { sub: 'o2' }],
    ['session-revoked', { format: 'aliases', identifiers: [{ format: 'email', email: 'e@x.example' }, user('d')] }, {}, { sub: 'd' }],
    ['credential-change', user('e'), { credential_type: 'password', change_type: 'update' }, { sub: 'e' }],
    ['token-claims-change', { format: 'jwt_id', iss, jti: 'j2' }, { claims: { role: 'x' } }, { jti: 'j2' }],
    ['https://schemas.openid.net/secevent/risc/event-type/account-disabled', user('f'), { reason: 'hijacking' }, { sub: 'f' }],
  ];
  for (const [type, subject, members, claims] of rows) {
    const headers = issuer.bearer(claims);
    assert.deepEqual(await ask(h, headers), [200], type);
    const token = event(issuer, type, subject, { members });
    assertEvent(await sendEvent(h, token));
    assert.deepEqual(await ask(h, headers), [401], `${type} ${JSON.stringify(subject)}`);
    assertEvent(await sendEvent(h, `${token}\n`)); // again: the same answer
  }
  assert.deepEqual(await ask(h, issuer.bearer({ sub: 'b', sid: 'c2' })), [200], 'a session is not its user');

  // Up to the time of the event, not of the message; neither is later than now.
  const [early, late] = [issuer.bearer({ sub: 'g', iat: now() - 100 }), issuer.bearer({ sub: 'g', iat: now() - 10 })];
  assertEvent(await sendEvent(h, event(issuer, 'session-revoked', user('g'), { members: { event_timestamp: now() - 50 } })));
  assert.deepEqual([await ask(h, early), await ask(h, late)], [[401], [200]]);
  assertEvent(await sendEvent(h, event(issuer, 'session-revoked', user('g'), { over: { toe: now() - 10, exp: 1 } })));
  assert.deepEqual(await ask(h, late), [401], 'an event does not expire');

  const before = await h.metric('revocations_total');
  for (const [type, members] of [
    ['credential-change', { credential_type: 'fido2-roaming', change_type: 'create' }], ['session-established', {}], ['assurance-level-change', {}],
    [`${SSF}verification`, { state: 'x' }], [`${SSF}stream-updated`, { status: 'paused' }], ['https://example.com/of-our-own', {}],
  ]) assertEvent(await sendEvent(h, event(issuer, type, user('h'), { members })));
  assertEvent(await sendEvent(h, event(issuer, 'session-revoked', { format: 'email', email: 'u@x.example' })));
  assertEvent(await sendEvent(h, event(issuer, 'session-revoked', { format: 'complex', tenant: { format: 'opaque', id: 'd' } })));
  assert.equal(await h.metric('revocations_total'), before);
  assert.deepEqual(await ask(h, issuer.bearer({ sub: 'h' })), [200]);
  await h.says(/an event of \S+: nothing that is known here by tokens/);
});

test('events that are none', async (t) => {
  const { issuer, h } = await world(t);
  const stranger = (await Issuer.start(t)).tenant();
  const subject = { format: 'iss_sub', iss: issuer.issuer, sub: 'u' };
  const bad = (options, type = 'session-revoked', about = subject) => event(issuer, type, about, options);
  for (const [token, err, pattern] of [
    [bad({ over: { iss: stranger.issuer } }), 'invalid_issuer', /`iss` is no issuer/],
    [event(stranger, 'session-revoked', subject), 'invalid_issuer', /`iss` is no issuer/],
    [bad({ over: { aud: 'other' } }), 'invalid_audience', /`aud` does not name/],
    [bad({ over: { aud: AUDIENCE } }), 'invalid_audience', /`aud` does not name/],
    [bad({ header: { kid: 'k9' } }), 'invalid_key', /no such key/],
    [`${bad({}).slice(0, -8)}AAAAAAAA`, 'authentication_failed', /signature is not/],
    [bad({ header: { alg: 'none' } }), 'authentication_failed', /`alg` is not/],
    [bad({ header: { typ: 'JWT' } }), 'invalid_request', /`typ` is not secevent/],
    [bad({ header: { typ: 'logout+jwt' } }), 'invalid_request', /`typ` is not secevent/],
    [bad({ over: { iat: undefined } }), 'invalid_request', /`iat` is missing/],
    [bad({ over: { iat: now() + 3600 } }), 'invalid_request', /in the future/],
    [bad({ over: { jti: undefined } }), 'invalid_request', /`jti` is missing/],
    [bad({ over: { sub: 'u' } }), 'invalid_request', /not in `sub`/],
    [bad({ over: { sub_id: undefined } }), 'invalid_request', /`sub_id` is missing/],
    [bad({ over: { events: {} } }), 'invalid_request', /`events` is missing, empty/],
    [bad({ members: [] }), 'invalid_request', /an event is no object/],
    [bad({ members: { event_timestamp: now() + 3600 } }), 'invalid_request', /time of the event/],
    [bad({ members: { event_timestamp: 'now' } }), 'invalid_request', /time of the event/],
    [bad({}, 'credential-change'), 'invalid_request', /`change_type` or `credential_type`/],
    [bad({}, 'session-revoked', { iss: issuer.issuer, sub: 'u' }), 'invalid_request', /no object with a `format`/],
    [bad({}, 'session-revoked', { format: 'iss_sub', iss: issuer.issuer }), 'invalid_request', /`iss` or `sub` of a subject/],
    [bad({}, 'session-revoked', { ...subject, iss: stranger.issuer }), 'access_denied', /not one of this issuer's/],
    [bad({}, 'session-revoked', { format: 'aliases', identifiers: Array(17).fill(subject) }), 'invalid_request', /more/],
    [logoutToken(issuer, { aud: 'https://api/events' }), 'invalid_request', /`typ` is not/],
    ['junk', 'invalid_request', /no signed token/], ['', 'invalid_request', /no signed token/],
  ]) assertEvent(await sendEvent(h, token), err, pattern);
  assertEvent(await post(h, EVENTS, form, bad({})), 'invalid_request', /should be application\/secevent\+jwt/);
  for (const send of [post, unannounced]) assertEvent(await send(h, EVENTS, { 'Content-Type': 'application/secevent+jwt' }, 'x'.repeat(100000)), 'invalid_request', /longer than 64 KiB/);
  assertEvent(await unannounced(h, EVENTS, { 'Content-Type': 'application/secevent+jwt' }, bad({ over: { iat: undefined } })), 'invalid_request', /`iat` is missing/);
  assert.equal((await request(h, { path: EVENTS })).status, 405);
  assert.deepEqual(await ask(h, issuer.bearer({ sub: 'u' })), [200], 'none of them did anything');
  assertEvent(await sendEvent(h, bad({ over: { aud: ['x', 'https://api/events'] } })));
  assert.deepEqual(await ask(h, issuer.bearer({ sub: 'u' })), [401]);
  // Neither is an access token, whatever it is addressed to.
  for (const token of [bad({ over: { aud: AUDIENCE, exp: now() + 60 } }), logoutToken(issuer, { aud: AUDIENCE }, { typ: 'JWT' })]) {
    const res = await h.call('me', { headers: { Authorization: `Bearer ${token}` } });
    assert.deepEqual([res.status, res.json().error_description], [401, 'The provided token is an event, not an access token']);
  }
});

test('by default they are addressed as tokens are; paths stand before functions; each issuer has its own', async (t) => {
  const second = (await Issuer.start(t)).tenant();
  const more = `, { issuer = ${lua(second.issuer)}, audience = ${lua(AUDIENCE)}, revocation = { backchannel_logout = "/other" } }`;
  const { issuer, h } = await world(t, { own: `revocation = { backchannel_logout = "${LOGOUT}" }`, more });
  assertLogout(await sendLogout(h, logoutToken(issuer, { aud: 'cid' })), 400, /`aud` does not name/);
  assertLogout(await sendLogout(h, logoutToken(issuer, { aud: AUDIENCE })), 200);
  assert.equal((await sendEvent(h, 'x')).text, 'all', 'no path, so it is a function\'s');
  assertLogout(await sendLogout(h, logoutToken(second, { aud: AUDIENCE })), 400, /`iss` is no issuer/);
  assertLogout(await post(h, '/other', form, `logout_token=${logoutToken(second, { aud: AUDIENCE, sid: 'z' })}`), 200);
  assert.deepEqual(await ask(h, second.bearer({ sid: 'z' })), [401]);
  assert.deepEqual(await ask(h, issuer.bearer({ sid: 'z' })), [200]);
  const rows = (await h.admin('routes')).json().filter((row) => row.function === null);
  assert.deepEqual(rows.map(({ method, path, auth }) => [method, path, auth]),
    [['POST', LOGOUT, `logout tokens of ${issuer.issuer}`], ['POST', '/other', `logout tokens of ${second.issuer}`]]);
  assert.match((await run(t, ['routes'], { dir: h.dir })).stdout, /^POST +\/hooks\/logout +- +- +logout tokens of http/m);
});

test('keys that cannot be had, and a store that is away: an event is to be sent again', async (t) => {
  const redis = await Redis.start(t);
  const { issuer, h } = await world(t, { env: { KV_URL: redis.url } });
  const subject = { format: 'iss_sub', iss: issuer.issuer, sub: 'u' };
  const headers = issuer.bearer({ sub: 'u' });
  assert.deepEqual(await ask(h, headers), [200]);
  await redis.stop();
  const late = await sendEvent(h, event(issuer, 'session-revoked', subject));
  assert.deepEqual([late.status, late.headers['retry-after'], late.json().error], [503, ['5'], 'not_kept']);
  assert.deepEqual(await ask(h, headers), [401], 'it counts here all the same');
  assertLogout(await sendLogout(h, logoutToken(issuer, { sid: 'k' })), 400, /the store's server/);
  assert.deepEqual(await ask(h, issuer.bearer({ sid: 'k' })), [401]);
  await redis.begin();
  await eventually(async () => (await sendEvent(h, event(issuer, 'session-revoked', subject))).status === 202, 10, 'it is kept again');

  const keyless = await world(t, { state: { jwks: { status: 500, body: '' } } });
  const about = { format: 'iss_sub', iss: keyless.issuer.issuer, sub: 'u' };
  const token = event(keyless.issuer, 'session-revoked', about);
  const res = await sendEvent(keyless.h, token);
  assert.deepEqual([res.status, res.headers['retry-after'], res.json().error], [503, ['5'], 'keys_unavailable']);
  const logout = logoutToken(keyless.issuer);
  assertLogout(await sendLogout(keyless.h, logout), 400, /keys cannot be had/);
  keyless.issuer.state = {};
  await eventually(async () => (await sendEvent(keyless.h, token)).status === 202, 15, 'the keys are there');
  assertLogout(await sendLogout(keyless.h, logout), 200); // it was not taken before
});
