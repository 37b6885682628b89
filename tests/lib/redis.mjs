// A Redis server of its own on loopback for a test. Debian's redis-tools has the program under another
// name, which it goes by, without a service that would be started when it is installed.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { folder, freePort } from './host.mjs';
import { later } from './later.mjs';

async function ask(port, options, ...args) {
  const child = spawn('redis-cli', ['-p', String(port), ...options, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => { text += chunk; });
  await once(child, 'close');
  return text.trimEnd();
}

export class Redis {
  // `args`: more of its options, as on its command line. `tls`: of certificate(), for a server that speaks TLS alone.
  static async start(t, args = [], port, tls) {
    const redis = new Redis();
    redis.t = t;
    redis.port = port ?? await freePort();
    redis.tls = tls;
    redis.args = tls === undefined ? ['--port', redis.port, ...args]
      : ['--port', 0, '--tls-port', redis.port, '--tls-cert-file', tls.cert, '--tls-key-file', tls.key,
        '--tls-ca-cert-file', tls.by ?? tls.cert, '--tls-auth-clients', 'no', ...args];
    redis.dir = folder(t);
    await redis.begin();
    later(t, () => redis.stop());
    return redis;
  }

  async begin() {
    const { dir } = this;
    this.process = spawn('/usr/bin/redis-check-rdb', ['--bind', '127.0.0.1', '--dir', dir,
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

  get url() { return `redis${this.tls ? 's' : ''}://127.0.0.1:${this.port}`; }

  async stop() {
    this.process.kill('SIGKILL');
    await this.exit;
  }

  // Runs one command by the client that comes with it.
  async ask(...args) {
    return ask(this.port, this.tls ? ['--tls', '--insecure'] : [], ...args);
  }
}

// A Sentinel of its own that watches `primary`, a Redis, under the name `shop`.
export class Sentinel {
  static async start(t, primary, { quorum = 1, config = [], address = '127.0.0.1' } = {}) {
    const sentinel = new Sentinel();
    sentinel.port = await freePort();
    const file = path.join(folder(t), 'sentinel.conf');
    fs.writeFileSync(file, [...config.some((line) => line.startsWith('tls-port')) ? [] : [`port ${sentinel.port}`], `bind 127.0.0.1${address === '127.0.0.1' ? '' : ` ${address}`}`, 'protected-mode no', `sentinel monitor shop ${address} ${primary.port} ${quorum}`,
      'sentinel down-after-milliseconds shop 600', 'sentinel failover-timeout shop 3000', ...config].map((line) => `${line.replace('PORT', sentinel.port)}\n`).join(''));
    sentinel.process = spawn('/usr/bin/redis-check-rdb', [file, '--sentinel'], { argv0: 'redis-sentinel', stdio: ['ignore', 'pipe', 'inherit'] });
    sentinel.exit = once(sentinel.process, 'exit');
    for await (const line of createInterface(sentinel.process.stdout)) if (line.includes('+monitor')) break;
    sentinel.process.stdout.resume();
    later(t, () => sentinel.stop());
    // What it does once in ten seconds else, so that a test need not wait for it.
    if (config.length === 0)
      await sentinel.ask('sentinel', 'debug', 'info-period', '200');
    return sentinel;
  }

  async stop() {
    this.process.kill('SIGKILL');
    await this.exit;
  }

  ask(...args) { return ask(this.port, [], ...args); }

  // The port of the primary, as it sees it.
  async primary() {
    const [, port] = (await this.ask('sentinel', 'get-master-addr-by-name', 'shop')).split('\n');
    return Number(port);
  }

  async replicas() {
    return (await this.ask('sentinel', 'replicas', 'shop')).split('\n').filter((line) => line === 'flags').length;
  }
}
