// A Redis server of its own on loopback for a test. Debian's redis-tools has the program under another
// name, which it goes by, without a service that would be started when it is installed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { folder, freePort } from './host.mjs';
import { later } from './later.mjs';

export class Redis {
  // `args`: more of its options, as on its command line.
  static async start(t, args = [], port) {
    const redis = new Redis();
    redis.t = t;
    redis.args = args;
    redis.port = port ?? await freePort();
    redis.dir = folder(t);
    await redis.begin();
    later(t, () => redis.stop());
    return redis;
  }

  async begin() {
    const { port, dir } = this;
    this.process = spawn('/usr/bin/redis-check-rdb', ['--port', port, '--bind', '127.0.0.1', '--dir', dir,
      '--save', '', ...this.args].map(String), { argv0: 'redis-server', stdio: ['ignore', 'pipe', 'inherit'] });
    this.exit = once(this.process, 'exit');
    this.log = '';
    for await (const line of createInterface(this.process.stdout)) {
      this.log += `${line}\n`;
      if (line.includes('Ready to accept connections')) break;
    }
    assert.match(this.log, /Ready to accept connections/);
    this.process.stdout.resume();
  }

  get url() { return `redis://127.0.0.1:${this.port}`; }

  async stop() {
    this.process.kill('SIGKILL');
    await this.exit;
  }

  // Runs one command by the client that comes with it.
  async ask(...args) {
    const child = spawn('redis-cli', ['-p', String(this.port), ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk) => { text += chunk; });
    await once(child, 'close');
    return text.trimEnd();
  }
}
