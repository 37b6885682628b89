// Asks netlify-cli's functions server and netlify-redirector, and writes their answers down.
//   node record.mjs FOLDER-WITH-NODE_MODULES OUT.json
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { answers, events, FIELDS, HEADERS, redirects, RULES } from './cases.mjs';

const [modules, out] = process.argv.slice(2).map((p) => path.resolve(p));
const require = createRequire(path.resolve(modules, 'package.json'));
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'netlify-diff-'));
// One that was free a moment ago.
const port = await new Promise((resolve) => {
  const probe = http.createServer().listen(0, () => { const found = probe.address().port; probe.close(() => resolve(found)); });
});

function send({ method = 'GET', at, headers = {}, body }) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? undefined : Buffer.from(body);
    const req = http.request({ port, path: at, method, headers: { ...headers, ...(data ? { 'Content-Length': data.length } : {}) } }, (res) => {
      const parts = [];
      res.on('data', (d) => parts.push(d));
      res.on('end', () => resolve({ status: res.statusCode, headers: res.headers, body: Buffer.concat(parts).toString() }));
    });
    req.on('error', reject);
    req.end(data);
  });
}

const pick = (object, names) => Object.fromEntries(names.filter((n) => object?.[n] !== undefined).map((n) => [n, object[n]]));
const own = (headers) => Object.fromEntries(Object.entries(headers).filter(([k]) => /^(x-[a-z]$|content-type$)/.test(k)));

async function askServer() {
  const folder = path.join(dir, 'netlify/functions');
  fs.mkdirSync(folder, { recursive: true });
  answers.forEach(([, js], i) => fs.writeFileSync(path.join(folder, `a${i}.js`), `exports.handler = async () => (${js});\n`));
  fs.writeFileSync(path.join(folder, 'echo.js'), 'exports.handler = async (event) => ({ statusCode: 200, body: JSON.stringify(event) });\n');
  fs.writeFileSync(path.join(folder, 'raises.js'), 'exports.handler = async () => { throw new Error("boom"); };\n');
  fs.writeFileSync(path.join(folder, 'late-background.js'), 'exports.handler = async () => {};\n');
  fs.writeFileSync(path.join(dir, 'netlify.toml'), '[functions]\ndirectory = "netlify/functions"\n');
  const cli = path.join(modules, 'node_modules/netlify-cli/bin/run.js');
  const child = spawn(process.execPath, [cli, 'functions:serve', '--port', String(port), '--offline'], {
    cwd: dir, env: { PATH: process.env.PATH, HOME: dir, CI: '1' }, stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await new Promise((resolve, reject) => {
      let text = '';
      const timer = setTimeout(() => reject(new Error(`netlify-cli does not start:\n${text}`)), 180000);
      child.stdout.on('data', (d) => {
        text += d;
        const loaded = (text.match(/Loaded function/g) ?? []).length;
        if (/server ready/.test(text) && loaded === answers.length + 3) { clearTimeout(timer); resolve(); }
      });
      child.on('exit', (code) => reject(new Error(`netlify-cli ended with ${code}:\n${text}`)));
    });
    const base = '/.netlify/functions';
    const result = { answers: [], events: [], others: {} };
    for (let i = 0; i < answers.length; i += 1) {
      const res = await send({ at: `${base}/a${i}` });
      result.answers.push({ name: answers[i][0], status: res.status, headers: own(res.headers), body: res.body });
    }
    for (const e of events) {
      const res = await send({ ...e, at: `${base}/echo${e.path ?? ''}` });
      const event = JSON.parse(res.body);
      result.events.push({ name: e.name, ...pick(event, FIELDS), headers: pick(event.headers, HEADERS) });
    }
    for (const [name, at] of [['raises', 'raises'], ['background', 'late-background'], ['unknown', 'nobody'], ['bad name', 'a.b']]) {
      const res = await send({ method: 'POST', at: `${base}/${at}` });
      result.others[name] = { status: res.status, body: res.body.split('\n')[0] };
    }
    return result;
  } finally {
    child.kill('SIGKILL');
  }
}

// As netlify-cli asks it (dist/utils/rules-proxy.js).
async function askRedirector() {
  const parser = require('netlify-redirector');
  const matcher = await parser.parsePlain(RULES, { jwtSecret: 'secret', jwtRoleClaim: 'app_metadata.authorization.roles' });
  return redirects.map(({ url, headers = {} }) => {
    const [pathname, query = ''] = url.split('?');
    const jar = Object.fromEntries((headers.Cookie ?? '').split('; ').filter(Boolean).map((c) => c.split('=')));
    const all = { 'x-language': jar.nf_lang ?? (headers['Accept-Language'] ?? 'en').slice(0, 2), 'x-country': jar.nf_country ?? 'us' };
    const match = matcher.match({
      scheme: 'http', host: 'localhost', path: pathname, query, headers: all, cookieValues: jar,
      getHeader: (name) => all[name.toLowerCase()] ?? '', getCookie: (name) => jar[name] ?? '',
    });
    return { url, headers, match: match ? pick(match, ['to', 'status', 'force']) : null };
  });
}

const version = (name) => JSON.parse(fs.readFileSync(path.join(modules, 'node_modules', name, 'package.json'))).version;
const recorded = {
  versions: { 'netlify-cli': version('netlify-cli'), 'netlify-redirector': version('netlify-redirector') },
  redirects: await askRedirector(),
  ...await askServer(),
};
fs.writeFileSync(out, `${JSON.stringify(recorded, null, 1)}\n`);
fs.rmSync(dir, { recursive: true, force: true });
console.log(`${out}: ${recorded.answers.length} answers, ${recorded.events.length} events, ${recorded.redirects.length} redirects`);
process.exit(0);
