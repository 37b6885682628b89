// No secret leaves by what luafn writes down or shows: one value for each place that may hold one, looked for in files,
// pages, spans, logs and the output of commands. The journal's own test (journal.test.mjs) has more places of a request.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { collector, exporting } from '../lib/collector.mjs';
import { deployment, eventually, run, start } from '../lib/host.mjs';
import { records } from '../lib/journal.mjs';
import { upstream } from '../lib/upstream.mjs';

// Each is one word that nothing else contains.
const CANARIES = Object.fromEntries([
  'env', 'unread', 'bearer', 'basic', 'cookie', 'proof', 'header', 'query', 'member', 'deep', 'form', 'set', 'theirs', 'sent', 'answered', 'stored',
  'logged', 'hmac', 'webhook', 'client', 'lent', 'fault', 'proxied',
].map((name) => [name, `canary-${name}-7f3a9c51`]));
const C = CANARIES;

const scripts = (url) => ({
  all: `local key = env.API_KEY
return function(event)
  log.info("in", { password = "${C.logged}", deep = { { PASSWORD = "${C.logged}" } } })
  local res = fetch("${url}/theirs?password=${C.sent}", { method = "POST", headers = { Authorization = "Basic ${C.basic}", ["X-Key"] = "${C.header}" }, body = json.encode { password = "${C.sent}", key = key } })
  fetch("${url}/crm", { as = "crm" })
  kv.set("it", { password = "${C.stored}", key = key })
  kv.set("plain", "with " .. key)
  return { statusCode = 200, headers = { ["Set-Cookie"] = "sid=${C.set}; Path=/", ["X-Key"] = "${C.header}" },
    body = json.encode { password = "${C.member}", key = key, body = event.body, theirs = res:json(), cookie = event.headers.cookie, token = event.headers.authorization } }
end`,
  broken: `local key = env.API_KEY
return function(event) error("fell with " .. key .. " for " .. tostring(event.headers.cookie)) end`,
  signed: 'return function() return "in" end',
  hook: 'return function(event) return "hook" end',
  all_test: `test("tells what it has", function(t) print(env.API_KEY, env.OTHER_KEY) t.equal(env.API_KEY, env.OTHER_KEY) end)`,
});

function files(url) {
  const { all_test: tests, ...rest } = scripts(url);
  return { ...deployment(rest, {
    fields: {
      all: 'auth = "public"', broken: 'auth = "public"',
      signed: `auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256" }, secret = "${C.hmac}-0123456789012345" }`,
      hook: 'auth = { webhook = "github", secret = env.HOOK_SECRET }',
    },
    more: `  redact = { "password", "x-key" },\n  outbound = { crm = { hosts = { "${new URL(url).hostname}" }, token_url = "${url}/token", client_id = "me", client_secret = env.CRM_SECRET } },`,
    files: { '.env': `API_KEY=${C.env}\nOTHER_KEY=${C.unread}\nHOOK_SECRET=${C.webhook}\nCRM_SECRET=${C.client}\n` },
  }), 'scripts/all_test.lua': tests };
}

// What another host says, and what it was sent.
async function outside(t) {
  const seen = [];
  const url = await upstream(t, (req, res) => {
    seen.push(`${req.url} ${JSON.stringify(req.headers)}`);
    req.resume();
    res.setHeader('Content-Type', 'application/json');
    if (req.url === '/token') return res.end(JSON.stringify({ access_token: C.lent, token_type: 'Bearer', expires_in: 300 }));
    res.setHeader('Set-Cookie', `their=${C.theirs}; HttpOnly`);
    return res.end(JSON.stringify({ password: C.answered }));
  });
  return { url, seen };
}

const HEADERS = { Authorization: `Bearer ${C.bearer}`, Cookie: `sid=${C.cookie}`, DPoP: C.proof, 'X-Key': C.header, 'Proxy-Authorization': `Basic ${C.proxied}` };
const MEMBERS = { password: C.member, list: [{ inner: { password: [C.deep] } }], text: JSON.stringify({ password: C.deep }) };

async function traffic(h) {
  const ways = [
    ['all', { method: 'POST', suffix: `?a=1&password=${C.query}`, headers: { ...HEADERS, 'Content-Type': 'application/json' }, body: JSON.stringify(MEMBERS) }],
    ['all', { method: 'POST', headers: { ...HEADERS, 'Content-Type': 'application/x-www-form-urlencoded' }, body: `a=b&password=${C.form}` }],
    ['broken', { headers: HEADERS }], ['broken', { headers: { ...HEADERS, Accept: 'text/html' } }],
    ['signed', { headers: { Authorization: `Bearer ${C.hmac}` } }],
    ['hook', { method: 'POST', headers: { 'Content-Type': 'text/plain', 'X-Hub-Signature-256': `sha256=${C.webhook}` }, body: 'x' }],
  ];
  const answers = [];
  for (const [name, options] of ways) answers.push(await h.call(name, options));
  answers.push(await h.get(`/nowhere?password=${C.query}`, { ...HEADERS, Accept: 'text/html' }));
  return answers;
}

function filesBelow(dir) {
  return fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));
}

test('one value for each place: none of them in files, pages, spans, logs or output', async (t) => {
  const c = await collector(t);
  const { url, seen } = await outside(t);
  const h = await start(t, { command: 'dev', files: files(url), env: exporting(c, {}) });
  const scan = (text, where) => {
    for (const [kind, canary] of Object.entries(CANARIES)) {
      for (const form of [canary, Buffer.from(canary).toString('base64url').slice(0, -2), Buffer.from(`x${canary}`).toString('base64').slice(4, -4)]) assert.ok(!text.includes(form), `${where} has the ${kind}: ${text.slice(Math.max(0, text.indexOf(form) - 200), text.indexOf(form) + 60)}`);
    }
  };
  const ask = (name, fields) => h.request({ method: 'POST', path: `/_luafn/dev/api/${name}`, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(fields) });

  const [first] = await traffic(h);
  for (const kind of ['env', 'cookie', 'bearer', 'member', 'answered', 'set']) assert.ok(`${first.text}${JSON.stringify(first.headers)}`.includes(C[kind]), `the twin: the caller has the ${kind}`);
  for (const kind of ['basic', 'sent', 'client', 'lent']) assert.ok(seen.some((line) => line.includes(C[kind]) || line.includes(Buffer.from(`me:${C[kind]}`).toString('base64'))), `the twin: the other host has the ${kind}`);
  const list = await records(h.dir, 7);

  for (const record of list.slice(0, 3)) scan((await ask('replay', { id: record.id })).text, `the replay of ${record.target}`);
  const again = list.find((r) => r.function === 'broken');
  scan((await ask('send', { method: 'GET', path: again.target, headers: {} })).text, 'a request that is sent again');
  for (const get of ['journal', ...list.map((r) => `journal/${r.id}`), 'routes', 'ready', 'metrics', 'openapi.json', 'dev/', 'dev/api/users', 'dev/api/issuer', 'dev/api/state', 'dev/api/kv?space=all']) {
    const res = await h.get(`/_luafn/${get}`);
    assert.ok(res.status === 200 || get === 'ready', `${get}: ${res.status}`);
    scan(res.text, get);
  }
  assert.match((await h.get('/_luafn/dev/api/kv?space=all')).text, /with \[env:API_KEY\]/, 'the twin: kv is shown');
  const tests = await ask('tests', {});
  assert.match(tests.text, /all_test\.lua/);
  scan(tests.text, 'the output of tests');

  for (const args of [['journal'], ['journal', '--json'], ...list.map((r) => ['journal', r.id]), ['replay', list[0].id], ['routes'], ['check']]) {
    const { stdout, stderr } = await run(t, args, { dir: h.dir });
    scan(stdout + stderr, args.join(' '));
  }
  const spans = await eventually(() => c.spans().length >= 7 && c.logs().length >= 2 && c.requests, 10, 'spans and logs');
  for (const { raw } of spans) scan(raw.toString('latin1'), 'what the collector has');
  await eventually(() => h.log().length >= 7, 10, 'the access log');
  scan(h.stdout, 'the access log');
  for (const file of filesBelow(path.join(h.dir, '.luafn/journal'))) scan(fs.readFileSync(file, 'latin1'), path.basename(file));
  for (const file of filesBelow(path.join(h.dir, '.luafn')).filter((name) => !/kv\.mdb/.test(name))) scan(fs.readFileSync(file, 'latin1'), path.basename(file));
});

test('the log of errors tells no credential of a request, and no secret of a policy', async (t) => {
  const { url } = await outside(t);
  const h = await start(t, { command: 'dev', files: files(url) });
  await traffic(h);
  await h.says(/handler raised/);
  for (const kind of ['bearer', 'basic', 'proof', 'query', 'form', 'deep', 'hmac', 'webhook', 'client', 'lent', 'proxied', 'theirs', 'unread', 'stored', 'sent']) assert.ok(!h.stderr.includes(C[kind]), `${kind}: ${h.stderr}`);
});
