// Behind a proxy: one header of trusted networks says who the client is, and everything that asks
// follows. From anybody else such headers change nothing, and no handler sees them.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, folder, freePort, lua, run, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { later } from '../lib/later.mjs';
import { client, proof } from '../lib/proof.mjs';
import { request } from '../lib/wire.mjs';

const LOOK = `return function(event)
  local shown = {}
  for name, value in pairs(event.headers) do
    if name:find("forwarded", 1, true) then shown[name] = value end
  end
  return json.encode({ ip = event.headers["client-ip"], url = event.rawUrl, shown = shown })
end`;

const world = async (t, proxies, { fields = { look: 'rate_limit = { limit = 2, window = 3600, by = "ip" }' }, ...rest } = {}) => {
  const h = await start(t, { files: deployment({ look: LOOK }, { fields, more: proxies === undefined ? '' : `  proxies = ${proxies},` }), ...rest });
  return { h, ask: (headers, path = '/.netlify/functions/look') => request(h, { path, headers: Object.entries(headers).flatMap(([k, v]) => [v].flat().map((one) => [k, one])) }) };
};

const CLAIMS = {
  'X-Forwarded-For': '6.6.6.6', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'evil.example', 'X-Forwarded-Port': '1', Forwarded: 'for=7.7.7.7;proto=https;host=evil.example', X_Forwarded_For: '8.8.8.8',
};
const OPEN = { look: '' };

test('nobody is believed unless it is said, nor who comes from elsewhere', async (t) => {
  for (const proxies of [undefined, '{ from = { "10.0.0.0/8", "unix" }, trust_host = true }', '{ from = "10.0.0.0/8", header = "forwarded", trust_host = true }']) {
    const { h, ask } = await world(t, proxies, { fields: OPEN });
    const seen = (await ask(CLAIMS)).json();
    assert.deepEqual(seen, { ip: '127.0.0.1', url: h.url('/.netlify/functions/look'), shown: { x_forwarded_for: '8.8.8.8' } }, 'a name with underscores is another one');
  }
});

test('the one header that is believed, from its end, and its scheme; of the host when it is said', async (t) => {
  const { h, ask } = await world(t, '{ from = { "127.0.0.0/8", "10.0.0.0/8" } }', { fields: OPEN });
  const own = `${h.address}:${h.port}`;
  const one = (await ask({ ...CLAIMS, 'X-Forwarded-For': ['6.6.6.6', '1.2.3.4, 10.1.1.1'] })).json();
  assert.deepEqual(one, {
    ip: '1.2.3.4', url: `https://${own}/.netlify/functions/look`,
    shown: { 'x-forwarded-for': '6.6.6.6, 1.2.3.4, 10.1.1.1', 'x-forwarded-proto': 'https', 'x-forwarded-port': '1', x_forwarded_for: '8.8.8.8' },
  });
  const none = (await ask({})).json();
  assert.deepEqual(none, { ip: '127.0.0.1', url: `http://${own}/.netlify/functions/look`, shown: {} });

  const named = await world(t, '{ from = "127.0.0.1", header = "Forwarded", trust_host = true }', { fields: OPEN });
  const two = (await named.ask({ ...CLAIMS, Forwarded: 'for=6.6.6.6;host="x, y", for="[2001:db8::1]:80";proto=https;host=api.example' })).json();
  assert.equal(two.ip, '2001:db8::1');
  assert.equal(two.url, 'https://api.example/.netlify/functions/look');
  assert.deepEqual(Object.keys(two.shown).sort(), ['forwarded', 'x_forwarded_for']);
});

test('rates and the log count whom the proxy names; a claim of the client moves neither', async (t) => {
  const { h, ask } = await world(t, '{ from = "127.0.0.1" }', { args: ['--log', 'json'] });
  const statuses = async (value, times) => {
    const all = [];
    for (let i = 0; i < times; i += 1) all.push((await ask({ 'X-Forwarded-For': value(i) })).status);
    return all;
  };
  assert.deepEqual(await statuses((i) => `6.6.6.${i}, 1.2.3.4`, 4), [200, 200, 429, 429], 'another claim each time');
  assert.deepEqual(await statuses(() => '1.2.3.5', 1), [200], 'another client');
  const shut = await world(t, undefined);
  const direct = [];
  for (let i = 0; i < 3; i += 1) direct.push((await shut.ask({ 'X-Forwarded-For': `1.2.3.${i}` })).status);
  assert.deepEqual(direct, [200, 200, 429]);
  await h.stop();
  const ips = h.stdout.split('\n').filter((l) => l.includes('"path"')).map((l) => JSON.parse(l).ip);
  assert.deepEqual(ips, ['1.2.3.4', '1.2.3.4', '1.2.3.4', '1.2.3.4', '1.2.3.5']);
});

test('the address of a proof of possession is what a trusted proxy says, and nobody else', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const who = await client();
  const token = issuer.token({ cnf: { jkt: who.jkt } });
  const statuses = async (from) => {
    const h = await start(t, { files: deployment({ me: 'return function() return "in" end' }, { fields: { me: 'auth = { dpop = true }' }, more: `  proxies = { from = ${lua(from)}, trust_host = true },\n  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)} },` }) });
    await h.keys();
    const urls = [h.url('/.netlify/functions/me'), 'https://public.example/.netlify/functions/me'];
    return Promise.all(urls.map(async (url) => (await h.call('me', { headers: { Authorization: `DPoP ${token}`, DPoP: await proof(who, { url, token }), 'X-Forwarded-For': '1.2.3.4', 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'public.example' } })).status));
  };
  assert.deepEqual(await statuses('10.0.0.0/8'), [200, 401]);
  assert.deepEqual(await statuses('127.0.0.1'), [401, 200]);
});

test('what is no network, no header, no key is refused', async (t) => {
  const rows = [
    ['{ }', 'proxies\\.from: must name the proxies'], ['{ from = "10.0.0.1/8" }', "proxies\\.from: '10\\.0\\.0\\.1/8' is no address and no network"],
    ['{ from = { "127.0.0.1", "x" } }', "proxies\\.from: 'x' is no address"], ['{ from = "::1", header = "x-real-ip" }', 'proxies\\.header: must be "x-forwarded-for" or "forwarded"'],
    ['{ from = "::1", trust_hosts = true }', 'proxies\\.trust_hosts: unknown key; did you mean `trust_host`'], ['"127.0.0.1"', 'proxies: must be a table'],
  ];
  for (const [proxies, message] of rows) {
    const { code, stderr } = await run(t, ['check'], { files: deployment({ look: LOOK }, { more: `  proxies = ${proxies},` }) });
    assert.equal(code, 1, proxies);
    assert.match(stderr, new RegExp(`functions\\.lua:\\d+: ${message}`), lua(proxies));
  }
});

const find = (name) => ['/usr/sbin', '/usr/bin'].map((dir) => `${dir}/${name}`).find((file) => fs.existsSync(file));
const NGINX = find('nginx');
const HAPROXY = find('haproxy');

// What the handler sees of who comes by that front, from 127.0.0.3, with claims of his own.
async function through(t, file, args, port) {
  const front = spawn(file, args, { stdio: 'ignore' });
  later(t, async () => { front.kill('SIGTERM'); await once(front, 'exit'); });
  const ask = () => new Promise((resolve, reject) => {
    http.get({ host: '127.0.0.2', port, localAddress: '127.0.0.3', agent: false, path: '/.netlify/functions/look', headers: CLAIMS }, (res) => {
      if (res.statusCode !== 200) { reject(new Error(String(res.statusCode))); return; } // it has not found us yet
      let text = '';
      res.setEncoding('utf8').on('data', (piece) => { text += piece; }).on('end', () => resolve(JSON.parse(text)));
    }).on('error', reject);
  });
  return eventually(() => ask().catch(() => null), 10, `${file} listens`);
}

test('nginx in front, as its documentation has it: the client is whom nginx sees', { skip: NGINX === undefined && 'nginx is not installed' }, async (t) => {
  const { h } = await world(t, '{ from = "127.0.0.1" }', { fields: OPEN });
  const port = await freePort();
  const dir = folder(t, {
    'nginx.conf': `daemon off; pid nginx.pid; error_log stderr; events { }
      http { access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
        server { listen 127.0.0.2:${port}; location / { proxy_pass http://127.0.0.1:${h.port}; proxy_bind 127.0.0.1; proxy_set_header Host $http_host;
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; } } }`,
  });
  const seen = await through(t, NGINX, ['-p', dir, '-c', `${dir}/nginx.conf`], port);
  assert.equal(seen.ip, '127.0.0.3');
  assert.equal(seen.shown['x-forwarded-for'], '6.6.6.6, 127.0.0.3');
  assert.match(seen.url, /^http:/, 'the scheme that nginx was asked by');
  assert.equal(seen.shown.forwarded, undefined);
});

test('HAProxy in front, which writes a line of its own below that of the client', { skip: HAPROXY === undefined && 'haproxy is not installed' }, async (t) => {
  for (const from of ['127.0.0.1', '10.0.0.0/8']) {
    const { h } = await world(t, `{ from = "${from}" }`, { fields: OPEN });
    const port = await freePort();
    const dir = folder(t, {
      'haproxy.cfg': `defaults\n  mode http\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\nlisten l\n  bind 127.0.0.2:${port}\n  option forwardfor
  http-request set-header X-Forwarded-Proto http\n  server s 127.0.0.1:${h.port} source 127.0.0.1\n`,
    });
    const seen = await through(t, HAPROXY, ['-db', '-f', `${dir}/haproxy.cfg`], port);
    const believed = from === '127.0.0.1';
    assert.equal(seen.ip, believed ? '127.0.0.3' : '127.0.0.1');
    assert.equal(seen.shown['x-forwarded-for'], believed ? '6.6.6.6, 127.0.0.3' : undefined);
    assert.match(seen.url, /^http:/);
    assert.equal(seen.shown.forwarded, undefined);
  }
});
