// A raw HTTP/1.1 client: bytes out, bytes in, nothing mended on the way.
import net from 'node:net';

const CRLF2 = Buffer.from('\r\n\r\n');

// Takes one answer off the front of `buf`: { response, rest }, or null when it is not all there.
// `ended` says that the peer has closed, which ends a body without a length.
export function parseResponse(buf, { head = false, ended = false } = {}) {
  const at = buf.indexOf(CRLF2);
  if (at < 0) return null;
  const lines = buf.subarray(0, at).toString('latin1').split('\r\n');
  const status = /^HTTP\/(1\.[01]) (\d{3}) (.*)$/.exec(lines[0]);
  if (!status) throw new Error(`not a status line: ${JSON.stringify(lines[0])}`);
  const headers = {}; // lower-case name -> list of values
  for (const line of lines.slice(1)) {
    const m = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    if (!m) throw new Error(`not a header line: ${JSON.stringify(line)}`);
    (headers[m[1].toLowerCase()] ??= []).push(m[2]);
  }
  const response = {
    version: status[1], status: Number(status[2]), reason: status[3], headers, lines,
    header: (name) => headers[name]?.[0],
  };
  const done = (body, end) => {
    response.body = body;
    Object.defineProperty(response, 'text', { get: () => body.toString('utf8') });
    response.json = () => JSON.parse(body.toString('utf8'));
    return { response, rest: buf.subarray(end) };
  };
  const start = at + 4;
  if (head || response.status < 200 || response.status === 204 || response.status === 304) {
    return done(Buffer.alloc(0), start);
  }
  if (/\bchunked\b/i.test(response.header('transfer-encoding') ?? '')) {
    const parts = [];
    for (let pos = start; ;) {
      const eol = buf.indexOf('\r\n', pos);
      if (eol < 0) return null;
      const size = parseInt(buf.subarray(pos, eol).toString('latin1'), 16);
      if (Number.isNaN(size)) throw new Error('bad chunk size');
      if (buf.length < eol + 2 + size + 2) return null;
      if (size === 0) return done(Buffer.concat(parts), eol + 4);
      parts.push(buf.subarray(eol + 2, eol + 2 + size));
      pos = eol + 2 + size + 2;
    }
  }
  const length = response.header('content-length');
  if (length === undefined) return ended ? done(buf.subarray(start), buf.length) : null;
  const end = start + Number(length);
  return buf.length < end ? null : done(buf.subarray(start, end), end);
}

// One connection. Answers are taken in order; each read has a deadline of its own.
export class Wire {
  // Without a port `address` is the file of a unix socket.
  static connect(address, port) {
    return new Promise((resolve, reject) => {
      const socket = net.connect(port === undefined ? { path: address } : { host: address, port, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.off('error', reject);
        resolve(new Wire(socket));
      });
    });
  }

  constructor(socket) {
    this.socket = socket;
    this.buf = Buffer.alloc(0);
    this.ended = false;
    this.error = null;
    this.wake = null;
    const wake = () => this.wake?.();
    socket.on('data', (d) => { this.buf = Buffer.concat([this.buf, d]); wake(); });
    socket.on('end', () => { this.ended = true; wake(); });
    socket.on('close', () => { this.ended = true; wake(); });
    socket.on('error', (e) => { this.error = e; this.ended = true; wake(); });
  }

  send(...parts) {
    for (const part of parts) {
      if (!this.socket.destroyed) this.socket.write(part);
    }
    return this;
  }

  half() { this.socket.end(); return this; }
  close() { this.socket.destroy(); }

  async #until(ready, ms, what) {
    const deadline = Date.now() + ms;
    for (;;) {
      const got = ready();
      if (got) return got;
      const left = deadline - Date.now();
      if (left <= 0) {
        throw new Error(`no ${what} within ${ms} ms; have ${JSON.stringify(this.buf.toString('latin1').slice(0, 300))}`);
      }
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  // The next answer; interim ones (1xx) are answers too.
  async response({ head = false, ms = 60000 } = {}) {
    const got = await this.#until(() => {
      const one = parseResponse(this.buf, { head, ended: this.ended });
      if (one) return one;
      if (this.ended) throw new Error(`closed before an answer (${this.error?.code ?? 'end'}); have ${JSON.stringify(this.buf.toString('latin1').slice(0, 300))}`);
      return null;
    }, ms, 'answer');
    this.buf = got.rest;
    return got.response;
  }

  // Waits for the peer to close and returns what was left unread.
  async closed(ms = 60000) {
    await this.#until(() => this.ended, ms, 'end of connection');
    return this.buf;
  }
}

// The text of a request. Headers: object (a list repeats the name) or list of [name, value].
export function requestText({ method = 'GET', path = '/', headers = {}, body, host = 'localhost', close = true } = {}) {
  const pairs = Array.isArray(headers)
    ? headers
    : Object.entries(headers).flatMap(([k, v]) => (Array.isArray(v) ? v.map((x) => [k, x]) : [[k, v]]));
  const has = (name) => pairs.some(([k]) => k.toLowerCase() === name);
  let text = `${method} ${path} HTTP/1.1\r\n`;
  if (!has('host')) text += `Host: ${host}\r\n`;
  for (const [k, v] of pairs) text += `${k}: ${v}\r\n`;
  const data = body === undefined ? null : Buffer.from(body);
  if (data && !has('content-length') && !has('transfer-encoding')) text += `Content-Length: ${data.length}\r\n`;
  if (close && !has('connection')) text += 'Connection: close\r\n';
  const head = Buffer.from(`${text}\r\n`, 'latin1');
  return data ? Buffer.concat([head, data]) : head;
}

// One request on a connection of its own.
export async function request(at, options = {}) {
  const wire = await Wire.connect(at.address, at.port);
  try {
    wire.send(requestText({ host: `${at.address}:${at.port}`, ...options }));
    return await wire.response({ head: options.method === 'HEAD', ms: options.ms ?? 60000 });
  } finally {
    wire.close();
  }
}
