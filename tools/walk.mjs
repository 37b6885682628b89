// A stranger's ten minutes in a bare root (tools/fresh.sh makes it): README's commands, those of
// docs/first-steps.md, and the systemd unit as its file says it. Each step is timed; none may fail, and none
// may be silent for longer than QUIET.
//
//   node tools/walk.mjs ROOT
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { freePort, ROOT } from '../tests/lib/host.mjs';
import { blocks, commands } from '../tests/lib/pages.mjs';

const QUIET = 20; // seconds
const SHOP = '/root/shop';
const SITE = '/srv/luafn';
const SERVICE = '4711'; // systemd makes such an account for the time that the service runs
const root = process.argv[2];
const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root', LANG: 'C.UTF-8', TERM: 'xterm' };
for (const name of ['http_proxy', 'https_proxy', 'no_proxy', 'npm_config_registry']) if (process.env[name]) env[name] = process.env[name];

const steps = [];
const inside = (dir, command) => [root, 'bash', '-c', `cd ${dir} && ${command}`];
const until = async (fn) => { while (!fn()) await new Promise((resolve) => { setTimeout(resolve, 20); }); };

// Of what was begun: its time, and the longest that it said nothing.
function step(what) {
  const begun = performance.now();
  let heard = begun, quiet = 0;
  const hear = () => { quiet = Math.max(quiet, performance.now() - heard); heard = performance.now(); };
  const done = () => {
    hear();
    const one = { what, seconds: (performance.now() - begun) / 1000, quiet: quiet / 1000 };
    steps.push(one);
    console.log(`${one.seconds.toFixed(1).padStart(7)} s  ${what}${one.seconds > 1 ? ` (silent for ${one.quiet.toFixed(1)} s at most)` : ''}`);
    if (one.quiet > QUIET) throw new Error(`${what}: silent for ${one.quiet.toFixed(1)} s`);
  };
  return { hear, done };
}

function fail(what, said) { throw new Error(`${what}: ${said}`); }

const typed = (dir, command) => {
  const { status, stdout, stderr } = spawnSync('chroot', inside(dir, command), { env, encoding: 'utf8' });
  return { status, said: (stdout + stderr).trimEnd() };
};

// A command on a terminal; `enough`: what it says when it need not go on, and Ctrl-C is typed.
async function onTerminal(dir, command, enough) {
  const at = step(command);
  const child = spawn('script', ['-qefc', `exec chroot '${root}' bash -c 'cd ${dir} && exec ${command}'`, '/dev/null'], { env: { ...env, PATH: process.env.PATH }, stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '', stopped = false;
  child.stdout.on('data', (d) => {
    at.hear();
    said += d;
    if (!enough || stopped || !enough.test(said)) return;
    stopped = true;
    at.done();
    child.stdin.write('\x03');
  });
  const code = await new Promise((resolve) => { child.on('close', resolve); });
  if (!stopped) at.done();
  if (enough ? !stopped : code !== 0) fail(command, `status ${code}\n${said.slice(-2000)}`);
}

// A program that goes on; settled when it has said so.
async function start(what, dir, command, ready) {
  const at = step(what);
  const child = spawn('chroot', inside(dir, `exec ${command}`), { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const host = { child, said: '', ended: new Promise((resolve) => { child.on('exit', resolve); }) };
  child.stderr.on('data', (d) => { host.said += d; });
  host.ended.then((code) => { host.code = code; });
  await until(() => ready(host) || host.code !== undefined);
  if (host.code !== undefined) fail(what, host.said);
  at.done();
  return host;
}

async function type(dir, command, said, shown = command) {
  const at = step(shown);
  for (const begun = performance.now(); ;) { // what was saved counts within a second
    const got = typed(dir, command);
    if (got.said === said) break;
    if (!/\bcurl\b/.test(command) || performance.now() - begun > QUIET * 1000) fail(command, got.said);
  }
  at.done();
}

// The unit's own lines, under an account that can write to its state folder alone; perl hears what it tells systemd.
async function deploy(issuer, ports) {
  const unit = fs.readFileSync(path.join(root, 'usr/local/lib/systemd/system/luafn.service'), 'utf8');
  const line = (key) => new RegExp(`^${key}=(.*)$`, 'm').exec(unit)[1].replace('8888', ports[0]).replace('8889', ports[1]);
  const as = (command) => `setpriv --reuid ${SERVICE} --regid ${SERVICE} --clear-groups --no-new-privs --bounding-set -all env $(cat /etc/luafn.env) ${command}`;
  fs.writeFileSync(path.join(root, 'etc/luafn.env'), `JWT_ISSUER=${issuer}\nJWT_AUDIENCE=https://api/tv-shows\n`, { mode: 0o600 });
  await type('/', `mkdir -p ${SITE} && cp -r ${SHOP}/functions.lua ${SHOP}/scripts ${SITE} && ln -s /var/lib/luafn ${SITE}/.luafn`, '');
  typed('/', `install -d -o ${SERVICE} -m 700 /var/lib/luafn`); // StateDirectory=
  fs.copyFileSync(path.join(ROOT, 'tests/lib/notify.pl'), path.join(root, 'root/notify.pl'));
  const ear = spawn('chroot', inside('/root', 'umask 0; exec perl notify.pl /var/lib/luafn/notify'), { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let heard = '';
  ear.stdout.on('data', (d) => { heard += d; });
  await until(() => /^ready$/m.test(heard));
  try {
    const check = step(`as the unit: ${line('ExecStartPre')}`);
    const checked = spawnSync('chroot', inside(SITE, as(line('ExecStartPre'))), { env, encoding: 'utf8' });
    if (checked.status !== 0) fail('ExecStartPre', checked.stderr);
    check.done();
    const signs = (what) => heard.match(new RegExp(`^${what}`, 'gm'))?.length ?? 0;
    const host = await start(`as the unit: ${line('ExecStart')}`, SITE, as(`NOTIFY_SOCKET=/var/lib/luafn/notify WATCHDOG_USEC=${Number(line('WatchdogSec')) * 1e6} ${line('ExecStart')}`), () => signs('READY=1') === 1);
    const url = `http://127.0.0.1:${ports[0]}/.netlify/functions/orders`;
    await type(SHOP, `curl -s ${url}`, '{"error":"invalid_header","error_description":"The Authorization header is missing or empty"}');
    await type(SHOP, `curl -s -H "Authorization: Bearer $(luafn token --scope read:orders)" ${url}`, '["one","two"]');
    const reload = step('reload, until systemd is told that it is done');
    typed('/', `sed -i 's/"two"/"three"/' ${SITE}/scripts/orders.lua`);
    host.child.kill('SIGHUP');
    await until(() => signs('RELOADING=1') === 1 && signs('READY=1') === 2);
    reload.done();
    await type(SHOP, `curl -s -H "Authorization: Bearer $(luafn token --scope read:orders)" ${url}`, '["one","three"]');
    const stop = step('stop');
    host.child.kill('SIGTERM');
    if (await host.ended !== 0) fail('stop', host.said);
    if (signs('WATCHDOG=1') === 0) fail('signs of life', heard);
    stop.done();
  } finally {
    ear.stdin.end();
  }
}

await onTerminal('/root/luafn', 'make run', /listening on http/);
await onTerminal('/root/luafn', 'make install');
const ports = [String(await freePort()), String(await freePort()), String(await freePort())];
const here = (text) => text.replaceAll('localhost:8888', `127.0.0.1:${ports[0]}`).replaceAll('curl ', 'curl -s ');
let dir = '/root', dev;
try {
  for (const { kind, what, text, skip } of blocks('docs/first-steps.md')) {
    if (kind === 'dotenv') { // from here on the page speaks of another issuer
      await deploy(`http://127.0.0.1:${ports[0]}/`, ports.slice(1));
      dev.child.kill('SIGTERM');
      await dev.ended;
      fs.writeFileSync(path.join(root, SHOP, what), text);
    }
    if (kind !== 'console' || skip !== undefined) continue;
    for (const { command, said } of commands(text)) {
      if (command === 'luafn dev') dev = await start(command, dir, `luafn dev --listen 127.0.0.1:${ports[0]}`, (host) => /listening on/.test(host.said));
      else await type(dir, here(command), said, command);
      if (/\bcd shop$/.test(command)) dir = SHOP;
    }
  }
} finally {
  dev?.child.kill('SIGTERM');
}
const total = steps.reduce((sum, { seconds }) => sum + seconds, 0);
console.log(`${total.toFixed(1).padStart(7)} s  in all, ${steps.length} steps; no command was silent for longer than ${Math.max(...steps.map(({ quiet }) => quiet)).toFixed(1)} s`);
