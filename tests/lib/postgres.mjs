// A PostgreSQL server of the test's own; where it is not installed, the test is skipped.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { eventually, freePort } from './host.mjs';
import { later } from './later.mjs';

const HOMES = '/usr/lib/postgresql';
const home = fs.existsSync(HOMES) ? fs.readdirSync(HOMES).map((v) => path.join(HOMES, v, 'bin')).find((b) => fs.existsSync(path.join(b, 'initdb'))) : undefined;
export const MISSING = home ? false : 'PostgreSQL is not installed';

// The server refuses to run as root.
function user() {
  if (process.getuid() !== 0) return {};
  const [, , uid, gid] = fs.readFileSync('/etc/passwd', 'utf8').split('\n').find((l) => l.startsWith('nobody:')).split(':').map((n, i) => (i > 1 ? Number(n) : n));
  return { uid, gid };
}

export class Postgres {
  static async start(t, { connections = 50 } = {}) {
    const server = new Postgres();
    server.connections = connections;
    server.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-pg-'));
    server.port = await freePort();
    const as = user();
    if (as.uid) fs.chownSync(server.dir, as.uid, as.gid);
    server.as = { ...as, cwd: server.dir, env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8', TZ: 'UTC' } };
    execFileSync(path.join(home, 'initdb'), ['-D', path.join(server.dir, 'data'), '-U', 'luafn', '-A', 'trust', '-E', 'UTF8', '--no-sync', '--no-instructions'], { ...server.as, stdio: 'pipe' });
    later(t, () => {
      fs.rmSync(server.dir, { recursive: true, force: true });
    });
    await server.run();
    later(t, () => server.stop());
    return server;
  }

  async run() {
    this.child = spawn(path.join(home, 'postgres'), ['-D', path.join(this.dir, 'data'), '-p', String(this.port), '-c', 'listen_addresses=127.0.0.1', '-c', `unix_socket_directories=${this.dir}`,
      '-c', 'fsync=off', '-c', `max_connections=${this.connections}`, '-c', 'log_statement=none'], { ...this.as, stdio: ['ignore', 'pipe', 'pipe'] });
    this.log = '';
    this.child.stderr.on('data', (d) => { this.log += d; });
    this.exit = new Promise((resolve) => { this.child.on('close', resolve); });
    await eventually(() => /ready to accept connections/.test(this.log), 20, 'PostgreSQL');
  }

  // At once: its connections break.
  async stop(signal = 'SIGQUIT') {
    this.child.kill(signal);
    await this.exit;
  }

  url(more = '') { return `postgres://luafn@127.0.0.1:${this.port}/postgres${more}`; }
  psql(text) { return execFileSync(path.join(home, 'psql'), ['-h', this.dir, '-p', String(this.port), '-U', 'luafn', '-d', 'postgres', '-Atc', text], { ...this.as, encoding: 'utf8' }).trim(); }
}
