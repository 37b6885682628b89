// kv and rate limits on a server: no memory, and calls of the kernel that fail, at every point of a
// request, over a connection that stays and over one that has to be made anew each time.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { eventually } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { attempt, descriptors, ERRNO, KIND, LONG, SANITIZED } from './fault.mjs';
import { FN, judge, world } from './world.mjs';

const ERRORS = { read: ['EINTR', 'EAGAIN', 'ECONNRESET'], write: ['EAGAIN', 'EPIPE', 'ENOBUFS'], connect: ['ECONNREFUSED', 'EINTR'], socket: ['EMFILE', 'ENFILE'] };

// The commands that are whole in the text, as lists of their parts, and what is left of it.
function commands(text) {
  const list = [];
  for (;;) {
    const head = /^\*(\d+)\r\n/.exec(text);
    if (!head) return { list, rest: text };
    const parts = [];
    let at = head[0].length;
    for (let i = 0; i < Number(head[1]); i++) {
      const size = /^\$(\d+)\r\n/.exec(text.slice(at, at + 20));
      if (!size || text.length < at + size[0].length + Number(size[1]) + 2) return { list, rest: text };
      parts.push(text.substr(at + size[0].length, Number(size[1])));
      at += size[0].length + Number(size[1]) + 2;
    }
    list.push(parts);
    text = text.slice(at);
  }
}

// Counts for nobody: every caller may pass, and every number is 5.
async function server(t, { stays }) {
  const all = new Set();
  const it = net.createServer((socket) => {
    let rest = '';
    all.add(socket);
    socket.on('error', () => {}).on('close', () => all.delete(socket));
    socket.setEncoding('latin1').on('data', (text) => {
      const found = commands(rest + text);
      rest = found.rest;
      for (const [name, , , key] of found.list) {
        if (name === 'PING') socket.write('+PONG\r\n');
        else socket.write(key.includes(':rate:') ? '*3\r\n:1\r\n:5\r\n:1000\r\n' : '$1\r\n5\r\n');
        if (name !== 'PING' && !stays) socket.end();
      }
    });
  });
  await new Promise((resolve) => it.listen(0, '127.0.0.1', resolve));
  later(t, () => { it.close(); all.forEach((socket) => socket.destroy()); });
  return `redis://127.0.0.1:${it.address().port}`;
}

const scripts = { visits: 'return function() return tostring(kv.incr("n")) end', counted: 'return function() return "ok" end' };
const fields = () => ({ counted: 'auth = "public", rate_limit = { limit = 1000000, window = 60 }' });
const requests = {
  visits: () => ({ request: { path: `${FN}visits` }, right: (r) => r.status === 200 && /^(5|nil)$/.test(r.text) }),
  counted: () => ({ request: { path: `${FN}counted` }, right: (r) => r.status === 200 && r.text === 'ok' }),
};

async function sweep(w, name, what) {
  const tally = {};
  for (let n = 1; ; n += LONG || n < 12 ? 1 : 3) {
    const one = requests[name]();
    w.faults.arm({ ...what, n });
    const out = await attempt(w.faults, w.host, one.request, { patience: 8000 });
    const { struck } = w.faults;
    const kind = judge(w, `${name}, ${JSON.stringify(what)} ${n}`, one, out, struck);
    const again = await attempt(w.faults, w.host, one.request);
    assert.equal(judge(w, `${name}, ${JSON.stringify(what)} ${n}, and then again`, one, again, 0), 'right');
    if (struck === 0) return tally;
    tally[kind] = (tally[kind] ?? 0) + 1;
    assert.ok(n < 2000);
  }
}

for (const stays of [true, false]) {
  test(`a store on a server whose connection ${stays ? 'stays' : 'ends after each answer'}`, async (t) => {
    const w = await world(t, { scripts, fields, env: { KV_URL: await server(t, { stays }) } });
    const good = async () => {
      const { res } = await attempt(w.faults, w.host, requests.visits().request);
      return res?.text === '5' && (await attempt(w.faults, w.host, requests.counted().request)).res?.status === 200;
    };
    await eventually(good, 5, 'it serves');
    const before = descriptors(w.worker);
    const kinds = SANITIZED ? [] : [{ kinds: KIND.alloc }, { kinds: KIND.alloc, forever: true }];
    for (const [kind, errors] of Object.entries(ERRORS)) kinds.push(...errors.map((error) => ({ kinds: KIND[kind], error: ERRNO[error] })));
    for (const what of kinds) {
      for (const name of Object.keys(requests)) {
        const tally = await sweep(w, name, what);
        t.diagnostic(`${name} ${JSON.stringify(what)}: ${JSON.stringify(tally)}`);
        await eventually(good, 5, 'it serves again');
      }
    }
    await eventually(() => descriptors(w.worker) <= before, 5, `descriptors ${descriptors(w.worker)}, before ${before}`);
    assert.deepEqual(w.faults.crashes(), []);
  });
}
