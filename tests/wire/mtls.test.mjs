// Tokens that are bound to a client's certificate (RFC 8705): by our own handshake, over HTTP/1.1 and HTTP/2, and as a trusted
// proxy tells it (RFC 9440). Each refusal differs from a request that passes in one thing.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import crypto from 'node:crypto';
import { once } from 'node:events';
import fs from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import path from 'node:path';
import test from 'node:test';
import { certificate, tlsArgs } from '../lib/cert.mjs';
import { deployment, folder, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';

const SEE = 'return function(e, c) return json.encode { sub = (c.identityContext or { claims = {} }).claims.sub, cert = e.headers["client-cert"], chain = e.headers["client-cert-chain"] } end';
const FIELDS = { me: 'auth = true', bound: 'auth = { mtls = true }', off: 'auth = { mtls = false }', open: 'auth = "public"', admin: 'auth = { mtls = true, scope = "admin" }' };
const SCRIPTS = { ...Object.fromEntries(Object.keys(FIELDS).map((name) => [name, SEE])), inlua: `return jwt.require_auth(${SEE.slice(7)})` };
const REFUSALS = {
  none: 'The token needs the certificate that it is bound to (mutual TLS)',
  other: 'The token is bound to another certificate',
  unbound: 'The token is not bound to a certificate',
};

const der = (pem) => new crypto.X509Certificate(pem).raw;
const thumbprint = (bytes) => crypto.createHash('sha256').update(bytes).digest('base64url');
const byteSequence = (bytes) => `:${bytes.toString('base64')}:`;

async function world(t, { more = '', auth = '', dir = folder(t), args = [] } = {}) {
  const issuer = (await Issuer.start(t)).tenant();
  const files = deployment(SCRIPTS, { fields: FIELDS, more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}${auth} },${more}` });
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), text);
  }
  const h = await start(t, { dir, args });
  await h.keys();
  return { h, issuer, dir, boundTo: (bytes, more2 = {}) => issuer.token({ cnf: { 'x5t#S256': thumbprint(bytes) }, ...more2 }) };
}

const isRefused = (res, why, what) => {
  assert.equal(res.status, 401, `${what}: ${res.text}`);
  assert.deepEqual(res.json(), { error: 'jwt_invalid', error_description: REFUSALS[why] }, what);
  assert.match(res.header('www-authenticate'), /^Bearer realm="luafn", error="invalid_token"/, what);
};

// A certificate of a client that the CA has signed.
function signed(dir, ca, name) {
  const file = (end) => path.join(dir, `${name}${end}`);
  execFileSync('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', file('.key.pem'), '-out', file('.csr'), '-subj', `/CN=${name}`], { stdio: 'ignore' });
  execFileSync('openssl', ['x509', '-req', '-in', file('.csr'), '-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial', '-days', '2', '-out', file('.pem')], { stdio: 'ignore' });
  return { cert: file('.pem'), key: file('.key.pem'), pem: fs.readFileSync(file('.pem'), 'utf8') };
}

// Over TLS, with this certificate or none.
const over = (h, server) => (name, token, who, headers = {}) => new Promise((resolve, reject) => {
  https.get({
    host: h.address, port: h.port, path: `/.netlify/functions/${name}`, ca: server.ca, servername: 'localhost', agent: false,
    ...(who ? { cert: fs.readFileSync(who.cert), key: fs.readFileSync(who.key) } : {}),
    headers: { ...(token ? { Authorization: `Bearer ${token}` } : {}), ...headers },
  }, (res) => {
    let text = '';
    res.setEncoding('utf8').on('data', (d) => { text += d; }).on('end', () => resolve({ status: res.statusCode, text, json: () => JSON.parse(text), header: (n) => res.headers[n] }));
  }).on('error', reject);
});

test('by the handshake: its own certificate alone lets a bound token in', async (t) => {
  const dir = folder(t);
  const server = certificate(dir);
  const ca = certificate(dir, 'ca', { subject: '/CN=ca' });
  const own = certificate(dir, 'own', { subject: '/CN=own' }); // self-signed, and among those that are trusted
  const [mine, others] = [signed(dir, ca, 'mine'), signed(dir, ca, 'others')];
  const stranger = certificate(dir, 'stranger', { subject: '/CN=stranger' });
  fs.writeFileSync(path.join(dir, 'clients.pem'), ca.ca + own.ca);
  const { h, issuer, boundTo } = await world(t, { dir, args: [...tlsArgs(server), '--tls-client-ca', 'clients.pem'] });
  const ask = over(h, server);
  const token = boundTo(der(mine.pem), { scope: 'admin' });
  for (const name of ['bound', 'me', 'admin']) {
    assert.equal((await ask(name, token, mine)).status, 200, name);
    isRefused(await ask(name, token, null), 'none', `${name}: no certificate`);
    isRefused(await ask(name, token, others), 'other', `${name}: another`);
    isRefused(await ask(name, token, stranger), 'none', `${name}: one that nobody has signed`);
    isRefused(await ask(name, token, others, { 'Client-Cert': byteSequence(der(mine.pem)) }), 'other', `${name}: a header of nobody's`);
  }
  assert.equal((await ask('bound', boundTo(der(own.ca)), own)).status, 200, 'a client that has signed itself');
  isRefused(await ask('bound', boundTo(der(stranger.ca)), stranger), 'none', 'the right one, but not to be trusted');
  isRefused(await ask('bound', issuer.token({}), mine), 'unbound', 'any other token');
  assert.equal((await ask('me', issuer.token({}), null)).status, 200, 'where it is not asked for');
  isRefused(await ask('bound', issuer.token({ cnf: { jkt: 'x' } }), mine), 'unbound', 'bound to something else');
  assert.equal((await ask('admin', boundTo(der(mine.pem)), mine)).status, 403, 'then come the scopes');
  for (const odd of [thumbprint(der(mine.pem)).slice(0, 42), `${thumbprint(der(mine.pem))}=`, '', 5, null, [thumbprint(der(mine.pem))], thumbprint(der(mine.pem)).toUpperCase()]) {
    isRefused(await ask('me', issuer.token({ cnf: { 'x5t#S256': odd } }), mine), 'other', `${JSON.stringify(odd)} is no hash of it`);
  }
  // Without `mtls`: not a bearer token either, unless it is said that `cnf` means nothing.
  assert.equal((await ask('off', token, null)).status, 200);
  assert.equal((await ask('open', token, null)).json().sub, undefined, 'an open function does not know whose it is');
  assert.equal((await ask('open', issuer.token({}), null)).json().sub, issuer.claims?.sub ?? (await ask('me', issuer.token({}), null)).json().sub);
  isRefused(await ask('inlua', token, mine), 'none', 'what a script checks sees no certificate');
});

test('every request of a connection, over HTTP/2 too; resumed sessions know it still', async (t) => {
  const dir = folder(t);
  const server = certificate(dir);
  const mine = certificate(dir, 'mine', { subject: '/CN=mine' });
  const { h, boundTo } = await world(t, { dir, args: [...tlsArgs(server), '--tls-client-ca', mine.cert] });
  const token = boundTo(der(mine.ca));
  const options = { ca: server.ca, servername: 'localhost', cert: fs.readFileSync(mine.cert), key: fs.readFileSync(mine.key) };
  const session = http2.connect(`https://${h.address}:${h.port}`, options);
  for (let i = 0; i < 3; i += 1) {
    const req = session.request({ ':path': '/.netlify/functions/bound', authorization: `Bearer ${token}` });
    assert.equal((await once(req, 'response'))[0][':status'], 200);
    req.resume();
    await once(req, 'end');
  }
  session.close();
  const agent = new https.Agent({ ...options, maxSockets: 1 });
  const ask = () => new Promise((resolve, reject) => {
    https.get({ host: h.address, port: h.port, path: '/.netlify/functions/bound', agent, headers: { Authorization: `Bearer ${token}` } }, (res) => {
      const { socket } = res;
      res.resume().on('end', () => resolve({ status: res.statusCode, reused: socket.isSessionReused() }));
    }).on('error', reject);
  });
  assert.equal((await ask()).status, 200);
  const second = await ask();
  assert.deepEqual(second, { status: 200, reused: true });
  agent.destroy();
});

test('as a trusted proxy tells it: one field of the right syntax', async (t) => {
  const dir = folder(t);
  const mine = der(certificate(dir, 'mine').ca);
  const other = der(certificate(dir, 'other').ca);
  for (const [more, auth] of [['  proxies = { from = "127.0.0.1", client_cert_header = "Client-Cert" },', ''], ['  proxies = { from = "127.0.0.1" },', ', client_cert_header = "client-cert"']]) {
    const { h, boundTo } = await world(t, { more, auth });
    const ask = (name, token, ...certs) => h.call(name, { headers: [['Authorization', `Bearer ${token}`], ...certs.map((c) => ['Client-Cert', c])] });
    const token = boundTo(mine);
    const good = await ask('bound', token, byteSequence(mine));
    assert.equal(good.status, 200, good.text);
    assert.equal(good.json().cert, byteSequence(mine), 'its word is shown');
    assert.equal((await ask('bound', token, `  ${byteSequence(mine)} `)).status, 200, 'white space around a field is none of it');
    assert.equal((await ask('me', token, byteSequence(mine))).status, 200);
    const b64 = mine.toString('base64');
    const none = ['', ':', '::', b64, `:${b64}`, `${b64}:`, `"${b64}"`, `:${b64}:;a=1`, `:${b64}:, :${b64}:`, `:${b64.slice(0, -1)}:`, `: ${b64}:`, `:${b64}=:`, `:${mine.toString('base64url')}:`, `:${b64.slice(0, 8)} ${b64.slice(8)}:`, '?1', encodeURIComponent(`-----BEGIN CERTIFICATE-----\n${b64}\n-----END CERTIFICATE-----\n`)];
    for (const value of none) isRefused(await ask('bound', token, value), 'none', value.slice(0, 40));
    isRefused(await ask('bound', token), 'none', 'no header');
    isRefused(await ask('bound', token, byteSequence(mine), byteSequence(mine)), 'none', 'two of them');
    isRefused(await ask('bound', token, byteSequence(other)), 'other', 'another');
    isRefused(await ask('bound', token, byteSequence(mine.subarray(1))), 'other', 'a byte less');
  }
});

test('from anybody else the header is no word, and no handler sees it', async (t) => {
  const dir = folder(t);
  const mine = der(certificate(dir, 'mine').ca);
  const { h, boundTo, issuer } = await world(t, { more: '  proxies = { from = "10.0.0.0/8", client_cert_header = "client-cert" },' });
  const headers = (token) => ({ Authorization: `Bearer ${token}`, 'Client-Cert': byteSequence(mine), 'Client-Cert-Chain': byteSequence(mine), 'X-Client-Cert': 'x' });
  for (const name of ['bound', 'me']) isRefused(await h.call(name, { headers: headers(boundTo(mine)) }), 'none', name);
  const seen = await h.call('me', { headers: headers(issuer.token({})) });
  assert.equal(seen.status, 200);
  assert.deepEqual([seen.json().cert, seen.json().chain], [undefined, undefined]);
});

test("a proxy's own certificate is not its client's", async (t) => {
  const dir = folder(t);
  const server = certificate(dir);
  const proxy = certificate(dir, 'proxy', { subject: '/CN=proxy' });
  const client = der(certificate(dir, 'client').ca);
  const { h, boundTo } = await world(t, { dir, more: '  proxies = { from = "127.0.0.1", client_cert_header = "client-cert" },', args: [...tlsArgs(server), '--tls-client-ca', proxy.cert] });
  const ask = over(h, server);
  isRefused(await ask('bound', boundTo(der(proxy.ca)), proxy), 'none', 'without the header');
  assert.equal((await ask('bound', boundTo(client), proxy, { 'Client-Cert': byteSequence(client) })).status, 200);
});

test('of an issuer for all its functions; metadata, routes and explain say it', async (t) => {
  const { h, issuer, dir, boundTo } = await world(t, { auth: ', mtls = true', more: '  proxies = { from = "127.0.0.1", client_cert_header = "client-cert" },' });
  const mine = der(certificate(dir, 'mine').ca);
  isRefused(await h.call('me', { headers: { Authorization: `Bearer ${issuer.token({})}` } }), 'unbound', 'me');
  assert.equal((await h.call('off', { headers: { Authorization: `Bearer ${issuer.token({})}` } })).status, 200);
  assert.equal((await h.call('me', { headers: { Authorization: `Bearer ${boundTo(mine)}`, 'Client-Cert': byteSequence(mine) } })).status, 200);
  const document = (name) => h.get(`/.well-known/oauth-protected-resource/.netlify/functions/${name}`).then((res) => res.json().tls_client_certificate_bound_access_tokens);
  assert.deepEqual([await document('me'), await document('off')], [true, undefined]);
  const routes = await run(t, ['routes'], { dir });
  assert.match(routes.stdout, /\bme\b.*certificate required/);
  assert.doesNotMatch(routes.stdout, /\boff\b.*certificate required/);
  const explained = await run(t, ['explain', boundTo(mine), '--route', 'me'], { dir });
  assert.match(explained.stdout, /PASS +mtls .*bound to a certificate/);
  assert.match(explained.stdout, /let through, with the certificate that it is bound to/);
  const audit = await run(t, ['audit', h.url('/.netlify/functions/me'), '--token', boundTo(mine), '--issuer', issuer.issuer, '--aud', AUDIENCE], { dir });
  assert.equal(audit.code, 0, audit.stdout + audit.stderr);
  assert.match(audit.stdout, /^ok +the good token without its certificate .*401 .*needs the certificate/m);
  const loose = await run(t, ['audit', h.url('/.netlify/functions/off'), '--token', boundTo(mine), '--issuer', issuer.issuer, '--aud', AUDIENCE], { dir });
  assert.match(loose.stdout, /^LET THROUGH +the good token without its certificate/m);
  const unbound = await run(t, ['explain', issuer.token({}), '--route', 'me'], { dir });
  assert.match(unbound.stdout, /FAIL +mtls/);
  assert.equal(unbound.code, 1);
});

test('what cannot be is told at the start', async (t) => {
  const dir = folder(t, deployment({ me: SEE }));
  const server = certificate(dir);
  fs.writeFileSync(path.join(dir, 'empty.pem'), '');
  fs.writeFileSync(path.join(dir, 'half.pem'), `${server.ca}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`);
  const rows = [[['--tls-client-ca', server.cert], 2, /--tls-client-ca needs --tls-cert and --tls-key/], [[...tlsArgs(server), '--tls-client-ca', 'none.pem'], 1, /none\.pem: No such file/], [[...tlsArgs(server), '--tls-client-ca', 'empty.pem'], 1, /empty\.pem: holds no certificate in PEM/], [[...tlsArgs(server), '--tls-client-ca', 'half.pem'], 1, /half\.pem: /]];
  for (const [args, code, message] of rows) {
    const out = await run(t, ['serve', '--listen', '127.0.0.1:0', ...args], { dir });
    assert.equal(out.code, code, args.join(' '));
    assert.match(out.stderr, message);
  }
  const config = [['auth = { mtls = "yes" }', /auth\.mtls: must be true or false/], ['auth = { mtl = true }', /auth\.mtl: unknown key; did you mean `mtls`/]];
  for (const [fields, message] of config) {
    const out = await run(t, ['check'], { files: deployment({ me: SEE }, { fields: { me: fields }, more: '  auth = { issuer = "https://a.example/", audience = "b" },' }) });
    assert.equal(out.code, 1, fields);
    assert.match(out.stderr, message);
  }
  const header = await run(t, ['check'], { files: deployment({ me: SEE }, { more: '  proxies = { from = "unix", client_cert_header = "a b" },' }) });
  assert.match(header.stderr, /functions\.lua:\d+: proxies\.client_cert_header: 'a b' is no name of a header/);
});
