// The journal: what is written down of a request, what of it is not, and how it is read.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import test from 'node:test';
import { BIN, deployment, eventually, folder, run, start, write } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { callsOf, journalFiles, journalFolder, journalLines, records } from '../lib/journal.mjs';
import { upstream } from '../lib/upstream.mjs';

const SECRETS = {
  bearer: 'eyJub3QiOiJhIn0.tokentoken.sig0123', proof: 'dpop-proof-0123456789', cookie: 'cookie-0123456789', set: 'set-cookie-0123456', env: 'env-value "0123" \\ x',
  member: 'member-0123456789', deep: 'deep-0123456789', field: 'field-0123456789', query: 'query-0123456789', header: 'header-0123456789', log: 'log-0123456789',
  webhook: 'webhook-secret-0123456789', key: 'hmac-secret-of-the-issuer-0123456789', theirs: 'their-cookie-0123456', answer: 'their-answer-0123456', sent: 'sent-to-them-0123456', basic: 'basic-of-fetch-01234567', stored: 'stored-0123456789',
};
const TEXT = { method: 'POST', headers: { 'Content-Type': 'text/plain' } };
const REDACT = 'redact = { "Password", "x-key" },';

const handler = (url) => `
local kept = env.SECRET
return function(event, context)
  log.info("in " .. event.body, { password = "${SECRETS.log}", list = { { PASSWORD = "${SECRETS.log}" } }, env = kept })
  print(event.headers.authorization, event.headers.cookie, kept)
  local res = fetch("${url}?password=${SECRETS.sent}", { method = "POST", headers = { Authorization = "Basic ${SECRETS.basic}", ["X-Key"] = "${SECRETS.header}" },
    body = json.encode { a = { { password = "${SECRETS.sent}" } }, env = kept } })
  kv.set("it", { password = "${SECRETS.stored}" })
  local got = kv.get("it")
  if event.queryStringParameters.fail then error("with " .. kept .. event.headers.authorization) end
  return { statusCode = 200, headers = { ["Set-Cookie"] = "sid=${SECRETS.set}; Path=/", ["X-Key"] = "${SECRETS.header}" },
    body = json.encode { echo = event.body, token = event.headers.authorization, cookie = event.headers.cookie, set = "${SECRETS.set}", password = { "${SECRETS.deep}" }, theirs = res.headers["set-cookie"], env = kept, got = got } }
end`;

const secretCall = (suffix) => ({
  method: 'POST', suffix: `?a=1&password=${SECRETS.query}${suffix}`,
  headers: { Authorization: `Bearer ${SECRETS.bearer}`, DPoP: SECRETS.proof, Cookie: `sid=${SECRETS.cookie}; theme=dark-and-blue`, 'X-Key': SECRETS.header, 'Content-Type': 'application/json' },
  body: JSON.stringify({ password: SECRETS.member, list: [{ inner: { password: [SECRETS.deep] } }], text: JSON.stringify({ password: SECRETS.deep }) }),
});

function assertNoSecrets(text, where) {
  for (const [kind, secret] of Object.entries(SECRETS)) {
    for (const form of [secret, JSON.stringify(secret).slice(1, -1), JSON.stringify(JSON.stringify(secret)).slice(3, -3)]) assert.ok(!text.includes(form), `${kind} in ${where}`);
  }
}

test('no secret in any file of the journal, nor in what shows it', async (t) => {
  const url = await upstream(t, (req, res) => {
    res.setHeader('Set-Cookie', `their=${SECRETS.theirs}; HttpOnly`);
    res.end(JSON.stringify({ password: SECRETS.answer }));
  });
  const h = await start(t, { command: 'dev', files: deployment({
    all: handler(url), form: 'return function(event) log.info(event.body) return event.body end', signed: 'return function() return "x" end', hook: 'return function() return "x" end',
  }, { fields: { signed: `auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256" }, secret = "${SECRETS.key}" }`, hook: `auth = { webhook = "github", secret = "${SECRETS.webhook}" }` }, more: REDACT, files: { '.env': `SECRET='${SECRETS.env}'\n` } }) });
  const seen = await h.call('all', secretCall(''));
  assert.equal(seen.status, 200, seen.text);
  for (const secret of [SECRETS.bearer, SECRETS.cookie, SECRETS.member, SECRETS.env]) assert.ok(JSON.stringify(seen.json()).includes(JSON.stringify(secret).slice(1, -1)), 'the client has it');
  assert.equal((await h.call('all', secretCall('&fail=1'))).status, 502);
  await h.call('form', { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: `a=b&pass%77ord=${SECRETS.field}&c=d` });
  await h.call('form', { method: 'POST', headers: { 'Content-Type': 'multipart/form-data; boundary=b' }, body: `--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n${SECRETS.field}\r\n--b--` });
  await h.call('signed', { headers: { Authorization: `Bearer ${SECRETS.key}` } });
  await h.call('hook', { method: 'POST', headers: { 'X-Hub-Signature-256': `sha256=${SECRETS.webhook}`, 'Content-Type': 'text/plain' }, body: SECRETS.webhook });
  const all = await records(h.dir, 6);
  for (const file of journalFiles(h.dir)) assertNoSecrets(fs.readFileSync(file, 'utf8'), file);
  for (const path of ['', ...all.map((r) => `/${r.id}`)]) assertNoSecrets((await h.get(`/_luafn/journal${path}`)).text, path);
  for (const args of [[], ['--json'], ...all.map((r) => [r.id]), ...all.map((r) => [r.id, '--json'])]) {
    const shown = await run(t, ['journal', ...args], { dir: h.dir });
    assert.equal(shown.code, 0, shown.stderr);
    assertNoSecrets(shown.stdout + shown.stderr, args.join(' '));
  }
  // What was replaced is still there to be seen.
  const [one] = all;
  assert.match(one.target, /\?a=1&password=\[redacted\]$/);
  assert.equal(one.request.body.includes('"password":"[redacted]"'), true);
  assert.deepEqual(one.request.headers.find(([name]) => name === 'cookie')[1], 'sid=[redacted]; theme=[redacted]');
  assert.deepEqual(one.answer.headers.find(([name]) => name === 'Set-Cookie')[1], 'sid=[redacted]; Path=/');
  assert.equal(JSON.parse(one.answer.body).env, '[env:SECRET]');
  assert.deepEqual(one.logs[0].fields, { env: '[env:SECRET]', list: [{ PASSWORD: '[redacted]' }], password: '[redacted]' });
  for (const file of journalFiles(h.dir)) assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.equal(fs.statSync(journalFolder(h.dir)).mode & 0o777, 0o700);
  // Nor in what is made of it: replays, tests, and what a version is told that they keep out.
  const read = (folder) => fs.readdirSync(folder).filter((name) => /_[0-9a-z]+_test\.lua$/.test(name)).map((name) => fs.readFileSync(`${folder}/${name}`, 'utf8'));
  for (const { id } of all.filter((r) => r.start_us !== undefined)) {
    for (const args of [['--json'], [], ['--test']]) {
      const again = await run(t, ['replay', id, ...args], { dir: h.dir });
      assertNoSecrets(again.stdout + again.stderr, `replay ${args}`);
    }
  }
  const tests = read(`${h.dir}/scripts`);
  assert.ok(tests.length > 0, 'there is a test');
  for (const text of tests) assertNoSecrets(text, 'a test');
  write(h.dir, { 'functions.lua': fs.readFileSync(`${h.dir}/functions.lua`, 'utf8').replace('redact =', 'replay_before_reload = 10, redact =') });
  await h.says(/recorded requests run again/);
  write(h.dir, { 'scripts/all.lua': handler(url).replace('if event.queryStringParameters.fail then error(', 'if true then error(event.body .. ') });
  await h.says(/is answered with 502, which was answered with 200/);
  for (const line of h.stderr.split('\n').filter((each) => /run again|answered with 502/.test(each))) assertNoSecrets(line, 'the log of a trial');
  const kept = await h.call('form', TEXT);
  assert.match(kept.header('x-luafn-fault') ?? (await h.get('/_luafn/ready')).text, /with 502/);
  assertNoSecrets(JSON.stringify(kept.headers) + (await h.get('/_luafn/ready')).text + (await h.get('/_luafn/routes')).text, 'what is said of a version');
});

test('a record tells what the host did, in order, with its place in the script', async (t) => {
  const url = await upstream(t, (req, res) => res.end('hi'));
  const h = await start(t, { command: 'dev', files: deployment({
    all: `return function(event)
  local now = time.now()
  local a, b = parallel(function() sleep(0.02) return 1 end, function() return fetch("${url}").body end)
  kv.incr("n", 2)
  local ok, why = pcall(fetch, "http://127.0.0.1:1/")
  local n = math.random(5) + math.random(5)
  crypto.random(3)
  local home = env.NOT_SET
  after_response(function() kv.get("n") end)
  for i = 1, 3e6 do end
  return { statusCode = 201, body = b }
end`,
    pieces: 'return function() return { statusCode = 200, body = function(write) write("a") write("b") end } end',
    bytes: 'return function(event) return { statusCode = 200, body = base64.encode("\\255\\0"), isBase64Encoded = true } end',
    'later-background': 'return function(event) kv.set("x", event.body) end',
    large: 'return function(event) log.info(("x"):rep(8000)) kv.set("big", event.body) return event.body end',
    quick: 'return function() for i = 1, 2000 do time.now() end return "x" end',
  }) });
  assert.equal((await h.call('all', { headers: { 'X-Request-Id': 'mine-1' } })).status, 201);
  await h.call('pieces');
  await h.call('bytes', { method: 'POST', body: 'ä' });
  assert.equal((await h.call('later-background', { ...TEXT, body: 'work' })).status, 202);
  const large = await h.call('large', { ...TEXT, body: 'ö'.repeat(60000) });
  assert.equal(large.status, 200, large.text);
  await h.call('quick');
  await h.get('/nothing');
  await h.get('/');
  const list = await records(h.dir, 7);
  const by = (name) => list.find((r) => r.function === name);
  const one = by('all');
  assert.deepEqual([one.v, one.id, one.method, one.status, one.generation, one.answer.body], [1, 'mine-1', 'GET', 201, 1, 'hi']);
  const calls = callsOf(one);
  assert.deepEqual(calls.map(([name]) => name), ['time', 'sleep', 'fetch', 'kv.incr', 'fetch', 'math.random', 'crypto.random', 'env', 'kv.get']);
  assert.deepEqual([calls[2][1].url.startsWith('http://127.0.0.1:'), calls[2][2].status, calls[2][2].body], [true, 200, 'hi']);
  assert.deepEqual([calls[3][1], calls[3][2]], [{ key: 'n', by: 2 }, { status: 0, number: 2 }]);
  assert.match(calls[4][2].error, /refused/);
  assert.deepEqual([calls[6][1], Buffer.from(calls[6][2], 'base64').length], [3, 3]);
  assert.deepEqual(calls[7].slice(1), ['NOT_SET', null]);
  assert.deepEqual([calls[8][1], calls[8][2]], [{ key: 'n' }, { status: 0, found: 'json', value: 2 }]);
  const begins = one.calls.filter((entry) => entry.call);
  assert.deepEqual(begins.map((entry) => [entry.at, entry.task]).slice(0, 4), [['scripts/all.lua:2', 0], ['scripts/all.lua:3', 1], ['scripts/all.lua:3', 2], ['scripts/all.lua:4', 0]]);
  assert.ok(one.cpu_us > 1000 && one.slices.length >= 3 && one.memory.used < one.memory.limit && one.queue_us >= 0, JSON.stringify(one));
  assert.deepEqual([by('pieces').answer.body, by('pieces').answer.streamed], ['ab', 2]);
  assert.deepEqual([by('bytes').answer.body, by('bytes').request.body], [{ base64: '/wA=' }, 'ä']);
  assert.deepEqual(callsOf(by('later-background')).map(([name, args]) => [name, args.value]), [['kv.set', 'work']]);
  assert.deepEqual([by('large').cut, by('large').request.body.cut, by('large').answer.body.cut], [true, 120000, 120000]);
  assert.ok(by('quick').cut && by('quick').calls.length <= 2000);
  for (const line of journalLines(h.dir)) assert.ok(line.length < 80 * 1024, String(line.length));
  assert.deepEqual(list.filter((r) => !r.function).map((r) => [r.status, r.target]), [[404, '/nothing']]);
});

test('serve keeps what its rules say, of all workers', async (t) => {
  const scripts = { good: 'return function() return "x" end', bad: 'return function() error("no") end' };
  const off = await start(t, { files: deployment(scripts) });
  await off.call('bad');
  assert.equal((await off.admin('journal')).status, 404);
  assert.equal(fs.existsSync(journalFolder(off.dir)), false);

  const errors = await start(t, { files: deployment(scripts, { more: 'journal = { errors = true },' }) });
  for (const name of ['good', 'bad', 'good']) await errors.call(name);
  const [one, more] = await records(errors.dir, 1);
  assert.deepEqual([one.function, one.status, one.fault.message, more], ['bad', 502, 'scripts/bad.lua:1: no', undefined]);
  assert.deepEqual((await errors.admin(`journal/${one.id}`)).json(), one);
  assert.equal((await errors.admin('journal/none')).status, 404);
  assert.equal((await errors.get('/_luafn/journal')).status, 404, 'not for everybody');

  const some = await start(t, { workers: 2, files: deployment(scripts, { more: 'journal = { sample = 1 },' }) });
  for (let i = 0; i < 20; i++) await some.call('good');
  assert.equal((await records(some.dir, 20)).length, 20);
  assert.equal((await some.admin('journal')).json().records.length, 20);
});

test('tail: requests as they end, of this folder or of a host', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment({ a: 'return function(event) return { statusCode = tonumber(event.queryStringParameters.s), body = "x" } end', b: 'return function() return "y" end' }) });
  await h.call('b');
  await records(h.dir, 1);
  const follow = (...args) => {
    const child = spawn(BIN, ['tail', ...args], { cwd: h.dir });
    later(t, () => child.kill());
    const out = { text: '', errors: '' };
    child.stdout.on('data', (d) => { out.text += d; });
    child.stderr.on('data', (d) => { out.errors += d; });
    return out;
  };
  const all = follow(), some = follow('--function', 'a', '--status', '5xx'), far = follow(h.url('/')), text = follow('--text', 'S=404', '--json');
  // Who follows does so from now on, and nothing says from when: what is asked goes on until each has something.
  await eventually(async () => {
    for (const s of [200, 404, 503]) await h.call('a', { suffix: `?s=${s}` });
    return [all, some, far, text].every((out) => out.text.split('\n').length > 4);
  }, 20, 'rows');
  assert.match(all.text, / a@1/);
  assert.doesNotMatch(some.text, / (200|404) /);
  assert.match(some.text, /^\S{26}  .* 503 /m);
  assert.match(far.text, / 404 /);
  for (const line of text.text.split('\n').slice(0, -1)) assert.equal(JSON.parse(line).status, 404);
  assert.equal((await run(t, ['tail', 'http://127.0.0.1:1/'], { dir: h.dir })).code, 1);
  assert.match((await run(t, ['tail', 'localhost'], { dir: h.dir })).stderr, /is no URL/);
  assert.match((await run(t, ['tail', '--status', '20'], { dir: h.dir })).stderr, /404, 4xx or >=400/);
});

test('what is cut off, or of another version, is passed over and counted', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment({ a: 'return function() return "x" end' }) });
  await h.call('a');
  const [one] = await records(h.dir, 1);
  const [file] = journalFiles(h.dir);
  const line = fs.readFileSync(file, 'utf8');
  await h.stop();
  fs.writeFileSync(file, `${line}{"v":2,"id":"later"}\n${line.replace(one.id, 'second')}${line.slice(0, 100)}`);
  const again = await start(t, { command: 'dev', dir: h.dir });
  await again.call('a');
  await eventually(() => journalLines(h.dir).length === 5, 10, 'a record behind the one that was cut off');
  const listed = await run(t, ['journal'], { dir: h.dir });
  assert.equal(listed.stdout.trim().split('\n').length, 3);
  assert.match(listed.stdout, /^second {2}/m);
  assert.match(listed.stderr, /2 records cannot be read/);
  assert.equal((await again.get('/_luafn/journal')).json().records.length, 3);
  const none = await run(t, ['journal', 'nobody'], { dir: h.dir });
  assert.match(none.stderr, /no record in .* has the id nobody/);
  assert.match((await run(t, ['journal'], { dir: folder(t) })).stderr, /there is no record in/);
});

test('dev keeps 500, and serve no more than it is told', async (t) => {
  const h = await start(t, { command: 'dev', files: deployment({ a: 'return function() return "x" end' }) });
  const wire = await h.connect();
  for (let i = 0; i < 750; i++) {
    wire.send('GET /.netlify/functions/a HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await wire.response();
  }
  wire.close();
  await eventually(() => { const count = journalLines(h.dir).length; return count >= 500 && count <= 600; }, 10, 'old records go');
  assert.equal((await run(t, ['journal'], { dir: h.dir })).stdout.trim().split('\n').length, 500);
  const s = await start(t, { files: deployment({ a: 'return function(event) return event.body end' }, { more: 'journal = { sample = 1, keep = "16MB" },' }) });
  const body = Buffer.alloc(24 * 1024, 'x');
  for (let i = 0; i < 500; i++) await s.call('a', { ...TEXT, body });
  const size = () => journalFiles(s.dir).reduce((sum, file) => sum + fs.statSync(file).size, 0);
  await eventually(() => size() > 8 * 2 ** 20, 10, 'they are kept');
  assert.ok(size() <= 16 * 2 ** 20, `${size()} bytes`);
});
