// Traces, metrics and logs for a collector: what it is told, when, and what it is not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { attributes, collector, exporting } from '../lib/collector.mjs';
import { deployment, eventually, sleep, start } from '../lib/host.mjs';
import { gate, upstream } from '../lib/upstream.mjs';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';
const SECRET = 'a-password-of-somebody';

const scripts = (url) => ({
  show: `return { path = "/api/shows/:id", handler = function(event)
    log.warn("looked at " .. event.params.id, { count = 3, password = "${SECRET}", list = { 1 } })
    local res = fetch("${url}/x?sig=abc&a=1&password=${SECRET}")
    kv.set("seen", "1")
    sleep(0.001)
    return res:text()
  end }`,
  down: 'return function() local ok, err = pcall(fetch, "http://127.0.0.1:1/") return "down" end',
  broken: 'return function() error("it broke") end',
  closed: 'return function() return "x" end',
  rows: `local sql = require "sql"
  local db = sql.open(env.DB)
  return function() return json.encode(db:query("select 1 as n")) end`,
});

const env = (c, more) => exporting(c, { OTEL_SERVICE_NAME: 'shop', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test%20bed,service.name=other', ...more });
const files = (url) => deployment(scripts(url), { fields: { rows: 'sql = { "DB" }', closed: 'auth = { issuer = "https://idp.example/", audience = "a", algorithms = { "HS256" }, secret = "0123456789012345678901234567890123456789" }' }, files: { '.env': 'DB=sqlite:rows.db\n' }, more: 'redact = { "password" },' });

for (const protocol of ['http/protobuf', 'http/json']) {
  test(`a request is a span with children, and what it logs is beside it: ${protocol}`, async (t) => {
    const c = await collector(t);
    const seen = [];
    const url = await upstream(t, (req, res) => { seen.push(req.headers); res.end('it'); });
    const h = await start(t, { command: 'dev', files: files(url), env: env(c, { OTEL_EXPORTER_OTLP_PROTOCOL: protocol, OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=a%20b', OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip' }) });
    const answer = await h.get(`/api/shows/7?password=${SECRET}&b=2`, { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'them=1', 'User-Agent': 'tester' });
    assert.equal(answer.text, 'it');
    const server = await c.span('GET /api/shows/:id');
    assert.deepEqual([server.traceId, server.parentSpanId, server.kind, server.flags, server.status], [TRACE, PARENT, 2, 0x301, undefined]);
    const a = attributes(server);
    assert.equal(a['url.query'], 'password=[redacted]&b=2');
    assert.deepEqual([a['http.request.method'], a['url.path'], a['url.scheme'], a['http.route'], a['http.response.status_code'], a['user_agent.original'], a['client.address'], a['luafn.function']],
      ['GET', '/api/shows/7', 'http', '/api/shows/:id', '200', 'tester', '127.0.0.1', 'show']);
    const children = c.spans().filter((s) => s.parentSpanId === server.spanId);
    assert.deepEqual(children.map((s) => [s.name, s.kind]), [['GET', 3], ['kv.set', 3], ['sleep', 1]]);
    for (const child of children) {
      assert.equal(child.traceId, TRACE);
      assert.ok(BigInt(server.startTimeUnixNano) <= BigInt(child.startTimeUnixNano) && BigInt(child.startTimeUnixNano) <= BigInt(child.endTimeUnixNano), child.name);
      assert.ok(BigInt(child.endTimeUnixNano) <= BigInt(server.endTimeUnixNano) + 1000000n, child.name);
    }
    const f = attributes(children[0]);
    assert.deepEqual([f['url.full'], f['server.address'], f['server.port'], f['http.response.status_code']], [`${url}/x?sig=REDACTED&a=1&password=[redacted]`, '127.0.0.1', new URL(url).port, '200']);
    // Who is called next hears of the very span that called him.
    assert.deepEqual([seen[0].traceparent, seen[0].tracestate], [`00-${TRACE}-${children[0].spanId}-01`, 'them=1']);

    const [log] = await c.until(() => c.logs().length > 0 && c.logs());
    assert.deepEqual([log.body.stringValue, log.severityNumber, log.severityText, log.traceId, log.spanId], ['looked at 7', 13, 'warn', TRACE, server.spanId]);
    const fields = attributes(log);
    assert.deepEqual([fields.count, fields.password, fields.list, fields['luafn.function']], ['3', '[redacted]', '[1]', 'show']);

    for (const r of c.requests) {
      assert.ok(!r.raw.includes(SECRET), 'a secret is shown');
      assert.deepEqual([r.headers['x-tenant'], r.headers['content-type']], ['a b', protocol === 'http/json' ? 'application/json' : 'application/x-protobuf']);
      const [{ resource }] = r.message.resourceSpans ?? r.message.resourceLogs;
      const of = attributes(resource);
      assert.deepEqual([of['service.name'], of['deployment.environment.name'], of['telemetry.sdk.name']], ['shop', 'test bed', 'luafn']);
      assert.match(of['service.instance.id'], /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    }
    assert.deepEqual([...new Set(c.requests.map((r) => r.path))].sort(), ['/v1/logs', '/v1/traces']);
  });
}

test('faults, refusals, statements, files and paths that are none', async (t) => {
  const c = await collector(t);
  const h = await start(t, { command: 'dev', files: { ...files('http://127.0.0.1:1'), 'web/page.html': '<p>' }, env: env(c) });
  assert.equal((await h.call('broken')).status, 502);
  const broken = await c.span('GET /.netlify/functions/broken');
  const a = attributes(broken);
  assert.deepEqual([broken.status.code, a['http.response.status_code'], broken.parentSpanId, broken.flags], [2, '502', undefined, 0x101]);
  assert.match(broken.traceId, /^[0-9a-f]{32}$/);
  const [event] = broken.events;
  assert.equal(event.name, 'exception');
  assert.match(attributes(event)['exception.message'], /it broke/);
  assert.match(attributes(event)['exception.stacktrace'], /broken\.lua:1/);

  assert.equal((await h.call('closed')).status, 401);
  const closed = await c.span('GET /.netlify/functions/closed');
  assert.deepEqual([closed.status, attributes(closed)['http.response.status_code'], attributes(closed)['error.type']], [undefined, '401', 'invalid_header']);
  const [policy] = c.spans().filter((s) => s.parentSpanId === closed.spanId);
  assert.deepEqual([policy.name, attributes(policy)['error.type']], ['policy', 'invalid_header']);

  assert.equal((await h.call('down')).text, 'down');
  const down = await c.span('GET /.netlify/functions/down');
  const [failed] = c.spans().filter((s) => s.parentSpanId === down.spanId);
  assert.deepEqual([failed.status.code, attributes(failed)['error.type']], [2, 'ECONNREFUSED']);

  assert.equal((await h.call('rows')).status, 200);
  const rows = await c.span('GET /.netlify/functions/rows');
  const statements = c.spans().filter((s) => s.parentSpanId === rows.spanId).map((s) => [s.name, attributes(s)['db.query.text']]);
  assert.deepEqual(statements, [['sql', 'select 1 as n']]);

  assert.equal((await h.get('/nothing')).status, 404);
  const nothing = await c.until(() => c.spans().find((s) => attributes(s)['url.path'] === '/nothing'));
  assert.deepEqual([nothing.name, nothing.kind, attributes(nothing)['http.response.status_code']], ['GET', 2, '404']);
});

test('where a request waited there is a span', async (t) => {
  const c = await collector(t);
  const g = await gate(t);
  const h = await start(t, { files: deployment({ one: `return function() fetch("${g.url}") return "x" end` }, { fields: { one: 'concurrency = 1, fetch = { "127.0.0.1" }' } }), env: env(c) });
  const first = h.call('one');
  await g.asked();
  const second = h.call('one');
  await eventually(async () => (await h.admin('metrics')).text.includes('luafn_function_requests_in_flight{function="one"} 2\n'), 10, 'the second one waits');
  await sleep(0.02); // what waits for less than a millisecond has no span
  g.open();
  await first;
  await g.asked();
  g.open();
  await second;
  const queue = await c.span('queue');
  assert.ok(c.spans().some((s) => s.spanId === queue.parentSpanId && s.name === 'GET /.netlify/functions/one'));
});

test('the parent is followed, and the sampler is asked for roots', async (t) => {
  const c = await collector(t);
  const seen = [];
  const url = await upstream(t, (req, res) => { seen.push(req.headers.traceparent); res.end('it'); });
  const one = { files: deployment({ one: `return function() fetch("${url}") return "x" end`, last: 'return function() return "x" end' }) };
  const h = await start(t, { command: 'dev', ...one, env: env(c, { OTEL_TRACES_SAMPLER: 'parentbased_always_off' }) });
  await h.call('one', { headers: { traceparent: `00-${TRACE}-${PARENT}-00` } });
  await h.call('one');
  await h.call('last', { headers: { traceparent: `00-${TRACE}-${PARENT}-01` } });
  await c.span('GET /.netlify/functions/last');
  assert.deepEqual(c.spans().map((s) => s.name), ['GET /.netlify/functions/last']);
  // The trace goes on all the same, with spans that nobody keeps.
  assert.match(seen[0], new RegExp(`^00-${TRACE}-(?!${PARENT})[0-9a-f]{16}-00$`));
  assert.match(seen[1], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);

  const always = await start(t, { command: 'dev', ...one, env: env(c, { OTEL_TRACES_SAMPLER: 'always_on' }) });
  await always.call('one', { headers: { traceparent: `00-${TRACE}-${PARENT}-00` } });
  assert.equal((await c.span('GET /.netlify/functions/one')).parentSpanId, PARENT);
});

test('metrics: counters go up from the start of the host, buckets are each their own', async (t) => {
  const c = await collector(t);
  const h = await start(t, { workers: 2, files: deployment({ one: 'return function() return "x" end' }), env: env(c, { OTEL_METRIC_EXPORT_INTERVAL: '50', OTEL_TRACES_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' }) });
  for (let i = 0; i < 3; i++) await h.call('one');
  const all = () => c.requests.at(-1)?.message.resourceMetrics[0].scopeMetrics[0].metrics ?? [];
  const of = (name, metrics = all()) => metrics.find((m) => m.name === name);
  const mine = () => of('luafn_function_requests_total')?.sum.dataPoints.find((p) => attributes(p).function === 'one')?.asInt;
  // Each counts at its own moment of a request; what is told in one export may be from between them.
  const last = await c.until(() => of('luafn_requests_total')?.sum.dataPoints[0].asInt === '3' && of('luafn_request_duration_seconds').histogram.dataPoints[0].count === '3' && mine() === '3' && all(), 'three requests');
  const requests = of('luafn_requests_total', last);
  assert.deepEqual([requests.sum.isMonotonic, requests.sum.aggregationTemporality], [true, 2]);
  const histogram = of('luafn_request_duration_seconds', last);
  const [point] = histogram.histogram.dataPoints;
  assert.deepEqual([histogram.unit, point.bucketCounts.length], ['s', point.explicitBounds.length + 1]);
  assert.equal(point.bucketCounts.reduce((sum, n) => sum + Number(n), 0), 3);
  assert.ok(last.find((m) => m.name === 'luafn_connections').gauge);
  const starts = new Set(c.metrics().flatMap((m) => (m.sum ?? m.histogram ?? m.gauge).dataPoints ?? []).map((p) => p.startTimeUnixNano));
  assert.equal(starts.size, 1, 'one beginning, of one series');
  assert.deepEqual([...new Set(c.requests.map((r) => r.path))], ['/v1/metrics']);
});

test('a collector that is busy is asked again; one that refuses is not', async (t) => {
  const seen = [];
  const c = await collector(t, (one, res) => {
    seen.push(one.raw.length);
    if (seen.length === 1) res.writeHead(503, { 'Retry-After': '0' }).end();
    else if (seen.length === 2) res.end();
    else res.writeHead(400).end('no');
  });
  const h = await start(t, { files: deployment({ one: 'return function() return "x" end' }), env: env(c, { OTEL_LOGS_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' }) });
  await h.call('one');
  await c.until(() => seen.length === 2);
  assert.deepEqual(c.requests[0].raw, c.requests[1].raw, 'the same batch');
  await h.says(/OTLP: http:\/\/127\.0\.0\.1:\d+\/v1\/traces: the answer is 503/);
  await h.call('one');
  await c.until(() => seen.length === 3);
  await h.call('one');
  await c.until(() => seen.length === 4);
  assert.notDeepEqual(c.requests[2].raw, c.requests[3].raw, 'what was refused is gone');
  assert.equal(h.stderr.match(/OTLP: /g).length, 1, 'said once a minute');
});

test('a collector that hangs stops nobody; what is left is dropped and counted', async (t) => {
  const c = await collector(t, () => {});
  const h = await start(t, { files: deployment({ one: 'return function() return "x" end' }), env: env(c, { OTEL_BSP_MAX_QUEUE_SIZE: '4', OTEL_EXPORTER_OTLP_TIMEOUT: '600000', OTEL_LOGS_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none' }) });
  await h.call('one');
  await c.until(() => c.requests.length === 1);
  for (let i = 0; i < 8; i++) assert.equal((await h.call('one')).status, 200);
  await h.says(/what waits for the collector is too much; spans and log records dropped: 1/);
  await eventually(async () => await h.metric('otlp_dropped_total') === 4, 10, 'the last one of them');
});

test('what was told before the host ends arrives; wrong variables are named, and stop nothing', async (t) => {
  const c = await collector(t);
  const h = await start(t, { files: deployment({ one: 'return function() return "x" end' }), env: env(c, { OTEL_BSP_SCHEDULE_DELAY: '3600000', OTEL_TRACES_SAMPLER: 'odd', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc', OTEL_METRICS_EXPORTER: 'none' }) });
  await h.says(/OTEL_TRACES_SAMPLER: 'odd' cannot be used: parentbased_always_on counts/);
  await h.says(/OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' cannot be used: there are http\/protobuf and http\/json/);
  await h.call('one');
  assert.equal(c.requests.length, 0);
  await h.stop();
  assert.equal(c.spans().length, 1);
});
