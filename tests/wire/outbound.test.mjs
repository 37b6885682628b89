// The host's own tokens for other APIs: asked for once, renewed, lent to calls, and seen by no script.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { deployment, eventually, folder, lua, run, start, write } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';

const JSON_TYPE = { 'Content-Type': 'application/json' };
const SECRET = 's3cret:with/odd chars';
const BASIC = `Basic ${Buffer.from('host%20id:s3cret%3Awith%2Fodd%20chars').toString('base64')}`;

// Fetches what the body says, as often as it says and all at once; tells what came of each.
const SCRIPT = `return function(event)
  local ask = json.decode(event.body)
  local function one()
    local ok, res = pcall(fetch, ask.url, ask.options)
    if not ok then return { error = tostring(res) } end
    return { status = res.status, headers = res.headers, body = res:text(), url = res.url }
  end
  local runs = {}
  for i = 1, ask.times or 1 do runs[i] = one end
  return json.encode({ parallel(table.unpack(runs)) })
end`;

async function listen(t, onRequest) {
  const server = http.createServer(onRequest);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}`;
}

// A token endpoint: `reply` (or `replies`, the first ones) is what it says; `asked` what it heard.
async function endpoint(t) {
  const it = { asked: [], replies: [], reply: {}, given: [] };
  it.url = `${await listen(t, async (req, res) => {
    let body = '';
    for await (const piece of req) body += piece;
    it.asked.push({ method: req.method, headers: req.headers, form: new URLSearchParams(body), at: Date.now() });
    const token = `tok-${it.asked.length}-${crypto.randomBytes(12).toString('hex')}`;
    const { status = 200, text, json, headers = {}, hang, destroy } = it.replies.shift() ?? it.reply;
    if (hang) return;
    if (destroy) { res.destroy(); return; }
    if (it.gate) await it.gate;
    it.given.push(token);
    res.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    res.end(text ?? JSON.stringify(json ?? { access_token: token, token_type: 'bearer', expires_in: 600, ...it.more }));
  })}/token`;
  return it;
}

// An API: says what it was sent; `refuse` are the tokens that it does not take (true: none).
async function api(t) {
  const it = { seen: [], refuse: [] };
  it.url = await listen(t, async (req, res) => {
    let body = '';
    for await (const piece of req) body += piece;
    const token = (req.headers.authorization ?? '').replace(/^Bearer /, '');
    it.seen.push({ url: req.url, method: req.method, token, body });
    if (it.refuse === true || it.refuse.includes(token)) { res.writeHead(401, { 'WWW-Authenticate': 'Bearer error="invalid_token"' }); res.end('no'); return; }
    if (it.answer) { it.answer(req, res); return; }
    res.end(JSON.stringify({ url: req.url, body }));
  });
  it.host = it.url.slice(7);
  return it;
}

const FIELDS = (at, a, more) => `{ hosts = { ${lua(a.host)} }, token_url = ${lua(at.url)}, client_id = "host id", ${more ?? 'client_secret = env.CRM_SECRET'} }`;

async function world(t, { identity, more = '', fields = {}, scripts = {}, command = 'serve', args = [] } = {}) {
  const at = await endpoint(t), a = await api(t);
  const h = await start(t, {
    command, args,
    files: deployment({ ask: SCRIPT, ...scripts }, {
      fields: { ask: 'concurrency = 100', ...fields },
      more: `  outbound = { crm = ${FIELDS(at, a, identity)} },\n${more}`,
      files: { '.env': `CRM_SECRET="${SECRET}"\nOTHER=visible\n` },
    }),
  });
  const all = async (ask, headers = {}) => {
    const res = await h.call('ask', { method: 'POST', headers: { ...JSON_TYPE, ...headers }, body: JSON.stringify(ask) });
    assert.equal(res.status, 200, res.text);
    return res.json();
  };
  const ask = async (url = '/', options = {}, headers = {}) => (await all({ url: url.startsWith('/') ? a.url + url : url, options: { as: 'crm', ...options } }, headers))[0];
  return { at, a, h, all, ask };
}

test('64 calls at once, in one request or in many, cost one token request', async (t) => {
  const { at, a, all, ask } = await world(t, { identity: 'client_secret = env.CRM_SECRET, scope = "read write", audience = "https://crm", resource = "https://crm/res"' });
  let open;
  at.gate = new Promise((resolve) => { open = resolve; });
  const first = [all({ url: a.url, options: { as: 'crm' }, times: 32 }), ...Array.from({ length: 32 }, () => ask())];
  await eventually(() => at.asked.length === 1, 10, 'the token request');
  open();
  const done = (await Promise.all(first)).flat();
  assert.deepEqual(done.map((r) => r.status), Array(64).fill(200));
  assert.equal(at.asked.length, 1);
  assert.deepEqual([...new Set(a.seen.map((s) => s.token))], [at.given[0]]);
  const [asked] = at.asked;
  assert.equal(asked.method, 'POST');
  assert.equal(asked.headers.authorization, BASIC);
  assert.equal(asked.headers['content-type'], 'application/x-www-form-urlencoded');
  assert.deepEqual(Object.fromEntries(asked.form), { grant_type: 'client_credentials', scope: 'read write', audience: 'https://crm', resource: 'https://crm/res' });
  const more = await ask('/again');
  assert.equal(more.status, 200);
  assert.equal(at.asked.length, 1, 'and it is kept');
});

test('the secret in the form, where the endpoint wants it there', async (t) => {
  const { at, ask } = await world(t, { identity: 'client_secret = env.CRM_SECRET, client_auth = "post"' });
  assert.equal((await ask()).status, 200);
  assert.equal(at.asked[0].headers.authorization, undefined);
  assert.deepEqual(Object.fromEntries(at.asked[0].form), { grant_type: 'client_credentials', client_id: 'host id', client_secret: SECRET });
});

test('a token goes to the hosts that are listed, and nowhere else', async (t) => {
  const { at, a, h, ask } = await world(t);
  const other = await api(t);
  const refused = await ask(`${other.url}/x`);
  assert.equal(refused.error, `outbound 'crm' does not go to ${other.host}`);
  assert.equal((await ask('http://evil.example/x')).error, "outbound 'crm' does not go to evil.example");
  assert.equal((await ask(`http://crm@evil.example:99/${a.host}`)).error, "outbound 'crm' does not go to evil.example:99");
  assert.match((await ask('/', { as: 'cmr' })).error, /outbound of functions\.lua has no 'cmr'; did you mean 'crm'\?/);
  assert.match((await ask('/', { headers: { authorization: 'Bearer mine' } })).error, /outbound 'crm' brings its own Authorization/);
  assert.match((await ask('/', { as: 5 })).error, /as must be a text/);
  assert.equal(at.asked.length + a.seen.length + other.seen.length, 0, 'nobody was asked for anything');
  assert.equal((await ask()).status, 200);
  // redirects: within the host with the token, to another without
  a.answer = (req, res) => {
    const to = new URL(req.url, a.url).searchParams.get('to');
    if (to === null) { res.end('here'); return; }
    res.writeHead(302, { Location: to });
    res.end();
  };
  assert.equal((await ask('/?to=/inside')).body, 'here');
  assert.equal(a.seen.at(-1).token, at.given[0]);
  const away = await ask(`/?to=${encodeURIComponent(`${other.url}/stolen`)}`);
  assert.equal(away.status ?? away.error, 'fetch: address \'127.0.0.1\' is private and not listed for fetch');
  assert.equal(other.seen.length, 0);
  assert.doesNotMatch(h.stderr + h.stdout, new RegExp(at.given[0]));
});

test('over a redirect to another host that the function may fetch from, and back, it is gone', async (t) => {
  const { at, a, ask } = await world(t, { fields: { ask: 'fetch = { "127.0.0.1", "localhost" }' } });
  const other = await api(t);
  a.answer = (req, res) => {
    if (!req.url.startsWith('/go')) { res.end('back'); return; }
    res.writeHead(307, { Location: `${other.url}/stolen` });
    res.end();
  };
  other.answer = (req, res) => { res.writeHead(302, { Location: `${a.url}/back` }); res.end(); };
  assert.equal((await ask('/go')).body, 'back');
  assert.deepEqual(other.seen.map((s) => s.token), ['']);
  assert.deepEqual(a.seen.map((s) => s.token), [at.given[0], '']);
  // neither is a 401 over there a reason to ask for another
  other.refuse = true;
  assert.equal((await ask('/go')).status, 401);
  assert.equal(at.asked.length, 1);
});

test('a function whose `fetch` does not list the host does not get there by an identity', async (t) => {
  const { a, ask } = await world(t, { fields: { ask: 'fetch = { "api.example" }' } });
  assert.match((await ask()).error, /host '127\.0\.0\.1' is not listed for fetch/);
  assert.equal(a.seen.length, 0);
});

test('a 401 renews once; a second one is the answer, and then is believed', async (t) => {
  const { at, a, all, ask } = await world(t);
  assert.equal((await ask()).status, 200);
  a.refuse = [at.given[0]];
  const many = await all({ url: `${a.url}/x`, options: { as: 'crm', method: 'POST', body: 'b'.repeat(70000) }, times: 20 });
  assert.deepEqual(many.map((r) => r.status), Array(20).fill(200));
  assert.equal(at.asked.length, 2, 'one renewal for all');
  assert.deepEqual(a.seen.slice(-1).map((s) => [s.token, s.body.length]), [[at.given[1], 70000]]);
  a.refuse = true;
  for (let i = 0; i < 5; i++) assert.equal((await ask()).status, 401);
  assert.equal(at.asked.length, 3, 'what does not help is not tried again and again');
  assert.equal(a.seen.filter((s) => s.token === at.given[2]).length, 5);
});

test('a stream is renewed, too, and says nothing of it', async (t) => {
  const { at, a, h } = await world(t, { scripts: { flow: `return function(e)
    local res = fetch(e.body, { as = "crm", stream = true })
    local all = {}
    for piece in res:chunks() do all[#all + 1] = piece end
    return { statusCode = res.status, body = table.concat(all) }
  end` } });
  const flow = () => h.call('flow', { method: 'POST', headers: JSON_TYPE, body: `${a.url}/s` });
  a.answer = (req, res) => res.end('x'.repeat(300000));
  assert.equal((await flow()).text.length, 300000);
  a.refuse = [at.given[0]];
  const again = await flow();
  assert.equal(again.status, 200);
  assert.equal(again.text.length, 300000);
  assert.equal(at.asked.length, 2);
});

test('what an endpoint may answer: each failure has a name, and no secret', async (t) => {
  const T = 'tok-of-this-answer';
  const cases = {
    'invalid client': [{ status: 401, json: { error: 'invalid_client', error_description: `secret is ${SECRET}` } }, /token endpoint refuses: invalid_client \(status 401\)/],
    'invalid scope': [{ status: 400, json: { error: 'invalid_scope' } }, /refuses: invalid_scope \(status 400\)/],
    'an odd error': [{ status: 400, json: { error: `${T} <b>` } }, /answers with status 400/],
    html: [{ status: 404, text: `<html>${T}</html>` }, /answers with status 404/],
    'no JSON': [{ text: `<html>${T}</html>` }, /answers without a token/],
    'no token': [{ json: { token_type: 'bearer', id_token: T } }, /answers without a token/],
    'a token that is no text': [{ json: { access_token: 5, token_type: 'bearer' } }, /answers without a token/],
    'a token with a line end': [{ json: { access_token: `${T}\r\nX-Evil: 1`, token_type: 'bearer' } }, /answers without a token/],
    'an endless token': [{ json: { access_token: 'x'.repeat(20000), token_type: 'bearer' } }, /answers without a token/],
    'said twice': [{ text: `{"access_token":"${T}","access_token":"b","token_type":"bearer"}` }, /answers without a token/],
    'another type': [{ json: { access_token: T, token_type: 'DPoP' } }, /gives no bearer token/],
    'no type': [{ json: { access_token: T } }, /gives no bearer token/],
    'less than was wanted': [{ json: { access_token: T, token_type: 'Bearer', scope: 'read' } }, /did not grant the scope 'write'/],
    'a redirect': [{ status: 307, headers: { Location: '/elsewhere' } }, /answers with status 307/],
    'server error': [{ status: 500, text: T }, /answers with status 500/],
    busy: [{ status: 503, headers: { 'Retry-After': '7' } }, /answers with status 503/],
    'hung up': [{ destroy: true }, /the token endpoint: .*\(ECONNRESET\)/],
    'too large': [{ text: `{"access_token":"${T}","pad":"${'x'.repeat(70000)}"}` }, /larger than 65536 bytes/],
  };
  const at = await endpoint(t), a = await api(t);
  const names = Object.keys(cases);
  const rows = [...names, 'good'].map((name, i) => `    ["${i}"] = ${FIELDS({ url: `${at.url}?${i}` }, a, `client_secret = env.CRM_SECRET, scope = "read write"`)},`);
  const h = await start(t, { files: deployment({ ask: SCRIPT }, { more: `  outbound = {\n${rows.join('\n')}\n  },`, files: { '.env': `CRM_SECRET="${SECRET}"\n` } }) });
  const ask = async (i) => (await h.call('ask', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ url: a.url, options: { as: String(i) } }) })).json()[0];
  for (const [i, name] of names.entries()) {
    [at.reply] = cases[name];
    const before = at.asked.length, begun = Date.now();
    const got = await ask(i);
    assert.match(got.error, cases[name][1], name);
    assert.match(got.error, new RegExp(`outbound '${i}'`), name);
    assert.equal((await ask(i)).error, got.error, name);
    // After most of these it is left alone for three quarters of a second, or more.
    assert.ok(at.asked.length === before + 1 || Date.now() - begun > 700, `${name}: it is not asked again at once`);
  }
  assert.equal(a.seen.length, 0, 'never without the token');
  at.reply = { json: { access_token: T, token_type: 'BEARER', scope: 'write more read', expires_in: '600' } };
  assert.equal((await ask(names.length)).status, 200);
  assert.equal(a.seen[0].token, T);
  await h.says(/outbound '0': the token endpoint refuses: invalid_client/);
  for (const word of [T, SECRET, BASIC, BASIC.slice(6)]) assert.ok(!(h.stderr + h.stdout).includes(word), word);
  assert.equal(await h.metric('outbound_token_requests_total'), at.asked.length);
  assert.equal(await h.metric('outbound_token_failures_total'), at.asked.length - 1);
});

test('how long a token is kept', async (t) => {
  const at = await endpoint(t), a = await api(t);
  const kept = { number: 600, text: '600', fraction: 600.5, huge: 1e15 };
  const once = { missing: undefined, zero: 0, negative: -5, word: 'soon', list: [600], nothing: null };
  const names = [...Object.keys(kept), ...Object.keys(once)];
  const rows = names.map((name) => `    ${name} = ${FIELDS({ url: `${at.url}?${name}` }, a)},`);
  const h = await start(t, { files: deployment({ ask: SCRIPT }, { more: `  outbound = {\n${rows.join('\n')}\n  },`, files: { '.env': `CRM_SECRET="${SECRET}"\n` } }) });
  for (const name of names) {
    at.more = { expires_in: { ...kept, ...once }[name] };
    const before = at.asked.length;
    for (let i = 0; i < 2; i++) {
      const res = await h.call('ask', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ url: a.url, options: { as: name }, times: 3 }) });
      assert.deepEqual(res.json().map((r) => r.status), [200, 200, 200], name);
    }
    assert.equal(at.asked.length - before, name in kept ? 1 : 2, name);
  }
});

test('a short life is used, then renewed; an endpoint that is away does not matter before', async (t) => {
  const { at, a, ask } = await world(t);
  at.more = { expires_in: 3 };
  const begun = Date.now();
  assert.equal((await ask()).status, 200);
  at.reply = { status: 503 };
  for (let i = 0; i < 3; i++) {
    const { status } = await ask();
    assert.ok(status === 200 || Date.now() - begun > 1900, 'two thirds of its life it is good');
  }
  assert.deepEqual([...new Set(a.seen.map((s) => s.token))], [at.given[0]]);
  await eventually(async () => (await ask()).error !== undefined, 10, 'the end of that token');
  at.reply = {};
  await eventually(async () => (await ask()).status === 200, 20, 'a new one');
  assert.ok(at.given.includes(a.seen.at(-1).token) && a.seen.at(-1).token !== at.given[0]);
});

test('a reload keeps a token while its identity stays the same, and no longer', async (t) => {
  const { at, a, h, ask } = await world(t);
  assert.equal((await ask()).status, 200);
  const reload = async (change) => {
    const before = await h.metric('config_reloads_total');
    write(h.dir, change);
    h.kill('SIGHUP');
    await eventually(async () => await h.metric('config_reloads_total') > before, 10, 'the reload');
  };
  const text = fs.readFileSync(path.join(h.dir, 'functions.lua'), 'utf8');
  await reload({ 'functions.lua': `${text}-- another line\n` });
  assert.equal((await ask()).status, 200);
  assert.equal(at.asked.length, 1);
  await reload({ '.env': 'CRM_SECRET="another one"\n' });
  assert.equal((await ask()).status, 200);
  assert.equal(at.asked.length, 2, 'a secret that was changed ends what was got by the old one');
  assert.equal(at.asked[1].headers.authorization, `Basic ${Buffer.from('host%20id:another%20one').toString('base64')}`);
  await reload({ 'functions.lua': text.replace('outbound = { crm', 'outbound = { crn') });
  assert.match((await ask()).error, /outbound of functions\.lua has no 'crm'; did you mean 'crn'\?/);
  assert.equal(a.seen.length, 3);
});

test('an endpoint that hangs holds up nobody for longer than he has', async (t) => {
  const { at, ask } = await world(t);
  at.reply = { hang: true };
  assert.match((await ask('/', { timeout: 1 })).error, /outbound 'crm': no token in time \(ETIMEDOUT\)/);
  await eventually(() => at.asked.length === 1, 10, 'it was asked, once');
});

test('private_key_jwt: signed for the endpoint, good once', async (t) => {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const at = await endpoint(t), a = await api(t);
  at.more = { expires_in: 0 };
  const h = await start(t, { files: deployment({ ask: SCRIPT, peek: 'return function() return tostring(env.CRM_KEY) end' }, {
    fields: { peek: 'env = { "*" }' },
    more: `  outbound = { crm = ${FIELDS(at, a, 'private_key = env.CRM_KEY, key_id = "k9"')}, aud = ${FIELDS(at, a, 'private_key = env.CRM_KEY, assertion_audience = "https://issuer/"')} },`,
  }), env: { CRM_KEY: pem } });
  const seen = [];
  for (const as of ['crm', 'crm', 'aud']) {
    const res = await h.call('ask', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ url: a.url, options: { as } }) });
    assert.equal(res.json()[0].status, 200, res.text);
    const { form, headers } = at.asked.at(-1);
    assert.equal(headers.authorization, undefined);
    assert.equal(form.get('client_assertion_type'), 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
    assert.equal(form.get('client_id'), 'host id');
    const [head, body, signature] = form.get('client_assertion').split('.');
    assert.ok(crypto.verify('sha256', Buffer.from(`${head}.${body}`), { key: publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')));
    seen.push([JSON.parse(Buffer.from(head, 'base64url')), JSON.parse(Buffer.from(body, 'base64url'))]);
  }
  const [[head, claims], [, second], [plain, third]] = seen;
  assert.deepEqual(head, { alg: 'ES256', typ: 'JWT', kid: 'k9' });
  assert.equal(plain.kid, undefined);
  const { iat, exp, jti, ...rest } = claims;
  assert.deepEqual(rest, { iss: 'host id', sub: 'host id', aud: at.url });
  assert.ok(exp - iat <= 60 && exp > Date.now() / 1000 && jti.length >= 20);
  assert.notEqual(second.jti, jti);
  assert.equal(third.aud, 'https://issuer/');
  assert.equal((await h.call('peek')).text, 'nil');
});

test('token exchange: the token of the caller is shown, one for each, and nobody gets another\'s', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const { at, a, h, ask } = await world(t, {
    identity: 'client_secret = env.CRM_SECRET, grant = "token_exchange", scope = "crm"',
    more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },`,
    fields: { ask: 'auth = true' }, scripts: { open: SCRIPT },
  });
  await h.keys();
  const now = Math.floor(Date.now() / 1000);
  const tokens = ['u1', 'u2'].map((sub) => issuer.token({ sub }));
  for (const token of [...tokens, ...tokens]) assert.equal((await ask('/', {}, { Authorization: `Bearer ${token}` })).status, 200);
  assert.deepEqual(at.asked.map((q) => q.form.get('subject_token')), tokens);
  assert.deepEqual(a.seen.map((s) => s.token), [at.given[0], at.given[1], at.given[0], at.given[1]]);
  const { subject_token: _, ...form } = Object.fromEntries(at.asked[0].form);
  assert.deepEqual(form, { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', scope: 'crm' });
  // what is exchanged does not outlive what it was exchanged for
  const short = issuer.token({ sub: 'u3', exp: now + 20 });
  at.more = { expires_in: 86400 };
  assert.equal((await ask('/', {}, { Authorization: `Bearer ${short}` })).status, 200);
  // a refusal is of that caller alone, and never makes the host speak for itself
  at.replies = [{ status: 400, json: { error: 'invalid_grant' } }];
  const bad = issuer.token({ sub: 'u4' });
  for (let i = 0; i < 2; i++) assert.match((await ask('/', {}, { Authorization: `Bearer ${bad}` })).error, /outbound 'crm': the token endpoint refuses: invalid_grant/);
  assert.equal((await ask('/', {}, { Authorization: `Bearer ${tokens[0]}` })).status, 200);
  assert.equal((await ask('/', {}, { Authorization: `Bearer ${issuer.token({ sub: 'u5' })}` })).status, 200);
  const nobody = await h.call('open', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ url: a.url, options: { as: 'crm' } }) });
  assert.match(nobody.json()[0].error, /outbound 'crm' speaks for the caller, and no token of a caller was verified/);
  for (const { token } of a.seen) assert.ok(at.given.includes(token));
});

test('what is wrong in functions.lua is said with its line', async (t) => {
  const good = { hosts: '{ "crm.example" }', token_url: '"https://id.example/token"', client_id: '"id"', client_secret: '"s3"' };
  const cases = [
    [{ hosts: undefined }, /outbound\.crm\.hosts: must name the hosts/], [{ hosts: '{}' }, /hosts: must name/], [{ hosts: '{ "*" }' }, /'\*' would send the token to anybody/],
    [{ hosts: '{ "https://crm.example" }' }, /'https:\/\/crm\.example' is no host; write "api\.example"/], [{ hosts: '"crm.example"' }, null], [{ hosts: '{ "CRM.example", "*.b.example:8443" }' }, null],
    [{ token_url: undefined }, /token_url: is missing/], [{ token_url: '"http://id.example/token"' }, /token_url: 'http:\/\/id\.example\/token' must be https/],
    [{ client_id: undefined }, /client_id: is missing/], [{ client_secret: undefined }, /needs either client_secret = env\.NAME or private_key/], [{ private_key: '"x"' }, /needs either/],
    [{ client_secret: undefined, private_key: '"x"' }, /private_key: must be the PEM text of a private key/], [{ client_auth: '"form"' }, /client_auth: must be "basic" or "post"/],
    [{ grant: '"password"' }, /grant: must be "client_credentials" \(as the host\) or "token_exchange"/], [{ scopes: '"a"' }, /scopes: unknown key; did you mean `scope`/], [{ key_id: '"k"' }, /belong to a private_key/], [{}, null],
  ];
  for (const [change, wanted] of cases) {
    const fields = Object.entries({ ...good, ...change }).filter(([, v]) => v !== undefined).map(([k, v]) => `${k} = ${v}`);
    const dir = folder(t, deployment({ ask: 'return function() return "" end' }, { fields: { ask: 'auth = "public"' }, more: `  outbound = { crm = { ${fields.join(', ')} } },` }));
    const { code, stdout, stderr } = await run(t, ['check'], { dir });
    assert.equal(code, wanted === null ? 0 : 1, `${fields} ${stdout}${stderr}`);
    if (wanted !== null) assert.match(stdout + stderr, wanted);
    if (wanted !== null) assert.match(stdout + stderr, /functions\.lua:\d+: /);
    assert.doesNotMatch(stdout + stderr, /\bs3\b/);
  }
});

test('`luafn test` sees in whose name a call is made, and asks nobody for a token', async (t) => {
  const dir = folder(t, deployment({ ask: 'return function() return fetch("https://crm.example/x", { as = "crm", json = { a = 1 } }):text() end' }, {
    more: '  outbound = { crm = { hosts = { "crm.example" }, token_url = "https://id.example/token", client_id = "id", client_secret = "s3" } },',
    files: { 'ask_test.lua': `test("as", function(t)
  local calls = t.fetch("https://crm.example/x", function(request) return request.as .. request.method .. request.body end)
  local res = t.invoke("ask")
  t.equal(res.body, 'crmPOST{"a":1}')
  t.equal(calls[1].headers.authorization, nil)
end)
` } }));
  const { code, stdout, stderr } = await run(t, ['test'], { dir });
  assert.equal(code, 0, stdout + stderr);
});
