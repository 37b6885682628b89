// What is said about each thing that can be wrong in the files beside functions.lua: in _redirects,
// _headers, netlify.toml and .env, and in scripts that do not load. Each with its place.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { folder, run, write } from '../lib/host.mjs';

const REDIRECT = '[[redirects]]\nfrom = "/x"\nto = "/y"\n';

// [file, its text, the line, what is said behind "FILE:LINE: "]
const faults = [
  ['_redirects', '/a', 1, 'the target is missing: from to [status]'],
  ['_redirects', '# old\n/a b', 2, "the target must begin with '/', http:// or https://"],
  ['_redirects', '/a x /b', 1, 'expected name=value between the paths or after the status'],
  ['_redirects', '/a /b Country', 1, 'expected name=value between the paths or after the status'],
  ['_redirects', `/a ${'x=y '.repeat(63)}/b`, 1, 'more than 64 words in a line'],
  ['_headers', 'x', 1, "expected a path that begins with '/', or Name: value"],
  ['_headers', '  A: b', 1, "a field needs a path above it: a line that begins with '/'"],
  ['_headers', '/x\n  : b', 2, "the field's name is missing"],
  ['_headers', '/x\n  A:', 2, "the field's value is missing"],
  ['_headers', '/x\n  A b: c', 2, "this cannot be sent: a name is letters, digits and '-', a value has no control characters"],

  ['netlify.toml', '[redirects]\nfrom = "/a"', 1, 'redirects must be a list: write [[redirects]]'],
  ['netlify.toml', 'redirects = ["x"]', 1, 'redirects: each item is a table of its own'],
  ['netlify.toml', '[[redirects]]\nto = "/x"', 1, `redirects: 'from' is missing: a path such as "/old"`],
  ['netlify.toml', '[[redirects]]\nfrom = "/x"\nto = 5', 1, `redirects: 'to' must be a text such as "/new"`],
  ['netlify.toml', `${REDIRECT}query = 5`, 1, `redirects: 'query' must be a table of texts: { id = ":id" }`],
  ['netlify.toml', `${REDIRECT}conditions = 5`, 1, `redirects: 'conditions' must be a table of texts or lists of texts: { Country = ["at", "de"] }`],
  ['netlify.toml', `${REDIRECT}headers = 5`, 1, `redirects: 'headers' must be a table of texts: { X-From = "here" }`],
  ['netlify.toml', `${REDIRECT}status = "no"`, 1, "redirects: 'status' must be a number such as 301"],
  ['netlify.toml', `${REDIRECT}force = "no"`, 1, "redirects: 'force' must be true or false"],
  ['netlify.toml', '[[headers]]\nvalues = {}', 1, `headers: 'for' is missing: a path such as "/*"`],
  ['netlify.toml', '[[headers]]\nfor = "/x"\nvalues = 5', 1, `headers: 'values' must be a table of texts or lists of texts: { X-Frame-Options = "DENY" }`],
  ['netlify.toml', '[dev]\njwtRolePath = 5', 2, 'dev.jwtRolePath must be a text'],

  ['netlify.toml', 'a = 1 b', 1, 'text after the end of what this line says'],
  ['netlify.toml', '= 1', 1, "a key was expected: letters, digits, '_', '-', or a text in quotes"],
  ['netlify.toml', 'a', 1, "'=' was expected after the key 'a'"],
  ['netlify.toml', 'a = 1\na = 2', 2, "the key 'a' is given twice"],
  ['netlify.toml', 'a.b = 1\na.b.c = 2', 2, "'b' cannot be added to here"],
  ['netlify.toml', 'a = { b = 1 }\n[a.c]', 2, "'a' is not a table that can be added to"],
  ['netlify.toml', '[a]\n[a]', 2, "'a' is given twice"],
  ['netlify.toml', '[a]\n[[a]]', 2, "'a' is given twice"],
  ['netlify.toml', '[a', 1, "']' was expected after the table's name"],
  ['netlify.toml', '[[a]', 1, "']]' was expected after the table's name"],
  ['netlify.toml', 'a =', 1, 'a value was expected'],
  ['netlify.toml', 'a = x', 1, "'x' is not a value; texts stand in quotes"],
  ['netlify.toml', 'a = 99999999999999999999', 1, "'99999999999999999999' is too large"],
  ['netlify.toml', 'a = [1 2]', 1, "',' or ']' was expected in a list"],
  ['netlify.toml', 'a = { b = 1 c = 2 }', 1, "',' or '}' was expected, on the same line"],
  ['netlify.toml', 'a = "x', 1, 'the quote is never closed'],
  ['netlify.toml', '"""a""" = 1', 1, 'a key cannot span lines'],
  ['netlify.toml', 'a = "\\u12"', 1, 'an escape needs 4 hexadecimal digits'],
  ['netlify.toml', 'a = "\\ud800"', 1, 'an escape that is no character'],
  ['netlify.toml', 'a = "\\q"', 1, 'an unknown escape; write \\\\ for a backslash'],
  ['netlify.toml', 'a = "\x01"', 1, 'a control character in a text; write it as an escape'],
  ['netlify.toml', '# \x01', 1, 'a control character in a comment'],
  ['netlify.toml', `a = ${'['.repeat(200)}`, 1, 'nested too deep'],
  ['netlify.toml', `a${'.a'.repeat(200)} = 1`, 1, 'too many dots in a key'],
  ['netlify.toml', `[a${'.a'.repeat(200)}]`, 1, "too many dots in a table's name"],
  ['netlify.toml', Buffer.from('a = "\xff"', 'latin1'), 1, 'the file is not UTF-8'],

  ['.env', 'A=1\nNAME', 2, '`=` was expected after the name; write NAME=value'],
  ['.env', '=x', 1, "a variable's name was expected; write NAME=value"],
  ['.env', 'A="x" y', 1, 'there is text after the closing quote; write NAME=value'],
  ['.env', 'B=1\nA="x\ny', 2, 'the quote is never closed; write NAME=value'],
];

test('each fault of a file beside functions.lua: its line, and what to write', async (t) => {
  for (const [file, text, line, said] of faults) {
    await t.test(`${file}: ${String(text).slice(0, 40)}`, async () => {
      const { code, stdout, stderr } = await run(t, ['check'], { files: { 'functions.lua': 'return { functions = {} }', [file]: text } });
      assert.equal(code, 1);
      assert.equal(stdout, '');
      assert.equal(stderr, `${file}:${line}: ${said}\n`);
    });
  }
});

test('faults without a line', async (t) => {
  const files = { 'functions.lua': 'return { functions = {} }' };
  const check = async (more, options) => {
    const { code, stderr } = await run(t, ['check'], { files: { ...files, ...more }, ...options });
    assert.equal(code, 1);
    return stderr.trimEnd().split('\n');
  };
  assert.deepEqual(await check({}, { env: { KV_URL: 'x' } }), [
    'KV_URL: redis://[[user]:password@]host[:port][/database] is expected, rediss:// for TLS, or redis+sentinel://host[:port],.../name',
  ]);
  assert.deepEqual(await check({ 'functions.lua': 'return {}', 'netlify.toml': '[functions]\ndirectory = "none"' }), [
    "netlify.toml: functions: 'none' is not a folder of functions here",
  ]);
  assert.deepEqual(await check({ _redirects: Array.from({ length: 10001 }, (_, i) => `/a${i} /b\n`).join('') }), [
    '_redirects: there are more than 10000 redirects; the rest is left out',
  ]);
  const many = await check({ _redirects: '/a\n'.repeat(150) });
  assert.equal(many.length, 101);
  assert.match(many[100], /more of the same; they are not told$/);
});

// [text of scripts/a.lua, what is said]
const scripts = [
  ['return 5', 'scripts/a.lua:1: a script must return its handler (a function), or a table with a `handler` in it; this one returned number'],
  ['return {}', 'scripts/a.lua:1: a script must return its handler (a function), or a table with a `handler` in it; this one returned a table without one'],
  ['error({})', 'scripts/a.lua: raised a value that is not a text'],
  ['local x = nil + 1', /^scripts\/a\.lua:1: attempt to perform arithmetic on a nil value/],
  // where others take four fifths of the processor, the clock is first
  ['while true do end', /^scripts\/a\.lua:1: loading (used more than 1\.0 s of processor time|took longer than 5\.0 s)$/],
  ['local t = {} while true do t[#t + 1] = ("x"):rep(1000000) end', /^scripts\/a\.lua:1: loading needs more than the \d+ bytes of `memory`$/],
  ['require "b"', /^scripts\/a\.lua:1: module 'b' not found beside the script or beside functions\.lua, nor in lua_modules\/share\/lua\/5\.4 or lib there$/],
  ['require "../b"', /^scripts\/a\.lua:1: require: '\.\.\/b' is not a module name \(letters, digits, '_', '-', dots\)$/],
  ['require "loop"', /loop: 'loop' requires itself, directly or through others$/],
  [`return function() end --${'x'.repeat(1024 * 1024)}`, /the script is larger than 1048576 bytes$/],
  ['sleep(30)', 'scripts/a.lua:1: loading took longer than 5.0 s'],
];

test('scripts that do not load', async (t) => {
  const dir = folder(t, { 'functions.lua': 'return { functions = { a = { script = "scripts/a.lua", auth = "public" } } }', 'scripts/loop.lua': 'require "loop"' });
  const [waits, other] = ['sleep(30)', folder(t)];
  fs.cpSync(dir, other, { recursive: true });
  write(other, { 'scripts/a.lua': waits });
  const waited = run(t, ['check'], { dir: other }); // five seconds, in which the others are tried
  for (const [text, said] of scripts) {
    await t.test(text.slice(0, 60), async () => {
      write(dir, { 'scripts/a.lua': text });
      const { code, stdout, stderr } = await (text === waits ? waited : run(t, ['check'], { dir }));
      assert.equal(code, 1);
      assert.equal(stdout, '');
      if (said instanceof RegExp) assert.match(stderr.trimEnd(), said);
      else assert.equal(stderr, `${said}\n`);
    });
  }
  fs.rmSync(path.join(dir, 'scripts/a.lua'));
  fs.mkdirSync(path.join(dir, 'scripts/a.lua'));
  const { code, stderr } = await run(t, ['check'], { dir });
  assert.equal(code, 1);
  assert.match(stderr, /scripts\/a\.lua/);
});
