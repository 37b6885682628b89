// A collector of OTLP over HTTP, for the length of a test. It reads both forms into one: what JSON would say.
import assert from 'node:assert/strict';
import zlib from 'node:zlib';
import { eventually } from './host.mjs';
import { upstream } from './upstream.mjs';

const list = (name, type) => [name, type, true];
const ATTRIBUTES = ['attributes', 'KeyValue', true];
// Field numbers of opentelemetry-proto: number -> [name, type, repeated].
const MESSAGES = {
  traces: { 1: list('resourceSpans', 'ResourceSpans') }, metrics: { 1: list('resourceMetrics', 'ResourceMetrics') }, logs: { 1: list('resourceLogs', 'ResourceLogs') },
  ResourceSpans: { 1: ['resource', 'Resource'], 2: list('scopeSpans', 'ScopeSpans') },
  ResourceMetrics: { 1: ['resource', 'Resource'], 2: list('scopeMetrics', 'ScopeMetrics') },
  ResourceLogs: { 1: ['resource', 'Resource'], 2: list('scopeLogs', 'ScopeLogs') },
  Resource: { 1: ATTRIBUTES },
  ScopeSpans: { 1: ['scope', 'Scope'], 2: list('spans', 'Span') },
  ScopeMetrics: { 1: ['scope', 'Scope'], 2: list('metrics', 'Metric') },
  ScopeLogs: { 1: ['scope', 'Scope'], 2: list('logRecords', 'LogRecord') },
  Scope: { 1: ['name', 'string'], 2: ['version', 'string'] },
  KeyValue: { 1: ['key', 'string'], 2: ['value', 'AnyValue'] },
  AnyValue: { 1: ['stringValue', 'string'], 2: ['boolValue', 'bool'], 3: ['intValue', 'int64'], 4: ['doubleValue', 'double'] },
  Span: { 1: ['traceId', 'hex'], 2: ['spanId', 'hex'], 3: ['traceState', 'string'], 4: ['parentSpanId', 'hex'], 5: ['name', 'string'], 6: ['kind', 'number'], 7: ['startTimeUnixNano', 'fixed64'],
    8: ['endTimeUnixNano', 'fixed64'], 9: ATTRIBUTES, 11: list('events', 'Event'), 15: ['status', 'Status'], 16: ['flags', 'fixed32'] },
  Event: { 1: ['timeUnixNano', 'fixed64'], 2: ['name', 'string'], 3: ATTRIBUTES },
  Status: { 2: ['message', 'string'], 3: ['code', 'number'] },
  Metric: { 1: ['name', 'string'], 2: ['description', 'string'], 3: ['unit', 'string'], 5: ['gauge', 'Gauge'], 7: ['sum', 'Sum'], 9: ['histogram', 'Histogram'] },
  Gauge: { 1: list('dataPoints', 'Number') },
  Sum: { 1: list('dataPoints', 'Number'), 2: ['aggregationTemporality', 'number'], 3: ['isMonotonic', 'bool'] },
  Histogram: { 1: list('dataPoints', 'Buckets'), 2: ['aggregationTemporality', 'number'] },
  Number: { 2: ['startTimeUnixNano', 'fixed64'], 3: ['timeUnixNano', 'fixed64'], 4: ['asDouble', 'double'], 6: ['asInt', 'fixed64'], 7: ATTRIBUTES },
  Buckets: { 2: ['startTimeUnixNano', 'fixed64'], 3: ['timeUnixNano', 'fixed64'], 4: ['count', 'fixed64'], 5: ['sum', 'double'], 6: ['bucketCounts', 'fixed64s'], 7: ['explicitBounds', 'doubles'], 9: ATTRIBUTES },
  LogRecord: { 1: ['timeUnixNano', 'fixed64'], 2: ['severityNumber', 'number'], 3: ['severityText', 'string'], 5: ['body', 'AnyValue'], 6: ATTRIBUTES, 8: ['flags', 'fixed32'], 9: ['traceId', 'hex'],
    10: ['spanId', 'hex'], 11: ['observedTimeUnixNano', 'fixed64'] },
};
const WIRE = { string: 2, hex: 2, fixed64s: 2, doubles: 2, bool: 0, int64: 0, number: 0, double: 1, fixed64: 1, fixed32: 5 };

function varint(buf, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n, at += 1) {
    value |= BigInt(buf[at] & 0x7f) << shift;
    if (buf[at] < 0x80) return [value, at + 1];
  }
}

const eights = (buf, read) => Array.from({ length: buf.length / 8 }, (_, i) => read(i * 8));
const READ = {
  string: (b) => new TextDecoder('utf-8', { fatal: true }).decode(b), hex: (b) => b.toString('hex'),
  fixed64s: (b) => eights(b, (at) => String(b.readBigUInt64LE(at))), doubles: (b) => eights(b, (at) => b.readDoubleLE(at)),
  bool: (v) => v === 1n, int64: (v) => String(BigInt.asIntN(64, v)), number: Number,
  double: (b) => b.readDoubleLE(), fixed64: (b) => String(b.readBigUInt64LE()), fixed32: (b) => b.readUInt32LE(),
};

// One message; a field that the table does not have, or of another wire type, is a fault.
export function decode(type, buf) {
  const out = {};
  for (let at = 0; at < buf.length;) {
    let tag, value;
    [tag, at] = varint(buf, at);
    const field = MESSAGES[type][Number(tag >> 3n)];
    const wire = Number(tag & 7n);
    assert.ok(field, `${type} has no field ${tag >> 3n}`);
    const [name, kind, repeated] = field;
    assert.equal(wire, WIRE[kind] ?? 2, `${type}.${name}`);
    if (wire === 0) {
      [value, at] = varint(buf, at);
    } else {
      let len = { 1: 8n, 5: 4n }[wire];
      if (wire === 2) [len, at] = varint(buf, at);
      assert.ok(at + Number(len) <= buf.length, `${type}.${name} is cut off`);
      value = buf.subarray(at, at + Number(len));
      at += Number(len);
    }
    const read = READ[kind] ? READ[kind](value) : decode(kind, value);
    if (repeated) (out[name] ??= []).push(read);
    else out[name] = read;
  }
  return out;
}

// { 'http.route': '/x' } of a list of attributes; no key comes twice.
export function attributes(item) {
  const pairs = (item.attributes ?? []).map(({ key, value }) => [key, Object.values(value)[0]]);
  assert.equal(new Set(pairs.map(([key]) => key)).size, pairs.length, 'a key comes twice');
  return Object.fromEntries(pairs);
}

// `answer(req, res)`, if there is one, answers instead of 200. Result: url; requests (path, headers, message); the spans,
// logs and metrics of those that were taken, and until(fn), settled with what it gives.
export async function collector(t, answer) {
  const c = { requests: [] };
  c.url = await upstream(t, (req, res) => {
    const parts = [];
    req.on('data', (part) => parts.push(part));
    req.on('end', () => {
      const raw = Buffer.concat(parts);
      const body = req.headers['content-encoding'] === 'gzip' ? zlib.gunzipSync(raw) : raw;
      const json = req.headers['content-type'] === 'application/json';
      const signal = req.url.split('/').at(-1);
      const one = { path: req.url, headers: req.headers, raw: body, message: json ? JSON.parse(body) : decode(signal, body), signal };
      c.requests.push(one);
      if (answer) answer(one, res);
      else res.setHeader('Content-Type', req.headers['content-type']).end(json ? '{}' : '');
    });
  });
  const all = (a, b, d) => () => c.requests.flatMap((r) => r.message[a] ?? []).flatMap((r) => r[b]).flatMap((s) => s[d] ?? []);
  c.spans = all('resourceSpans', 'scopeSpans', 'spans');
  c.logs = all('resourceLogs', 'scopeLogs', 'logRecords');
  c.metrics = all('resourceMetrics', 'scopeMetrics', 'metrics');
  c.until = (fn, what = String(fn)) => eventually(() => fn(c), 10, what);
  c.span = (name, n = 1) => c.until(() => { const found = c.spans().filter((s) => s.name === name); return found.length >= n && found.at(-1); }, `span ${name}`);
  return c;
}

// What a host that exports to it is started with.
export const exporting = (c, more = {}) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: c.url, OTEL_BSP_SCHEDULE_DELAY: '20', ...more });
