// The pages of the documentation, done to the letter. What a fence says behind its three ticks tells what
// becomes of the block; tests/README.md has the list. Each page has a folder, which begins as the
// repository's own deployment, and one host at a time.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { freePort, ROOT } from './host.mjs';

const USUAL = { port: '8888', admin: '8889' }; // what pages speak of; here it may be taken

// Every page of the repository, in this order of folders.
export function pages(dir = '') {
  const here = fs.readdirSync(path.join(ROOT, dir), { withFileTypes: true }).filter(({ name }) => !name.startsWith('.') && !['build', 'data', 'node_modules'].includes(name));
  return [...here.filter((one) => one.name.endsWith('.md')).map(({ name }) => path.join(dir, name)).sort(),
    ...here.filter((one) => one.isDirectory()).flatMap(({ name }) => pages(path.join(dir, name))).sort()];
}

export const read = (page) => fs.readFileSync(path.join(ROOT, page), 'utf8');

// [{ at: 'README.md:3', kind: 'lua', what: 'scripts/hello.lua', text }]; `skip` is why it is not run.
export function blocks(page, text = read(page)) {
  const found = [];
  let open;
  text.split('\n').forEach((line, i) => {
    const fence = /^ *```(.*)$/.exec(line);
    if (!fence) open?.lines.push(line);
    else if (open) {
      found.push({ ...open, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    } else {
      const [, kind, what, skip] = /^(\S*) *(.*?) *(?:not run: *(.*))?$/.exec(fence[1]);
      open = { at: `${page}:${i + 1}`, kind, what, skip, lines: [] };
    }
  });
  if (open) found.push({ ...open, text: open.lines.join('\n') });
  return found;
}

const KINDS = {
  console: (what) => what === '',
  sh: (what) => what === '',
  lua: (what) => ['', 'functions', 'config', 'options', 'test'].includes(what) || /^[\w/]+\.lua$/.test(what),
  dotenv: (what) => what === '.env',
  toml: (what) => what === 'netlify.toml',
  sql: (what) => /^migrations\/\w+\.sql$/.test(what),
  text: (what) => /^([\w]+\/)?_(redirects|headers)$/.test(what),
};

// What is wrong with the marks of a page's blocks, its links and its tables: [text with file and line].
export function faults(page, text = read(page)) {
  const found = blocks(page, text).flatMap(({ at, kind, what, text: block, skip }) => {
    if (`${what}${skip}`.includes('`')) return [`${at}: a \` behind the three of a fence, where Markdown takes none`];
    if (skip === '') return [`${at}: "not run:" without a reason`];
    if (skip === undefined && kind === 'console' && !block.startsWith('$ ')) return [`${at}: a console that does not begin with "$ "`];
    if (skip === undefined && ['functions', 'config', 'options'].includes(what) && !/^\w+ *= /.test(block)) return [`${at}: does not begin with "name = "`];
    if (skip !== undefined || KINDS[kind]?.(what)) return [];
    return [`${at}: \`\`\`${[kind, what].filter(Boolean).join(' ')} is neither run nor marked "not run: why"`];
  });
  for (const [, to] of text.replace(/^ *```[^]*?^ *```/gm, '').matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)) {
    if (!fs.existsSync(path.join(ROOT, path.dirname(page), to))) found.push(`${page}: a link to ${to}, which is not there`);
  }
  let fenced = false, before, columns;
  const cells = (line) => line.replaceAll('\\|', '').replace(/^\||\|$/g, '').split('|').map((cell) => cell.trim());
  text.split('\n').forEach((line, i) => {
    if (/^ *```/.test(line)) fenced = !fenced;
    const row = !fenced && line.startsWith('|');
    if (row && /^\|[-:| ]+\|$/.test(line) && before) {
      columns = cells(before).length;
      if (cells(before).some((cell) => cell === '')) found.push(`${page}:${i}: a column without a heading`);
      if (cells(line).length !== columns) found.push(`${page}:${i + 1}: ${cells(line).length} columns under ${columns} headings`);
    } else if (row && columns === undefined && before !== undefined) found.push(`${page}:${i}: a row that belongs to no table`);
    else if (row && columns !== undefined && cells(line).length !== columns) found.push(`${page}:${i + 1}: ${cells(line).length} cells under ${columns} headings`);
    if (!row) columns = undefined;
    before = row ? line : undefined;
  });
  return found;
}

// "$ command" lines, each with the lines that it prints.
export function commands(text) {
  return text.split(/^\$ /m).slice(1).map((one) => {
    const [command, ...said] = one.trimEnd().split('\n');
    return { command, said: said.join('\n') };
  });
}

// The entries of a Lua table, each from a line that begins with `name =` to the next.
const entries = (text) => text.split(/^(?=\w+ *= )/m).map((entry) => entry.trimEnd());

// Of these lines those that `wanted` has next.
function among(said, wanted) {
  const [...left] = wanted.split('\n');
  return said.split('\n').filter((line) => line === left[0] && left.shift() !== undefined).join('\n');
}

// A page's terminal: a folder, and the host that was started in it last.
class Desk {
  constructor(dir, env) {
    this.cwd = dir;
    this.env = env;
  }

  async open() {
    this.ports = { port: String(await freePort()), admin: String(await freePort()) };
  }

  // As here: another port, and loopback by its number.
  here(text) {
    return text.replaceAll(USUAL.port, this.ports.port).replaceAll(USUAL.admin, this.ports.admin).replaceAll(`localhost:${this.ports.port}`, `127.0.0.1:${this.ports.port}`);
  }

  // `serve` has to know an issuer: here it is one that nobody is.
  environment(command) {
    const known = /\bluafn (serve|check(?! --dev))/.test(command);
    return known ? { JWT_ISSUER: 'http://127.0.0.1:1/', JWT_AUDIENCE: 'https://api/tv-shows', ...this.env } : this.env;
  }

  ask(command) {
    const { status, stdout, stderr, output } = spawnSync('bash', ['-c', `${command}\nr=$?; pwd >&3; exit $r`], { cwd: this.cwd, env: this.environment(command), encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe', 'pipe'] });
    this.cwd = output[3].trim();
    return { status, said: (stdout + stderr).trimEnd() };
  }

  // Starts a host in place of the one before; what it says until it listens.
  async host(command) {
    await this.end();
    const listen = command.includes('--listen') ? '' : ` --listen 127.0.0.1:${this.ports.port}`;
    const child = spawn('bash', ['-c', `exec ${command}${listen}`], { cwd: this.cwd, env: this.environment(command), stdio: ['ignore', 'ignore', 'pipe'] });
    this.child = child;
    this.ended = new Promise((resolve) => { child.on('exit', resolve); });
    return new Promise((resolve, reject) => {
      let said = '';
      child.stderr.on('data', (d) => { said += d; if (/listening on.*\n/.test(said)) resolve(said.trimEnd()); });
      child.on('exit', () => reject(new Error(`ended: ${said}`)));
    });
  }

  async end() {
    if (!this.child) return;
    this.child.kill('SIGTERM');
    assert.equal(await this.ended, 0);
    this.child = undefined;
  }

  // One line that is typed. `said`: what it must print; undefined where the page does not tell.
  async type(at, command, said) {
    const parts = this.here(command).replace(/ +# .*$/, '').split(' && ');
    const last = /^(build\/)?luafn (dev|serve)\b/.test(parts.at(-1)) ? parts.pop() : undefined;
    const typed = parts.join(' && ');
    if (/\bcurl\b/.test(typed) && !this.child) await this.host('luafn dev');
    const wanted = said === undefined ? undefined : this.here(said);
    let got = '';
    // What was saved counts within a second: until then the answer is the one before.
    for (let turns = 0; typed !== ''; turns++) {
      const answer = this.ask(typed);
      got = answer.said;
      if (wanted === undefined ? answer.status === 0 : last || got === wanted) break;
      assert.ok(typed.startsWith('curl') && turns < 300, `${at}: ${command}:\n${got}`);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    if (last) got = [got, await this.host(last)].filter(Boolean).join('\n');
    // A host also logs: what the page shows must be there, in this order.
    if (last && wanted) assert.equal(among(got, wanted), wanted, `${at}: ${command}`);
  }

  check(at) {
    const { status, said } = this.ask('luafn check --dev');
    assert.ok(status === 0 && !/^[^:]+:\d+:/m.test(said), `${at}: ${said}`);
  }

  // Writes a line into the functions of functions.lua, in place of one of that name.
  write(entry) {
    const file = path.join(this.cwd, 'functions.lua');
    const [name] = /^\w+/.exec(entry);
    const text = fs.readFileSync(file, 'utf8').replace(new RegExp(`^ {4}${name} *= .*\n`, 'm'), '');
    fs.writeFileSync(file, text.replace(/^ {2}functions = \{\n/m, (line) => `${line}    ${entry.replaceAll('\n', '\n    ')}\n`));
  }
}

function put(dir, name, text) {
  fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
  fs.writeFileSync(path.join(dir, name), text);
}

// A configuration with an issuer, and nothing else but these entries, and a function with those.
function alone(desk, dir, at, { config = '', options = '' }) {
  put(dir, 'one.lua', 'return function() return "one" end\n');
  put(dir, 'functions.lua', `return { auth = { issuer = env.JWT_ISSUER, audience = env.JWT_AUDIENCE }, functions = { one = { script = "one.lua", auth = "public",\n${options}\n} },\n${config}\n}\n`);
  const { cwd } = desk;
  desk.cwd = dir;
  desk.check(at);
  desk.cwd = cwd;
}

// A script as it stands, or statements of a handler.
const isScript = (text) => /^return (function\b|[\w.]+\(.*function\b)|^return \{[^]*\bhandler = /m.test(text);

const KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' });

// Blocks of Lua that have no name are functions of one more deployment; each is called once, and what it asks
// of others is answered. A block that is a test is run as one. `names`: those that they may ask in.
function callAll(desk, dir, found, own, names) {
  for (const [name, text] of Object.entries(own)) put(dir, name, text);
  const tests = [];
  let list = '';
  for (const { at, what, text, skip } of found) {
    const name = at.replace(/\W/g, '_');
    if (what === 'test') { put(dir, `${name}_test.lua`, text); continue; }
    put(dir, `scripts/${name}.lua`, isScript(text) ? text : `return function(event, context) do ${text} end return "ran" end`);
    list += `${name} = { script = "scripts/${name}.lua", env = { "*" } },\n`;
    if (skip !== undefined) continue; // loaded all the same
    const [, address] = /\bpath = "([^"]*)"/.exec(text) ?? [];
    const [, method = 'POST'] = /\bmethods = \{ "(\w+)"/.exec(text) ?? [];
    const asked = `method = "${method}", headers = { ["content-type"] = "text/plain" }, body = "x", as = "ada", scope = "read:shows", claims = { roles = { "admin" } }${address ? `, path = "${address.replace(/:\w+/g, 'x')}"` : ''}`;
    tests.push(`test("${at}", function(t)
  t.clock(os.time())
  t.fetch("*", { body = { { id = 1, name = "Girls", url = "https://tv.example/1" } } })
  local res = t.invoke("${name}", { ${asked} })
  t.wait()
  t.ok(res.status < 400, res.body)
end)\n`);
  }
  put(dir, 'functions.lua', own['functions.lua'].replace(/^ {2}functions = \{\n/m, `${names}$&${list}`));
  put(dir, 'every_test.lua', tests.join(''));
  const { cwd } = desk;
  desk.cwd = dir;
  desk.check(dir);
  const { status, said } = desk.ask('luafn test');
  desk.cwd = cwd;
  assert.equal(status, 0, said);
}

// Does a page in that folder, where the files of `own` lie.
export async function play(page, dir, own, bin, text = read(page)) {
  const todo = blocks(page, text).filter(({ kind, what, skip }) => skip === undefined || (kind === 'lua' && what === ''));
  const inside = path.join(dir, '.desk'); // not part of what the reader sees
  const env = {
    PATH: `${inside}/bin:${process.env.PATH}`, HOME: inside, TMPDIR: dir, LANG: 'C.UTF-8',
    TV_API_URL: 'https://api.tvmaze.com/shows', SIGNING_KEY: KEY, INTROSPECT_ID: 'id', INTROSPECT_SECRET: 'secret', CRM_SECRET: 'secret', LINK_SECRET: 'a secret of no fewer than 32 bytes',
  };
  for (const [name, text] of Object.entries(own)) put(dir, name, text);
  put(inside, '.curlrc', 'silent\n');
  for (const link of ['.desk/bin', 'build']) {
    fs.mkdirSync(path.join(dir, link), { recursive: true });
    if (!fs.existsSync(path.join(dir, link, 'luafn'))) fs.symlinkSync(bin, path.join(dir, link, 'luafn'));
  }
  const desk = new Desk(dir, env);
  await desk.open();
  const nameless = todo.filter(({ kind, what }) => kind === 'lua' && ['', 'test'].includes(what));
  const names = todo.filter(({ what, text: block }) => what === 'config' && block.startsWith('outbound =')).map(({ text: block }) => `${block.trimEnd()},\n`).join('');
  if (nameless.length > 0) callAll(desk, path.join(inside, 'blocks'), nameless, own, names);
  try {
    for (const { at, kind, what, text: block } of todo) {
      if (kind === 'console') for (const { command, said } of commands(block)) await desk.type(at, command, said);
      else if (kind === 'sh') for (const command of block.replaceAll('\\\n', '').trimEnd().split('\n')) await desk.type(at, command);
      else if (what === 'config' || what === 'options') entries(block).forEach((entry, i) => alone(desk, path.join(inside, `${at.replace(/\W/g, '_')}_${i}`), at, { [what]: entry }));
      else if (what === 'functions') {
        for (const entry of entries(block)) desk.write(entry);
        desk.check(at);
      } else if (what !== '' && what !== 'test') {
        if (kind === 'dotenv') await desk.end(); // a host that runs would ask that issuer at once
        put(desk.cwd, what, block);
        desk.check(at);
      }
    }
    await desk.end();
  } finally {
    desk.child?.kill('SIGKILL');
  }
}
