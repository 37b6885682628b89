// Answers made by respond, returned and raised; its cookies as a browser's jar and event:cookies() read them.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, lua, start } from '../lib/host.mjs';

const CASES = {
  json: ['respond.json(201, { a = { 1, 2 } }, { ["X-A"] = "b" })', 201, '{"a":[1,2]}', { 'content-type': 'application/json', 'x-a': 'b' }],
  typed: ['respond.json(200, 5, { ["content-TYPE"] = "application/x+json" })', 200, '5', { 'content-type': 'application/x+json' }],
  null: ['respond.json(200, nil)', 200, 'null', {}],
  same: ['respond.json(200, json.decode([[{"b":1.10,"a":[ ]}]]))', 200, '{"b":1.10,"a":[]}', {}],
  error: ['respond.error(422, "invalid", "a \\"b\\"")', 422, '{"error":"invalid","error_description":"a \\"b\\""}', { 'content-type': 'application/json' }],
  html: ['respond.html("<p>ö")', 200, '<p>ö', { 'content-type': 'text/html; charset=utf-8' }],
  refused: ['respond.html("<p>no", 422)', 422, '<p>no', { 'content-type': 'text/html; charset=utf-8' }],
  found: ['respond.redirect("/x?y=ö")', 302, '', {}],
  other: ['respond.redirect("https://a.example/", 307)', 307, '', { location: 'https://a.example/' }],
};

test('returned or raised, the same answer', async (t) => {
  const scripts = {};
  for (const [name, [code]] of Object.entries(CASES)) {
    scripts[name] = `return function() return ${code} end`;
    scripts[`raised-${name}`] = `return function() error(${code}) end`;
  }
  const h = await start(t, { files: deployment(scripts) });
  for (const [name, [, status, text, headers]] of Object.entries(CASES)) {
    for (const one of [name, `raised-${name}`]) {
      const res = await h.call(one);
      assert.deepEqual([res.status, res.text], [status, text], one);
      for (const [header, value] of Object.entries(headers)) assert.deepEqual(res.headers[header], [value], `${one}: ${header}`);
    }
  }
});

test('wrong use says what is wrong', async (t) => {
  const rows = {
    'respond.json("200", 1) respond.json(99, 1)': /a status of 200 to 599/, 'respond.json(200, print)': /cannot encode a function/, 'respond.json(200)': /value expected/,
    'respond.json(200, 1, "x")': /table expected/, 'respond.json(200, 1, { "x" })': /names of headers are texts/, 'respond.error(404, "x")': /string expected/,
    'respond.html()': /string expected/, 'respond.html("x", 99) respond.html("x", "no")': /a status of 200 to 599/, 'respond.redirect("")': /a URL without control characters/, 'respond.redirect("/x\\r\\nA: b")': /a URL without control characters/,
    'respond.redirect("/", 200)': /a status of 300 to 399/, 'respond.cookie("a b", "")': /a name without blanks/, 'respond.cookie("a", "", { maxAge = 1 })': /maxAge: unknown key; did you mean `max_age`/,
    'respond.cookie("a", "", { max_age = 1.5 })': /max_age: must be a whole number/, 'respond.cookie("a", "", { path = "/;x" })': /path: must be a text without/,
    'respond.cookie("a", "", { domain = 5 })': /domain: must be a text/, 'respond.cookie("a", "", { secure = 1 })': /secure: must be true or false/,
    'respond.cookie("a", "", { same_site = "x" })': /same_site: must be Strict, Lax or None/, 'respond.cookie("a", "", { same_site = "None", secure = false })': /browsers drop such a cookie/,
    'respond.cookie("a", "", { partitioned = true, secure = false })': /browsers drop such a cookie/,
  };
  const checks = Object.keys(rows).map((code) => `{ pcall(function() ${code} end) }`);
  const h = await start(t, { files: deployment({ all: `return function() return json.encode { ${checks.join(', ')} } end` }) });
  for (const [i, [ok, why]] of (await h.call('all')).json().entries()) {
    const [code, wanted] = Object.entries(rows)[i];
    assert.equal(ok, false, code);
    assert.match(why, wanted, code);
  }
});

test('a cookie comes back as it was given, whatever is in it', async (t) => {
  const values = ['plain', '', 'a b', 'ö "x"; y, \\ %41', '=&+'];
  const h = await start(t, { files: deployment({
    set: `return function() return { statusCode = 200, multiValueHeaders = { ["Set-Cookie"] = { ${values.map((v, i) => `respond.cookie("c${i}", ${lua(v)})`).join(', ')} } } } end`,
    all: 'return function() return respond.cookie("a", "b", { max_age = 60, path = "/x", domain = "a.example", secure = true, http_only = false, same_site = "none", partitioned = true }) end',
    get: 'return function(event) return json.encode(event:cookies()) end',
  }) });
  const set = (await h.call('set')).headers['set-cookie'];
  for (const line of set) assert.match(line, /^c\d=[!#-+\--:<-\[\]-~]*; Secure; HttpOnly; SameSite=Lax$/);
  const back = (await h.call('get', { headers: { Cookie: set.map((l) => l.split(';')[0]).join('; ') } })).json();
  assert.deepEqual(back, Object.fromEntries(values.map((v, i) => [`c${i}`, v])));
  assert.equal((await h.call('all')).text, 'a=b; Max-Age=60; Path=/x; Domain=a.example; Secure; SameSite=None; Partitioned');
});
