// The OpenAPI document says of each route what the host enforces.
import assert from 'node:assert/strict';
import test from 'node:test';
import { run, start } from '../lib/host.mjs';

const files = {
  'functions.lua': `return {
  functions = {
    open = { script = "a.lua", auth = "public" },
    me = { script = "a.lua", auth = true, methods = { "GET" } },
    shows = { script = "a.lua", path = { "/api/shows/:id?", "/api/all/*" }, methods = { "GET", "DELETE" }, auth = { scope = { any = { "read:shows", "admin" } }, role = "viewer" } },
    both = { script = "a.lua", methods = { "POST" }, auth = { scope = { all = { "a", "b" } } }, background = true },
  },
  auth = { issuer = "https://issuer.example/", audience = "x" },
}`,
  'a.lua': 'return function() return "x" end',
};

function checkDocument(doc) {
  assert.equal(doc.openapi, '3.1.0');
  const p = '/.netlify/functions';
  assert.deepEqual(Object.keys(doc.paths).sort(), [`${p}/both`, `${p}/me`, `${p}/open`, '/api/all/{splat}', '/api/shows/{id}'].sort());
  assert.deepEqual(doc.paths[`${p}/open`].get.security, []);
  assert.deepEqual(doc.paths[`${p}/me`].get.security, [{ issuer: [] }]);
  assert.equal(doc.paths[`${p}/me`].post, undefined);
  const shows = doc.paths['/api/shows/{id}'];
  assert.deepEqual(Object.keys(shows), ['get', 'delete']);
  assert.deepEqual(shows.get.security, [{ issuer: ['read:shows'] }, { issuer: ['admin'] }]);
  assert.equal(shows.get['x-luafn-role'], 'viewer');
  assert.deepEqual(shows.get.parameters.map((x) => x.name), ['id']);
  assert.ok(shows.get.responses[403] && shows.get.responses[401] && shows.get.responses[503]);
  assert.deepEqual(doc.paths[`${p}/both`].post.security, [{ issuer: ['a', 'b'] }]);
  assert.ok(doc.paths[`${p}/both`].post.responses[202]);
  assert.equal(doc.components.securitySchemes.issuer.openIdConnectUrl, 'https://issuer.example/.well-known/openid-configuration');
}

test('luafn routes --openapi', async (t) => {
  const { code, stdout } = await run(t, ['routes', '--openapi'], { files });
  assert.equal(code, 0);
  checkDocument(JSON.parse(stdout));
});

test('/_luafn/openapi.json of a running host', async (t) => {
  const h = await start(t, { files, command: 'dev' });
  const res = await fetch(h.url("/_luafn/openapi.json"));
  assert.equal(res.status, 200);
  checkDocument(await res.json());
});

test('proofs of possession and opaque tokens are told of', async (t) => {
  const document = async (dpop, more = '') => {
    const { code, stdout, stderr } = await run(t, ['routes', '--openapi'], {
      files: {
        'a.lua': files['a.lua'],
        'functions.lua': `return { functions = { open = { script = "a.lua", auth = "public" }, me = { script = "a.lua", path = "/me/:id", auth = { scope = "a" } }, off = { script = "a.lua", auth = { dpop = false } }, on = { script = "a.lua", auth = { dpop = true } } },
          auth = { issuer = "https://issuer.example/", audience = "x", dpop = ${dpop}${more} } }`,
      },
    });
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const proof = (doc, path) => doc.paths[path].get.parameters.filter((p) => p.name === 'DPoP' && p.in === 'header').map((p) => p.required);
  const at = '/.netlify/functions';
  for (const [dpop, wanted] of [['true', [true]], ['"optional"', [false]], ['false', []]]) {
    const doc = await document(dpop);
    assert.deepEqual(proof(doc, '/me/{id}'), wanted, dpop);
    assert.equal(doc.paths['/me/{id}'].get.parameters.length, 1 + wanted.length);
    assert.deepEqual([proof(doc, `${at}/on`), proof(doc, `${at}/off`), proof(doc, `${at}/open`)], [[true], [], []]);
    assert.equal(doc.components.securitySchemes.issuer.description, undefined);
  }
  const asked = await document('false', ', introspection = { url = "https://issuer.example/i", client_id = "a", client_secret = "b" }');
  assert.match(asked.components.securitySchemes.issuer.description, /opaque token .*RFC 7662/);
});
