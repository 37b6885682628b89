// Requests made by rule, not by hand: every byte at every position of the grammar, and every pair of
// spellings of what frames a body. tests/lib/http-oracle.mjs says what each must lead to.
export const SHOW = '/.netlify/functions/show';

const BYTES = Array.from({ length: 256 }, (_, b) => String.fromCharCode(b));
const GET = (fields = '') => `GET ${SHOW}?a=b HTTP/1.1\r\nHost: x.example\r\n${fields}\r\n`;
const POST = (fields, body) => `POST ${SHOW} HTTP/1.1\r\nHost: x.example\r\nContent-Type: text/plain\r\n${fields}\r\n${body}`;
const CHUNKED = (body) => POST('Transfer-Encoding: chunked\r\n', body);

// "~" marks where a byte is put in; "^X" where X is replaced by it.
const INSERTED = {
  'before the request': '~' + GET(),
  'behind an empty line': '\r\n~' + GET(),
  'method': [...'GET'].map((_, i) => `${'GET'.slice(0, i)}~${'GET'.slice(i)} ${SHOW} HTTP/1.1\r\nHost: x\r\n\r\n`),
  'behind the method': `GET~ ${SHOW} HTTP/1.1\r\nHost: x\r\n\r\n`,
  'target': [`GET ~${SHOW} HTTP/1.1\r\nHost: x\r\n\r\n`, `GET ${SHOW}/~x HTTP/1.1\r\nHost: x\r\n\r\n`, `GET ${SHOW}~ HTTP/1.1\r\nHost: x\r\n\r\n`, `GET ${SHOW}?a~b HTTP/1.1\r\nHost: x\r\n\r\n`, `GET ${SHOW}?a=%2~0 HTTP/1.1\r\nHost: x\r\n\r\n`],
  'authority of the target': ['http://~x', 'http://x~', 'http://x:~80', 'http:/~/x', '~http://x'].map((a) => `GET ${a}${SHOW} HTTP/1.1\r\nHost: x\r\n\r\n`),
  'version': [...'HTTP/1.1'].map((_, i) => `GET ${SHOW} ${'HTTP/1.1'.slice(0, i)}~${'HTTP/1.1'.slice(i)}\r\nHost: x\r\n\r\n`),
  'behind the version': `GET ${SHOW} HTTP/1.1~\r\nHost: x\r\n\r\n`,
  'field name': GET('~X-Name: v\r\n') + '', 'in a field name': GET('X-~Name: v\r\n'), 'before the colon': GET('X-Name~: v\r\n'),
  'field value': [GET('X-Name:~v\r\n'), GET('X-Name: ~v\r\n'), GET('X-Name: v~w\r\n'), GET('X-Name: v~\r\n')],
  'around CR LF': [GET('X: y~\r\nZ: 1\r\n'), GET('X: y\r~\nZ: 1\r\n'), GET('X: y\r\n~Z: 1\r\n'), GET('X: y\r\n~'), GET('X: y\r\n').slice(0, -2) + '\r~\n'],
  'Host': ['~x', 'x~', 'x~y', 'x:~80', 'x:8~0', 'x:80~', '[~::1]', '[::~1]', '[::1~]', '[::1]~'].map((h) => `GET ${SHOW} HTTP/1.1\r\nHost: ${h}\r\n\r\n`),
  'name of Host': ['~Host', 'Ho~st', 'Host~'].map((h) => `GET ${SHOW} HTTP/1.1\r\n${h}: x\r\n\r\n`),
  'Content-Length': ['~5', ' ~5', '5~', ' 1~0', ' 5 ~'].map((v) => POST(`Content-Length:${v}\r\n`, 'abcdefghij')),
  'name of Content-Length': ['~Content-Length', 'Content~Length', 'Content-Length~'].map((n) => POST(`${n}: 5\r\n`, 'abcde')),
  'Transfer-Encoding': ['~chunked', ' ~chunked', ' chun~ked', ' chunked~', ' chunked ~'].map((v) => POST(`Transfer-Encoding:${v}\r\n`, '3\r\nabc\r\n0\r\n\r\n')),
  'name of Transfer-Encoding': ['~Transfer-Encoding', 'Transfer~Encoding', 'Transfer-Encoding~'].map((n) => POST(`${n}: chunked\r\n`, '3\r\nabc\r\n0\r\n\r\n')),
  'Expect': ['~100-continue', '100~continue', '100-continue~'].map((v) => POST(`Expect: ${v}\r\nContent-Length: 5\r\n`, 'abcde')),
  'Connection': ['~close', 'cl~ose', 'close~', 'keep-alive,~close'].map((v) => GET(`Connection: ${v}\r\n`)),
  'chunk size': ['~3', '3~'].map((s) => CHUNKED(`${s}\r\nabc\r\n0\r\n\r\n`)),
  'chunk extension': ['3~;a=b', '3;~a=b', '3;a~=b', '3;a=~b', '3;a=b~', '3;a="~"', '3;a="\\~"', '3;a="b"~', '3;a=b;~c', '3;a ~', '3;a= ~'].map((s) => CHUNKED(`${s}\r\nabc\r\n0\r\n\r\n`)),
  'end of a chunk line': ['3~\r\nabc', '3\r~\nabc', '3;a\r~\nabc'].map((s) => CHUNKED(`${s}\r\n0\r\n\r\n`)),
  'chunk data': ['3\r\n~abc\r\n', '3\r\nabc~\r\n', '3\r\nabc\r~\n', '3\r\nabc\r\n~'].map((s) => CHUNKED(`${s}0\r\n\r\n`)),
  'last chunk': ['~0\r\n\r\n', '0~\r\n\r\n', '0\r~\n\r\n', '0\r\n~\r\n', '0\r\n\r~\n'].map((s) => CHUNKED(`3\r\nabc\r\n${s}`)),
  'trailer': ['~X: y', 'X~: y', 'X:~y', 'X: y~z', 'X: y~', 'X: y\r~'].map((s) => CHUNKED(`3\r\nabc\r\n0\r\n${s}${s.includes('\r') ? '' : '\r'}\n\r\n`)),
};

// Each byte of a whole request is replaced by these, which mean something to one parser or another.
const REPLACING = ['\r', '\n', '\0', ' ', '\t', ':', ';', ',', '\x0b', '\x7f', '\x80', '\xa0', '0'];
const WHOLE = [
  `POST ${SHOW} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nabcde`,
  `POST ${SHOW} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3;a="b"\r\nabc\r\n0\r\nT: u\r\n\r\n`,
];

// These at every position; of the others one in seven, another one at each position, unless all are
// wanted.
const TELLING = '\0\x01\t\n\x0b\x0c\r !"#%,-/05:;=?@A[\\a{\x7f\x80\xa0\xff';

export function* everyByte(all) {
  let position = 0;
  for (const [where, texts] of Object.entries(INSERTED)) {
    for (const text of [texts].flat()) {
      const at = text.indexOf('~');
      position += 1;
      const bytes = all ? BYTES : BYTES.filter((b, i) => TELLING.includes(b) || i % 7 === position % 7);
      for (const b of bytes) yield [`${where}, ${JSON.stringify(b)} at ${at}`, text.slice(0, at) + b + text.slice(at + 1)];
    }
  }
}

export function* everyPlace() {
  for (const text of WHOLE) {
    for (let at = 0; at < text.length; at++) {
      yield [`without the byte at ${at}`, text.slice(0, at) + text.slice(at + 1)];
      yield [`the byte at ${at} twice`, text.slice(0, at + 1) + text.slice(at)];
      for (const b of REPLACING) yield [`${JSON.stringify(b)} for the byte at ${at}`, text.slice(0, at) + b + text.slice(at + 1)];
    }
  }
}

// ---- framing: spellings of the two fields, alone, in pairs, in both orders, in both versions ----
const LENGTHS = ['5', '0', '05', '+5', '-5', '5 ', ' 5', '5,5', '5, 5', '5,6', '0x5', '5.0', '5e0', '', ' ', '18446744073709551616', '18446744073709551621', '99999', '٥', '5\x0b', '\x0b5', '5;', '"5"', '5 5', '1_0'];
const CODINGS = ['chunked', 'Chunked', 'CHUNKED', ' chunked', 'chunked ', '\tchunked', '\x0bchunked', 'chunked\x0c', 'xchunked', 'chunkedx', 'chunked;', 'chunked;q=1', 'chunked, chunked', 'chunked,', ',chunked', 'identity', 'identity, chunked', 'chunked, identity',
  'gzip, chunked', 'chunked, gzip', '', '"chunked"', "'chunked'", 'chun\tked', 'chunked\0', '\xffchunked', 'ch\xfcnked', 'none', 'cow', 'deflate', 'trailers', '[chunked]', 'chunked\r', '\nchunked'];
const NAMES_LENGTH = ['Content-Length', 'content-length', 'CONTENT-LENGTH', 'Content_Length', 'Content-Length ', ' Content-Length', 'Content Length', 'Content-Length\0', '\0Content-Length', 'X-Content-Length', 'Content-Length-X', 'Content-Length\t', '\rContent-Length', 'X: y\rContent-Length', 'X: y\nContent-Length', 'Content-\xccength'];
const NAMES_CODING = ['Transfer-Encoding', 'transfer-encoding', 'TRANSFER-ENCODING', 'Transfer_Encoding', 'Transfer-Encoding ', ' Transfer-Encoding', 'Transfer Encoding', 'Transfer-Encoding\0', '\0Transfer-Encoding', 'X-Transfer-Encoding', 'Transfer-Encodings', 'Transfer-Encoding\t', '\rTransfer-Encoding', 'X: y\rTransfer-Encoding', 'X: y\nTransfer-Encoding', 'Transfer-\x45ncoding\x01'];
const BODIES = ['abcde', '0\r\n\r\n', '3\r\nabc\r\n0\r\n\r\n', `5\r\nGPOST\r\n0\r\n\r\n`, ''];
const FOLDS = (name, value) => [`${name}:\r\n ${value}\r\n`, `${name}: ${value}\r\n \r\n`, `${name}: \r\n\t${value}\r\n`, `X: y\r\n ${name}: ${value}\r\n`, ` ${name}: ${value}\r\n`];

function* framings() {
  const length = LENGTHS.map((v) => `Content-Length: ${v}\r\n`).concat(NAMES_LENGTH.map((n) => `${n}: 5\r\n`), FOLDS('Content-Length', '5'));
  const coding = CODINGS.map((v) => `Transfer-Encoding: ${v}\r\n`).concat(NAMES_CODING.map((n) => `${n}: chunked\r\n`), FOLDS('Transfer-Encoding', 'chunked'));
  for (const a of [...length, ...coding]) yield a;
  for (const a of length) {
    for (const b of ['Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n', 'Content-Length: 5\r\n', 'Content-Length: 6\r\n']) { yield a + b; yield b + a; }
  }
  for (const a of coding) {
    for (const b of ['Content-Length: 5\r\n', 'Content-Length: 0\r\n', 'Transfer-Encoding: chunked\r\n', 'Transfer-Encoding: identity\r\n', 'Connection: Transfer-Encoding\r\n']) { yield a + b; yield b + a; }
  }
}

export function* everyFraming(all) {
  let nth = 0;
  for (const fields of framings()) {
    nth += 1;
    for (const body of all ? BODIES : BODIES.slice(nth % 5, (nth % 5) + 2)) yield [`${JSON.stringify(fields)} ${JSON.stringify(body)}`, POST(fields, body)];
    const old = POST(fields, '3\r\nabc\r\n0\r\n\r\n').replace('HTTP/1.1', 'HTTP/1.0');
    yield [`HTTP/1.0 ${JSON.stringify(fields)}`, old];
    yield [`HTTP/1.0, kept alive, ${JSON.stringify(fields)}`, old.replace('\r\n\r\n', '\r\nConnection: keep-alive\r\n\r\n')];
    for (const method of all ? ['GET', 'HEAD', 'OPTIONS', 'DELETE'] : ['GET']) yield [`${method} ${JSON.stringify(fields)}`, POST(fields, '3\r\nabc\r\n0\r\n\r\n').replace('POST', method)];
  }
}

// ---- the rest of the head in combinations ----
const HOSTS = ['', 'Host: x\r\n', 'Host:\r\n', 'Host: y\r\n', 'host: x\r\n', 'Host: x\r\nHost: x\r\n', 'Host: x\r\nHOST: y\r\n', 'Host : x\r\n', ' Host: x\r\n', 'Host: x, x\r\n', 'Host: u@x\r\n', 'Host: x/\r\n', 'Host: x:80\r\n', 'Host: x:\r\n', 'Host: [::1]\r\n', 'Host: [::ffff:1.2.3.4]:8\r\n', 'Host: [::1%25eth0]\r\n', 'Host: [v1.x]\r\n', 'X: y\r\n Host: x\r\n'];
const TARGETS = [SHOW, `${SHOW}?`, `${SHOW}?a#b`, `http://x${SHOW}`, `http://X${SHOW}`, `http://y${SHOW}`, `http://x:80${SHOW}`, `https://x${SHOW}`, `HTTPS://x${SHOW}`, `http://u@x${SHOW}`, `http://u:p@x${SHOW}`, `http://${SHOW}`, `http:${SHOW}`, `http://x`, `http://x?a=b`, `http://x#${SHOW}`, `http://x\\@y${SHOW}`, `//x${SHOW}`, `ws://x${SHOW}`, `ftp://x${SHOW}`, 'x:80', 'x', '*', '/*', '?a', `\\${SHOW}`, `/\\x`, `${SHOW}/%`, `${SHOW}/%zz`, `${SHOW}/%00`, `${SHOW}/%2e%2e`, `${SHOW}/%2f`, `${SHOW}/%5c`, `${SHOW}/..%2f`, `/..${SHOW}`, `/%2e%2e${SHOW}`, `/./..${SHOW}`, `${SHOW}/%c0%ae`, `${SHOW}/%ff`, `${SHOW}?a=%zz`, `${SHOW}?a=%00`, `//${SHOW}`, `/.${SHOW}`, '/%0d%0aX:%20y'];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.0', 'HTTP/1.2', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.1 ', 'http/1.1', 'HTTP/1.10', ''];
const METHODS = ['GET', 'POST', 'OPTIONS', 'CONNECT', 'TRACE', 'PRI', 'get', 'QUERY'];

export function* everyHead() {
  for (const host of HOSTS) {
    for (const target of TARGETS) {
      for (const version of VERSIONS.slice(0, 2)) yield [`${JSON.stringify(host)} ${target} ${version}`, `GET ${target} ${version}\r\n${host}\r\n`];
    }
  }
  for (const method of METHODS) {
    for (const target of TARGETS) {
      for (const version of VERSIONS) yield [`${method} ${target} ${version}`, `${method} ${target} ${version}\r\nHost: x\r\n\r\n`];
    }
  }
}
