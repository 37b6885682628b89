// What is asked of Netlify's functions server and of luafn: the same handler in both languages, and
// requests. `differs` says, with its reason, what luafn answers instead, on purpose.
const plain = 'a plain return is the normal form here, and has a Content-Type';

// [name, what the JavaScript handler returns, what the Lua handler does, differs]
export const answers = [
  ['text', `{ statusCode: 200, body: 'hi' }`, 'return { statusCode = 200, body = "hi" }'],
  ['no body', '{ statusCode: 200 }', 'return { statusCode = 200 }'],
  ['empty body', `{ statusCode: 200, body: '' }`, 'return { statusCode = 200, body = "" }'],
  ['null body', '{ statusCode: 200, body: null }', 'return { statusCode = 200, body = json.null }'],
  ['false body', '{ statusCode: 200, body: false }', 'return { statusCode = 200, body = false }'],
  ['zero body', '{ statusCode: 200, body: 0 }', 'return { statusCode = 200, body = 0 }'],
  ['204', '{ statusCode: 204 }', 'return { statusCode = 204 }'],
  ['status as text', `{ statusCode: '201', body: 'x' }`, 'return { statusCode = "201", body = "x" }'],
  ['status abc', `{ statusCode: 'abc' }`, 'return { statusCode = "abc" }'],
  ['status 0', '{ statusCode: 0 }', 'return { statusCode = 0 }'],
  ['status null', '{ statusCode: null }', 'return { statusCode = json.null }'],
  ['status missing', `{ body: 'x' }`, 'return { body = "x" }'],
  ['empty object', '{}', 'return {}'],
  ['number', '5', 'return 5'],
  ['text alone', `'hello'`, 'return "hello"', { status: 200, body: 'hello', why: plain }],
  ['null', 'null', 'return json.null'],
  ['undefined', 'undefined', 'return nil'],
  ['body number', '{ statusCode: 200, body: 42 }', 'return { statusCode = 200, body = 42 }'],
  ['body list', `{ statusCode: 200, body: ['a'] }`, 'return { statusCode = 200, body = { "a" } }'],
  ['body object', `{ statusCode: 200, body: { a: 1 } }`, 'return { statusCode = 200, body = { a = 1 } }'],
  ['base64', `{ statusCode: 200, body: 'aGVsbG8=', isBase64Encoded: true }`, 'return { statusCode = 200, body = "aGVsbG8=", isBase64Encoded = true }'],
  ['headers', `{ statusCode: 200, headers: { 'X-A': 'a', 'X-N': 5, 'X-B': true }, body: 'x' }`, 'return { statusCode = 200, headers = { ["X-A"] = "a", ["X-N"] = 5, ["X-B"] = true }, body = "x" }'],
  ['multi headers', `{ statusCode: 200, multiValueHeaders: { 'X-M': ['1', '2'] }, body: 'x' }`, 'return { statusCode = 200, multiValueHeaders = { ["X-M"] = { "1", "2" } }, body = "x" }'],
  ['both headers', `{ statusCode: 200, headers: { 'X-M': '0' }, multiValueHeaders: { 'X-M': ['1', '2'] }, body: 'x' }`, 'return { statusCode = 200, headers = { ["X-M"] = "0" }, multiValueHeaders = { ["X-M"] = { "1", "2" } }, body = "x" }'],
  ['json type', `{ statusCode: 200, headers: { 'Content-Type': 'application/json' }, body: '{}' }`, 'return { statusCode = 200, headers = { ["Content-Type"] = "application/json" }, body = "{}" }'],
];

// Requests to a handler that answers with its event.
const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
export const events = [
  { name: 'query', path: '?net=lify&jam=stack' },
  { name: 'no query', path: '' },
  { name: 'suffix', path: '/a/b%20c?x=1' },
  { name: 'brackets', path: '?category[SOMETHING][]=something' },
  { name: 'twice', path: '?category=one&category=two' },
  { name: 'empty value', path: '?c&d=' },
  { name: 'escapes', path: '?a=%20b+c&%C3%A9=1' },
  { name: 'urlencoded', method: 'POST', headers: form, body: 'some=thing' },
  { name: 'text', method: 'POST', headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: 'hällo' },
  { name: 'json', method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: '{"a":1}' },
  { name: 'json suffix', method: 'POST', headers: { 'Content-Type': 'application/problem+json' }, body: '{}' },
  { name: 'octets', method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: '\x00\x01x' },
  { name: 'multipart', method: 'POST', headers: { 'Content-Type': 'multipart/form-data; boundary=b' }, body: '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n' },
  { name: 'delete', method: 'DELETE', path: '?x=1' },
  { name: 'headers', headers: { 'X-Twice': ['1', '2'], Cookie: 'a=b; c=d', 'X-UPPER': 'Up' } },
];
export const FIELDS = ['path', 'httpMethod', 'queryStringParameters', 'multiValueQueryStringParameters', 'body', 'isBase64Encoded', 'rawQuery'];
export const HEADERS = ['content-type', 'content-length', 'x-twice', 'x-upper', 'cookie'];

// A rule file and requests, for netlify-redirector.
export const RULES = `/old /new
/temp /t 302
/news/* /blog/:splat
/news2/:y/:m /blog/:y-:m.html 301
/store id=:id /blog/:id 301
/two a=:a b=:b /x/:a/:b
/api/* /.netlify/functions/:splat 200
/gone /404.html 404
/force/* /f/:splat 200!
/lang/* /de/:splat 302 Language=de
/lang/* /en/:splat 302
/cn/* /china/:splat 302 Country=cn,hk
/ck/* /yes 302 Cookie=seen
/ck/* /no 302
/abs/* https://example.com/:splat 301
/end/ /done
`;
export const redirects = [
  '/old', '/old/', '/OLD', '/older', '/temp', '/news', '/news/', '/news/a/b', '/newsletter', '/news2/2020/05', '/news2/2020/05/',
  '/news2/2020', '/store?id=5', '/store?id=5&z=1', '/store?id=', '/store', '/two?a=1&b=2', '/two?b=2&a=1', '/two?a=1', '/api/me/x',
  '/gone', '/force/x', '/abs/a/b', '/end', '/end/', '/none', '/',
].map((url) => ({ url })).concat([
  { url: '/lang/x', headers: { 'Accept-Language': 'de-DE,en' } }, { url: '/lang/x', headers: { 'Accept-Language': 'fr' } },
  { url: '/cn/x', headers: { Cookie: 'nf_country=hk' } }, { url: '/cn/x' },
  { url: '/ck/x', headers: { Cookie: 'seen=1' } }, { url: '/ck/x' },
]);
