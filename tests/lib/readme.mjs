// The README's first steps, done to the letter: its files are written, its commands run, and what it
// says that they print is what they print.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { freePort, ROOT, SLOW } from './host.mjs';

const README = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
const USUAL = '8888'; // the port that the README speaks of; here it may be taken

// docs/first-steps.md, typed from its first line to its last in an empty folder: each command says what the
// page says. `luafn dev` runs beside the others.
export async function tenMinutes(dir, bin) {
  const page = fs.readFileSync(path.join(ROOT, 'docs/first-steps.md'), 'utf8');
  const port = String(await freePort());
  const env = { PATH: `${path.join(dir, 'bin')}:${process.env.PATH}`, HOME: dir, TMPDIR: dir, LANG: 'C.UTF-8' };
  fs.mkdirSync(path.join(dir, 'bin'));
  fs.symlinkSync(bin, path.join(dir, 'bin/luafn'));
  const ask = (command) => spawnSync('bash', ['-c', command], { cwd: path.join(dir, fs.existsSync(path.join(dir, 'shop')) ? 'shop' : ''), env, encoding: 'utf8' });
  let host;
  try {
    for (const [, text] of page.matchAll(/^```console\n(.*?)^```$/gms)) {
      for (const { command, said } of commands(text)) {
        if (command === 'luafn dev') {
          host = spawn(path.join(dir, 'bin/luafn'), ['dev', '--listen', `127.0.0.1:${port}`], { cwd: path.join(dir, 'shop'), env, stdio: ['ignore', 'ignore', 'pipe'] });
          await new Promise((resolve, reject) => {
            let stderr = '';
            host.stderr.on('data', (d) => { stderr += d; if (/listening on/.test(stderr)) resolve(); });
            host.on('exit', () => reject(new Error(`ended: ${stderr}`)));
          });
          continue;
        }
        const typed = command.replaceAll(`localhost:${USUAL}`, `127.0.0.1:${port}`).replaceAll('/tmp/', `${dir}/`).replaceAll('curl ', 'curl -s ');
        // What was saved counts within a second: until then the answer is the one before.
        for (let turns = 0; ; turns++) {
          const { stdout, stderr } = ask(typed);
          if ((stdout + stderr).trimEnd() === said) break;
          assert.ok(typed.startsWith('curl') && turns < 600, `${command}:\n${stdout}${stderr}`);
          await new Promise((resolve) => { setTimeout(resolve, 50); });
        }
      }
    }
  } finally {
    host?.kill('SIGTERM');
    if (host && host.exitCode === null && host.signalCode === null) await new Promise((resolve) => { host.on('exit', resolve); });
  }
}

// The blocks of a section, in order: [{ kind: 'lua', text }].
function blocks(heading) {
  const section = README.split(`\n## ${heading}\n`)[1].split('\n## ')[0];
  return [...section.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind, text }));
}

const of = (heading, kind) => blocks(heading).filter((b) => b.kind === kind).map((b) => b.text);

// "$ command" lines, each with the lines that it prints.
function commands(text) {
  return text.split(/^\$ /m).slice(1).map((one) => {
    const [command, ...said] = one.trimEnd().split('\n');
    return { command, said: said.join('\n') };
  });
}

// In that folder, a clone with the program built. `serve`: the command that starts it.
export async function firstSteps(dir, serve) {
  const [script, line] = of('A function of your own', 'lua');
  const [open] = of('A function of your own', 'console');
  const [protectedLine] = of('Protecting it', 'lua');
  const [closed] = of('Protecting it', 'console');
  const file = path.join(dir, 'functions.lua');
  const before = fs.readFileSync(file, 'utf8');
  const among = (text) => fs.writeFileSync(file, before.replace(/^ {2}functions = \{\n/m, `$&    ${text}`));
  const port = String(await freePort());
  const steps = [];

  fs.writeFileSync(path.join(dir, 'scripts/hello.lua'), script);
  among(line);
  const host = spawn(`${serve} --listen localhost:${port}`, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'], shell: true, detached: true });
  try {
    let stderr = '';
    await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`does not listen: ${stderr}`)), 120000 * SLOW);
      host.stderr.on('data', (d) => {
        stderr += d;
        if (/listening on/.test(stderr)) { clearTimeout(timer); resolve(); }
      });
      host.on('exit', () => reject(new Error(`ended: ${stderr}`)));
    });
    const run = ({ command, said }) => {
      const { stdout } = spawnSync('bash', ['-c', command.replaceAll(USUAL, port).replaceAll('curl ', 'curl -s ')], { cwd: dir, encoding: 'utf8' });
      assert.equal(stdout.trimEnd(), said, command);
      steps.push(command);
    };
    commands(open).forEach(run);
    among(protectedLine);
    for (let end = Date.now() + 5000 * SLOW; ; ) { // saved files count within a second
      const { stdout } = spawnSync('curl', ['-s', '-o', '/dev/null', '-w', '%{http_code}', `localhost:${port}/api/hello/Ada`], { encoding: 'utf8' });
      if (stdout === '401') break;
      assert.ok(Date.now() < end, `the protected function answers ${stdout}`);
    }
    commands(closed).forEach(run);
  } finally {
    process.kill(-host.pid, 'SIGTERM');
  }
  await new Promise((resolve) => (host.exitCode !== null || host.signalCode !== null ? resolve() : host.on('exit', resolve)));
  return steps;
}
