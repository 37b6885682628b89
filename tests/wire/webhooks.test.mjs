// Webhooks as data: who signed is let in, nobody else, and each delivery runs once.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import test from 'node:test';
import { sign as signForGithub } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import { deployment, eventually, folder, lua, run, start } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';
import { auth, bodyHash, now, SECRETS, SIGN, TIMED } from '../lib/webhooks.mjs';
import { request } from '../lib/wire.mjs';

const SCHEMES = Object.keys(SIGN);
const PATH = '/.netlify/functions/';
const SEEN = 'return function(event) return { statusCode = 200, body = "ran " .. #(event.body or "") } end';
const BODIES = { twilio: 'To=%2B15557654321&From=%2B15551234567&Body=Hello+' };
const body = (scheme, n = 1) => (BODIES[scheme] ? `${BODIES[scheme]}&CallSid=CA${n}` : JSON.stringify({ id: `evt_${n}`, note: 'Größe 40' }));

// Posts to the function; `path` with a query, for Twilio's sake.
const post = (h, name, text, headers, more = {}) => request(h, { method: 'POST', path: PATH + name, body: text, headers: Object.entries({ 'Content-Type': 'application/json; charset=utf-8', ...headers }), ...more });
const sign = (h, scheme, text, options = {}) => SIGN[scheme](text, { ...(scheme === 'twilio' && { url: h.url(PATH + scheme) }), ...options });
const refused = (answer, code, what) => {
  assert.equal(answer.status, 401, what);
  assert.equal(answer.json().error, code, what);
  assert.equal(answer.header('www-authenticate'), 'Signature realm="luafn"');
};

test('each scheme lets in who signs, and nobody beside', async (t) => {
  const files = deployment(Object.fromEntries(SCHEMES.map((s) => [s, SEEN])), { fields: Object.fromEntries(SCHEMES.map((s) => [s, auth(s)])) });
  const h = await start(t, { files, args: ['--admin', '127.0.0.1:0', '--log', 'json'] });
  for (const s of SCHEMES) {
    const text = body(s);
    const good = sign(h, s, text);
    refused(await post(h, s, text, {}), 'invalid_signature', `${s}: nothing`);
    refused(await post(h, s, text, sign(h, s, text, { secret: s === 'standard' ? `whsec_${'A'.repeat(32)}` : 'another' })), 'invalid_signature', `${s}: another secret`);
    refused(await post(h, s, `${text} `, good), 'invalid_signature', `${s}: another body`);
    for (const off of TIMED.includes(s) ? [-302, 302] : []) refused(await post(h, s, text, sign(h, s, text, { time: now() + off })), 'stale_signature', `${s}: ${off} s`);
    for (const off of TIMED.includes(s) ? [-290] : []) assert.equal((await post(h, s, body(s, 2), sign(h, s, body(s, 2), { time: now() + off, id: 'second' }))).text, `ran ${Buffer.byteLength(body(s, 2))}`);
    const one = await post(h, s, text, good);
    assert.deepEqual([one.status, one.text], [200, `ran ${Buffer.byteLength(text)}`], s);
    const again = await post(h, s, text, good);
    assert.deepEqual([again.status, again.text], [200, ''], `${s}: a repeat`);
  }
  const { text } = await h.admin('metrics');
  const count = (code) => Number(new RegExp(`token_checks_total\\{code="${code}"\\} (\\d+)`).exec(text)[1]);
  assert.deepEqual([count('invalid_signature'), count('stale_signature'), count('other')], [21, 8, 0]);
  assert.match(text, /luafn_auth_refused_total 29\n/);
  await h.stop();
  assert.equal(h.log().filter((l) => l.code === 'stale_signature' || l.error === 'stale_signature').length, 8, h.stdout.slice(0, 400));
  for (const secret of Object.values(SECRETS)) assert.ok(!(h.stdout + h.stderr).includes(secret));
});

test('raw bytes are judged, however long, and a body over the limit is 413 before', async (t) => {
  const h = await start(t, { files: deployment({ github: SEEN }, { fields: { github: `${auth('github')}, body = "2MB"` } }) });
  for (const size of [0, 1, 16384, 65537, 262145, 1048577, 2097152]) {
    const bytes = Buffer.alloc(size, 0xff);
    for (const chunked of [false, true]) {
      const headers = { ...SIGN.github(bytes, { id: `${size} ${chunked}` }), ...(chunked && { 'Transfer-Encoding': 'chunked' }) };
      const text = chunked ? Buffer.concat([...(size ? [Buffer.from(`${size.toString(16)}\r\n`), bytes, Buffer.from('\r\n')] : []), Buffer.from('0\r\n\r\n')]) : bytes;
      const res = await post(h, 'github', text, headers);
      assert.equal(res.status, 200, `${size} ${chunked}: ${res.text}`);
      bytes[size >> 1] ^= size > 0 ? 1 : 0;
      if (size > 0) refused(await post(h, 'github', bytes, SIGN.github(Buffer.alloc(size, 0xff), { id: 'x' })), 'invalid_signature', size);
      bytes.fill(0xff);
    }
  }
  const large = Buffer.alloc(2097153);
  assert.equal((await post(h, 'github', large, SIGN.github(large))).status, 413);
  // Without a signature nothing of a body is asked for.
  const wire = await h.connect();
  wire.send(`POST ${PATH}github HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`);
  assert.equal((await wire.response()).status, 401);
  wire.close();
});

// The other senders' libraries are too large to be installed for this; their signatures are the vectors of the unit test.
test('what libraries of senders sign is taken, and one bit less is not', async (t) => {
  const h = await start(t, { files: deployment({ standard: SEEN, github: SEEN }, { fields: { standard: auth('standard'), github: auth('github') } }) });
  const flip = (text, bit) => { const b = Buffer.from(text); b[(bit * 7) % b.length] ^= 1 << bit % 3; return b; };
  for (let n = 0; n < 24; n++) {
    const text = JSON.stringify({ n, note: 'Größe 😀'.repeat(n) });
    const id = `msg_${n}`;
    const at = new Date();
    const rows = {
      standard: { 'webhook-id': id, 'webhook-timestamp': String(Math.floor(at / 1000)), 'webhook-signature': new Webhook(SECRETS.standard).sign(id, at, text) },
      github: { 'X-GitHub-Delivery': id, 'X-Hub-Signature-256': await signForGithub(SECRETS.github, text) },
    };
    for (const [scheme, headers] of Object.entries(rows)) {
      refused(await post(h, scheme, flip(text, n), headers), 'invalid_signature', `${scheme}: body`);
      for (const name of Object.keys(headers).filter((k) => k !== 'X-GitHub-Delivery')) {
        refused(await post(h, scheme, text, { ...headers, [name]: flip(headers[name], n).toString('latin1') }), 'invalid_signature', `${scheme}: ${name}`);
      }
      assert.equal((await post(h, scheme, text, headers)).text, `ran ${Buffer.byteLength(text)}`, scheme);
    }
  }
});

test('any secret of a rotation will do', async (t) => {
  const files = deployment({ github: SEEN }, { fields: { github: 'auth = { webhook = "github", secret = { env.NEW, env.OLD }, tolerance = 60 }' } });
  const h = await start(t, { files, env: { NEW: 'new one', OLD: 'old one' } });
  for (const secret of ['new one', 'old one']) assert.equal((await post(h, 'github', 'x', SIGN.github('x', { secret, id: secret }))).text, 'ran 1');
  refused(await post(h, 'github', 'x', SIGN.github('x', { secret: 'no one' })), 'invalid_signature');
});

test("Twilio's URL is the one that the client asked for, behind a proxy too", async (t) => {
  const h = await start(t, { files: deployment({ twilio: SEEN }, { fields: { twilio: auth('twilio') }, more: '  proxies = { from = "127.0.0.1", trust_host = true },' }) });
  const proxied = { 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'hooks.example.com' };
  const url = `https://hooks.example.com${PATH}twilio`;
  const form = body('twilio');
  assert.equal((await post(h, 'twilio', form, { ...SIGN.twilio(form, { url }), ...proxied })).status, 200);
  refused(await post(h, 'twilio', form, SIGN.twilio(form, { url })), 'invalid_signature', 'nobody said so');
  const json = '{"a":1}';
  for (const [hash, status] of [[bodyHash(json), 200], [bodyHash(json).toUpperCase(), 401], [bodyHash('{}'), 401]]) {
    const query = `?bodySHA256=${hash}`;
    const headers = { ...SIGN.twilio('', { url: url + query }), ...proxied, 'Content-Type': 'application/json' };
    assert.equal((await post(h, 'twilio', json, headers, { path: `${PATH}twilio${query}` })).status, status, hash);
  }
});

// A server that handlers ask, and that answers when the test says so.
async function gate(t) {
  const waiting = [];
  const server = http.createServer((req, res) => { waiting.push(res); server.emit('asked'); });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => { server.closeAllConnections(); server.close(); });
  return {
    url: `http://127.0.0.1:${server.address().port}/`, waiting,
    asked: async (count) => { while (waiting.length < count) await once(server, 'asked'); },
    open: () => { for (const res of waiting.splice(0)) res.end('go'); },
  };
}
const REACH = 'fetch = "127.0.0.1:*"';
const WAITS = (url) => `return function(event)
  local res = fetch(${lua(url)})
  if event.queryStringParameters.fail == "raise" then error("no") end
  return { statusCode = tonumber(event.queryStringParameters.fail) or 200, body = "ran" }
end`;

test('while it runs a repeat is 503; after an answer it is 200, after a failure it runs', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }), workers: 2 });
  const ask = (id, query = '') => post(h, 'github', 'x', SIGN.github('x', { id }), { path: `${PATH}github${query}` });
  for (const [n, [query, status]] of [['', 200], ['?fail=204', 204], ['?fail=raise', 502], ['?fail=404', 404], ['?fail=302', 302]].entries()) {
    const first = ask(`id ${n}`, query);
    await g.asked(1);
    for (let i = 0; i < 4; i++) {
      const busy = await ask(`id ${n}`);
      assert.deepEqual([busy.status, busy.json().error, busy.header('retry-after')], [503, 'delivery_running', '5']);
    }
    g.open();
    assert.equal((await first).status, status);
    const again = ask(`id ${n}`);
    if (status >= 300) {
      await g.asked(1);
      g.open();
    }
    assert.deepEqual([(await again).status, (await again).text], [200, status < 300 ? '' : 'ran'], query);
  }
});

test('a client that leaves ends its run, and the next one runs', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }) });
  const headers = Object.entries(SIGN.github('x')).map(([k, v]) => `${k}: ${v}\r\n`).join('');
  const wire = await h.connect();
  wire.send(`POST ${PATH}github HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n${headers}\r\nx`);
  await g.asked(1);
  const [gone] = g.waiting.splice(0);
  wire.close();
  await once(gone, 'close');
  const again = post(h, 'github', 'x', SIGN.github('x'));
  await g.asked(1);
  g.open();
  assert.equal((await again).text, 'ran');
});

test('a worker that is killed leaves its delivery to the next repeat', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } }) });
  const first = post(h, 'github', 'x', SIGN.github('x')).catch(() => null);
  await g.asked(1);
  process.kill(h.workers()[0], 'SIGKILL');
  await first;
  g.waiting.splice(0);
  const statuses = new Set();
  const again = eventually(async () => {
    const res = await post(h, 'github', 'x', SIGN.github('x')).catch(() => null);
    statuses.add(res?.status);
    return res?.status === 200 ? res : null;
  }, 10, 'it runs again');
  await g.asked(1);
  g.open();
  assert.equal((await again).text, 'ran');
  assert.ok(statuses.has(503), 'meanwhile nobody knows whether it runs');
});

test('a job in the background counts when it has ended well', async (t) => {
  const g = await gate(t);
  const h = await start(t, { files: deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}, background = true` } }) });
  const ask = (query = '') => post(h, 'github', 'x', SIGN.github('x'), { path: `${PATH}github${query}` });
  for (const query of ['?fail=raise', '?fail=500', '']) { // the last one is the first that ends well
    await eventually(async () => (await ask(query)).status === 202, 10, 'the one before has ended');
    await g.asked(1);
    assert.equal((await ask()).status, 503);
    g.open();
  }
  const done = await eventually(async () => { const res = await ask(); return res.status === 503 ? null : res; }, 10, 'it has ended');
  assert.deepEqual([done.status, done.text], [200, '']);
  assert.equal(g.waiting.length, 0);
});

test('a thousand deliveries, each sent three times at once: each runs once', async (t) => {
  const h = await start(t, { files: deployment({ standard: 'return function() sleep(0.001) return "ran" end' }, { fields: { standard: auth('standard') } }), workers: 2 });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 48 });
  const send = (id) => new Promise((resolve, reject) => {
    const headers = { ...SIGN.standard('{}', { id }), 'Content-Length': 2 };
    const req = http.request({ host: h.address, port: h.port, path: `${PATH}standard`, method: 'POST', agent, headers }, async (res) => {
      let text = '';
      for await (const chunk of res) text += chunk;
      resolve([res.statusCode, text]);
    });
    req.on('error', reject);
    req.end('{}');
  });
  const ids = Array.from({ length: 1000 }, (_, i) => `msg_${i}`);
  const answers = await Promise.all(ids.map((id) => Promise.all([send(id), send(id), send(id)])));
  agent.destroy();
  for (const [i, three] of answers.entries()) {
    assert.equal(three.filter(([, text]) => text === 'ran').length, 1, `${ids[i]}: ${JSON.stringify(three)}`);
    for (const [status, text] of three) assert.ok((status === 200 && (text === 'ran' || text === '')) || status === 503, text);
  }
});

test('with KV_URL all machines know it; without the server each knows its own', async (t) => {
  const redis = await Redis.start(t);
  const g = await gate(t);
  const files = deployment({ github: WAITS(g.url) }, { fields: { github: `${auth('github')}, ${REACH}` } });
  const [a, b] = await Promise.all([1, 2].map(() => start(t, { files, env: { KV_URL: redis.url } })));
  const ask = (h, id, query = '') => post(h, 'github', 'x', SIGN.github('x', { id }), { path: `${PATH}github${query}` });
  for (const [id, query, then] of [['one', '', ''], ['two', '?fail=500', 'ran']]) {
    const first = ask(a, id, query);
    await g.asked(1);
    assert.equal((await ask(b, id)).status, 503);
    assert.equal((await ask(a, id)).status, 503);
    g.open();
    await first;
    const again = eventually(async () => { const res = await ask(b, id); return res.status === 200 ? res : null; }, 10, id);
    if (then) {
      await g.asked(1);
      g.open();
    }
    assert.equal((await again).text, then);
    assert.deepEqual([(await ask(a, id)).text, (await ask(b, id)).text], ['', '']);
  }
  await redis.stop();
  const alone = ask(a, 'three');
  await g.asked(1);
  g.open();
  assert.equal((await alone).text, 'ran');
  assert.equal((await ask(a, 'three')).text, '');
});

test('what is no webhook is refused when it is loaded, with what to write', async (t) => {
  const rows = [
    ['webhook = "github"', 'auth\\.secret: is missing, or its variable is not set, or none of those that this file sees: write secret = env\\.WEBHOOK_SECRET'],
    ['webhook = "github", secret = env.NOT_SET', 'auth\\.secret: is missing'],
    ['webhook = "github", secret = ""', 'auth\\.secret: must not be empty'],
    ['webhook = "github", secret = {}', 'auth\\.secret: must be 1 to 8 texts'],
    ['webhook = "github", secret = { env.NOT_SET, "s3cr3t" }', 'auth\\.secret: must be a list without names and gaps: \\{ env\\.NEW, env\\.OLD \\}'],
    ['webhook = "github", secret = 31337', 'auth\\.secret: must be a text, or a list of texts\\n'],
    ['webhook = "standard", secret = "s3cr3t"', 'auth\\.secret: is none of Standard Webhooks'],
    ['webhook = "gitbub", secret = "s3cr3t"', "auth\\.webhook: 'gitbub' is not one of standard, github"],
    ['webhook = true, secret = "s3cr3t"', "auth\\.webhook: must be a scheme's name"],
    ['webhook = "github", secret = "s3cr3t", scope = "x"', 'auth\\.scope: unknown key; known are webhook, secret, tolerance'],
    ['webhook = "github", secret = "s3cr3t", tolerance = 0', 'auth\\.tolerance: must be between 1 and 86400'],
    ['tolerance = 300', 'auth\\.tolerance: unknown key'],
    ['webhok = "github"', 'auth\\.webhok: unknown key; did you mean `webhook`'],
    ['webhook = { }, secret = "s3cr3t"', 'auth\\.webhook\\.header: is missing'],
    ['webhook = { header = "x y" }, secret = "s3cr3t"', "auth\\.webhook\\.header: 'x y' is no header's name"],
    ['webhook = { header = "x", alg = "md5" }, secret = "s3cr3t"', "auth\\.webhook\\.alg: 'md5' is not one of sha256"],
    ['webhook = { header = "x", encoding = "base32" }, secret = "s3cr3t"', "auth\\.webhook\\.encoding: 'base32' is not one of hex, base64"],
    ['webhook = { header = "x", signed = "{timestamp}" }, secret = "s3cr3t"', 'auth\\.webhook\\.signed: has \\{timestamp\\}: say in which header it comes'],
    ['webhook = { header = "x", timestamp = "y" }, secret = "s3cr3t"', 'auth\\.webhook\\.timestamp: is not signed'],
    ['webhook = { header = "x", timestamp = "y", signed = "{timestamp}" }, secret = "s3cr3t"', 'auth\\.webhook\\.signed: must have \\{body\\}'],
    ['webhook = { header = "x", signed = "{url}{body}" }, secret = "s3cr3t"', "auth\\.webhook\\.signed: '\\{url\\}' is not one of"],
    ['webhook = { header = "x", secret = "s3cr3t" }, secret = "s3cr3t"', 'auth\\.webhook\\.secret: unknown key'],
  ];
  const check = (fields) => run(t, ['check'], { files: deployment({ hook: SEEN }, { fields: { hook: fields } }) });
  for (const [fields, message] of rows) {
    const out = await check(`auth = { ${fields} }`);
    assert.equal(out.code, 1, fields);
    assert.match(out.stderr, new RegExp(`functions\\.lua:3: functions\\.hook\\.${message}`), fields);
    assert.doesNotMatch(out.stderr, /s3cr3t|31337/);
  }
  for (const [fields, message] of [['stream_body = true', 'stream_body: does not go with auth\\.webhook'], ['body = "33MB"', 'body: must be at most 33554432 bytes']]) {
    const out = await check(`auth = { webhook = "github", secret = "s3cr3t" }, ${fields}`);
    assert.match(out.stderr, new RegExp(`functions\\.lua:3: functions\\.hook\\.${message}`));
  }
  const good = await check('auth = { webhook = { header = "x", signed = "v0:{body}" }, secret = { "a", "b" } }, body = "32MB"');
  assert.equal(good.code, 0, good.stderr);
  assert.match((await run(t, ['routes'], { dir: good.dir })).stdout, / webhook custom /);
});

test('who wrote it can try it: invoke signs, audit does not get in', async (t) => {
  const dir = folder(t, deployment(Object.fromEntries(SCHEMES.map((s) => [s, SEEN])), { fields: Object.fromEntries(SCHEMES.map((s) => [s, auth(s)])) }));
  for (const s of SCHEMES) {
    const payload = ['invoke', s, '--payload', body(s), '--header', `Content-Type: ${s === 'twilio' ? 'application/x-www-form-urlencoded' : 'application/json'}`];
    assert.match((await run(t, payload, { dir })).stdout, /"invalid_signature"/, s);
    const signed = await run(t, [...payload, '--signed'], { dir });
    assert.deepEqual([signed.code, signed.stdout], [0, `ran ${Buffer.byteLength(body(s))}`], s + signed.stderr);
  }
  const json = await run(t, ['invoke', 'twilio', '--payload', '{}', '--signed'], { dir });
  assert.match(json.stderr, /twilio signs forms, and other bodies by \?bodySHA256=HASH in the path alone/);
  const explained = await run(t, ['explain', 'abc', '--route', 'github'], { dir });
  assert.match(explained.stderr, /the function github takes no token: its callers sign/);

  const h = await start(t, { dir });
  const audit = await run(t, ['audit', h.url('/'), '--config', 'functions.lua'], { dir });
  assert.equal(audit.code, 0, audit.stdout + audit.stderr);
  assert.match(audit.stdout, /29 requests at 7 protected routes: 29 as expected, 0 let through, 0 faults/);
  assert.equal(audit.stdout.match(/ok +signed too long ago /g).length, TIMED.length);
  for (const secret of Object.values(SECRETS)) assert.ok(!(audit.stdout + audit.stderr + explained.stderr).includes(secret));
  assert.doesNotMatch(h.stderr, /ran/);
});

test('audit says so where anybody gets in', async (t) => {
  const open = await start(t, { files: deployment({ github: SEEN }, { fields: { github: 'auth = "public"' } }) });
  const dir = folder(t, deployment({ github: SEEN }, { fields: { github: auth('github') } }));
  const audit = await run(t, ['audit', open.url('/'), '--config', 'functions.lua'], { dir });
  assert.equal(audit.code, 1);
  assert.match(audit.stdout, /LET THROUGH +another secret/);
});
