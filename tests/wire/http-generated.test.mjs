// Requests made by rule (tests/lib/http-vectors.mjs), each with another request behind it, against
// what the RFCs say (tests/lib/http-oracle.mjs): the same requests reach the application, with the
// same bodies, and not one more. Each is sent whole, one in 16 byte by byte too; HTTP_ALL=1 makes
// more of them (45,000) and sends all both ways, which takes minutes.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, SLOW, start } from '../lib/host.mjs';
import { expected } from '../lib/http-oracle.mjs';
import { everyByte, everyFraming, everyHead, everyPlace } from '../lib/http-vectors.mjs';
import { parseResponse, Wire } from '../lib/wire.mjs';

const SHOW = `return function(event)
  local b = event.body or ""
  return { statusCode = 200, headers = { ["X-Method"] = event.httpMethod, ["X-Body"] = url.encode(event.isBase64Encoded and base64.decode(b) or b) }, body = "show" }
end`;
const NEXT = 'GET /.netlify/functions/next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const AT_ONCE = 48;
const ALL = process.env.HTTP_ALL === '1';
const BYTEWISE = ALL ? 1 : 16; // one in so many
const SAMPLE = SLOW > 1 ? 8 : 1; // of all
const SEEN = [/^(https?:\/\/[^/?]*)?\/\.netlify\/functions\/show(\?|$)/i, /^\/\.netlify\/functions\/next$/];

const host = (t) => start(t, {
  files: deployment({ show: SHOW, next: 'return function() return "next" end' }, { more: 'limits = { body = "64KB", head_timeout = 120, body_timeout = 120 },' }),
});

function answers(bytes, requests) {
  const list = [];
  for (let rest = bytes; rest.length > 0;) {
    const finals = list.filter((r) => r.status >= 200).length;
    const got = parseResponse(rest, { ended: true, head: requests[finals]?.method === 'HEAD' });
    assert.ok(got, `half an answer: ${JSON.stringify(rest.toString('latin1').slice(0, 200))}`);
    list.push(got.response);
    rest = got.rest;
  }
  return list;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

// All that came back for these pieces and the end of the stream.
async function exchange(h, pieces, requests) {
  const wire = await Wire.connect(h.address, h.port);
  try {
    for (const piece of pieces) {
      if (wire.ended) break;
      wire.send(piece);
      if (pieces.length > 1) await turn();
    }
    wire.half();
    return answers(await wire.closed(), requests);
  } finally {
    wire.close();
  }
}

function judgeAccepted(what, want, res) {
  assert.ok(res, `${what}: no answer`);
  const [show, next] = SEEN.map((r) => r.test(want.target));
  if (!show && !next) { // a path of no function, or one that cannot be resolved
    assert.ok([200, 204, 400, 404].includes(res.status), `${what}: ${res.status}`);
    return;
  }
  assert.ok(res.status === 200 || (want.method === 'OPTIONS' && res.status === 204), `${what}: ${res.status} ${res.text.slice(0, 100)}`);
  if (show && res.header('x-method')) {
    assert.equal(res.header('x-method'), want.method, what);
    const shown = !['GET', 'HEAD'].includes(want.method) && want.fields.some(([n, v]) => n === 'content-type' && v === 'text/plain');
    // What is not UTF-8 in a text is shown as U+FFFD, of which the bytes are compared.
    const text = () => Buffer.from(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Buffer.from(want.body, 'latin1'))).toString('latin1');
    if (shown) assert.equal(unescape(res.header('x-body')), text(), what);
  }
}

function judge(what, wanted, list) {
  const finals = list.filter((r) => r.status >= 200);
  const codes = list.map((r) => r.status);
  const of = (n) => `${what}, answer ${n + 1} of ${codes}`;
  wanted.forEach((want, n) => {
    const res = finals[n];
    if (want.half) {
      assert.ok(res === undefined || [400, 408, 413, 501, 505].includes(res.status), of(n));
    } else if (want.ok) {
      judgeAccepted(of(n), want, res);
    } else {
      assert.ok(res && want.statuses.includes(res.status), `${of(n)}: not one of ${want.statuses}`);
      assert.match(res.header('connection') ?? '', /\bclose\b/i, of(n));
      if (want.method !== 'HEAD') assert.equal(typeof res.json().error, 'string', of(n));
    }
  });
  assert.ok(finals.length <= wanted.length, `${what}: ${codes}, more than ${wanted.length}`);
}

async function one(h, [what, text], bytewise) {
  const wanted = expected(text + NEXT);
  const bytes = Buffer.from(text + NEXT, 'latin1');
  judge(what, wanted, await exchange(h, [bytes], wanted));
  if (!bytewise) return;
  const pieces = [...bytes.subarray(0, text.length)].map((b) => Buffer.of(b));
  judge(`${what}, byte by byte`, wanted, await exchange(h, [...pieces, Buffer.from(NEXT)], wanted));
}

// All of them, and every one that is judged wrong; the counts show that both kinds are there.
async function all(h, vectors) {
  const wrong = [];
  const count = { accepted: 0, refused: 0 };
  const list = [...vectors].filter((_, i) => i % SAMPLE === 0);
  const work = async () => {
    for (let next = list.pop(); next; next = list.pop()) {
      count[expected(next[1] + NEXT)[0]?.ok ? 'accepted' : 'refused']++;
      try { await one(h, next, list.length % BYTEWISE === 0); } catch (e) { wrong.push(e.message); }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  assert.equal(wrong.length, 0, `${wrong.length} wrong:\n${wrong.slice(0, 40).join('\n')}`);
  return count;
}

for (const [what, make] of Object.entries({
  'every byte at every position of the grammar': everyByte,
  'every byte of a request lost, doubled, replaced': everyPlace,
  'every spelling of the framing': everyFraming,
  'every host, target, version and method': everyHead,
})) {
  test(what, async (t) => {
    const h = await host(t);
    const { accepted, refused } = await all(h, make(ALL));
    t.diagnostic(`${accepted} with a good first request, ${refused} without`);
    assert.ok(accepted > 20 && refused > 20, `${accepted}, ${refused}`);
    assert.equal((await h.call('next')).text, 'next');
  });
}
