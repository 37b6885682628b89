// What a strict server makes of a stream of bytes (latin1 text), written from the grammar of RFC
// 9112, 9110 and 3986, and from nothing of the host. Where these leave a choice, the stricter reading
// is taken; each such place says so. Two choices are wider: a target may hold the printable
// characters that browsers leave as they are ("|", "[" ...), and obs-text is a value.
//
// expected(stream) lists what must come back, one item a request:
//   { ok: true, method, target, body, fields, close }   handed to the application
//   { ok: false, method, statuses }                      refused and closed; nothing comes behind it
//   { half: true }                                       the stream ends in the middle of it
const TCHAR = "[!#$%&'*+.^_`|~0-9A-Za-z-]";
const LINE = new RegExp(`(${TCHAR}+) ([!"$-~]+) (HTTP/([0-9]\\.[0-9]))\\r\\n`, 'y');
const FIELD = new RegExp(`(${TCHAR}+):[ \\t]*((?:[!-~\\x80-\\xff](?:[\\t -~\\x80-\\xff]*[!-~\\x80-\\xff])?)?)[ \\t]*\\r\\n`, 'y');
const QUOTED = '"(?:[\\t !#-[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
// Whitespace between the size and the first ";" is BWS, which nobody sends: refused.
const EXTENSION = `;[ \\t]*${TCHAR}+(?:[ \\t]*=[ \\t]*(?:${TCHAR}+|${QUOTED}))?`;
const CHUNK = new RegExp(`([0-9A-Fa-f]+)(?:${EXTENSION}(?:[ \\t]*${EXTENSION})*)?\\r\\n`, 'y');
// reg-name without sub-delims and percent-encoding: no name in the DNS has them.
const HOST = /^(?:[A-Za-z0-9._~-]+|\[(?=[0-9A-Fa-f:.]+\])[^\]]+\])(?::([0-9]*))?$/;
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const EMPTY_LINES = 2; // "at least one" is to be ignored
const DIGITS = 16; // of a chunk's size
const FIELDS = 100;

class Refused extends Error {
  constructor(...statuses) { super(`refused: ${statuses}`); this.statuses = statuses; }
}
class Half extends Error {}

function take(regex, text, at) {
  regex.lastIndex = at;
  return regex.exec(text);
}

// A line that matches nothing may still have been going to.
function refuseOrHalf(text, at, ...statuses) {
  if (text.indexOf('\n', at) < 0) throw new Half();
  throw new Refused(...statuses);
}

function hostIsValid(value) {
  const m = HOST.exec(value);
  if (!m || Number(m[1] || 0) > 65535) return false;
  return value[0] !== '[' || URL.canParse(`http://${value.slice(0, value.indexOf(']') + 1)}/`);
}

function readFields(text, from) {
  const fields = [];
  let at = from;
  while (!text.startsWith('\r\n', at)) {
    const m = take(FIELD, text, at);
    if (!m) refuseOrHalf(text, at, 400);
    fields.push([m[1].toLowerCase(), m[2]]);
    if (fields.length > FIELDS) throw new Refused(431);
    at += m[0].length;
  }
  return { fields, at: at + 2 };
}

const values = (fields, name) => fields.filter(([n]) => n === name).map(([, v]) => v);

// Both framings, and Transfer-Encoding in HTTP/1.0, may be read as something; refused here.
function framing(fields, minor, limit) {
  const lengths = values(fields, 'content-length');
  const codings = values(fields, 'transfer-encoding');
  if (codings.length > 0) {
    if (lengths.length > 0 || minor === '1.0') throw new Refused(400);
    if (codings.length > 1 || !/^chunked$/i.test(codings[0])) throw new Refused(400, 501);
    return { chunked: true };
  }
  if (lengths.length === 0) return { length: 0 };
  if (lengths.length > 1 || !/^(0|[1-9][0-9]*)$/.test(lengths[0])) throw new Refused(400);
  const length = BigInt(lengths[0]);
  if (length > 18446744073709551615n) throw new Refused(400, 413);
  if (length > BigInt(limit)) throw new Refused(413);
  return { length: Number(length) };
}

function checkHost(fields, minor, target) {
  const hosts = values(fields, 'host');
  if (hosts.length > 1 || (hosts.length === 0 && minor === '1.1')) throw new Refused(400);
  if (hosts.length === 1 && !hostIsValid(hosts[0])) throw new Refused(400);
  const absolute = /^https?:\/\/([^/?]*)/i.exec(target);
  if (!absolute) return;
  if (!hostIsValid(absolute[1])) throw new Refused(400);
  // RFC 9112 3.2.2 has the target win; two names for one request are refused.
  if (hosts.length === 1 && hosts[0].toLowerCase() !== absolute[1].toLowerCase()) throw new Refused(400);
}

function checkTarget(method, target) {
  if (target === '*' ? method !== 'OPTIONS' : !/^(\/|https?:\/\/)/i.test(target)) throw new Refused(400);
}

function checkExpect(fields, minor) {
  const wanted = values(fields, 'expect');
  if (wanted.length === 0 || minor === '1.0') return false;
  if (wanted.length > 1 || !/^100-continue$/i.test(wanted[0])) throw new Refused(417);
  return true;
}

function readChunks(text, from, limit) {
  let body = '';
  for (let at = from; ;) {
    const m = take(CHUNK, text, at);
    if (!m) refuseOrHalf(text, at, 400, 413);
    if (m[1].length > DIGITS) throw new Refused(400, 413);
    const size = Number(`0x${m[1]}`);
    if (body.length + size > limit) throw new Refused(413);
    at += m[0].length;
    if (size === 0) return { body, at: readFields(text, at).at };
    if (text.length < at + size + 2) {
      if (text.length > at + size && text[at + size] !== '\r') throw new Refused(400);
      throw new Half();
    }
    if (!text.startsWith('\r\n', at + size)) throw new Refused(400);
    body += text.slice(at, at + size);
    at += size + 2;
  }
}

function keepsAlive(fields, minor) {
  const options = values(fields, 'connection').flatMap((v) => v.toLowerCase().split(',').map((o) => o.replace(/^[ \t]+|[ \t]+$/g, '')));
  return !options.includes('close') && (minor === '1.1' || options.includes('keep-alive'));
}

function readLine(text, from) {
  const m = take(LINE, text, from);
  if (!m) refuseOrHalf(text, from, 400, 501, 505);
  const [line, method, target, , minor] = m;
  if (!['1.0', '1.1'].includes(minor)) throw new Refused(505, 501);
  if (!METHODS.includes(method)) throw new Refused(501);
  if (target.includes('#')) throw new Refused(400);
  return { method, target, minor, at: from + line.length };
}

function readOne(text, from, limit, seen) {
  const line = readLine(text, from);
  seen.method = line.method;
  const head = readFields(text, line.at);
  const frame = framing(head.fields, line.minor, limit);
  checkHost(head.fields, line.minor, line.target);
  checkTarget(line.method, line.target);
  const waits = checkExpect(head.fields, line.minor);
  let body = { body: text.slice(head.at, head.at + frame.length), at: head.at + frame.length };
  if (frame.chunked) body = readChunks(text, head.at, limit);
  if (body.at > text.length) throw new Half();
  return { ok: true, method: line.method, target: line.target, fields: head.fields, body: body.body, waits,
    close: !keepsAlive(head.fields, line.minor), at: body.at };
}

function skipEmptyLines(text, from) {
  let at = from;
  for (let n = 0; text.startsWith('\r\n', at); n++, at += 2) if (n === EMPTY_LINES) throw new Refused(400);
  return at;
}

export function expected(text, limit = 65536) {
  const list = [];
  for (let at = 0; at < text.length;) {
    const seen = {};
    try {
      at = skipEmptyLines(text, at);
      if (at === text.length) break;
      const one = readOne(text, at, limit, seen);
      list.push(one);
      at = one.at;
      if (one.close) break;
    } catch (e) {
      if (!(e instanceof Refused) && !(e instanceof Half)) throw e;
      list.push(e instanceof Half ? { half: true } : { ok: false, method: seen.method, statuses: e.statuses });
      break;
    }
  }
  return list;
}
