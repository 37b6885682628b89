// The host under the library of shim.c: calls fail when the test says so.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { later } from '../lib/later.mjs';
import { BIN, ROOT } from '../lib/host.mjs';
import { Wire, requestText } from '../lib/wire.mjs';

// Long sweeps of every point (`make fault`), or a sample of them (`make check`).
export const LONG = process.env.FAULT_LONG === '1';
// A sanitizer brings its own malloc, which no library can stand before.
export const SANITIZED = fs.readFileSync(BIN, 'latin1').includes('__asan_init');

const WORD = { pid: 0, kinds: 1, countdown: 2, forever: 3, error: 4, trickle: 5, logFull: 6, struck: 7, seen: 8, clock: 9, boot: 10 };
export const KIND = { alloc: 1, read: 2, write: 4, accept: 8, epoll: 16, open: 32, connect: 64, socket: 128, map: 256, fork: 512 };
export const ERRNO = os.constants.errno;
const SIGABRT = os.constants.signals.SIGABRT;

// Built by the Makefile from shim.c.
const SHIM = path.resolve(ROOT, process.env.FAULT_SHIM ?? `build/fault/shim${SANITIZED ? '-calls' : ''}.so`);

export class Faults {
  constructor(t) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-fault-'));
    this.file = path.join(this.dir, 'control');
    fs.writeFileSync(this.file, Buffer.alloc(4096));
    this.fd = fs.openSync(this.file, 'r+');
    this.pid = 0;
    this.passed = 0;
    later(t, () => { fs.closeSync(this.fd); fs.rmSync(this.dir, { recursive: true }); });
  }

  get env() {
    const env = { LD_PRELOAD: SHIM, FAULT_FILE: this.file };
    // A sanitizer wants to be the first library; the shim hands its calls on to it.
    if (SANITIZED) env.ASAN_OPTIONS = `${process.env.ASAN_OPTIONS ?? ''}:verify_asan_link_order=0:allocator_may_return_null=1`;
    return env;
  }

  #get(word) {
    const buf = Buffer.alloc(4);
    fs.readSync(this.fd, buf, 0, 4, WORD[word] * 4);
    return buf.readUInt32LE();
  }

  set(words) {
    for (const [word, value] of Object.entries(words)) {
      const buf = Buffer.alloc(4);
      buf.writeUInt32LE(value >>> 0);
      fs.writeSync(this.fd, buf, 0, 4, WORD[word] * 4);
    }
  }

  // The n-th call of these kinds from now fails, and with `forever` all after it.
  arm({ kinds, n, forever = false, error = 0 }) {
    this.set({ kinds: 0, pid: this.pid, countdown: n, forever: forever ? 1 : 0, error, struck: 0, seen: 0 });
    this.set({ kinds });
  }

  // The stacks of processes that crashed since the last call, each { signal, frames }.
  crashes() {
    const file = `${this.file}.crash`;
    if (!fs.existsSync(file)) return [];
    const text = fs.readFileSync(file, 'latin1');
    fs.rmSync(file);
    return text.split(/^signal /m).slice(1).map((one) => {
      const [first, ...frames] = one.trimEnd().split('\n');
      return { signal: parseInt(first, 10), frames };
    });
  }

  // Time passes for what the host keeps or waits with; its timers do not notice.
  pass(seconds) {
    this.passed += seconds;
    this.set({ boot: this.passed });
  }

  disarm() { this.set({ kinds: 0 }); }
  get struck() { return this.#get('struck'); }
  get seen() { return this.#get('seen'); }
}

// Whose fault a crash is: "libuv: abort in uv_listen" for a library that gives up by itself,
// "libcurl: signal 11 in curl_multi_socket_action" for one that trips, else "luafn". The name is that
// of the library's function which the program called.
export function blame({ signal, frames }) {
  const object = (frame) => path.basename(frame ?? '').replace(/[.+].*/, '');
  const names = frames.map((frame) => frame.split(' ')[1]);
  const at = frames.findIndex((frame) => object(frame) !== 'libc');
  const library = object(frames[at]);
  if (at < 0 || !library.startsWith('lib')) return 'luafn';
  if (signal === SIGABRT && names[at - 1] !== 'abort') return 'luafn'; // an assertion: called wrongly
  let end = at;
  while (object(frames[end + 1]) === library) end += 1;
  return `${library}: ${signal === SIGABRT ? 'abort' : `signal ${signal}`} in ${names[end]}`;
}

// One request on a connection of its own: { res }, { closed: why } or { hung: true, why }. One that takes
// longer than `patience` calls `relief`, again and again until that says that there is some, and must then
// come to an end.
export async function ask(host, options, patience, relief) {
  let wire;
  try {
    wire = await Wire.connect(host.address, host.port);
    const headers = typeof options.headers === 'function' ? options.headers() : options.headers;
    wire.send(options.bytes ?? requestText({ host: `${host.address}:${host.port}`, ...options, headers }));
    const read = (ms) => wire.response({ head: options.method === 'HEAD', ms });
    for (let waited = 0; waited < 60000; waited += patience) {
      try {
        return { res: await read(patience) };
      } catch (e) {
        if (!/ within /.test(e.message)) throw e;
      }
      if (relief()) break;
    }
    return { res: await read(60000), late: true };
  } catch (e) {
    if (/closed before|ECONNRESET|EPIPE|hang up/.test(`${e.code} ${e.message}`)) return { closed: e.message };
    return { hung: true, why: e.message };
  } finally {
    wire?.close();
  }
}

// What became of one request while a call failed; the fault ends with it. What takes long before anything has
// failed does so for the machine.
export async function attempt(faults, host, options, { patience = 1500 } = {}) {
  const relief = () => {
    if (faults.struck > 0) faults.disarm();
    return faults.struck > 0;
  };
  try {
    return await ask(host, options, patience, relief);
  } finally {
    faults.disarm();
  }
}

// Is this an answer in the host's frame for errors?
export function isFrame(res) {
  if (res.status < 400 || res.status > 599) return false;
  if (!/^application\/json/.test(res.header('content-type') ?? '')) return false;
  try {
    const body = res.json();
    return typeof (body.error ?? body.errorType ?? body.error_description) === 'string';
  } catch {
    return false;
  }
}

// Seconds of processor that a process has used.
export function processor(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
  const [, user, system] = /\) \S(?: \S+){10} (\d+) (\d+)/.exec(stat);
  return (Number(user) + Number(system)) / 100;
}

export const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
// What its next descriptor will be.
export function lowestFree(pid) {
  const open = new Set(fs.readdirSync(`/proc/${pid}/fd`).map(Number));
  let fd = 0;
  while (open.has(fd)) fd += 1;
  return fd;
}
