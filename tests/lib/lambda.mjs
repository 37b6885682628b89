// AWS Lambda's Runtime API (2018-06-01) for one `luafn lambda`: hands out events, takes what came of them.
import { spawn } from 'node:child_process';
import http from 'node:http';
import { BIN, Host } from './host.mjs';
import { later } from './later.mjs';

// `refuse`: what the next POST gets, { status, text, early } or { breaks: after this piece }; `onPiece`: told of a body while it comes.
export class RuntimeApi {
  constructor() {
    this.waiting = []; // GETs of .../next that have had no event
    this.events = []; // events that nobody has asked for
    this.posts = []; // { path, headers, body, trailers }
    this.asked = 0;
    this.connections = 0;
    this.firstAsked = new Promise((resolve) => { this.onFirst = resolve; });
    this.wanted = new Map(); // id: who waits for its answer
    this.count = 0;
    this.server = http.createServer((req, res) => this.#on(req, res));
    this.server.keepAliveTimeout = 0;
    this.server.on('connection', () => this.connections++);
  }

  async listen() {
    await new Promise((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.address = `127.0.0.1:${this.server.address().port}`;
    return this;
  }

  close() {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(resolve));
  }

  #on(req, res) {
    const path = req.url.replace('/2018-06-01/runtime/', '');
    if (path === 'invocation/next' && req.method === 'GET') {
      this.asked++;
      this.onFirst();
      this.waiting.push(res);
      this.#give();
      return;
    }
    const { refuse } = this;
    this.refuse = undefined;
    const [, id, what] = /^invocation\/([^/]+)\/(.*)$/.exec(path) ?? [];
    const post = { what, path, headers: req.headers };
    const settle = () => this.wanted.get(id ?? path)?.(post);
    if (refuse?.early) { // without a look at the body, and no more of it is taken
      res.writeHead(refuse.status, { Connection: 'close' }).end(refuse.text, settle);
      return;
    }
    const chunks = [];
    req.on('data', (d) => {
      chunks.push(d);
      if (refuse?.breaks !== undefined && d.includes(refuse.breaks)) {
        setTimeout(() => { req.socket.resetAndDestroy(); settle(); }, 50); // the host sends nothing then, it waits for more
      }
      this.onPiece?.(Buffer.concat(chunks));
    });
    req.on('end', () => {
      Object.assign(post, { body: Buffer.concat(chunks), trailers: req.trailers });
      this.posts.push(post);
      res.writeHead(refuse?.status ?? 202, { 'Content-Type': 'application/json' }).end(refuse?.text ?? '{"status":"OK"}');
      settle();
    });
  }

  #give() {
    while (this.waiting.length > 0 && this.events.length > 0) {
      const res = this.waiting.shift();
      const { id, body, seconds, odd } = this.events.shift();
      if (odd !== undefined) {
        odd(res);
        continue;
      }
      res.writeHead(200, {
        'Content-Type': 'application/json',
        'Lambda-Runtime-Aws-Request-Id': id,
        'Lambda-Runtime-Deadline-Ms': String(Date.now() + seconds * 1000),
        'Lambda-Runtime-Trace-Id': 'Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1',
        'Lambda-Runtime-Invoked-Function-Arn': 'arn:aws:lambda:eu-central-1:123456789012:function:api',
      }).end(body);
    }
  }

  // Gives something other than an event to who asks for the next one: odd(res).
  odd(odd) { this.events.push({ odd }); this.#give(); }

  // One event; settles with what was posted for it: { what: 'response' or 'error', headers, body }.
  call(event, { seconds = 60 } = {}) {
    const id = `8476a536-e9f4-11e8-9739-${String(++this.count).padStart(12, '0')}`;
    const answer = new Promise((resolve) => this.wanted.set(id, resolve));
    this.events.push({ id, body: typeof event === 'string' ? event : JSON.stringify(event), seconds });
    this.#give();
    answer.id = id;
    return answer;
  }

  // The same for HTTP: the answer as an object.
  async http(event, options) {
    const post = await this.call(event, options);
    if (post.what !== 'response') throw new Error(`${post.what}: ${post.body}`);
    return JSON.parse(post.body);
  }

  initError() { return new Promise((resolve) => this.wanted.set('init/error', resolve)); }
}

// Starts `luafn lambda` in that folder; { api, host }, both ended after the test.
// `bin`: another program that is such a runtime.
export async function startLambda(t, dir, { args = [], env = {}, bin = BIN } = {}) {
  const api = await new RuntimeApi().listen();
  const wrap = (process.env.LUAFN_WRAP ?? '').split(' ').filter(Boolean);
  const [program, ...rest] = [...wrap, bin, 'lambda', ...args];
  const kept = Object.fromEntries(['ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS', 'GCOV_PREFIX']
    .filter((k) => process.env[k]).map((k) => [k, process.env[k]]));
  const child = spawn(program, rest, {
    cwd: dir, stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH, LANG: 'C.UTF-8', ...kept, AWS_LAMBDA_RUNTIME_API: api.address, ...env },
  });
  const host = new Host(child, dir);
  later(t, async () => {
    if (!host.ended) child.kill('SIGKILL');
    await host.exit;
    await api.close();
  });
  return { api, host };
}

// An event of a function URL (payload 2.0).
export function urlEvent(method, rawPath, { query = '', headers = {}, cookies, body, base64 = false, stage = '$default' } = {}) {
  return {
    version: '2.0', routeKey: '$default', rawPath, rawQueryString: query, ...(cookies ? { cookies } : {}),
    headers: { host: 'abc.lambda-url.eu-central-1.on.aws', 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.7', ...headers },
    requestContext: {
      accountId: 'anonymous', apiId: 'abc', domainName: 'abc.lambda-url.eu-central-1.on.aws', stage,
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'test' },
      requestId: 'r', time: '12/Mar/2026:19:03:58 +0000', timeEpoch: 1583348638390,
    },
    ...(body !== undefined ? { body } : {}), isBase64Encoded: base64,
  };
}

// An event of a REST API (payload 1.0); headers and query: { name: [values] }.
export function restEvent(httpMethod, path, { query = null, headers = {}, body = null, base64 = false, context = {} } = {}) {
  const last = (lists) => lists && Object.fromEntries(Object.entries(lists).map(([k, v]) => [k, v.at(-1)]));
  return {
    resource: '/{proxy+}', path, httpMethod, headers: last(headers), multiValueHeaders: headers,
    queryStringParameters: last(query), multiValueQueryStringParameters: query,
    requestContext: { stage: 'prod', identity: { sourceIp: '203.0.113.8' }, ...context },
    body, isBase64Encoded: base64,
  };
}

// An event of SQS from bodies.
export function queueEvent(queue, bodies) {
  return {
    Records: bodies.map((body, i) => ({
      messageId: `m${i}`, receiptHandle: 'x', body, attributes: { ApproximateReceiveCount: '2' }, messageAttributes: {},
      eventSource: 'aws:sqs', eventSourceARN: `arn:aws:sqs:eu-central-1:123456789012:${queue}`, awsRegion: 'eu-central-1',
    })),
  };
}
