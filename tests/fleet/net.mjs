// Machines of a fleet: network namespaces with an address each, and a bridge between them, at which the test itself,
// HAProxy, Redis and Sentinel are. tools/test.sh runs these files in namespaces of their own; where it may not make
// them they are skipped.
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { eventually, folder, launch } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { request } from '../lib/wire.mjs';

const HUB = '10.99.0.1';
const ip = (...args) => execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });

// Why the tests cannot be run here; false: they can.
export const SKIP = process.env.FLEET === '1' ? false : process.env.FLEET ?? 'make fleet runs these in namespaces of their own';

export function hub() {
  try { ip('link', 'del', 'br0'); } catch { /* no other file was here before */ }
  ip('link', 'set', 'lo', 'up');
  ip('link', 'add', 'br0', 'type', 'bridge');
  ip('addr', 'add', `${HUB}/24`, 'dev', 'br0');
  ip('link', 'set', 'br0', 'up');
}

// Passes connections on, from there to there, until it is closed.
const RELAY = `const [host, port, to] = process.argv.slice(1);
require('net').createServer((a) => {
  const b = require('net').connect(Number(port), to);
  for (const [x, y] of [[a, b], [b, a]]) { x.pipe(y); x.on('error', () => y.destroy()); x.on('close', () => y.destroy()); }
}).listen(Number(port), host, () => console.log('on'));`;

export class Machine {
  static async start(t, number) {
    const machine = new Machine();
    machine.t = t;
    machine.address = `10.99.0.${10 + number}`;
    machine.link = `v${number}`;
    const holder = spawn('unshare', ['-n', 'sh', '-c', 'echo up; exec sleep 100000'], { stdio: ['ignore', 'pipe', 'inherit'] });
    machine.pid = holder.pid;
    later(t, () => { holder.kill('SIGKILL'); });
    await new Promise((resolve) => holder.stdout.once('data', resolve));
    ip('link', 'add', machine.link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', String(holder.pid));
    later(t, () => ip('link', 'del', machine.link));
    ip('link', 'set', machine.link, 'master', 'br0');
    ip('link', 'set', machine.link, 'up');
    for (const args of [['link', 'set', 'lo', 'up'], ['addr', 'add', `${machine.address}/24`, 'dev', 'eth0'], ['link', 'set', 'eth0', 'up']]) {
      execFileSync('nsenter', [...machine.inside, 'ip', ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    }
    return machine;
  }

  get inside() { return ['-t', String(this.pid), '-n', '--']; }
  cut() { ip('link', 'set', this.link, 'down'); }
  mend() { ip('link', 'set', this.link, 'up'); }

  // A host of this machine. `late`: seconds by which its clock is behind.
  async serve(files, { late = 0, ...options } = {}) {
    const env = late === 0 ? {} : { LD_PRELOAD: FAKETIME, FAKETIME: `-${late}`, FAKETIME_DONT_FAKE_MONOTONIC: '1' };
    this.dir ??= folder(this.t, files);
    this.host = launch(this.dir, {
      listen: `${this.address}:8080`, workers: 2, ...options,
      under: ['nsenter', ...this.inside, 'env', ...Object.entries(env).map(([k, v]) => `${k}=${v}`)],
      args: ['--admin', `${this.address}:9000`, '--drain', '10s', ...options.args ?? []],
    });
    await this.host.listening;
    return this.host;
  }

  ready() {
    return request({ address: this.address, port: 9000 }, { path: '/_luafn/ready' }).then((res) => res.status === 200, () => false);
  }

  // Connections to that port of its own loopback come to the hub's.
  async relay(port) {
    const child = spawn('nsenter', [...this.inside, process.execPath, '-e', RELAY, '127.0.0.1', String(port), HUB], { stdio: ['ignore', 'pipe', 'inherit'] });
    later(this.t, () => { child.kill('SIGKILL'); });
    await new Promise((resolve) => child.stdout.once('data', resolve));
  }
}

export const FAKETIME = fs.readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/faketime/libfaketime.so.1`).find((file) => fs.existsSync(file));

// What listens on the hub's loopback is there for the machines, too, until `close` of what this returns is called.
export async function share(t, port) {
  const sockets = new Set();
  const server = net.createServer((a) => {
    const b = net.connect(port, '127.0.0.1');
    for (const [x, y] of [[a, b], [b, a]]) { sockets.add(x); x.pipe(y); x.on('error', () => y.destroy()); x.on('close', () => { sockets.delete(x); y.destroy(); }); }
  });
  await new Promise((resolve) => server.listen(port, HUB, resolve));
  const close = () => { server.close(); for (const socket of sockets) socket.destroy(); };
  later(t, close);
  return { close };
}

// HAProxy before the machines: who is not ready gets no new connections, and who cannot be reached is passed over.
export async function front(t, machines) {
  const dir = folder(t);
  const file = path.join(dir, 'haproxy.cfg');
  fs.writeFileSync(file, `defaults
  mode http
  timeout connect 300ms
  timeout client 30s
  timeout server 10s
  retries 4
  option redispatch 1
  retry-on conn-failure empty-response
frontend all
  bind ${HUB}:80
  default_backend hosts
backend hosts
  balance roundrobin
  option httpchk GET /_luafn/ready
${machines.map((m) => `  server ${m.link} ${m.address}:8080 check port 9000 inter 100ms fall 2 rise 1\n`).join('')}`);
  const child = spawn('haproxy', ['-db', '-f', file], { stdio: ['ignore', 'ignore', 'ignore'] });
  later(t, () => { child.kill('SIGKILL'); });
  const at = { address: HUB, port: 80 };
  await eventually(() => request(at, { path: '/' }).then((res) => res.status !== 503, () => false), 20, 'the front answers');
  return {
    at,
    call: (name, options = {}) => request(at, { ...options, path: `/.netlify/functions/${name}` }),
  };
}

export async function fleet(t, files, { count = 4, late = {}, relay, ...options } = {}) {
  const machines = [];
  for (let i = 1; i <= count; i++) machines.push(await Machine.start(t, i));
  if (relay) await Promise.all(machines.map((m) => m.relay(relay)));
  await Promise.all(machines.map((m, i) => m.serve(files, { ...options, late: late[i] })));
  later(t, () => Promise.all(machines.map((m) => m.host.stop())));
  for (const machine of machines) await eventually(() => machine.ready(), 20, 'it is ready');
  return machines;
}
