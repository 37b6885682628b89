// The pictures of README and docs/, made from the program itself: pages in headless Chromium as PNG, a
// terminal as SVG.
//
//   make pictures
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { open } from '../tests/lib/browser.mjs';
import { ownFiles } from '../tests/lib/demo.mjs';
import { BIN, eventually, folder, freePort, ROOT, run, start } from '../tests/lib/host.mjs';

const DIR = path.join(ROOT, 'docs/pictures');
const MOST = 150000; // bytes: a page of text with a few of them loads at once
const VIEW = { width: 1000, height: 800 };

function keep(name, bytes) {
  if (bytes.length > MOST) throw new Error(`${name} has ${bytes.length} bytes, over ${MOST}`);
  fs.mkdirSync(DIR, { recursive: true });
  fs.writeFileSync(path.join(DIR, name), bytes);
  console.log(`docs/pictures/${name}: ${bytes.length} bytes`);
}

// ---- pages ----

async function picture(page, name) {
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  keep(name, await page.screenshot({ animations: 'disabled' }));
}

// On the port that the docs speak of.
const dev = (t, options) => start(t, { command: 'dev', listen: '127.0.0.1:8888', ...options });

async function signIn(page, host, name) {
  await page.goto(host.url('/_luafn/dev/try.html'));
  await page.locator('#sign-in:enabled').click();
  await page.getByRole('button', { name: new RegExp(`^${name}`) }).click();
  await page.locator('#sign-out').waitFor();
}

test('the demo page, light: everything passes', async (t) => {
  const host = await dev(t, { files: ownFiles() });
  const page = await open(t, { viewport: VIEW });
  await signIn(page, host, 'Vera Viewer');
  await page.click('#call-shows');
  await page.locator('.tiles li').first().waitFor();
  await picture(page, 'shows.png');
  await page.goto(host.url('/_luafn/dev/issuer.html'));
  await page.getByRole('group', { name: /^Gus Guest/ }).waitFor();
  await picture(page, 'issuer.png');
});

test('the demo page, dark: the scope is missing', async (t) => {
  const host = await dev(t, { files: ownFiles() });
  const page = await open(t, { viewport: VIEW, colorScheme: 'dark' });
  await signIn(page, host, 'Gus Guest');
  await page.click('#call-shows');
  await page.locator('.answer .failed').waitFor();
  await picture(page, 'refused.png');
});

test('the dashboard: a failing request with its source, a good one with its timeline', async (t) => {
  const files = ownFiles();
  files['scripts/prices.lua'] = `-- What a subscription costs, in cents.
return function(event)
  local plan = event.queryStringParameters.plan
  log.info("asked", { plan = plan or "none", client = event.headers["user-agent"] })
  kv.incr("asked")
  sleep(0.02)
  local prices = { basic = 500, family = 900 }
  local price = prices[plan] + 0
  return json.encode { plan = plan, cents = price }
end
`;
  files['functions.lua'] = files['functions.lua'].replace('functions = {', 'functions = {\n    prices = { script = "scripts/prices.lua", auth = "public" },');
  const host = await dev(t, { files });
  const page = await open(t, { viewport: VIEW });
  await page.goto(host.url('/_luafn/dev/'));
  await page.getByText('live').waitFor();
  for (const plan of ['basic', 'family', 'golden']) await host.call('prices', { suffix: `?plan=${plan}`, headers: { 'User-Agent': 'shop/1.4' } });
  await host.call('shows');
  await page.locator('#rows li').nth(3).waitFor();
  await page.locator('#rows a', { hasText: 'golden' }).click();
  await page.locator('.source li[aria-current]').waitFor();
  await picture(page, 'dashboard.png');
  await page.locator('#rows a', { hasText: 'basic' }).click();
  await page.getByRole('tab', { name: 'Timeline' }).click();
  await page.locator('.bars .name', { hasText: 'kv.incr' }).waitFor();
  await picture(page, 'timeline.png');
});

// The project of docs/first-steps.md.
async function shop(t) {
  const dir = folder(t);
  await run(t, ['new', 'hello'], { dir });
  await run(t, ['new', 'orders', '--template', 'scope'], { dir });
  return dir;
}

test('the page of a project of one\'s own', async (t) => {
  const host = await dev(t, { dir: await shop(t) });
  const page = await open(t, { viewport: VIEW });
  await signIn(page, host, 'Vera Viewer');
  await page.getByRole('button', { name: /^hello/ }).click();
  await page.locator('.answer').waitFor();
  await page.getByText('Body of the answer').click();
  await picture(page, 'own.png');
  await page.getByRole('button', { name: /^orders/ }).click();
  await page.locator('.answer .failed').waitFor();
  await picture(page, 'door.png');
});

// ---- a terminal ----

const COLORS = { 31: '#ff8a80', 32: '#8fd48f', 33: '#f0c674', 34: '#8ab4f8', 36: '#7fd3d3', 2: '#9aa0ac', 90: '#9aa0ac' };
const escape = (text) => text.replace(/[&<>]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[c]);

// What a terminal of 100 columns would show, as SVG.
function drawing(title, text) {
  const COLUMNS = 100;
  const rows = [];
  for (const line of text.trimEnd().split(/\r?\n/)) {
    const bold = line.startsWith('$ ') ? ' font-weight="bold"' : '';
    let fill = '', column = 0, row = [];
    for (const [, code, plain] of line.matchAll(/\x1b\[([\d;]*)m|([^\x1b]+)/g)) {
      if (plain === undefined) { fill = COLORS[code] ?? ''; continue; }
      for (let rest = plain; rest; ) {
        const piece = rest.slice(0, COLUMNS - column);
        rest = rest.slice(piece.length);
        column += piece.length;
        row.push(fill ? `<tspan fill="${fill}">${escape(piece)}</tspan>` : escape(piece));
        if (column === COLUMNS && rest) { rows.push({ bold, row }); row = []; column = 0; }
      }
    }
    rows.push({ bold, row });
  }
  const [width, height] = [Math.ceil(COLUMNS * 7.83) + 40, rows.length * 19 + 28];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace" font-size="13" fill="#e6e8ee" role="img">
<title>${escape(title)}</title>
<rect width="${width}" height="${height}" rx="10" fill="#1c1f26"/>
${rows.map(({ bold, row }, i) => `<text xml:space="preserve" x="20" y="${28 + i * 19}"${bold}>${row.join('')}</text>`).join('\n')}
</svg>
`;
}

// A command on a terminal; `then` is done while it runs, and ends it.
async function onTerminal(dir, command, then) {
  const child = spawn('script', ['-qefc', `exec ${command}`, '/dev/null'], { cwd: dir, stdio: ['pipe', 'pipe', 'ignore'], env: { PATH: `${path.join(dir, '.bin')}:${process.env.PATH}`, HOME: dir, LANG: 'C.UTF-8', TERM: 'xterm-256color' } });
  const seen = { text: '' };
  child.stdout.on('data', (d) => { seen.text += d; });
  const ended = new Promise((resolve) => { child.on('close', resolve); });
  if (then) {
    await then(seen);
    child.kill('SIGTERM');
  }
  await ended;
  return seen.text;
}

test('the first steps on a terminal', async (t) => {
  const dir = folder(t);
  fs.mkdirSync(path.join(dir, '.bin'));
  fs.symlinkSync(BIN, path.join(dir, '.bin/luafn'));
  const port = await freePort();
  const parts = [];
  for (const typed of ['luafn new hello', 'luafn test']) parts.push(`$ ${typed}\n${await onTerminal(dir, typed)}`);
  const dev = await onTerminal(dir, `luafn dev --listen 127.0.0.1:${port}`, async (seen) => {
    await eventually(() => seen.text.includes('listening on'), 10, 'it listens');
    const at = `http://127.0.0.1:${port}/.netlify/functions`;
    await fetch(`${at}/hello?name=Ada`);
    await eventually(() => /hello \x1b\[\d+m200/.test(seen.text), 10, 'the answer is in the log');
    fs.writeFileSync(path.join(dir, 'scripts/hello.lua'), 'return function(\n');
    await eventually(() => seen.text.includes('<eof>'), 10, 'the mistake is in the log');
    await fetch(`${at}/nothing`);
    await eventually(() => /nothing \x1b\[\d+m404/.test(seen.text), 10, 'the last line of the log');
  });
  const shown = dev.replaceAll(`127.0.0.1:${port}`, 'localhost:8888').replace(/(Bearer )[\w-]{43}/, '$1...').split(/\r?\n/).map((line) => line.replace(/ *[0-9A-Z]{26}$/, '')).join('\n');
  keep('terminal.svg', Buffer.from(drawing('luafn new, luafn test, luafn dev: what they say', `${parts.join('')}$ luafn dev\n${shown}`)));
});
