// Clients of tools as they are: both generations of the protocol's own library sign in, list, call, are sent back for one
// scope more, and see an error; at a strict provider, and at the issuer of `dev` with nothing else there.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { UnauthorizedError as UnauthorizedV1 } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as TransportV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { exportJWK, generateKeyPair } from 'jose';
import { Provider, errors } from 'oidc-provider';
import { Browser } from '../lib/cookies.mjs';
import { deployment, eventually, freePort, lua, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';

const CALLBACK = 'http://127.0.0.1:1/callback';
const INFO = { name: 'a client of the tests', version: '1' };

console.warn = () => {};
console.info = () => {};

// Keeps no connection: a host that ends waits a second for those that are silent.
function unkept(url, init = {}) {
  const headers = new Headers(init.headers);
  headers.set('connection', 'close');
  return fetch(url, { ...init, headers });
}

const LIBRARIES = {
  v1: {
    Refused: UnauthorizedV1,
    make: (url, app) => [new ClientV1(INFO), new TransportV1(url, { authProvider: app, fetch: unkept })],
    finish: (transport, back) => transport.finishAuth(back.get('code')),
  },
  v2: {
    Refused: UnauthorizedError,
    make: (url, app) => [new Client(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } }), new StreamableHTTPClientTransport(url, { authProvider: app, fetch: unkept })],
    finish: (transport, back) => transport.finishAuth(back),
  },
};

// What an application remembers; with `id` it is known at the issuer already, else it introduces itself.
class App {
  constructor(id) { this.information = id ? { client_id: id } : undefined; }
  get redirectUrl() { return CALLBACK; }
  get clientMetadata() {
    return { client_name: 'Tests', redirect_uris: [CALLBACK], token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] };
  }
  clientInformation() { return this.information; }
  saveClientInformation(information) { this.information = information; }
  tokens() { return this.saved; }
  saveTokens(tokens) { this.saved = tokens; }
  redirectToAuthorization(url) { this.asked = url; }
  saveCodeVerifier(verifier) { this.verifier = verifier; }
  codeVerifier() { return this.verifier; }
  saveDiscoveryState(state) { this.discovered = state; }
  discoveryState() { return this.discovered; }
}

// `signIn(url)`: what a person does at the issuer; gives what the callback is told.
async function journey(url, library, app, signIn) {
  let client, transport, connected = false;
  const scopes = [];
  const connect = async () => {
    [client, transport] = library.make(new URL(url), app);
    await client.connect(transport);
    connected = true;
  };
  // Does it; where it is refused, signs in and does it again with a new connection.
  const insist = async (what) => {
    const { asked } = app;
    try { return await what(); } catch (e) {
      assert.ok(e instanceof library.Refused, e.stack);
      assert.notEqual(app.asked, asked, 'it was sent to the issuer');
      scopes.push(app.asked.searchParams.get('scope'));
      assert.equal(app.asked.searchParams.get('resource'), url);
      await library.finish(transport, await signIn(app.asked));
      await connect();
      return what();
    }
  };
  await insist(async () => { if (!connected) await connect(); });
  const names = async () => (await client.listTools()).tools.map((x) => x.name);
  assert.deepEqual(await names(), ['fails', 'read']);
  const read = await client.callTool({ name: 'read', arguments: { day: 'fri' } });
  assert.equal(read.structuredContent.day, 'fri');
  assert.equal(read.structuredContent.sub.length > 0, true);
  const wrong = await client.callTool({ name: 'read', arguments: {} });
  assert.equal(wrong.isError, true);
  const failed = await client.callTool({ name: 'fails' });
  assert.deepEqual([failed.isError, failed.content[0].text], [true, 'it is broken']);
  const written = await insist(() => client.callTool({ name: 'write' }));
  assert.equal(written.content[0].text, 'written');
  assert.deepEqual(await names(), ['fails', 'read', 'write']);
  await client.close();
  assert.deepEqual(scopes.map((s) => s.split(' ').filter((x) => x !== 'offline_access').sort().join(' ')), ['read:shows', 'read:shows write:shows'], 'from one scope to two');
}

const files = (auth) => deployment({
  read: 'return function(event, context) return { day = event.arguments.day, sub = context.identityContext.claims.sub } end',
  fails: 'return function() error("it is broken") end',
  write: 'return function() return "written" end',
}, {
  fields: {
    read: 'auth = { scope = "read:shows" }, tool = { description = "reads", input = { type = "object", properties = { day = { type = "string" } }, required = { "day" } }, output = { type = "object", properties = { day = { type = "string" } }, required = { "day" } } }',
    fails: 'auth = { scope = "read:shows" }, tool = { description = "fails" }',
    write: 'auth = { scope = { "read:shows", "write:shows" } }, tool = { description = "writes" }',
  },
  more: `  auth = { ${auth} },`,
});

// One that gives tokens for that resource alone.
async function provider(t, resource) {
  const server = http.createServer((req, res) => callback(req, res));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  const oidc = new Provider(issuer, {
    clients: [{
      client_id: 'agent', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [CALLBACK],
      grant_types: ['authorization_code'], response_types: ['code'],
    }],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'k', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: ['of this test'] },
    pkce: { required: () => true },
    features: {
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true, defaultResource: (ctx, client, oneOf) => oneOf, useGrantedResource: () => true,
        getResourceServerInfo: (ctx, uri) => {
          if (uri !== resource) throw new errors.InvalidTarget();
          return { scope: 'read:shows write:shows', audience: uri, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } } };
        },
      },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  const callback = oidc.callback();
  return issuer;
}

for (const [name, library] of Object.entries(LIBRARIES)) {
  test(`${name} signs in at oidc-provider, for the address of the tools`, async (t) => {
    const port = await freePort();
    const resource = `http://127.0.0.1:${port}/mcp`;
    const issuer = await provider(t, resource);
    const h = await start(t, {
      listen: `127.0.0.1:${port}`,
      files: files(`issuer = ${lua(issuer)}, audience = "resource", resource = "http://127.0.0.1:${port}"`),
    });
    await h.keys();
    await journey(resource, library, new App('agent'), (url) => new Browser().signIn(url, CALLBACK, 'ada'));
  });

  test(`${name} signs in at the issuer of dev, which knows nothing of it before`, async (t) => {
    const h = await start(t, {
      command: 'dev',
      files: {
        ...files('issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE'),
        'dev/auth.lua': `return {
  applications = {},
  apis = { [env.JWT_AUDIENCE] = { name = "Shows", scopes = { "read:shows", "write:shows" }, rbac = false } },
  roles = {},
  users = { { sub = "auth0|ada", name = "Ada" } },
}`,
      },
    });
    await h.says(/tools for agents are at http:\/\/127\.0\.0\.1:\d+\/mcp; in a client's list of servers: /);
    await journey(h.url('/mcp'), library, new App(), async (url) => {
      const browser = new Browser();
      const { html } = await browser.follow(url, CALLBACK);
      assert.match(html, /Ada/);
      const at = await browser.follow(url, CALLBACK, {
        method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: new URLSearchParams({ user: 'auth0|ada' }).toString(),
      });
      return new URL(at.url).searchParams;
    });
  });
}

// With the token of `dev` there is nobody to sign in at.
for (const name of ['v1', 'v2']) {
  test(`${name} calls the tools of dev itself`, async (t) => {
    const h = await start(t, { command: 'dev', files: deployment({ hello: 'return function() error("fell") end' }, { fields: { hello: 'auth = "public"' } }) });
    const [, url, authorization] = await eventually(() => /(http:\S+\/mcp), Authorization: (Bearer \S+)\)/.exec(h.stderr), 10, 'the line with its address');
    const make = (headers) => (name === 'v1'
      ? [new ClientV1(INFO), new TransportV1(new URL(url), { requestInit: { headers }, fetch: unkept })]
      : [new Client(INFO, { versionNegotiation: { mode: { pin: '2026-07-28' } } }), new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers }, fetch: unkept })]);
    const [stranger, way] = make({ Authorization: 'Bearer of somebody' });
    await assert.rejects(stranger.connect(way), /401|Unauthorized|invalid_token/i);
    const [client, transport] = make({ Authorization: authorization });
    await client.connect(transport);
    assert.deepEqual((await client.listTools()).tools.map((x) => x.name), ['explain', 'faults', 'generations', 'invoke', 'request', 'requests', 'routes', 'test', 'token']);
    const called = await client.callTool({ name: 'invoke', arguments: { function: 'hello' } });
    assert.deepEqual([called.structuredContent.status, called.structuredContent.fault.message], [502, 'scripts/hello.lua:1: fell']);
    const { structuredContent: { failed: [fault] } } = await client.callTool({ name: 'faults' });
    assert.deepEqual([fault.file, fault.line, fault.id], ['scripts/hello.lua', 1, called.structuredContent.id]);
    const missing = await client.callTool({ name: 'request', arguments: { id: 'nope' } });
    assert.equal(missing.isError, true);
    await client.close();
  });
}
