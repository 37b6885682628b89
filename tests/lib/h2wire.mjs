// HTTP/2 by hand: frames as one likes them, right or wrong, and what came back.
import { Wire } from './wire.mjs';

export const TYPE = { DATA: 0, HEADERS: 1, PRIORITY: 2, RST_STREAM: 3, SETTINGS: 4, PUSH_PROMISE: 5, PING: 6, GOAWAY: 7, WINDOW_UPDATE: 8, CONTINUATION: 9 };
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 };
export const CODE = { NO_ERROR: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2, FLOW_CONTROL_ERROR: 3, STREAM_CLOSED: 5, FRAME_SIZE_ERROR: 6, REFUSED_STREAM: 7, CANCEL: 8, COMPRESSION_ERROR: 9, ENHANCE_YOUR_CALM: 11 };
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

// `payload` is bytes or latin1 text; `length` may lie.
export function frame(type, flags = 0, stream = 0, payload = '', length = undefined) {
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(payload, 'latin1');
  const head = Buffer.alloc(9);
  head.writeUIntBE(length ?? body.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream >>> 0, 5);
  return Buffer.concat([head, body]);
}

export const u32 = (...values) => Buffer.concat(values.map((v) => { const b = Buffer.alloc(4); b.writeUInt32BE(v >>> 0); return b; }));
// SETTINGS: [[identifier, value] ...]
export const settings = (...pairs) => frame(TYPE.SETTINGS, 0, 0, Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.of(id >> 8, id & 255), u32(value)]))));

function integer(value, prefix, first = 0) {
  const most = (1 << prefix) - 1;
  if (value < most) return Buffer.of(first | value);
  const out = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push((rest % 128) | 128);
  return Buffer.from([...out, rest]);
}
const string = (text) => { const b = Buffer.from(text, 'latin1'); return Buffer.concat([integer(b.length, 7), b]); };
// Literals without indexing, so that every field block stands alone. [[name, value] ...]
export const hpack = (fields) => Buffer.concat(fields.map(([n, v]) => Buffer.concat([Buffer.of(0), string(n), string(v)])));
// A literal that goes into the dynamic table, and a reference into it (62 is the newest).
export const indexed = (name, value) => Buffer.concat([Buffer.of(0x40), string(name), string(value)]);
export const reference = (index) => integer(index, 7, 0x80);

export const GET = (path, more = []) => [[':method', 'GET'], [':scheme', 'http'], [':authority', 'x'], [':path', path], ...more];
export const POST = (path, more = []) => [[':method', 'POST'], [':scheme', 'http'], [':authority', 'x'], [':path', path], ...more];

// HEADERS in one frame.
export const headers = (stream, fields, flags = FLAG.END_STREAM | FLAG.END_HEADERS) => frame(TYPE.HEADERS, flags, stream, Buffer.isBuffer(fields) ? fields : hpack(fields));
export const data = (stream, payload, flags = FLAG.END_STREAM) => frame(TYPE.DATA, flags, stream, payload);

const STATIC = { 8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500 };
// Huffman codes of digits: "0" to "2" have five bits, the others six (RFC 7541, appendix B).
function digits(bytes) {
  let bits = [...bytes].map((b) => b.toString(2).padStart(8, '0')).join('');
  let text = '';
  while (text.length < 3) {
    const five = parseInt(bits.slice(0, 5), 2);
    const is5 = five <= 2;
    text += is5 ? five : parseInt(bits.slice(0, 6), 2) - 22;
    bits = bits.slice(is5 ? 5 : 6);
  }
  return text;
}

// The status comes first in a field block; the server has it in its static table, or as a literal.
// NaN for one that it has put into its dynamic table before.
export function statusOf(block) {
  if (block[0] & 0x80) return STATIC[block[0] & 0x7f] ?? NaN;
  if (![0x48, 0x08, 0x18].includes(block[0])) return NaN;
  const length = block[1] & 0x7f;
  const value = block.subarray(2, 2 + length);
  return Number(block[1] & 0x80 ? digits(value) : value.toString('latin1'));
}

// A connection. Everything is taken apart as it comes: `frames`, { type, flags, stream, payload }.
export class H2Wire {
  static async connect(host, { preface = true, first = settings() } = {}) {
    const wire = await Wire.connect(host.address, host.port);
    if (preface) wire.send(PREFACE, first);
    return new H2Wire(wire);
  }

  constructor(wire) { this.wire = wire; this.frames = []; this.stopped = false; }

  send(...frames) { this.wire.send(...frames); return this; }
  close() { this.wire.close(); }

  #parse() {
    const { wire } = this;
    while (wire.buf.length >= 9) {
      const length = wire.buf.readUIntBE(0, 3);
      if (wire.buf.length < 9 + length) break;
      this.frames.push({ type: wire.buf[3], flags: wire.buf[4], stream: wire.buf.readUInt32BE(5) & 0x7fffffff, payload: wire.buf.subarray(9, 9 + length) });
      wire.buf = wire.buf.subarray(9 + length);
    }
  }

  // Waits for the first frame that `is`; undefined when the connection ends without it.
  async until(is, ms = 60000) {
    const deadline = Date.now() + ms;
    for (;;) {
      this.#parse();
      const found = this.frames.find(is);
      if (found || this.wire.ended) return found;
      if (Date.now() > deadline) throw new Error(`no such frame within ${ms} ms; have ${JSON.stringify(this.frames.slice(-20).map(({ type, stream }) => [type, stream]))}`);
      await new Promise((resolve) => { const timer = setTimeout(resolve, 50); this.wire.wake = () => { clearTimeout(timer); resolve(); }; });
    }
  }

  // How a stream ended: { status }, { reset: code }, or { gone: code } with its connection.
  async outcome(stream, ms) {
    const end = await this.until((f) => f.type === TYPE.GOAWAY || (f.stream === stream && (f.type === TYPE.RST_STREAM || (f.type === TYPE.HEADERS && statusOf(f.payload) !== 100))), ms);
    if (!end) return { gone: 'closed' };
    if (end.type === TYPE.GOAWAY) return { gone: end.payload.readUInt32BE(4) };
    if (end.type === TYPE.RST_STREAM) return { reset: end.payload.readUInt32BE(0) };
    return { status: statusOf(end.payload) };
  }

  // The code of the GOAWAY, or 'closed' where there was none; the connection must end.
  async farewell(ms = 60000) {
    const goaway = await this.until((f) => f.type === TYPE.GOAWAY, ms);
    await this.wire.closed(ms);
    return goaway ? goaway.payload.readUInt32BE(4) : 'closed';
  }
}
