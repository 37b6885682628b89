// luafn as it is measured: every limit and check of production on, the access log off.
import fs from 'node:fs';
import path from 'node:path';
import { lua, ROOT } from '../../tests/lib/host.mjs';
import { AUDIENCE } from '../../tests/lib/issuer.mjs';

export const BIN = path.resolve(ROOT, process.env.LUAFN_BIN ?? 'build/luafn');

const HELLO = 'return function() return { statusCode = 200, body = "hello" } end\n';
const ECHO = `return function(event)
  return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = json.encode(event:json()) }
end
`;

const READ3 = `return function(event)
  local list = event:json()
  return respond.json(200, { total = list.total, page = list.page, next = list.next })
end
`;
const PICK = `return function(event)
  local shows = json.array {}
  for i, show in ipairs(event:json()) do
    shows[i] = { id = show.id, url = show.url, name = show.name }
  end
  return respond.json(200, shows)
end
`;

// Files to serve: { name: bytes }.
export const FILES = { 'small.txt': 1024, 'large.bin': 1 << 20 };

export function files(dir) {
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, bytes] of Object.entries(FILES)) fs.writeFileSync(path.join(dir, name), 'x'.repeat(bytes));
  return dir;
}

// A folder to serve: hello, me, shows, echo, read3 and pick, the files, and `more` copies of hello as f1, f2, ...
// `auth` and `config`: more members of functions.lua's `auth`, and of itself. `scripts`: more functions, by name.
export function deployment(dir, { issuer, tvApi, auth = '', config = '', scripts = {} }, more = 0) {
  fs.rmSync(dir, { recursive: true, force: true });
  fs.mkdirSync(path.join(dir, 'scripts/lib'), { recursive: true });
  for (const name of ['me.lua', 'shows.lua', 'lib/auth.lua']) {
    fs.copyFileSync(path.join(ROOT, 'scripts', name), path.join(dir, 'scripts', name));
  }
  fs.writeFileSync(path.join(dir, 'scripts/hello.lua'), HELLO);
  fs.writeFileSync(path.join(dir, 'scripts/echo.lua'), ECHO);
  fs.writeFileSync(path.join(dir, 'scripts/read3.lua'), READ3);
  fs.writeFileSync(path.join(dir, 'scripts/pick.lua'), PICK);
  files(path.join(dir, 'site'));
  const rows = ['hello', 'me', 'echo', 'read3', 'pick'].map((name) => `${name} = { script = "scripts/${name}.lua" }`);
  rows.push('shows = { script = "scripts/shows.lua", fetch = { "127.0.0.1" } }');
  for (const [name, { source, options }] of Object.entries(scripts)) {
    fs.writeFileSync(path.join(dir, `scripts/${name}.lua`), source);
    rows.push(`${name} = { script = "scripts/${name}.lua", ${options} }`);
  }
  for (let i = 1; i <= more; i++) {
    fs.writeFileSync(path.join(dir, `scripts/f${i}.lua`), HELLO);
    rows.push(`f${i} = { script = "scripts/f${i}.lua" }`);
  }
  fs.writeFileSync(path.join(dir, '.env'), `JWT_ISSUER=${issuer.issuer}\nJWT_AUDIENCE=${AUDIENCE}\nTV_API_URL=${tvApi}\n`);
  fs.writeFileSync(path.join(dir, 'functions.lua'), `return {
  publish = "site",
  functions = {
    ${rows.join(',\n    ')},
  },
  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}${auth} },
${config}}
`);
  return dir;
}

export const command = (port, { bin = BIN, workers = 1, log = 'none', args = [] } = {}) => [
  bin, 'serve', '--workers', String(workers), '--log', log, '--listen', `127.0.0.1:${port}`, ...args,
];
