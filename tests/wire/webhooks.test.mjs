// Webhooks as data: who signed is let in, and nobody else. That each delivery runs once is in webhooks-once.test.mjs.
import assert from 'node:assert/strict';
import test from 'node:test';
import { sign as signForGithub } from '@octokit/webhooks-methods';
import { Webhook } from 'standardwebhooks';
import { deployment, folder, run, start } from '../lib/host.mjs';
import { auth, bodyHash, now, post, SECRETS, SIGN, TIMED } from '../lib/webhooks.mjs';

const SCHEMES = Object.keys(SIGN);
const PATH = '/.netlify/functions/';
const SEEN = 'return function(event) return { statusCode = 200, body = "ran " .. #(event.body or "") } end';
const BODIES = { twilio: 'To=%2B15557654321&From=%2B15551234567&Body=Hello+' };
const body = (scheme, n = 1) => (BODIES[scheme] ? `${BODIES[scheme]}&CallSid=CA${n}` : JSON.stringify({ id: `evt_${n}`, note: 'Größe 40' }));

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
    for (const off of TIMED.includes(s) ? [-400, 400] : []) refused(await post(h, s, text, sign(h, s, text, { time: now() + off })), 'stale_signature', `${s}: ${off} s`);
    for (const off of TIMED.includes(s) ? [-200] : []) assert.equal((await post(h, s, body(s, 2), sign(h, s, body(s, 2), { time: now() + off, id: 'second' }))).text, `ran ${Buffer.byteLength(body(s, 2))}`);
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

  const { paths } = JSON.parse((await run(t, ['routes', '--openapi'], { dir })).stdout);
  const { get } = paths[`${PATH}github`];
  assert.deepEqual([get.summary, get.security, Object.keys(get.responses).sort()], ['github: webhook github', undefined, ['200', '401', '503']]);

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
