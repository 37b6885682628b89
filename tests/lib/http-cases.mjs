// Requests by the rules of RFC 9112 and RFC 9110, section by section: what must be refused, and
// beside it what must not be. Bytes are latin1 text.
//
// A row is { rule, bad: { what: [bytes, statuses] }, good: { what: [bytes, check] } }. After a bad
// one the connection is closed; a good one is answered 200 (or by the statuses given) and leaves
// the connection in step. `check` looks at what the function saw.
export const SHOW = '/.netlify/functions/show';

const head = (line, fields = [], host = ['Host: x']) => `${line}\r\n${[...host, ...fields].map((f) => `${f}\r\n`).join('')}\r\n`;
const get = (...fields) => head(`GET ${SHOW} HTTP/1.1`, fields);
const post = (...fields) => head(`POST ${SHOW} HTTP/1.1`, ['Content-Type: text/plain', ...fields]);
const to = (target, ...fields) => head(`GET ${target} HTTP/1.1`, fields);
const at = (...host) => head(`GET ${SHOW} HTTP/1.1`, [], host);
const chunked = (body) => `${post('Transfer-Encoding: chunked')}${body}`;
const coded = (...values) => `${post(...values.map((v) => `Transfer-Encoding:${v}`))}3\r\nabc\r\n0\r\n\r\n`;
const sized = (...values) => `${post(...values.map((v) => `Content-Length:${v}`))}abcde`;
const body = (text) => (seen) => seen.body === text;
const field = (name, value) => (seen) => seen.headers[name] === value;
const host = (name) => (seen) => new URL(seen.url).host === name;
const all = (make, ...list) => Object.fromEntries(list.map((v) => [JSON.stringify(v).slice(0, 60), make(v)]));
const controls = [...Array(32).keys(), 127].filter((c) => ![9, 10, 13].includes(c)).map((c) => String.fromCharCode(c));

export const FRAMING = [
  {
    rule: 'RFC 9112 2.2: lines end with CR LF',
    bad: {
      'LF after the request line': [`GET ${SHOW} HTTP/1.1\nHost: x\r\n\r\n`],
      'LF after a field': [`GET ${SHOW} HTTP/1.1\r\nHost: x\nX: y\r\n\r\n`],
      'LF everywhere': [`GET ${SHOW} HTTP/1.1\nHost: x\n\n`],
      'LF ends the head': [`GET ${SHOW} HTTP/1.1\r\nHost: x\r\n\n`],
      'LF LF ends the head': [`GET ${SHOW} HTTP/1.1\r\nHost: x\n\n`],
      'CR X ends the head': [`GET ${SHOW} HTTP/1.1\r\nHost: x\r\n\rX`],
      'CR without LF after a field': [`GET ${SHOW} HTTP/1.1\r\nHost: x\rX: y\r\n\r\n`],
      'CR before a field name': [get('\rX: y')],
      'CR CR LF': [`GET ${SHOW} HTTP/1.1\r\r\nHost: x\r\n\r\n`],
      'empty field and CR hide a coding': [post('x:\rTransfer-Encoding: chunked')],
      'space before the first field': [`GET ${SHOW} HTTP/1.1\r\n Host: x\r\n\r\n`],
      'tab before the first field': [`GET ${SHOW} HTTP/1.1\r\n\tX: y\r\nHost: x\r\n\r\n`],
      'a line of spaces': [get('   ')],
      'LF in front': [`\n${get()}`],
      'CR in front': [`\r${get()}`],
      'space in front': [` ${get()}`],
      'NUL in front': [`\0${get()}`],
      'a byte order mark in front': [`\xef\xbb\xbf${get()}`],
      'many empty lines in front': [`${'\r\n'.repeat(100)}${get()}`],
      'TLS': ['\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n'],
      'SSH': ['SSH-2.0-OpenSSH_9.2\r\n\r\n'],
    },
    good: { plain: [get()], 'one empty line in front': [`\r\n${get()}`] },
  },
  {
    rule: 'RFC 9112 2.3: versions',
    bad: all((v) => [head(`GET ${SHOW} ${v}`), [400, 505]], 'HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/3.0', 'HTTP/9.9', 'HTTP/2', 'HTTP/1', 'HTTP/1.', 'HTTP/.1',
      'HTTP/1.10', 'HTTP/01.1', 'HTTP/1.01', 'HTTP/11.1', 'HTTP/1 .1', 'HTTP/1. 1', 'HTTP/1,1', 'HTTP/+1.1', 'HTTP/-1.1', 'HTTP/1.1.1', 'HTTP /1.1', 'http/1.1', 'Http/1.1', 'HTTPS/1.1',
      'HTTP/1.a', 'HTTP/A.1', 'RTSP/1.0', 'ICE/1.0', 'XTTP/1.1', 'HTTP', '', 'HTTP/1.1\0', 'HTTP/1.\xb1', 'HTTP/1.1 x', 'HTTP/1.1 ', 'HTTP/1.1\t', '\tHTTP/1.1', ' HTTP/1.1'),
    good: { 'HTTP/1.1': [get()] },
  },
  {
    rule: 'RFC 9112 3: the request line',
    bad: {
      'no version': [`GET ${SHOW}\r\n\r\n`],
      'method alone': ['GET\r\n\r\n'],
      'no target': [head('GET HTTP/1.1'), [400]],
      'empty target': [head('GET  HTTP/1.1')],
      'two spaces after the method': [head(`GET  ${SHOW} HTTP/1.1`)],
      'tab after the method': [head(`GET\t${SHOW} HTTP/1.1`)],
      'tab before the version': [head(`GET ${SHOW}\tHTTP/1.1`)],
      'space in the target': [to(`${SHOW} x`)],
      'vertical tab': [head(`GET\x0b${SHOW} HTTP/1.1`)],
      'NUL in the method': [head(`G\0ET ${SHOW} HTTP/1.1`)],
      'a response': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', [400, 501]],
      ...all((m) => [head(`${m} ${SHOW} HTTP/1.1`), [400, 405, 501]], 'get', 'Get', 'GETX', 'BREW', 'G[T', 'G@T', 'GE:T', '"GET"', 'G\xc9T', 'M'.repeat(4000), 'PRI', 'DESCRIBE', 'SETUP', 'SOURCE', 'ANNOUNCE'),
      'HTTP/2 preface': ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400, 501, 505]],
    },
    good: all((m) => [head(`${m} ${SHOW} HTTP/1.1`), (seen) => seen.method === m], 'GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'),
  },
  {
    rule: 'RFC 9112 3.2: targets',
    bad: {
      ...all((target) => [to(target)], '*', 'x', 'show', '?a=b', `${SHOW}#part`, `${SHOW}?a#b`, 'http://', 'http:///x', 'http:/x/y', `ftp://x${SHOW}`, `x${SHOW}`, `http://u@x${SHOW}`, `http://u:p@x${SHOW}`,
        `http://x:99999${SHOW}`, `http://x:a${SHOW}`, `http://[::1${SHOW}`, `http://[zz]${SHOW}`, `http://other${SHOW}`, `http://x,y${SHOW}`, `http:\\\\x${SHOW}`, 'javascript:alert(1)', 'x:80',
        `${SHOW}\x7f`, `${SHOW}\x80`, `${SHOW}/\xc3\xa9`, ...controls.map((c) => `${SHOW}${c}x`)),
      'CONNECT, authority': [head('CONNECT x:80 HTTP/1.1'), [400, 405, 501]],
      'CONNECT, no port': [head('CONNECT x HTTP/1.1'), [400, 405, 501]],
      'CONNECT, empty port': [head('CONNECT x: HTTP/1.1'), [400, 405, 501]],
      'CONNECT, path': [head(`CONNECT ${SHOW} HTTP/1.1`), [400, 405, 501]],
      'POST *': [head('POST * HTTP/1.1', ['Content-Length: 0'])],
      '** for OPTIONS': [head('OPTIONS ** HTTP/1.1')],
    },
    good: {
      path: [to(SHOW)],
      'path and query': [to(`${SHOW}?a=b&c=%2F/?x`), (seen) => seen.query === 'a=b&c=%2F/?x'],
      'absolute form': [to(`http://x${SHOW}?a=b`), host('x')],
      'absolute form, scheme in capitals': [to(`HTTP://x${SHOW}`), host('x')],
      'absolute form with a port': [head(`GET http://x:81${SHOW} HTTP/1.1`, [], ['Host: x:81']), host('x:81')],
      'OPTIONS *': [head('OPTIONS * HTTP/1.1'), [200, 204]],
    },
  },
  {
    rule: 'RFC 9112 3.2, RFC 9110 7.2: Host',
    bad: {
      none: [at()],
      empty: [at('Host:')],
      blank: [at('Host:   ')],
      ...all((v) => [at(...v)], ['Host: x', 'Host: x'], ['Host: x', 'Host: y'], ['Host: x', 'host: y'], ['Host: x', 'X: 1', 'HOST: x']),
      ...all((v) => [at(`Host: ${v}`)], 'x, y', 'x y', 'x\ty', 'u@x', 'u:p@x', 'x/y', 'x/', 'x?y', 'x#y', 'http://x', 'x:y', 'x:-1', 'x:65536', 'x:80:80', 'x: 80', ':80', '[::1', '::1', '[]', '[x]', '[::1]x', '[::1]:x',
        '[1::2::3]', 'x\\y', 'x"', '<x>', 'x%00', 'x%2e', 'x\x80', '*', 'x;y', 'x|y', 'x^y', '{x}', "x'y"),
    },
    good: {
      ...all((v) => [at(`Host: ${v}`), (seen) => seen.headers.host === v], 'x', 'X.Example', 'x:80', '127.0.0.1', '127.0.0.1:8080', '[::1]', '[::1]:80', '[2001:db8::7]', 'a-b.c_d.example'),
      'no space before': [at('Host:x'), field('host', 'x')],
      'spaces around': [at('Host: \t x \t '), field('host', 'x')],
    },
  },
  {
    rule: 'RFC 9112 5: field lines',
    bad: {
      ...all((line) => [get(line)], ': y', ':', 'nothing', 'X', 'X y', 'Authorization : x', 'X\t: y', 'Fo o: x', 'X[]: y', 'X(a): y', '"X": y', 'X/Y: z', 'X@Y: z', 'X=Y: z', 'X;Y: z', 'X,Y: z', '{X}: y', 'X\\: y', '\xdcber: y', '\x7f: y',
        'Content-Length\0: 5', 'Content-Length : 5', 'Transfer-Encoding : chunked', 'Host : y', 'X: \0', 'X: a\0b', 'X: a\x7fb', 'X: a\rb', 'X: \r', '\0X: y', 'X\0: y', '\x01: y'),
      ...all((c) => [get(`X: a${c}b`)], ...controls),
      ...all((c) => [get(`X${c}: b`)], ...controls),
    },
    good: {
      ...all((v) => [get(`X: ${v}`), field('x', v)], 'a', 'a:b', 'a b', 'a\tb', '"quoted"', 'a, b', '<>@;\\[]{}', "!#$%&'*+-.^_`|~"),
      'names of every token character': [get("!#$%&'*+-.^_`|~aZ09: y"), field("!#$%&'*+-.^_`|~az09", 'y')],
      'text beyond ASCII in a value': [get('X: \xc3\xa9'), field('x', 'é')],
      'empty value': [get('X:'), field('x', '')],
      'blanks around a value': [get('X: \t a \t '), field('x', 'a')],
    },
  },
  {
    rule: 'RFC 9112 5.2: folded lines',
    bad: {
      'space': [get('X: a', ' b')],
      'tab': [get('X: a', '\tb')],
      'empty value': [get('X:', ' b')],
      'hides a length': [`${post('X: y', ' Content-Length: 5')}abcde`],
      'coding on the second line': [`${post('Transfer-Encoding:', ' chunked')}0\r\n\r\n`],
      'length on the second line': [`${post('Content-Length:', ' 5')}abcde`],
      'host on the second line': [at('Host:', ' x')],
      'last line': [get('X: a', ' ')],
    },
    good: { 'the same unfolded': [get('X: a b'), field('x', 'a b')] },
  },
  {
    rule: 'RFC 9112 6.1: Transfer-Encoding',
    bad: {
      ...all((v) => [coded(v), [400, 501]], ' identity', ' xchunked', ' chunkedx', ' chunked, chunked', ' chunked,chunked', ' gzip, chunked', ' gzip', ' chunked, gzip', ' chunked, identity', ' identity, chunked', ' chunked;x', ' chunked;q=1', ' "chunked"', " 'chunked'",
        '', ' ', ' ,', ' , chunked', ' chunked,', ' chunked ,', ' chunked, ,', ' chu nked', ' chunked x', ' c', ' chunk', ' chunked/1', ' =chunked', ' [chunked]', ' chunked\xa0', ' \xa0chunked', ' chunked\xff'),
      ...all((c) => [coded(` ${c}chunked`)], ...controls),
      ...all((c) => [coded(` chunked${c}`)], '\0', '\x0b', '\x0c', '\r', '\x1f', '\x7f'),
      'chunked, then another coding: the end is unknown': [coded(' chunked, gzip'), [400]],
      'on two lines': [coded(' chunked', ' chunked')],
      'on two lines, one odd': [coded(' chunked', ' x')],
      'on two lines, the first odd': [coded(' identity', ' chunked'), [400, 501]],
      'on two lines, one empty': [coded('', ' chunked')],
      'in HTTP/1.0': [`POST ${SHOW} HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`],
      'in HTTP/1.0, kept alive': [`POST ${SHOW} HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
      'space before the colon': [`${post('Transfer-Encoding : chunked')}0\r\n\r\n`],
    },
    good: { ...all((v) => [coded(v), body('abc')], ' chunked', 'chunked', ' CHUNKED', ' Chunked', '  \t chunked \t'), 'name in capitals': [`${post('TRANSFER-ENCODING: chunked')}3\r\nabc\r\n0\r\n\r\n`, body('abc')] },
  },
  {
    rule: 'RFC 9112 6.2: Content-Length',
    bad: {
      ...all((v) => [sized(v)], ' +5', ' -5', ' -0', ' 0x5', ' 5 5', ' 5,5', ' 5, 5', ' 5, 6', ' 5,', ' ,5', ' 05', ' 5.0', ' 5e0', ' 0b101', ' 5a', ' a', '', ' ', ' "5"', ' 5;', ' 5_0', ' 0o5', " '5'", ' \xb2', ' 5\xa0', ' 18446744073709551616', ' 18446744073709551621', ' 36893488147419103237', ' 9'.padEnd(400, '9'), ' 00000000000000000005'),
      ...all((c) => [sized(` ${c}5`)], ...controls),
      ...all((c) => [sized(` 5${c}`)], ...controls),
      'twice, different': [sized(' 5', ' 6')],
      'twice, the same': [sized(' 5', ' 5')],
      'twice, one empty': [sized(' 5', '')],
      'space before the colon': [`${post('Content-Length : 5')}abcde`],
      ...all((v) => [sized(v), [413]], ' 18446744073709551615', ' 9223372036854775808', ' 4294967296', ' 65537'),
    },
    good: {
      ...all((v) => [sized(v), body('abcde')], ' 5', '5', '  5  '),
      'none': [post(), (seen) => !seen.body],
      'zero': [post('Content-Length: 0'), (seen) => !seen.body],
      'on GET': [`${get('Content-Length: 5')}abcde`],
      'looks like another field': [get('Content_Length: 5', 'X-Content-Length: 5', 'Transfer_Encoding: chunked')],
      'looks like a request': [`${post(`Content-Length: ${get().length}`)}${get()}`, body(get())],
    },
  },
  {
    rule: 'RFC 9112 6.3: both',
    bad: {
      'length, coding': [`${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
      'coding, length': [`${post('Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n`],
      'length that fits': [`${post('Transfer-Encoding: chunked', 'Content-Length: 5')}0\r\n\r\n`],
      'length of nothing': [`${post('Transfer-Encoding: chunked', 'Content-Length: 0')}0\r\n\r\n`],
      'odd coding': [`${post('Content-Length: 5', 'Transfer-Encoding: identity')}abcde`, [400, 501]],
      'length and two codings': [`${post('Content-Length: 5', 'Transfer-Encoding: x', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
      'on GET': [`${get('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    },
    good: { 'one of them': [chunked('0\r\n\r\n')], 'the other': [sized(' 5'), body('abcde')] },
  },
  {
    rule: 'RFC 9112 7.1: chunks',
    bad: {
      ...all((size) => [chunked(`${size}\r\nabc\r\n0\r\n\r\n`)], 'zz', '', ' ', ' 3', '3 ', '\t3', '3\t', '+3', '-3', '0x3', '3h', 'g', '3.', '3_', '0x', '3 3', '3,', '3\0', '3\x0b', '3\r', '\xb3', '"3"', '3=1'),
      ...all((size) => [chunked(`${size}\r\nabc\r\n0\r\n\r\n`), [400, 413]], '10000000000000003', 'fffffffffffffffff', 'ffffffffffffffff', 'fffffffffffffffd', '8000000000000003', '100000003', '00000000000000003', '0'.repeat(500) + '3'),
      ...all((text) => [chunked(text)], '3\nabc\r\n0\r\n\r\n', '3\rabc\r\n0\r\n\r\n', '3\r\nabc\n0\r\n\r\n', '3\r\nabc\r0\r\n\r\n', '3\r\nabc0\r\n\r\n', '3\r\nabcd\r\n0\r\n\r\n', '3\r\nab\r\n0\r\n\r\n', '3\r\nabc\r\n\r\n0\r\n\r\n', '3\r\nabc\r\n0\n\r\n', '3\r\nabc\r\n0\r\n\n',
        '3\r\nabc\r\n0\r\rX', '3\r\nabc\r\n0\r\n\rX', '3\r\nabc\r\n0\n\n', '3\r\n\r\nabc\r\n0\r\n\r\n', '3\r\nabcXX0\r\n\r\n', '3\r\nabc\n\r0\r\n\r\n', '3\r\nabc\r\n-0\r\n\r\n', '3\r\nabc\r\n0 \r\n\r\n', '3\r\nabc\r\n 0\r\n\r\n'),
    },
    good: {
      'one': [chunked('3\r\nabc\r\n0\r\n\r\n'), body('abc')],
      'two': [chunked('1\r\na\r\n2\r\nbc\r\n0\r\n\r\n'), body('abc')],
      'none': [chunked('0\r\n\r\n')],
      'capitals': [chunked('A\r\n0123456789\r\n0\r\n\r\n'), body('0123456789')],
      'small letters': [chunked('a\r\n0123456789\r\n0\r\n\r\n'), body('0123456789')],
      'leading zeros': [chunked('0003\r\nabc\r\n000\r\n\r\n'), body('abc')],
      'data that looks like an end': [chunked('5\r\n0\r\n\r\n\r\n0\r\n\r\n'), body('0\r\n\r\n')],
    },
  },
  {
    rule: 'RFC 9112 7.1.1: chunk extensions',
    bad: {
      ...all((ext) => [chunked(`3${ext}\r\nabc\r\n0\r\n\r\n`)], ';', ';;', ';a;', '; ', ';=', ';=b', ';a=', ';a=;b', ';a b', ';a=b c', ';a="b', ';a="b"c', ';a=b"', ';a[=b', ';@', ';a=[b]', ';a/b', ';\0', ';a\0', ';a=b\0', ';a\x7f', ';a=\x01', ';a="\0"', ';a="\x7f"', ';a\rb', ';a\nb', ';a="\n"', ';a="\r"', ' a', ',a', '=a', ';a=b,c=d', ';\xe9', ';a="\\', ';a="\\\0"'),
      'LF ends one': [chunked('3;a\nabc\r\n0\r\n\r\n')],
      'CR ends one': [chunked('3;a\rabc\r\n0\r\n\r\n')],
      'on the last chunk': [chunked('3\r\nabc\r\n0;\r\n\r\n')],
      'much of it': [chunked(`3;${'a'.repeat(64 * 1024)}\r\nabc\r\n0\r\n\r\n`), [400, 413]],
    },
    good: {
      ...all((ext) => [chunked(`3${ext}\r\nabc\r\n0${ext}\r\n\r\n`), body('abc')], ';a', ';a=b', ';a=b;c', ';a="b c"', ';a="b;\\"c"', ';a="\xe9"', ';a=""', '; a', ';a =b', ';a= b', ';a ;b', ';a=b ; c = "d"'),
    },
  },
  {
    rule: 'RFC 9112 7.1.2: trailers',
    bad: {
      ...all((line) => [chunked(`3\r\nabc\r\n0\r\n${line}\r\n\r\n`)], ': y', 'nothing', 'X : y', ' X: y', 'X: y\r\n folded', 'X: a\0b', 'X: a\rb', 'X: a\nb', 'X[: y', 'X: y\r\n\tz'),
      'LF': [chunked('3\r\nabc\r\n0\r\nX: y\n\r\n')],
      'much': [chunked(`3\r\nabc\r\n0\r\n${`X: ${'y'.repeat(1000)}\r\n`.repeat(40)}\r\n`), [400, 413, 431]],
    },
    good: {
      ...all((line) => [chunked(`3\r\nabc\r\n0\r\n${line}\r\n\r\n`), (seen) => seen.body === 'abc' && seen.headers.host === 'x' && !seen.headers['x-late'] && !seen.headers.authorization && !seen.headers['content-length'] && seen.headers['content-type'] === 'text/plain'],
        'X-Late: y', 'Content-Length: 7', 'Transfer-Encoding: chunked', 'Host: evil', 'Authorization: Bearer x', 'Content-Type: text/html', 'Connection: close', 'Expect: 100-continue', 'X-Late:', 'a: b\r\nc: d'),
    },
  },
  {
    rule: 'RFC 9110 10.1.1: Expect',
    bad: {
      'unknown': [get('Expect: foo'), [417]],
      'a list': [get('Expect: 100-continue, foo'), [417]],
      'a parameter': [get('Expect: 100-continue;a=b'), [417]],
      'empty': [get('Expect:'), [400, 417]],
    },
    good: { 'nothing to wait for': [get('Expect: 100-continue'), [100, 200]], 'none': [get()] },
  },
  {
    rule: 'RFC 9110 7.8: Upgrade is not taken up',
    bad: {},
    good: {
      ...all((v) => [get('Connection: Upgrade', `Upgrade: ${v}`)], 'h2c', 'foo/2', 'TLS/1.0', 'websocket, h2c', 'HTTP/2.0'),
      'h2c with settings': [get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA')],
      'WebSocket': [get('Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')],
      'with a body': [`${post('Connection: Upgrade', 'Upgrade: h2c', 'Content-Length: 5')}abcde`, body('abcde')],
      'without Connection': [get('Upgrade: h2c')],
    },
  },
  {
    rule: 'RFC 9110 9.3: methods',
    bad: { TRACE: [head(`TRACE ${SHOW} HTTP/1.1`), [405, 501]], 'TRACE with a body': [`${head(`TRACE ${SHOW} HTTP/1.1`, ['Content-Length: 5'])}abcde`, [400, 405, 501]] },
    good: { GET: [get()] },
  },
];
