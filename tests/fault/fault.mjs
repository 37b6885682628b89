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

const WORD = { pid: 0, kinds: 1, countdown: 2, forever: 3, error: 4, trickle: 5, logFull: 6, struck: 7, seen: 8 };
export const KIND = { alloc: 1, read: 2, write: 4, accept: 8, epoll: 16, open: 32, connect: 64 };
export const ERRNO = os.constants.errno;

// Built by the Makefile from shim.c.
const SHIM = path.resolve(ROOT, process.env.FAULT_SHIM ?? `build/fault/shim${SANITIZED ? '-calls' : ''}.so`);

export class Faults {
  constructor(t) {
    this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'luafn-fault-'));
    this.file = path.join(this.dir, 'control');
    fs.writeFileSync(this.file, Buffer.alloc(4096));
    this.fd = fs.openSync(this.file, 'r+');
    this.pid = 0;
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
      buf.writeUInt32LE(value);
      fs.writeSync(this.fd, buf, 0, 4, WORD[word] * 4);
    }
  }

  // The n-th call of these kinds from now fails, and with `forever` all after it.
  arm({ kinds, n, forever = false, error = 0 }) {
    this.set({ kinds: 0, pid: this.pid, countdown: n, forever: forever ? 1 : 0, error, struck: 0, seen: 0 });
    this.set({ kinds });
  }

  disarm() { this.set({ kinds: 0 }); }
  get struck() { return this.#get('struck'); }
  get seen() { return this.#get('seen'); }
}

// What became of one request while a call failed: { res }, { closed: why } or { hung: true }.
// Whoever waits longer than `patience` gets the memory back and must then come to an end.
export async function attempt(faults, host, options, { patience = 1500 } = {}) {
  let wire;
  try {
    wire = await Wire.connect(host.address, host.port);
    wire.send(options.bytes ?? requestText({ host: `${host.address}:${host.port}`, ...options }));
    const read = (ms) => wire.response({ head: options.method === 'HEAD', ms });
    try {
      return { res: await read(patience) };
    } catch (e) {
      if (!/ within /.test(e.message)) throw e;
      faults.disarm();
      return { res: await read(4000), late: true };
    }
  } catch (e) {
    if (/closed before|ECONNRESET|EPIPE|hang up/.test(`${e.code} ${e.message}`)) return { closed: e.message };
    return { hung: true, why: e.message };
  } finally {
    faults.disarm();
    wire?.close();
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

export const descriptors = (pid) => fs.readdirSync(`/proc/${pid}/fd`).length;
