// What attackers write, and pages that show it: for each context a template with one value between marks, and how a
// browser reads what stands between them. One list for the wire tests and for a real browser.
import assert from 'node:assert/strict';
import vm from 'node:vm';

export const PAYLOADS = [
  '<script>hacked()</script>', '<img src=x onerror=hacked()>', '<svg onload=hacked()>', '"><script>hacked()</script>', "'><script>hacked()</script>",
  '" onmouseover="hacked()" x="', "' onfocus='hacked()' autofocus x='", '" autofocus onfocus=hacked() x="', '`-hacked()-`', '</script><script>hacked()</script>',
  '</SCRIPT ><svg onload=hacked()>', '<!--<script>', '-->', '--!><svg onload=hacked()>', ']]><svg onload=hacked()>', '</title><svg onload=hacked()>', '</textarea><svg onload=hacked()>',
  '</style><svg onload=hacked()>', '<iframe srcdoc="<script>parent.hacked()</script>">', '&lt;script&gt;hacked()&lt;/script&gt;', '&#60;svg onload=hacked()&#62;', '&quot; onload=hacked()',
  'javascript:hacked()', 'JaVaScRiPt:hacked()', ' javascript:hacked()', '\tjavascript:hacked()', 'java\nscript:hacked()', '\u0001javascript:hacked()', 'javascript&colon;hacked()',
  'javascript&#58;hacked()', 'vbscript:hacked()', 'data:text/html,<script>parent.hacked()</script>', 'data:text/html;base64,PHNjcmlwdD5oYWNrZWQoKTwvc2NyaXB0Pg==', 'feed:javascript:hacked()',
  'view-source:javascript:hacked()', '//evil.example/x', 'https:hacked()', '";hacked();//', "';hacked();//", '\\";hacked();//', '\\', '\\u0022;hacked();//', '${hacked()}', ');hacked();(',
  '*/hacked();/*', '\u2028hacked()', '\u2029hacked()', '\nhacked()', 'expression(hacked())', 'red;background:url(javascript:hacked())', 'url("javascript:hacked()")', '}*{background:url(//evil.example)}',
  '\\75rl(javascript:hacked())', '/**/hacked', '{{7*7}}', '{{{x}}}', '{% include "x" %}', '%3Cscript%3Ehacked()%3C/script%3E', '%', '\0', 'a\0b', '<', '>', '&', '"', "'", '`', '=', ' ',
  '\ufeff<script>', '+ADw-script+AD4-hacked()+ADw-/script+AD4-', '1', 'plain text', 'ä ö € 😀', '../../x', '?a=b&c=d#e', '<a href=javascript:hacked()>x</a>', '--><script>hacked()</script><!--',
];

const ENTITIES = { amp: '&', lt: '<', gt: '>', '#34': '"', '#39': "'" };
const decode = (html) => html.replace(/&([^;]*);/g, (_, name) => ENTITIES[name] ?? assert.fail(`&${name};`));
const inert = (html) => assert.doesNotMatch(html, /[<>"']/);
const SAFE = /^(https?:|mailto:|tel:|about:invalid$)/i;

// Another program's opinion of the URL: what a browser on the page http://page.example/ would go to.
function url(html, payload) {
  inert(html);
  const there = new URL(decode(html), 'http://page.example/a/b');
  assert.match(there.href, SAFE, payload);
}

const script = (text, payload) => {
  assert.doesNotMatch(text, /[<>&\u2028\u2029]/);
  assert.equal(vm.runInNewContext(`(${text})`), payload);
};

// name: [template with X where the value stands, what must hold of what came there]
export const CONTEXTS = {
  text: ['<p>X</p>', (html, payload) => { inert(html); assert.equal(decode(html), payload); }],
  title: ['<title>X</title>', (html, payload) => { inert(html); assert.equal(decode(html), payload); }],
  textarea: ['<textarea>X</textarea>', (html, payload) => { inert(html); assert.equal(decode(html), payload); }],
  comment: ['<!-- X -->', (html) => assert.equal(html, '')],
  'attribute in double quotes': ['<p title="X">x</p>', (html, payload) => { inert(html); assert.equal(decode(html), payload); }],
  "attribute in single quotes": ["<p title='X'>x</p>", (html, payload) => { inert(html); assert.equal(decode(html), payload); }],
  'attribute among text': ['<input value="a X b" autofocus>', inert],
  link: ['<a href="X">x</a>', url],
  source: ["<img src='X'>", url],
  action: ['<form action="X"><button>x</button></form>', url],
  formaction: ['<button formaction="X">x</button>', url],
  'SVG link': ['<svg><a xlink:href="X"><text>x</text></a></svg>', url],
  'set of SVG': ['<svg><a><set attributeName="href" to="X"/></a></svg>', url],
  'part of a path': ['<a href="/shows/X/more">x</a>', (html, payload) => { assert.match(html, /^[\w%.~-]*$/); assert.equal(Buffer.from(decodeURIComponent(html)).toString(), payload); }],
  'part of a query': ['<a href="?q=X&p=1">x</a>', (html) => assert.match(html, /^[\w%.~-]*$/)],
  'rest of a scheme': ['<a href="javaX">x</a>', (html) => assert.match(html, /^[\w%.~-]*$/)],
  srcset: ['<img srcset="/a.png 1x, X 2x">', (html) => { inert(html); assert.doesNotMatch(decode(html), /^[^/?#]*script:/i); }],
  style: ['<p style="color: X">x</p>', (html) => assert.match(html, /^[\w .#%,+-]*$/)],
  'style element': ['<style>p { color: X }</style>', (html) => assert.match(html, /^[\w .#%,+-]*$/)],
  script: ['<script>var x = X;</script>', script],
  'script argument': ['<script>seen("a", X, /["]/, 1)</script>', script],
  'script as data': ['<script type="application/json">{"x":X}</script>', (html, payload) => { assert.doesNotMatch(html, /</); assert.equal(JSON.parse(html), payload); }],
  handler: ['<button onclick="seen(X)">x</button>', (html, payload) => { inert(html); script(decode(html), payload); }],
  'handler in single quotes': ["<details ontoggle='seen(X)'></details>", (html, payload) => { inert(html); script(decode(html), payload); }],
};
