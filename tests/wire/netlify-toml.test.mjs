// netlify.toml, beside functions.lua or in its place.
import assert from 'node:assert/strict';
import test from 'node:test';
import { config, deployment, eventually, folder, run, start, write } from '../lib/host.mjs';

const fn = (body) => `return { auth = "public", handler = function(event) return ${body} end }`;
const see = (...names) => `{ statusCode = 200, body = json.encode { ${names.map((n) => `${n} = env.${n}`).join(', ')} } }`;

const TOML = `[build]
  publish = "dist" # files
  command = "gatsby build"
  functions = "elsewhere"
[build.environment]
  A = "build"
  B = "build"
  N = 5
[context.dev.environment]
  A = "dev"
[context.production.environment]
  A = "production"
[context.deploy-preview]
  command = "x"
[functions]
  directory = "netlify/functions"
  node_bundler = "esbuild"
[functions."job*"]
  schedule = "@hourly"
[functions.quiet]
  background = true
[[plugins]]
  package = "x"
[[plugins]]
  package = "y"
[[redirects]]
  from = "/api/*"
  to = "/.netlify/functions/:splat"
  status = 200
[[redirects]]
  from = "/store"
  to = "/blog/:id"
  query = { id = ":id" }
  signed = "KEY"
[[redirects]]
  from = "/cn"
  to = "/china"
  status = "302!"
  force = true
  conditions = { Country = ["cn", "hk"] }
  signed = "KEY"
[[redirects]]
  from = "/bad"
[[headers]]
  for = "/*"
  [headers.values]
    X-One = "1"
    Cache-Control = ["no-cache", "must-revalidate"]
`;

const project = (files = {}) => ({
  'netlify.toml': TOML,
  'dist/index.html': 'home',
  'netlify/functions/vars.lua': fn(see('A', 'B', 'N')),
  'netlify/functions/quiet.lua': fn('"late"'),
  'netlify/functions/job-one.lua': 'return function() end',
  ...files,
});

test('a Netlify project without functions.lua', async (t) => {
  const host = await start(t, { files: project(), command: 'dev' });
  assert.equal((await host.get('/')).body.toString(), 'home');
  assert.deepEqual(JSON.parse((await host.get('/api/vars')).body), { A: 'dev', B: 'build', N: '5' });
  assert.equal((await host.call('quiet')).status, 202);
  const one = async (at, headers) => (await host.get(at, headers)).headers.location?.[0];
  assert.equal(await one('/store?id=7'), '/blog/7');
  assert.equal(await one('/cn', { Cookie: 'nf_country=hk' }), '/china');
  assert.equal(await one('/cn'), undefined);
  const page = await host.get('/');
  assert.deepEqual([page.headers['x-one'], page.headers['cache-control']], [['1'], ['no-cache, must-revalidate']]);
  assert.equal((await host.get('/netlify.toml')).status, 404);
});

test('each key without a meaning: one warning; each bad rule: one fault', async (t) => {
  const { code, stderr } = await run(t, ['check'], { files: project() });
  assert.equal(code, 1);
  const about = stderr.trim().split('\n').filter((l) => l.includes('netlify.toml'));
  assert.deepEqual(about.sort(), [
    "netlify.toml:41: redirects: 'to' is missing",
    'warning: netlify.toml:13: context.deploy-preview has no meaning here and is ignored',
    'warning: netlify.toml:17: functions.node_bundler has no meaning here and is ignored',
    'warning: netlify.toml:22: plugins has no meaning here and is ignored',
    'warning: netlify.toml:34: redirects.signed has no meaning here and is ignored',
    'warning: netlify.toml:3: build.command has no meaning here and is ignored',
  ].map((l) => l.replace('netlify.toml:41', `netlify.toml:${1 + TOML.split('\n').findIndex((x, i, all) => x === '[[redirects]]' && all[i + 1].includes('/bad'))}`)
    .replace('toml:22:', `toml:${1 + TOML.split('\n').indexOf('[[plugins]]')}:`)
    .replace('toml:34:', `toml:${1 + TOML.split('\n').findIndex((x) => x.includes('signed'))}:`)
    .replace('toml:13:', `toml:${1 + TOML.split('\n').indexOf('[context.deploy-preview]')}:`)
    .replace('toml:17:', `toml:${1 + TOML.split('\n').findIndex((x) => x.includes('node_bundler'))}:`)).sort());
});

test('beside functions.lua, which wins; _redirects come before the file', async (t) => {
  const host = await start(t, {
    files: {
      ...project({ _redirects: '/store /from-file\n' }),
      'functions.lua': config({ vars: `script = "netlify/functions/vars.lua", auth = "public", env = { "A", "B" }` }, '  redirects = { { from = "/cn", to = "/lua" } },\n'),
    },
  });
  const one = async (at) => (await host.get(at)).headers.location?.[0];
  assert.equal(await one('/store?id=7'), '/from-file?id=7');
  assert.equal(await one('/cn'), '/lua');
  assert.equal((await host.get('/')).body.toString(), 'home', 'publish, since functions.lua names none');
  assert.equal((await host.call('quiet')).status, 404, 'functions.lua lists its own');
  assert.deepEqual(JSON.parse((await host.call('vars')).body), { A: 'production', B: 'build' }, 'serve: where `env` names them');
});

test('serve shows its variables only to functions that name them; .env and the process come before', async (t) => {
  const files = project({ '.env': 'B=file\n' });
  const host = await start(t, { files, env: { A: 'process' } });
  assert.deepEqual(JSON.parse((await host.get('/api/vars')).body), { B: 'file' });
  const dev = await start(t, { files, command: 'dev', env: { A: 'process' } });
  assert.deepEqual(JSON.parse((await dev.get('/api/vars')).body), { A: 'process', B: 'file', N: '5' });
});

test('[dev]: folders of its own, envFiles in their order', async (t) => {
  const files = project({
    'netlify.toml': '[build]\npublish = "dist"\n[dev]\npublish = "src"\nfunctions = "fns"\nenvFiles = [".env.x", ".env"]\n',
    'src/index.html': 'source',
    'fns/vars.lua': fn(see('A', 'B', 'C')),
    '.env.x': 'A=x\n', '.env': 'A=env\nB=env\n', '.env.development': 'C=no\n',
  });
  const dev = await start(t, { files, command: 'dev' });
  assert.equal((await dev.get('/')).body.toString(), 'source');
  assert.deepEqual(JSON.parse((await dev.call('vars')).body), { A: 'x', B: 'env' });
  const host = await start(t, { files });
  assert.equal((await host.get('/')).body.toString(), 'home');
});

test('no TOML: refused with its line; a reload keeps what was good', async (t) => {
  for (const args of [['check'], ['serve', '--listen', '127.0.0.1:0']]) {
    const { code, stderr } = await run(t, args, { files: project({ 'netlify.toml': '[build]\npublish = dist\n' }) });
    assert.equal(code, 1);
    assert.match(stderr, /^.*netlify\.toml:2: 'dist' is not a value; texts stand in quotes/m);
  }
  const bad = await run(t, ['check'], { files: project({ 'netlify.toml': '[build]\npublish = "none"\n' }) });
  assert.match(bad.stderr, /netlify\.toml: publish: 'none' is not a folder here/);

  const dir = folder(t, project());
  const host = await start(t, { dir, command: 'dev' });
  write(dir, { 'netlify.toml': '[build\n' });
  await eventually(() => /netlify\.toml:1: /.test(host.stderr), 1, 'the fault is told');
  assert.equal((await host.get('/')).body.toString(), 'home');
  write(dir, { 'netlify.toml': `${TOML}[[redirects]]\nfrom = "/new"\nto = "/newer"\n` });
  await eventually(async () => (await host.get('/new')).status === 301, 1, 'taken up');
});

test('options of functions: the narrowest word counts, a bad one is told', async (t) => {
  const files = project({
    'netlify.toml': '[functions]\nmemory = 8\n[functions.quiet]\nschedule = "sometimes"\n',
  });
  const { code, stderr } = await run(t, ['check'], { files });
  assert.equal(code, 1);
  assert.match(stderr, /netlify\.toml:3: functions\.quiet\.schedule: /);
  const good = await run(t, ['routes', '--json'], { files: project() });
  assert.match(good.stdout, /@hourly/);
});

test('a header over several lines, as Netlify documents it', async (t) => {
  const host = await start(t, {
    files: {
      'netlify.toml': "[build]\npublish = 'web'\n[[headers]]\nfor = '/*'\n[headers.values]\nCache-Control = '''\n\tmax-age=0,\n\tno-cache,\n\tmust-revalidate'''\nX-One = ' one '\n",
      'web/index.html': 'home',
    },
  });
  const res = await host.get('/');
  assert.equal(res.header('cache-control'), 'max-age=0, no-cache, must-revalidate');
  assert.equal(res.header('x-one'), 'one');
});

test('dev says what Netlify dev says of itself: NETLIFY_DEV over all, the others below all', async (t) => {
  const files = deployment({ vars: `return function() return json.encode {
    dev = env.NETLIFY_DEV, here = env.NETLIFY_LOCAL, context = env.CONTEXT, url = env.URL, deploy = env.DEPLOY_URL } end` }, { fields: { vars: 'auth = "public", env = { "NETLIFY_*", "CONTEXT", "URL", "DEPLOY_URL" }' } });
  const dev = await start(t, { files, command: 'dev', env: { NETLIFY_DEV: 'false' } });
  const origin = dev.url('');
  assert.deepEqual((await dev.call('vars')).json(), { dev: 'true', here: 'true', context: 'dev', url: origin, deploy: origin });
  const own = await start(t, { files: { ...files, '.env': 'CONTEXT=mine\nURL=https://x.example\n' }, command: 'dev' });
  assert.deepEqual((await own.call('vars')).json(), { dev: 'true', here: 'true', context: 'mine', url: 'https://x.example', deploy: own.url('') });
  const served = await start(t, { files });
  assert.deepEqual((await served.call('vars')).json(), {});
});
