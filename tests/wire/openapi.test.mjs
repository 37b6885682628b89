// The OpenAPI document says of each route what the host enforces.
import assert from 'node:assert/strict';
import test from 'node:test';
import { run, start } from '../lib/host.mjs';

const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options'];

// What is against OpenAPI 3.1: [text]. Members of the wrong name or type, references to nothing, ids and paths
// that are there twice, parameters of a path that are not said or not there.
function faultsOf(text) {
  const doc = JSON.parse(text);
  const found = [];
  const wrong = (at, what) => found.push(`${at}: ${what}`);
  const only = (at, value, required, optional = []) => {
    for (const key of required) if (!(key in value)) wrong(at, `no ${key}`);
    for (const key of Object.keys(value)) if (![...required, ...optional].includes(key) && !key.startsWith('x-')) wrong(at, `what is ${key}?`);
  };
  if (JSON.stringify(doc).length !== text.trim().length) wrong('the text', 'a member twice');
  only('document', doc, ['openapi', 'info', 'servers', 'paths', 'components']);
  only('info', doc.info, ['title', 'version']);
  for (const server of doc.servers) {
    only('server', server, ['url'], ['variables']);
    const names = [...server.url.matchAll(/\{(.*?)\}/g)].map(([, name]) => name);
    for (const name of names) only(`variable ${name}`, server.variables?.[name] ?? {}, ['default'], ['description']);
    const url = server.url.replace(/\{(.*?)\}/g, (_, name) => server.variables[name].default);
    if (!URL.canParse(url)) wrong('server', `${url} is no URL`);
  }
  const ids = new Set(), shapes = new Set();
  for (const [path, item] of Object.entries(doc.paths)) {
    const shape = path.replace(/\{.*?\}/g, '{}');
    if (shapes.has(shape)) wrong(path, 'is there under other names');
    shapes.add(shape);
    if (!path.startsWith('/')) wrong(path, 'does not begin with /');
    only(path, item, [], METHODS);
    const wanted = [...path.matchAll(/\{(.*?)\}/g)].map(([, name]) => name);
    for (const [method, operation] of Object.entries(item)) {
      const at = `${method} ${path}`;
      only(at, operation, ['operationId', 'summary', 'parameters', 'responses'], ['security', 'requestBody']);
      if (ids.has(operation.operationId)) wrong(at, `${operation.operationId} is there twice`);
      ids.add(operation.operationId);
      for (const p of operation.parameters) {
        only(`${at}: ${p.name}`, p, ['name', 'in', 'required', 'schema'], ['description']);
        if (p.in === 'path' && !p.required) wrong(at, `${p.name} is not required`);
      }
      const inPath = operation.parameters.filter((p) => p.in === 'path').map((p) => p.name);
      if (JSON.stringify(inPath) !== JSON.stringify(wanted)) wrong(at, `parameters ${inPath}, in the path ${wanted}`);
      if (operation.requestBody) only(at, operation.requestBody, ['content']);
      if (Object.keys(operation.responses).length === 0) wrong(at, 'no responses');
      for (const [status, response] of Object.entries(operation.responses)) {
        if (!/^[1-5]\d\d$/.test(status)) wrong(at, `status ${status}`);
        if (!response.$ref) only(`${at} ${status}`, response, ['description'], ['content', 'headers']);
        else if (!doc.components.responses[response.$ref.replace('#/components/responses/', '')]) wrong(at, `${response.$ref} is nowhere`);
      }
      for (const scheme of (operation.security ?? []).flatMap(Object.keys)) if (!doc.components.securitySchemes[scheme]) wrong(at, `${scheme} is no scheme`);
    }
  }
  return found;
}

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
  assert.deepEqual(faultsOf(JSON.stringify(doc)), []);
  assert.equal(doc.openapi, '3.1.0');
  const p = '/.netlify/functions';
  assert.deepEqual(Object.keys(doc.paths).sort(), [`${p}/both`, `${p}/me`, `${p}/open`, '/api/all', '/api/all/{splat}', '/api/shows', '/api/shows/{id}'].sort());
  assert.deepEqual(Object.keys(doc.paths[`${p}/open`]), METHODS);
  assert.deepEqual(doc.paths[`${p}/open`].get.security, []);
  assert.deepEqual(doc.paths[`${p}/me`].get.security, [{ issuer: [] }]);
  assert.equal(doc.paths[`${p}/me`].post, undefined);
  const shows = doc.paths['/api/shows/{id}'];
  assert.deepEqual(Object.keys(shows), ['get', 'delete']);
  assert.deepEqual(shows.get.security, [{ issuer: ['read:shows'] }, { issuer: ['admin'] }]);
  assert.equal(shows.get['x-luafn-role'], 'viewer');
  assert.deepEqual(shows.get.parameters.map((x) => x.name), ['id']);
  assert.deepEqual(doc.paths['/api/shows'].get.parameters, [], 'the parameter may be left out');
  assert.equal(shows.get.summary, 'shows: scope read:shows|admin, role viewer');
  assert.ok(shows.get.responses[403] && shows.get.responses[401] && shows.get.responses[503]);
  assert.deepEqual(doc.paths[`${p}/both`].post.security, [{ issuer: ['a', 'b'] }]);
  assert.ok(doc.paths[`${p}/both`].post.responses[202]);
  assert.equal(doc.components.securitySchemes.issuer.openIdConnectUrl, 'https://issuer.example/.well-known/openid-configuration');
}

test('luafn routes --openapi', async (t) => {
  const { code, stdout } = await run(t, ['routes', '--openapi'], { files });
  assert.equal(code, 0);
  assert.deepEqual(faultsOf(stdout), []);
  const doc = JSON.parse(stdout);
  checkDocument(doc);
  assert.equal(doc.servers[0].url, '{origin}', 'nobody knows where it will be');
  const { stdout: known } = await run(t, ['routes', '--openapi'], { files, env: { URL: 'https://api.example' } });
  assert.deepEqual(JSON.parse(known).servers, [{ url: 'https://api.example' }]);
});

test('who answers is what the router says: shared paths, other names of parameters, exclusions, schedules', async (t) => {
  const { stdout, stderr } = await run(t, ['routes', '--openapi'], { files: {
    'a.lua': files['a.lua'],
    'functions.lua': `return { functions = {
      read = { script = "a.lua", auth = "public", methods = { "GET" }, path = { "/api/shows", "/api/shows/:id" } },
      write = { script = "a.lua", auth = "public", methods = { "POST" }, path = { "/api/shows/:name?" }, rate_limit = { limit = 1, window = 60 } },
      rest = { script = "a.lua", auth = "public", methods = { "GET", "POST" }, path = "/*", excludedPath = "/api/*" },
      nightly = { script = "a.lua", auth = "public", schedule = "@daily" },
    } }`,
  } });
  assert.equal(stderr, '');
  assert.deepEqual(faultsOf(stdout), []);
  const got = Object.entries(JSON.parse(stdout).paths).flatMap(([path, item]) => Object.entries(item).map(([method, { operationId }]) => `${method} ${path.replace(/{.*}/, '{}')} ${operationId.replace(/\.\d/, '')}`));
  assert.deepEqual(got.sort(), ['get / get_rest', 'get /api/shows get_read', 'get /api/shows/{} get_read', 'get /{} get_rest', 'post / post_rest', 'post /api/shows post_write', 'post /api/shows/{} post_write', 'post /{} post_rest']);
  assert.ok(JSON.parse(stdout).paths['/api/shows'].post.responses[429]);
});

test('the check of the form finds what is wrong with one', async (t) => {
  const { stdout } = await run(t, ['routes', '--openapi'], { files });
  for (const [from, to] of [['"get_shows"', '"delete_shows"'], ['"name":"id"', '"name":"x"'], ['responses/refused', 'responses/none'], ['"summary"', '"sumary"'],
    ['"required":true', '"required":false'], ['"200"', '"20"'], ['/api/shows/{id}"', '/api/all/{id}"'], ['"delete":', '"get":'], ['"default"', '"dflt"'], ['"issuer":[]', '"x":[]']]) {
    assert.ok(stdout.includes(from), from);
    assert.notDeepEqual(faultsOf(stdout.replace(from, to)), [], `${from} -> ${to}`);
  }
});

test('/_luafn/openapi.json of a running host', async (t) => {
  const h = await start(t, { files, command: 'dev' });
  const res = await fetch(h.url("/_luafn/openapi.json"));
  assert.equal(res.status, 200);
  const text = await res.text();
  assert.deepEqual(faultsOf(text), []);
  checkDocument(JSON.parse(text));
  assert.deepEqual(JSON.parse(text).servers, [{ url: h.url('').replace(/\/$/, '') }]);
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
