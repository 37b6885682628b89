// examples/pictures: its own tests, and what it does over SQLite and, with one line changed, over PostgreSQL.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import test from 'node:test';
import { later } from '../lib/later.mjs';
import { KINDS, startExample, tokenOf } from '../lib/sql-example.mjs';

const PNG = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');

// The lists that an event stream sends, one a call.
async function listen(t, url, headers) {
  const ended = new AbortController();
  later(t, () => ended.abort());
  const res = await fetch(url, { headers, signal: ended.signal });
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const next = async () => {
    while (!text.includes('\n\n')) {
      const { value, done } = await reader.read();
      assert.ok(!done, `ended after ${JSON.stringify(text)}`);
      text += value;
    }
    const at = text.indexOf('\n\n');
    const event = text.slice(0, at);
    text = text.slice(at + 2);
    return event.split('\n').map((line) => line.replace(/^data: ?/, '')).join('\n');
  };
  return { status: res.status, next };
}

for (const [kind, { skip, url }] of Object.entries(KINDS)) {
  test(`${kind}: its tests pass, it has no fault, and what one hangs up all see at once`, { skip }, async (t) => {
    const h = await startExample(t, 'pictures', url);
    const as = async (who) => ({ authorization: `Bearer ${await tokenOf(t, h, who)}` });
    const [ada, bob] = [await as('ada'), await as('bob')];
    const hangUp = (headers, caption, bytes) => {
      const body = new FormData();
      body.set('picture', new Blob([bytes], { type: 'image/png' }), 'cat.png');
      body.set('caption', caption);
      return fetch(h.url('/'), { method: 'POST', body, headers, redirect: 'manual' });
    };
    const live = await listen(t, h.url('/live'), bob);
    assert.deepEqual([live.status, (await live.next()).trim()], [200, '']);
    for (const size of [20, 300 << 10, 4 << 20]) {
      const bytes = Buffer.concat([PNG, crypto.randomBytes(size)]);
      const posted = await hangUp(ada, `${size} <b>bytes</b>`, bytes);
      assert.deepEqual([posted.status, posted.headers.get('location')], [303, '/'], await posted.text());
      const list = await live.next();
      assert.match(list, new RegExp(`<p>${size} &lt;b&gt;bytes&lt;/b&gt;</p>`));
      const [, at] = /src="([^"]*)"/.exec(list);
      const got = await fetch(h.url(at), { headers: bob });
      assert.equal(got.headers.get('content-type'), 'image/png');
      assert.ok(bytes.equals(Buffer.from(await got.arrayBuffer())), `${size} bytes come back`);
    }
    assert.equal((await hangUp(ada, 'no picture', '<svg onload=alert(1)>')).status, 422);
    assert.equal((await hangUp(ada, 'too large', Buffer.concat([PNG, Buffer.alloc(5 << 20)]))).status, 413);
    assert.equal((await hangUp({}, 'nobody', PNG)).status, 401);
    assert.equal((await (await fetch(h.url('/'), { headers: bob })).text()).split('<li>').length, 4, 'three hang there');
    assert.equal((await h.get('/', { Accept: 'text/html' })).status, 302, 'a browser is sent to sign in');
  });
}
