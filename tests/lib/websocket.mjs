// WebSocket clients: Node's own, which is a browser's, and one of bytes over a raw connection.
import crypto from 'node:crypto';
import { requestText, Wire } from './wire.mjs';

export const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
export const OFFER = { Upgrade: 'websocket', Connection: 'keep-alive, Upgrade', 'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13' };

// A frame of a client.
export function frame(opcode, payload = '', { fin = true, mask = crypto.randomBytes(4) } = {}) {
  const data = Buffer.from(payload);
  const head = [(fin ? 0x80 : 0) | opcode];
  if (data.length < 126) head.push(0x80 | data.length);
  else if (data.length < 65536) head.push(0xfe, data.length >> 8, data.length & 255);
  else head.push(0xff, 0, 0, 0, 0, ...[24, 16, 8, 0].map((n) => (data.length >>> n) & 255));
  return Buffer.concat([Buffer.from(head), mask, data.map((b, i) => b ^ mask[i & 3])]);
}
export const text = (s) => frame(1, s);
export const closing = (code, reason = '') => frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));

// Takes a server's frame off the front: { opcode, payload, code, rest }, or null.
export function parseFrame(buf) {
  if (buf.length < 2) return null;
  let [size, at] = [buf[1], 2];
  if (size > 127) throw new Error('a server masks nothing');
  if (size === 126) {
    if (buf.length < 4) return null;
    [size, at] = [buf.readUInt16BE(2), 4];
  } else if (size === 127) {
    if (buf.length < 10) return null;
    [size, at] = [Number(buf.readBigUInt64BE(2)), 10];
  }
  if (buf.length < at + size) return null;
  const payload = buf.subarray(at, at + size);
  const opcode = buf[0] & 15;
  return { opcode, fin: buf[0] >> 7, payload, text: payload.toString(), code: opcode === 8 && size >= 2 ? payload.readUInt16BE(0) : undefined, rest: buf.subarray(at + size) };
}

// A connection of bytes. `early`: sent together with the handshake.
export class RawSocket {
  static async open(at, path, { headers = {}, early = Buffer.alloc(0) } = {}) {
    const wire = await Wire.connect(at.address, at.port);
    wire.send(Buffer.concat([requestText({ path, headers: { ...OFFER, ...headers }, close: false }), early]));
    const raw = new RawSocket(wire);
    raw.response = await wire.response();
    return raw;
  }

  constructor(wire) { this.wire = wire; }
  send(...frames) { this.wire.send(...frames); return this; }

  // The next frame; null when the connection has ended before.
  async next() {
    for (;;) {
      const got = parseFrame(this.wire.buf);
      if (got) {
        this.wire.buf = got.rest;
        return got;
      }
      if (this.wire.ended) return null;
      await new Promise((resolve) => { this.wire.wake = resolve; });
    }
  }

  close() { this.wire.close(); }
}

// A browser's: await next() for messages; `closed` is settled with { code, reason, clean }.
export async function open(url, protocols = [], options = {}) {
  const socket = new WebSocket(url.replace(/^http/, 'ws'), { protocols, ...options });
  socket.binaryType = 'arraybuffer';
  const [messages, waiting] = [[], []];
  const give = (m) => (waiting.length > 0 ? waiting.shift()(m) : messages.push(m));
  socket.onmessage = ({ data }) => give(typeof data === 'string' ? data : Buffer.from(data));
  const closed = new Promise((resolve) => {
    socket.onclose = ({ code, reason, wasClean }) => {
      resolve({ code, reason, clean: wasClean });
      give(null);
    };
  });
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error('no WebSocket'));
  });
  socket.onerror = null;
  return { socket, closed, next: () => (messages.length > 0 ? messages.shift() : new Promise((resolve) => { waiting.push(resolve); })) };
}
