// Hosts behind fetch and rewrites that do not keep to the rules: every user gets his own answer, and no
// request is made twice.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, lua, start } from '../lib/host.mjs';
import { AUDIENCE, Issuer } from '../lib/issuer.mjs';
import { answer, rawUpstream } from '../lib/upstream.mjs';

// Two ways to an upstream: a rewrite, and a function that fetches what its query says.
const FETCH = `local BASE = %q
return function(event)
  local q = event.queryStringParameters
  local ok, res = pcall(fetch, BASE .. q.path, { method = q.method, body = q.body, timeout = tonumber(q.timeout) })
  if not ok then return { statusCode = 599, body = tostring(res) } end
  return { statusCode = 200, body = res:text(), headers = { ["X-Status"] = tostring(res.status) } }
end`;

async function host(t, up) {
  const h = await start(t, {
    files: deployment({ get: FETCH.replace('%q', JSON.stringify(up.url)) }, {
      fields: { get: 'fetch = { "127.0.0.1" }' },
      more: `redirects = { { from = "/px/*", to = "${up.url}/:splat", status = 200 } }`,
    }),
  });
  return {
    h,
    rewrite: async (method, path, body) => {
      const res = await h.request({ method, path: `/px${path}`, body });
      return { status: res.status, text: res.text };
    },
    fetch: async (method, path, body) => {
      const query = new URLSearchParams({ method, path, ...(body === undefined ? {} : { body }) });
      const res = await h.call('get', { suffix: `?${query}` });
      return { status: Number(res.header('x-status') ?? res.status), text: res.text };
    },
  };
}

// What makes an upstream's answer be followed by something. `first` is written as the answer; `later` is an
// answer to nobody, or the rest of one, that comes afterwards. Written with the answer of another in mind:
// if it is read as the next answer, somebody gets what is not his.
const stray = answer('somebody else\'s');
const FLAWS = {
  'the body of a HEAD': { method: 'HEAD', first: `HTTP/1.1 200 OK\r\nContent-Length: ${stray.length}\r\n\r\n`, later: stray, status: 200 },
  'the body of a 204': { first: 'HTTP/1.1 204 No Content\r\n\r\n', later: stray, status: 204 },
  'the body of a 304': { first: `HTTP/1.1 304 Not Modified\r\nContent-Length: ${stray.length}\r\n\r\n`, later: stray, status: 304 },
  'an answer that nobody asked for': { first: answer('first'), later: stray, status: 200, unasked: true },
  'half an answer behind a body with a length': { first: answer('first') + stray.slice(0, 20), later: stray.slice(20), status: 200 },
  'half an answer behind a body in chunks': {
    first: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n0\r\n\r\n${stray.slice(0, 20)}`, later: stray.slice(20), status: 200,
  },
  'an answer with an empty body, and the beginning of another': { first: answer('') + stray.slice(0, 20), later: stray.slice(20) + stray, status: 200 },
  'a body behind the head of a HEAD at once': { method: 'HEAD', first: `HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst${stray.slice(0, 9)}`, later: stray.slice(9) + stray, status: 200 },
};

// One host with an upstream that does what the last part of a path says, by FLAWS.
async function flawed(t) {
  const late = new Map(); // by connection
  const up = await rawUpstream(t, async (request, conn) => {
    const flaw = FLAWS[decodeURIComponent(request.target.slice(1))];
    if (flaw !== undefined) {
      conn.send(flaw.first);
      late.set(conn, flaw.later);
      return;
    }
    const bytes = late.get(conn);
    late.delete(conn);
    if (bytes !== undefined) await conn.send(bytes);
    conn.send(answer(`for ${request.target}`));
  });
  const release = async () => {
    await Promise.all([...late].map(([conn, bytes]) => conn.send(bytes)));
    late.clear();
  };
  return { ...await host(t, up), release };
}

for (const way of ['rewrite', 'fetch']) {
  test(`${way}: what a host sends to nobody is no answer to the next user`, async (t) => {
    const ways = await flawed(t);
    for (const [name, flaw] of Object.entries(FLAWS)) {
      // The rest comes once the first user has his answer; or just when the next request is there, which
      // nobody can see before he has sent it: then such a connection must not have been used at all.
      for (const when of ['at rest', ...(flaw.unasked ? [] : ['at the next request'])]) {
        const first = await ways[way](flaw.method ?? 'GET', `/${encodeURIComponent(name)}`);
        assert.equal(first.status, flaw.status, name);
        if (when === 'at rest') await ways.release();
        for (const user of ['alice', 'bob', 'carol']) {
          assert.deepEqual(await ways[way]('GET', `/${user}`), { status: 200, text: `for /${user}` }, `${name}, ${when}`);
        }
      }
    }
  });

  test(`${way}: a connection that keeps to the rules is used again`, async (t) => {
    const up = await rawUpstream(t, (request, conn) => {
      if (request.target === '/chunks') conn.send('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n');
      else if (request.target === '/empty') conn.send(answer(''));
      else conn.send(answer('ok'));
    });
    const ways = await host(t, up);
    for (const [method, path] of [['GET', '/a'], ['GET', '/chunks'], ['POST', '/b'], ['GET', '/empty'], ['PUT', '/c'], ['GET', '/d']]) {
      assert.equal((await ways[way](method, path, method === 'GET' ? undefined : 'body')).text, path === '/empty' ? '' : 'ok');
    }
    assert.equal(up.connections, 1);
  });

  test(`${way}: a request that a host may have done is not made again`, async (t) => {
    const up = await rawUpstream(t, (request, conn) => {
      if (request.target === '/drop' && conn.served > 0) conn.socket.destroy();
      else if (request.target === '/gone') up.stop();
      else conn.send(answer(request.target));
    });
    const ways = await host(t, up);
    const seen = (method, path) => up.requests.filter((r) => r.method === method && r.target === path).length;
    for (const method of ['POST', 'PATCH']) {
      assert.equal((await ways[way]('GET', '/warm')).status, 200);
      const { status, text } = await ways[way](method, '/drop', 'money');
      assert.equal(status, way === 'fetch' ? 599 : 502);
      if (way === 'fetch') assert.match(text, new RegExp(`closed before the answer; a ${method} is not sent twice \\(ECONNRESET\\)`));
      assert.equal(seen(method, '/drop'), 1, method);
    }
    for (const method of ['GET', 'PUT', 'DELETE']) {
      assert.equal((await ways[way]('GET', '/warm')).status, 200);
      assert.deepEqual(await ways[way](method, '/drop', method === 'GET' ? undefined : 'body'), { status: 200, text: '/drop' });
      assert.equal(seen(method, '/drop'), 2, `${method}: on the old connection and on a new one`);
    }
    // Nothing was sent over a connection that has ended before: a new one will do.
    await ways[way]('GET', '/warm');
    await up.hangUp();
    assert.deepEqual(await ways[way]('POST', '/warm', 'body'), { status: 200, text: '/warm' });
    assert.equal(seen('POST', '/warm'), 1);
    // It was sent and the host is gone: this is no "connection refused", which says that it was not.
    const { text } = await ways[way]('POST', '/gone', 'money');
    if (way === 'fetch') assert.match(text, /ECONNRESET/);
    assert.equal(seen('POST', '/gone'), 1);
  });
}

// An answer about another's token would be another's rights.
test('introspection: what a provider sends to nobody says nothing about the next token', async (t) => {
  const issuer = (await Issuer.start(t)).tenant();
  const word = (sub) => answer(JSON.stringify({ active: true, sub }), { fields: ['Content-Type: application/json'] });
  const up = await rawUpstream(t, async (request, conn) => {
    await conn.send(word(new URLSearchParams(request.body.toString()).get('token')) + word('somebody else').slice(0, 30));
    await conn.send(word('somebody else').slice(30) + word('somebody else'));
  });
  const h = await start(t, {
    files: deployment({ me: 'return function(e, c) return c.identityContext.claims.sub end' }, {
      fields: { me: 'auth = true' },
      more: `  auth = { issuer = ${lua(issuer.issuer)}, audience = ${lua(AUDIENCE)}, introspection = { url = "${up.url}/", client_id = "a", client_secret = "b" } },`,
    }),
  });
  for (const token of ['alice', 'bob', 'carol', 'dave']) {
    const res = await h.call('me', { headers: { Authorization: `Bearer ${token}` } });
    assert.deepEqual([res.status, res.text], [200, token]);
  }
  assert.equal(up.requests.length, 4, 'each is asked for once');
});
