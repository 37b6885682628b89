// `luafn lambda` against the Runtime API of lib/lambda.mjs.
import assert from 'node:assert/strict';
import test from 'node:test';
import { deployment, eventually, folder, run } from '../lib/host.mjs';
import { queueEvent, restEvent, startLambda, urlEvent } from '../lib/lambda.mjs';
import { gate } from '../lib/upstream.mjs';

const NF = '/.netlify/functions';
const ECHO = `return function(event, context)
  return { statusCode = 201, headers = { ["X-Id"] = context.awsRequestId }, body = json.encode {
    method = event.httpMethod, path = event.path, query = event.rawQuery, headers = event.headers, body = event.body,
    base64 = event.isBase64Encoded, url = event.rawUrl, left = context.getRemainingTimeInMillis() } }
end`;
const SCRIPTS = {
  echo: ECHO,
  bytes: `return function(event) return { statusCode = 200, body = "/wAB", isBase64Encoded = true, headers = { ["Content-Type"] = "image/png" } } end`,
  back: `return function(event) return { statusCode = 200, body = event.body, isBase64Encoded = event.isBase64Encoded } end`,
  cookies: `return function() return { statusCode = 200, headers = { ["X-One"] = "1" }, multiValueHeaders = { ["Set-Cookie"] = { "a=1; Path=/", "b=2" }, Vary = { "A", "B" } }, body = "x" } end`,
  raises: `return function() error("no luck") end`,
  sized: `return function(event) return ("x"):rep(tonumber(event.queryStringParameters.n)) end`,
  slow: `return function() sleep(50) return "late" end`,
  after: `return function() after_response(function() sleep(0.05) kv.set("done", "yes") end) return "first" end`,
  done: `return function() return tostring(kv.get("done")) end`,
  work: `return function(event) kv.set("work", event.body) end`,
  worked: `return function() return tostring(kv.get("work")) end`,
  job: `return function(event)
    if event.body == "bad" then error("bad") end
    if event.body == "no" then return { statusCode = 500 } end
    kv.set("job:" .. event.body, event.headers["x-nf-event"] .. " " .. event.job.id .. " " .. event.job.attempt)
    return { statusCode = 200 }
  end`,
  job_done: `return function(event) return tostring(kv.get("job:" .. event.queryStringParameters.k)) end`,
  locked: `return function() return "in" end`,
  pieces: `return { handler = function() return { statusCode = 200, headers = { ["Content-Type"] = "text/plain" }, body = function(write)
    for i = 1, 20 do write((tostring(i % 10)):rep(20000)) end end } end }`,
  broken: `return function() return { statusCode = 200, body = function(write) write("begun") error("in the middle") end } end`,
  first: `return function() return { statusCode = 200, body = function(write) write("one ") fetch(env.GATE) write("two") end } end`,
};
const KV = 'kv = "shared"';
const FIELDS = {
  echo: 'timeout = 60', locked: 'auth = { scope = "a" }', job: `path = "/jobs", auth = { scope = "a" }, ${KV}`, job_done: KV, after: KV, done: KV, worked: KV,
  work: `background = true, ${KV}`, first: 'fetch = { "127.0.0.1" }, env = { "GATE" }',
};
const MORE = 'publish = "web", redirects = { { from = "/api/*", to = "/.netlify/functions/:splat", status = 200 } }, auth = { issuer = "https://x.example/", audience = "a" }';

async function begin(t, options) {
  const dir = folder(t, deployment(SCRIPTS, { fields: FIELDS, more: MORE, files: { 'web/page.html': '<h1>page</h1>', 'web/big.bin': 'y'.repeat(300000) } }));
  return { dir, ...await startLambda(t, dir, options) };
}

test('events of a function URL go by the routes', async (t) => {
  const { api } = await begin(t);
  const call = api.call(urlEvent('POST', `${NF}/echo`, {
    query: 'a=1&a=%202', headers: { 'content-type': 'text/plain', 'x-many': 'a,b' }, cookies: ['c=1', 'd=2'], body: 'grüße',
  }));
  const post = await call;
  assert.equal(post.path, `invocation/${call.id}/response`);
  const answer = JSON.parse(post.body);
  const seen = JSON.parse(answer.body);
  assert.equal(answer.statusCode, 201);
  assert.equal(answer.headers['X-Id'], call.id);
  assert.equal(answer.isBase64Encoded, false);
  assert.deepEqual([seen.method, seen.path, seen.query, seen.body, seen.base64], ['POST', `${NF}/echo`, 'a=1&a=%202', 'grüße', false]);
  assert.equal(seen.headers.cookie, 'c=1; d=2');
  assert.equal(seen.headers['x-many'], 'a,b');
  assert.equal(seen.headers['client-ip'], '203.0.113.7');
  assert.equal(seen.url, `https://abc.lambda-url.eu-central-1.on.aws${NF}/echo?a=1&a=%202`);

  await t.test('a second one on the same process, by a rewrite', async () => {
    const again = await api.http(urlEvent('GET', '/api/echo'));
    assert.equal(JSON.parse(again.body).path, '/api/echo');
    assert.equal(api.posts.length, 2);
    assert.equal(api.connections, 1);
  });
  await t.test('the stage is no part of the path; what was decoded is escaped again', async () => {
    const seen2 = JSON.parse((await api.http(urlEvent('GET', `/prod${NF}/echo/a b%2Fc/100%/ü`, { stage: 'prod' }))).body);
    assert.equal(seen2.path, `${NF}/echo/a%20b%2Fc/100%25/%C3%BC`);
  });
  await t.test('bytes, both ways', async () => {
    const png = await api.http(urlEvent('GET', `${NF}/bytes`));
    assert.deepEqual([png.isBase64Encoded, png.body, png.headers['Content-Type']], [true, '/wAB', 'image/png']);
    for (const size of [17000, 70000, 300000, 1200000, 3000000]) {
      const bytes = Buffer.alloc(size, 'ab\xff\x00', 'latin1');
      const back = await api.http(urlEvent('POST', `${NF}/back`, { headers: { 'content-type': 'application/octet-stream' }, body: bytes.toString('base64'), base64: true }));
      assert.equal(back.isBase64Encoded, true);
      assert.ok(Buffer.from(back.body, 'base64').equals(bytes), `${size}`);
    }
  });
  await t.test('cookies of an answer stand apart, other fields are joined', async () => {
    const { headers, cookies } = await api.http(urlEvent('GET', `${NF}/cookies`));
    assert.deepEqual(cookies, ['a=1; Path=/', 'b=2']);
    assert.equal(headers.Vary, 'A, B');
    assert.equal(headers['X-One'], '1');
    assert.equal(Object.keys(headers).find((k) => /set-cookie/i.test(k)), undefined);
  });
  await t.test('a fault is the 502 answer', async () => {
    const answer2 = await api.http(urlEvent('GET', `${NF}/raises`));
    assert.equal(answer2.statusCode, 502);
    assert.deepEqual(JSON.parse(answer2.body), { errorType: 'Error', errorMessage: 'no luck' });
  });
  await t.test('policies, 404, files', async () => {
    assert.equal((await api.http(urlEvent('GET', `${NF}/locked`))).statusCode, 401);
    assert.equal((await api.http(urlEvent('GET', '/none'))).statusCode, 404);
    const page = await api.http(urlEvent('GET', '/page'));
    assert.deepEqual([page.statusCode, page.body], [200, '<h1>page</h1>']);
    assert.equal((await api.http(urlEvent('GET', '/big.bin'))).body.length, 300000);
    const head = await api.http(urlEvent('HEAD', '/page'));
    assert.deepEqual([head.statusCode, head.body], [200, '']);
  });
  await t.test('a stream is gathered', async () => {
    assert.equal((await api.http(urlEvent('GET', `${NF}/pieces`))).body.length, 400000);
  });
});

test('events of a REST API', async (t) => {
  const { api } = await begin(t);
  const answer = await api.http(restEvent('GET', `${NF}/echo`, {
    query: { q: ['a b', 'ü&'], e: [''] }, headers: { Host: ['api.example'], 'X-Two': ['1', '2'] },
  }));
  const seen = JSON.parse(answer.body);
  assert.equal(seen.query, 'q=a%20b&q=%C3%BC%26&e=');
  assert.equal(seen.headers['x-two'], '1, 2');
  assert.equal(seen.headers['client-ip'], '203.0.113.8');
  assert.equal(seen.headers.host, 'api.example');
  assert.equal(answer.multiValueHeaders['X-Id'].length, 1);
  assert.equal(answer.headers, undefined);
  const cookies = await api.http(restEvent('GET', `${NF}/cookies`));
  assert.deepEqual(cookies.multiValueHeaders['Set-Cookie'], ['a=1; Path=/', 'b=2']);
  assert.equal(cookies.cookies, undefined);
  await t.test('a load balancer tells a query as it was sent', async () => {
    const event = { ...restEvent('GET', `${NF}/echo`, { context: { elb: {} } }), multiValueHeaders: undefined, headers: { 'x-a': '1' },
      multiValueQueryStringParameters: undefined, queryStringParameters: { q: 'a%20b' } };
    const balanced = await api.http(event);
    assert.equal(JSON.parse(balanced.body).query, 'q=a%20b');
    assert.ok(balanced.headers['X-Id']);
  });
});

test('odd requests and events', async (t) => {
  const { api, host } = await begin(t);
  for (const [what, event] of Object.entries({
    method: urlEvent('BREW', '/x'), path: urlEvent('GET', 'x'), base64: urlEvent('POST', `${NF}/echo`, { body: '%%%', base64: true }),
    header: urlEvent('GET', `${NF}/echo`, { headers: { 'a b': 'c' } }), value: urlEvent('GET', `${NF}/echo`, { headers: { a: 'b\r\nc: d' } }),
  })) {
    const answer = await api.http(event);
    assert.equal(answer.statusCode, 400, what);
    assert.equal(JSON.parse(answer.body).error, 'bad_request', what);
  }
  for (const [event, type] of [['{', 'Runtime.UnknownEvent'], ['7', 'Runtime.UnknownEvent'], ['{"a":1}', 'Runtime.UnknownEvent'],
    ['{"Records":[{"eventSource":"aws:s3"}]}', 'Runtime.UnknownEvent'], ['', 'Runtime.UnknownEvent'],
    ['{"Records":[{"eventSource":"aws:sqs"}]}', 'Runtime.BadEvent'],
    [queueEvent('nobody', ['x']), 'Runtime.NoSuchFunction']]) {
    const post = await api.call(event);
    assert.equal(post.what, 'error');
    assert.equal(post.headers['lambda-runtime-function-error-type'], type);
    assert.equal(JSON.parse(post.body).errorType, type);
  }
  assert.equal((await api.http(urlEvent('GET', `${NF}/echo`))).statusCode, 201, 'it goes on');
  api.refuse = { status: 413, text: '{"errorType":"RequestEntityTooLarge"}' };
  await api.call(urlEvent('GET', `${NF}/echo`));
  await host.says(/Lambda does not take the answer: 413/);
  assert.equal((await api.http(urlEvent('GET', `${NF}/echo`))).statusCode, 201, 'and after a refusal');
  api.refuse = { status: 500, text: 'Container error' };
  await api.call(urlEvent('GET', `${NF}/echo`));
  assert.equal((await host.exit).code, 1);
  await host.says(/Lambda does not take the answer: 500 Container error/);
});

test('odd answers of the Runtime API end the process by name', async (t) => {
  for (const [odd, words] of [
    [(res) => res.writeHead(500).end('no'), /answers 500 where the next event was asked for/],
    [(res) => res.writeHead(200).end('{}'), /without a Lambda-Runtime-Aws-Request-Id/],
    [(res) => res.writeHead(200, { 'Lambda-Runtime-Aws-Request-Id': 'a/../b' }).end('{}'), /without a Lambda-Runtime-Aws-Request-Id that can be used/],
    [(res) => res.destroy(), /Runtime API does not answer/],
    [(res) => { res.writeHead(200, { 'Lambda-Runtime-Aws-Request-Id': 'a', 'Content-Length': 100 }); res.write('{'); setImmediate(() => res.destroy()); }, /Runtime API does not answer/],
  ]) {
    const { api, host } = await begin(t);
    api.odd(odd);
    assert.equal((await host.exit).code, 1);
    await host.says(words);
  }
});

test('what does not load is an init error, and exit 1', async (t) => {
  for (const files of [
    deployment({ hello: 'return function() return "x" end' }, { more: 'publsh = "x",' }),
    deployment({ hello: 'return function( return' }),
    {},
  ]) {
    const { api, host } = await startLambda(t, folder(t, files));
    const post = await api.initError();
    const { errorType, errorMessage } = JSON.parse(post.body);
    assert.equal(errorType, 'Runtime.LoadFailed');
    assert.match(errorMessage, files['functions.lua'] ? /(functions|hello)\.lua:\d+: / : /functions\.lua/);
    assert.equal(post.headers['lambda-runtime-function-error-type'], 'Runtime.LoadFailed');
    assert.equal((await host.exit).code, 1);
    assert.equal(api.asked, 0);
  }
});

test('without Lambda it says who starts it', async (t) => {
  const r = await run(t, ['lambda'], { files: deployment(SCRIPTS) });
  assert.equal(r.code, 2);
  assert.match(r.stderr, /AWS_LAMBDA_RUNTIME_API is not set/);
  const there = await run(t, ['lambda'], { files: deployment({ a: 'return function() end' }), env: { AWS_LAMBDA_RUNTIME_API: '127.0.0.1:1' } });
  assert.equal(there.code, 1);
  assert.match(there.stderr, /Runtime API does not answer/);
});

test('answers over 6 MB are refused, and streamed where that is wanted', async (t) => {
  const { api } = await begin(t);
  const large = await api.http(urlEvent('GET', `${NF}/sized`, { query: `n=${6 * 1024 * 1024}` }));
  assert.equal(large.statusCode, 502);
  assert.equal(JSON.parse(large.body).error, 'answer_too_large');
  const fits = await api.http(urlEvent('GET', `${NF}/sized`, { query: `n=${6 * 1024 * 1024 - 500}` }));
  assert.equal(fits.body.length, 6 * 1024 * 1024 - 500);
});

test('a run ends before Lambda gives it up', async (t) => {
  const { api } = await begin(t);
  const seen = JSON.parse((await api.http(urlEvent('GET', `${NF}/echo`), { seconds: 30 })).body);
  assert.ok(seen.left <= 29950, `${seen.left}`);
  const cut = await api.http(urlEvent('GET', `${NF}/slow`), { seconds: 1 });
  assert.equal(cut.statusCode, 504);
  assert.match(cut.body, /limit: who called waits no longer/);
  assert.ok(JSON.parse((await api.http(urlEvent('GET', `${NF}/echo`), { seconds: 900 })).body).left > 30000, 'the next has its own time');
});

test('what runs on after an answer ends before the next event is asked for', async (t) => {
  const { api } = await begin(t);
  assert.equal((await api.http(urlEvent('GET', `${NF}/after`))).body, 'first');
  assert.equal((await api.http(urlEvent('GET', `${NF}/done`))).body, 'yes');
  assert.equal((await api.http(urlEvent('POST', `${NF}/work`, { headers: { 'content-type': 'text/plain' }, body: 'w' }))).statusCode, 202);
  assert.equal((await api.http(urlEvent('GET', `${NF}/worked`))).body, 'w');
});

test('messages of SQS: what failed is told', async (t) => {
  const { api } = await begin(t, { env: { _HANDLER: 'bootstrap' } });
  const failed = async (event) => JSON.parse((await api.call(event)).body).batchItemFailures.map((f) => f.itemIdentifier);
  const done = async (k) => (await api.http(urlEvent('GET', `${NF}/job_done`, { query: `k=${k}` }))).body;
  assert.deepEqual(await failed(queueEvent('job', ['a', 'bad', '{"b":1}', 'no', 'c'])), ['m1', 'm3']);
  assert.deepEqual([await done('a'), await done('c')], ['queue m0 2', 'queue m4 2']);
  assert.deepEqual(await failed(queueEvent('job.fifo', ['d', 'bad', 'e'])), ['m1', 'm2'], 'in their order');
  assert.deepEqual([await done('d'), await done('e')], ['queue m0 2', 'nil']);
  assert.deepEqual(await failed(queueEvent('work', ['bg'])), []);
  assert.equal((await api.http(urlEvent('GET', `${NF}/worked`))).body, 'bg', 'a background function is waited for');
  const named = await begin(t, { env: { _HANDLER: 'job' } });
  assert.deepEqual(JSON.parse((await named.api.call(queueEvent('anything', ['bad', 'x']))).body).batchItemFailures, [{ itemIdentifier: 'm0' }]);
});

test('SIGTERM: at once where nothing runs, else after the answer', async (t) => {
  const idle = await begin(t);
  await idle.api.firstAsked;
  idle.host.kill('SIGTERM');
  assert.equal((await idle.host.exit).code, 0);
  const busy = await begin(t, { args: ['--stream'] });
  let release;
  const posted = new Promise((resolve) => { release = resolve; });
  const begun = new Promise((resolve) => { busy.api.onPiece = (all) => all.includes('1111') && resolve(); });
  busy.api.call(urlEvent('GET', `${NF}/pieces`)).then(release);
  await begun;
  busy.host.kill('SIGTERM');
  await posted;
  assert.equal((await busy.host.exit).code, 0);
  assert.equal(busy.api.posts[0].body.length > 400000, true);
});

// The head of a streamed answer, and what follows it.
function split(body) {
  const at = body.indexOf(Buffer.alloc(8));
  return { head: JSON.parse(body.subarray(0, at)), body: body.subarray(at + 8) };
}

test('--stream: answers leave as they are made', async (t) => {
  const { api, host } = await begin(t, { args: ['--stream'] });
  const { headers, body: all } = await api.call(urlEvent('GET', `${NF}/pieces`));
  assert.equal(headers['content-type'], 'application/vnd.awslambda.http-integration-response');
  assert.equal(headers['lambda-runtime-function-response-mode'], 'streaming');
  assert.equal(headers['transfer-encoding'], 'chunked');
  const { head, body } = split(all);
  assert.equal(head.statusCode, 200);
  assert.equal(head.headers['Content-Type'], 'text/plain');
  assert.equal(body.length, 400000);
  assert.equal(body.subarray(380000).toString(), '0'.repeat(20000));
  const cookies = split((await api.call(urlEvent('GET', `${NF}/cookies`))).body);
  assert.deepEqual(cookies.head.cookies, ['a=1; Path=/', 'b=2']);
  assert.equal(cookies.body.toString(), 'x');
  const bytes = split((await api.call(urlEvent('GET', `${NF}/bytes`))).body);
  assert.equal(bytes.body.toString('base64'), '/wAB');
  const large = split((await api.call(urlEvent('GET', `${NF}/sized`, { query: `n=${6 * 1024 * 1024}` }))).body);
  assert.equal(large.body.length, 6 * 1024 * 1024);
  assert.equal(split((await api.call(urlEvent('GET', '/big.bin'))).body).body.length, 300000);
  assert.equal(split((await api.call(urlEvent('HEAD', '/big.bin'))).body).body.length, 0);

  await t.test('the first piece is there while the second is waited for', async () => {
    const door = await gate(t);
    const waiting = await begin(t, { args: ['--stream'], env: { GATE: door.url } });
    const begun = new Promise((resolve) => { waiting.api.onPiece = (all) => all.includes('one ') && resolve(); });
    const answer = waiting.api.call(urlEvent('GET', `${NF}/first`));
    await begun;
    await door.asked();
    door.open();
    assert.equal(split((await answer).body).body.toString(), 'one two');
  });
  await t.test('a connection that breaks while an answer waits to go on costs that answer alone', async () => {
    const door = await gate(t);
    const { api: other, host: waiting } = await begin(t, { args: ['--stream'], env: { GATE: door.url } });
    other.refuse = { breaks: 'one ' };
    await other.call(urlEvent('GET', `${NF}/first`));
    await eventually(() => { door.open(); return waiting.stderr.includes('Lambda does not take the answer: '); }, 10, 'it is told');
    assert.equal(split((await other.call(urlEvent('GET', `${NF}/bytes`))).body).head.statusCode, 200);
  });
  await t.test('a stream that ends too early says so behind its last piece', async () => {
    const { trailers, body: part } = await api.call(urlEvent('GET', `${NF}/broken`));
    assert.equal(split(part).body.toString(), 'begun');
    assert.equal(trailers['lambda-runtime-function-error-type'], 'Runtime.BrokenAnswer');
    assert.equal(JSON.parse(Buffer.from(trailers['lambda-runtime-function-error-body'], 'base64')).errorType, 'Runtime.BrokenAnswer');
    assert.deepEqual((await api.call(urlEvent('GET', `${NF}/bytes`))).trailers, {});
  });
  await t.test('Lambda may refuse it before its end', async () => {
    assert.equal(api.connections, 1, 'until then one connection is enough');
    api.refuse = { status: 413, early: true };
    await api.call(urlEvent('GET', `${NF}/sized`, { query: 'n=6000000' }));
    await host.says(/Lambda does not take the answer: /); // 413, or that it closed while more was sent
    assert.equal(split((await api.call(urlEvent('GET', `${NF}/bytes`))).body).head.statusCode, 200);
  });
});
