// RFC 9112 and RFC 9110 on raw bytes: tests/lib/http-cases.mjs, each case whole, byte by byte, and
// cut in two at every place.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, start } from '../lib/host.mjs';
import { FRAMING } from '../lib/http-cases.mjs';
import { parseResponse, Wire } from '../lib/wire.mjs';

const SHOW = `return function(event)
  return json.encode { method = event.httpMethod, url = event.rawUrl, query = event.rawQuery,
    headers = event.headers, body = event.body or json.null }
end`;
const HELLO = '/.netlify/functions/hello';
// What comes behind: answered only where the request before it is whole and right.
const NEXT = `GET ${HELLO} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;
const CUT_MAX = 400; // longer requests are cut near both ends only

const host = (t) => start(t, {
  files: deployment({ show: SHOW, hello: 'return function() return "hello" end' },
    { more: '  limits = { body = "64KB", header = "16KB" },' }),
});

function answers(bytes) {
  const list = [];
  for (let rest = bytes; rest.length > 0;) {
    const got = parseResponse(rest, { ended: true });
    assert.ok(got, `half an answer: ${JSON.stringify(rest.toString('latin1').slice(0, 200))}`);
    list.push(got.response);
    rest = got.rest;
  }
  return list;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

// Sends the pieces, each as a segment of its own as far as that can be had; all that came back.
async function exchange(h, pieces, pause = turn) {
  const wire = await Wire.connect(h.address, h.port);
  try {
    for (const piece of pieces) {
      if (wire.ended) break;
      wire.send(piece);
      await pause();
    }
    return answers(await wire.closed());
  } finally {
    wire.close();
  }
}

function judgeBad(what, list, statuses) {
  assert.equal(list.length, 1, `${what}: ${list.map((r) => r.status)}`);
  const [res] = list;
  assert.ok(statuses.includes(res.status), `${what}: ${res.status}, not one of ${statuses}`);
  assert.match(res.header('connection') ?? '', /\bclose\b/i, what);
  assert.equal(typeof res.json().error, 'string', what);
}

function judgeGood(what, list, check) {
  const last = list.at(-1);
  const codes = list.map((r) => r.status);
  if (Array.isArray(check)) {
    assert.ok(codes.slice(0, -1).every((c) => check.includes(c)) && codes.length > 1, `${what}: ${codes}`);
  } else {
    assert.deepEqual(codes, [200, 200], what);
    assert.ok(check === undefined || check(list[0].json()), `${what}: ${list[0].text}`);
  }
  assert.equal(last.text, 'hello', what);
}

// The places to cut at.
function cuts(length) {
  const list = Array.from({ length: length - 1 }, (_, i) => i + 1);
  return length <= CUT_MAX ? list : [...list.slice(0, 80), ...list.slice(-80)];
}

async function everyWay(h, what, text, judge) {
  const bytes = Buffer.from(text + NEXT, 'latin1');
  const own = Buffer.byteLength(text, 'latin1');
  judge(what, await exchange(h, [bytes]));
  if (own > 2000) return;
  judge(`${what}, byte by byte`, await exchange(h, [...bytes].map((b) => Buffer.of(b))));
  await Promise.all(cuts(own).map(async (at) => {
    judge(`${what}, cut at ${at}`, await exchange(h, [bytes.subarray(0, at), bytes.subarray(at)]));
  }));
}

for (const { rule, bad, good } of FRAMING) {
  test(rule, async (t) => {
    const h = await host(t);
    for (const [what, [text, check]] of Object.entries(good)) {
      await t.test(`passes: ${what}`, () => everyWay(h, what, text, (w, list) => judgeGood(w, list, check)));
    }
    for (const [what, [text, statuses = [400]]] of Object.entries(bad)) {
      await t.test(`refused: ${what}`, () => everyWay(h, what, text, (w, list) => judgeBad(w, list, statuses)));
    }
    assert.equal((await h.call('hello')).text, 'hello');
  });
}
