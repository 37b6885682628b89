// html.render and html.escape: no value can become markup, a URL that runs, or code, wherever in a page it stands;
// and what is wrong with a template is told with its line.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, start, write } from '../lib/host.mjs';
import { CONTEXTS, PAYLOADS } from '../lib/xss.mjs';

const SCRIPTS = {
  render: `return function(event)
    local v = event:json()
    return respond.html(html.render(v.template, v.values))
  end`,
  escape: 'return function(event) return html.escape(event:json()) end',
  waits: `return function(event)
    local values = setmetatable({}, { __index = function(_, name) return name == "n" and event.queryStringParameters.n or nil end })
    return html.render("{% for i in a %}{{ i }}{% end %}{{ n }}", setmetatable({ a = { 1, 2 } }, { __index = function(_, k) return values[k] end }))
  end`,
};
const post = (h, name, value) => h.call(name, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });
const render = async (h, template, values = {}) => {
  const res = await post(h, 'render', { template, values });
  return res.status === 200 ? res.text : `${res.status} ${res.json().errorMessage}`;
};
const host = (t, files = {}) => start(t, { command: 'dev', files: deployment(SCRIPTS, { files, fields: { render: 'memory = "64MB", cpu = 10, timeout = 60' } }) });

test('no payload gets through in any context', async (t) => {
  const h = await host(t);
  let count = 0;
  for (const [name, [page, holds]] of Object.entries(CONTEXTS)) {
    const [before, after] = page.split('X');
    const template = `{% for x in xs %}${page.replace('X', '{{ x }}')}\n{% end %}`;
    const text = await render(h, template, { xs: PAYLOADS });
    let at = 0;
    for (const payload of PAYLOADS) {
      assert.ok(text.startsWith(before, at), `${name}: ${JSON.stringify(payload)}: ${text.slice(at, at + 80)}`);
      at += before.length;
      const end = text.indexOf(`${after}\n`, at);
      assert.ok(end >= 0, name);
      try {
        holds(text.slice(at, end), payload);
      } catch (error) {
        error.message = `${name}: ${JSON.stringify(payload)}: ${JSON.stringify(text.slice(at, end))}: ${error.message}`;
        throw error;
      }
      at = end + after.length + 1;
      count++;
    }
    assert.equal(at, text.length, name);
  }
  assert.equal(count, PAYLOADS.length * Object.keys(CONTEXTS).length);
});

test('places that no escaping makes safe are refused, with the line', async (t) => {
  const h = await host(t);
  for (const [template, why] of [
    ['<p title={{ x }}>', /^502 template:1: \{\{ x \}\} stands in an attribute without quotes/], ['<p title={{ x }}', /without quotes/], ['<p a=b{{ x }}>', /without quotes/],
    ['\n\n<{{ x }}>', /^502 template:3: .*name of a tag/], ['<p {{ x }}>', /name of a tag/], ['<p on{{ x }}="1">', /name of a tag/], ['</{{ x }}>', /name of a tag/], ['<!doctype {{ x }}>', /declaration/],
    ['<a href="javascript:{{ x }}">', /scheme is not/], ['<a href="vbscript:f({{ x }})">', /scheme is not/], ['<a href="data:text/html,{{ x }}">', /scheme is not/], ['<a href="{{ x }}:{{ x }}">', /scheme would be a value/], ['<a href="feed:{{ x }}">', /scheme is not/],
    ['<script>var a = "{{ x }}"</script>', /stands in a string of a script/], ["<script>var a = '{{ x }}'</script>", /string of a script/], ['<script>var a = `{{ x }}`</script>', /string of a script/],
    ['<script>// {{ x }}\n</script>', /comment of a script/], ['<script>/* {{ x }} */</script>', /comment of a script/], ['<script>a = /{{ x }}/</script>', /slash in a script/], ['<script>a = /b{{ x }}/</script>', /string of a script/],
    ['<script>a = `${b + {{ x }}}`</script>', /string of a script/], ['<script>a = `${`b`}`; c = {{ x }}</script>', /not followed|string of a script/], ['<script>if (a) /"/.test(b); c = "{{ x }}"</script>', /string of a script|not followed/],
    ['<script><!-- \n{{ x }}</script>', /comment of HTML in a script/], ['<p onclick="f(\'{{ x }}\')">', /string of a script/], ['<p onclick="f(&quot;{{ x }}&quot;)">', /not followed/],
    ['{% if x %}<p title="{% end %}{{ x }}">', /^502 template:1: the block of line 1 ends in another place/], ['{% if x %}<script>{% else %}<style>{% end %}{{ x }}', /ends in another place/],
    ['{% for a in x %}<p {% end %}>', /ends in another place/], ['<script>{% if x %}"{% end %}{{ x }}</script>', /ends in another place/], ['<p', /the page ends within a tag/], ['<script>', /the page ends within/],
    ['<p =a>', /a `=` stands where/], ['<iframe srcdoc="{{ x }}">', /page in an attribute/], ['<a href="{{ x }}:alert(1)">', /a URL's scheme would be a value/], ['<a href="{% if x %}{{ x }}{% end %}:a">', /scheme would be/],
    ['<a {% if x %}href{% else %}title{% end %}="{{ x }}">', /put together of pieces/], ['<a {% if x %}hr{% end %}ef="{{ x }}">', /put together of pieces/], ['<a {% for y in xs %}ef="{{ y }}" hr{% end %}>', /the loop of line 1 ends in another place/],
    ['<a href="{% for y in xs %}{{ y }}:{% end %}">', /scheme would be|the loop of line 1/], ['<a href="{% for y in xs %}{{ y }}{% end %}">', /the loop of line 1/], ['<script></scr{{ x }}</script>', /may be the end of this element/],
    ['<script>x++ /2; a="b/{{ x }}"</script>', /not followed|string of a script/], ['<script>a = <!-- b\n</script>', /comment of HTML/], ['<p {% if x %}title={% end %}"{{ x }}">', /ends in another place/],
  ]) assert.match(await render(h, template, { x: 'a' }), why, template);
  for (const [template, text] of [
    ['<option {% if x %}selected{% end %}>', '<option selected>'], ['<p {% if no %}a="b"{% else %}c="{{ x }}"{% end %}>', '<p c="a">'], ['<a href="{% if x %}/b/{% end %}{{ x }}">', '<a href="/b/a">'],
    ['<script>f({% for i, a in xs %}{{ a }},{% end %}0); g({{ x }})</script>', '<script>f(1,"b",0); g("a")</script>'], ['<script>a=1/2; b="/"; c={{ x }}</script>', '<script>a=1/2; b="/"; c="a"</script>'],
    ['<script>return{{ n }}</script>', '<script>return 3</script>'], ['<a href="https://{{ x }}/">', '<a href="https://a/">'], ['a < b {{ x }} <3', 'a < b a <3'], ['<svg/onload=1>{{ x }}', '<svg/onload=1>a'], ['<a href="/?{% for i, a in xs %}&v={{ a }}{% end %}">', '<a href="/?&v=1&v=b">'],
    ['<img srcset="{% for i, a in xs %}{{ a }} {{ i }}x, {% end %}">', '<img srcset="1 1x, b 2x, ">'], ['<!--{{ x }}--><b>{{ x }}</b>', '<!----><b>a</b>'], ['<script>if (a<!b) c({{ x }})</script>', '<script>if (a<!b) c("a")</script>'],
    ['<p {% if x %}title="a"{% end %}class="{{ x }}">', '<p title="a"class="a">'], ['<p class="{% for i, a in xs %}{{ a }} {% end %}">', '<p class="1 b ">'],
  ]) assert.equal(await render(h, template, { x: 'a', n: 3, xs: [1, 'b'] }), text, template);
});

test('the language: values, loops, conditions, trusted markup', async (t) => {
  const h = await host(t);
  const values = { s: 'a', n: 3, f: 1.5, yes: true, no: false, null: null, list: ['a', 'b'], empty: [], map: { b: 2, a: 1 }, deep: { list: [{ x: [1, 2] }, { x: [] }] }, html: '<b>&</b>' };
  for (const [template, text] of [
    ['', ''], ['plain { } {x} % }}', 'plain { } {x} % }}'], ['{{ s }} {{n}} {{ f }} {{ yes }} {{ no }} [{{ null }}{{ missing }}]', 'a 3 1.5 true false []'], ['{{ html }}{{{ html }}}', '&lt;b&gt;&amp;&lt;/b&gt;<b>&</b>'],
    ['{{ n + 1 }} {{ s .. "b" }} {{ #list }} {{ list[2] }} {{ map["a"] }} {{ not no and (s or "x") }} {{ n // 2 }} {{ "}}" }} {{ \'{{\' }}', '4 ab 2 b 1 a 1 }} {{'],
    ['{% for x in list %}{{ x }};{% end %}{% for i, x in list %}{{ i }}={{ x }};{% end %}{% for x in empty %}never{% end %}', 'a;b;1=a;2=b;'], ['{% for k, v in map %}{{ k }}={{ v }};{% end %}', 'a=1;b=2;'],
    ['{% for d in deep.list %}{% for x in d.x %}{{ x }}{% end %}|{% end %}', '12||'], ['{% if n > 2 %}big{% elseif n == 2 %}two{% else %}small{% end %}{% if missing %}x{% end %}', 'big'],
    ['{%if yes%}a{%else%}b{%end%}', 'a'], ['{{\n n\n}}\n', '3\n'], ['ä{{ s }}\r\n\\"\t\0', 'äa\r\n\\"\t\0'],
  ]) assert.equal(await render(h, template, values), text, template);
  assert.equal((await post(h, 'escape', `<a href="x">'&'</a>`)).text, '&lt;a href=&#34;x&#34;&gt;&#39;&amp;&#39;&lt;/a&gt;');
  assert.equal((await h.call('waits?n=%3Cx')).text, '12&lt;x');
  const many = Array.from({ length: 200000 }, (_, i) => i);
  assert.equal((await render(h, '{% for x in xs %}{{ x }},{% end %}', { xs: many })).length, many.join().length + 1, 'over many slices');
});

test('what is wrong with a template names its line', async (t) => {
  const h = await host(t);
  for (const [template, why] of [
    ['a\n{{ x.y.z }}', /^502 (template:2: )?attempt to index a nil value/], ['\n\n{% for x in nothing %}{% end %}', /`for` goes over a list, not a nil value/], ['{% for x in map %}{% end %}', /for name, value in table/],
    ['{{ map }}', /a table is no text of a page/], ['a\n{{ x', /^502 template:2: \{\{ has no end/], ['{% if x', /^502 template:1: \{% has no end/], ['{% if x %}', /^502 template:1: this block has no \{% end %\}/],
    ['\n{% end %}', /^502 template:2: `end` belongs to no block/], ['{% else %}', /`else` belongs to no `if`/], ['{% if a %}{% else %}{% else %}{% end %}', /`else` belongs to no/], ['{% set x = 1 %}', /`set` is none of for, if/],
    ['{{ }}', /an expression is missing/], ['{{ f(x) }}', /`\(` begins a call: templates call nothing/], ['{{ f"x" }}', /is called with a text/], ['{{ ("x"):rep(9) }}', /`:` begins a call/], ['{{ f{} }}', /begins a table/], ['{{ x[1](2) }}', /begins a call/],
    ['{{ x = 1 }}', /`=` is no part of an expression/], ['{{ function() end }}', /`function` is no part/], ['{{ x -- }}\n}}', /a comment stands in|has no end/], ['{{ x) or (x }}', /closes what was not opened/], ['{{ (x }}', /has no end/], ['{{ x, y }}', /`,` is no part/],
    ['{{ [[ }} ]] }}', /has no end|text without an end/], ['{{ "a }}', /has no end|text without an end/], ['{{ __w }}', /templates have for themselves/], ['{{ _ENV }}', /templates have for themselves/], ['{% for __o in list %}{% end %}', /templates have for themselves/],
    ['{{ x + }}', /^502 (template:1: )?unexpected symbol/], ['{% for x of list %}{% end %}', /write \{% for x in list %\}/], ['{% for x in list if x %}{% end %}', /`if` is no part/], ['{% include x %}', /write \{% include "part.html" %\}/], ['{% include "x.txt" %}', /it ends in \.html/],
    [`${'{% if x %}'.repeat(31)}`, /more than 30 times/], ['{{ ...  }}', /is no part/], ['{{ os.exit }}', /attempt to index a nil value/],
  ]) assert.match(await render(h, template, { map: { a: 1 }, list: [1] }), why, template);
  await h.says(/template:2: attempt to index a nil value \(field 'y'\)|template:2: attempt to index a nil value \(global 'x'\)/);
});

test('files: beside the script, included, told by name and line, made anew when they change', async (t) => {
  const files = {
    'scripts/views/page.html': '<h1>{{ title }}</h1>{% for x in xs %}{% include "views/part.html" %}{% end %}',
    'scripts/views/part.html': '<i>{{ x }} of {{ title }}</i>',
    'scripts/views/loop.html': 'a{% include "views/back.html" %}', 'scripts/views/back.html': '{% include "views/loop.html" %}',
    'scripts/views/self.html': '{% include "views/self.html" %}',
    'scripts/views/wrong.html': 'a\nb\n{{ x( }}', 'scripts/views/outer.html': '{% include "views/wrong.html" %}', 'scripts/views/in-tag.html': '<p {% include "views/part.html" %}>',
    'scripts/views/run.html': '\n{{ x.y.z }}', 'secret.html': 'secret', 'scripts/.hidden.html': 'secret',
  };
  const h = await host(t, files);
  assert.equal(await render(h, 'views/page.html', { title: 'T<', xs: ['a', '"'] }), '<h1>T&lt;</h1><i>a of T&lt;</i><i>&#34; of T&lt;</i>');
  assert.match(await render(h, 'views/self.html'), /'views\/self\.html' includes itself/);
  assert.match(await render(h, 'views/loop.html'), /'views\/loop\.html' includes itself, directly or through others/);
  assert.match(await render(h, 'views/outer.html'), /^502 (scripts\/views\/wrong\.html:3: )?`\(` begins a call/);
  assert.match(await render(h, 'views/in-tag.html'), /`include` stands within a tag/);
  assert.match(await render(h, 'views/run.html'), /attempt to index a nil value/);
  await h.says(/scripts\/views\/run\.html:2: attempt to index a nil value/);
  assert.match(await render(h, 'views/none.html'), /scripts\/views\/none\.html: cannot be opened/);
  for (const name of ['../secret.html', '/etc/x.html', 'views/../../secret.html', '.hidden.html', 'views//page.html', './views/page.html']) {
    assert.match(await render(h, name), /is no file beside the script/, name);
  }
  write(h.dir, { 'scripts/views/part.html': '<b>{{ x }}</b>' });
  await eventually(async () => (await render(h, 'views/page.html', { title: 'T', xs: ['a'] })).includes('<b>'), 10, 'the new part');
  assert.equal(await render(h, 'views/page.html', { title: 'T', xs: ['a'] }), '<h1>T</h1><b>a</b>');
});
