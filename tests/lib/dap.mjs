// A client of the Debug Adapter Protocol, as editors are: one connection, requests by number, events as they come.
import assert from 'node:assert/strict';
import net from 'node:net';
import { eventually } from './host.mjs';
import { later } from './later.mjs';

export class Dap {
  static async connect(t, port) {
    const dap = new Dap();
    dap.socket = net.connect(port, '127.0.0.1');
    dap.socket.on('data', (bytes) => dap.#take(bytes));
    dap.socket.on('error', () => {});
    dap.ended = new Promise((resolve) => dap.socket.on('close', () => { dap.closed = true; resolve(); }));
    await new Promise((resolve, reject) => { dap.socket.on('connect', resolve); dap.socket.on('error', reject); });
    later(t, () => dap.socket.destroy());
    return dap;
  }

  // Attached, with breakpoints { path: lines or objects }, as an editor begins.
  static async attach(t, host, breakpoints = {}, more = {}) {
    const { port, token } = await debugAddress(host);
    const dap = await Dap.connect(t, port);
    await dap.ask('initialize', { adapterID: 'luafn', linesStartAt1: true, columnsStartAt1: true, pathFormat: 'path' });
    await dap.ask('attach', { token, ...more });
    await dap.event('initialized');
    for (const [path, lines] of Object.entries(breakpoints)) await dap.breakpoints(path, lines);
    await dap.ask('setExceptionBreakpoints', { filters: more.filters ?? [] });
    await dap.ask('configurationDone');
    return dap;
  }

  #seq = 0;
  #in = Buffer.alloc(0);
  #waiting = new Map();
  messages = []; // events that nobody has taken

  #take(bytes) {
    this.#in = Buffer.concat([this.#in, bytes]);
    for (;;) {
      const head = this.#in.indexOf('\r\n\r\n');
      if (head < 0) return;
      const size = Number(/^Content-Length: (\d+)$/.exec(this.#in.subarray(0, head))[1]);
      if (this.#in.length < head + 4 + size) return;
      const message = JSON.parse(this.#in.subarray(head + 4, head + 4 + size));
      this.#in = this.#in.subarray(head + 4 + size);
      assert.equal(message.seq, ++this.got, 'numbers count up');
      if (message.type === 'event') this.messages.push(message);
      else this.#waiting.get(message.request_seq)?.(message);
    }
  }
  got = 0;

  send(message) {
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    this.socket.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  }

  // Of a request that is sent otherwise.
  answer(seq) { return new Promise((resolve) => this.#waiting.set(seq, resolve)); }
  // The whole response.
  async request(command, args) {
    const seq = ++this.#seq;
    const answer = this.answer(seq);
    this.send({ seq, type: 'request', command, arguments: args });
    return Promise.race([answer, this.ended.then(() => { throw new Error(`${command}: the connection ended`); })]);
  }
  async ask(command, args) {
    const r = await this.request(command, args);
    assert.ok(r.success, `${command}: ${r.message}`);
    return r.body;
  }
  async refused(command, args) {
    const r = await this.request(command, args);
    assert.ok(!r.success, `${command} is not refused`);
    assert.equal(r.body.error.format, r.message);
    return r.message;
  }

  // The next event of that name, which others may stand before.
  async event(name, check = () => true) {
    const find = () => this.messages.findIndex((m) => m.event === name && check(m.body));
    await eventually(() => find() >= 0 || this.closed, 20, `the event ${name}`);
    assert.ok(find() >= 0, `the event ${name}: the connection ended`);
    const [found] = this.messages.splice(find(), 1);
    return found.body;
  }
  stopped() { return this.event('stopped'); }

  async breakpoints(path, lines) {
    const list = lines.map((b) => (typeof b === 'number' ? { line: b } : b));
    const { breakpoints } = await this.ask('setBreakpoints', { source: { path }, breakpoints: list });
    assert.equal(breakpoints.length, lines.length);
    return breakpoints;
  }

  // Of who stopped: [source, line] of each frame, the innermost first.
  async where(threadId) {
    const { stackFrames } = await this.ask('stackTrace', { threadId });
    return stackFrames.map((f) => [f.source.name, f.line]);
  }
  async frame(threadId, level = 0) { return (await this.ask('stackTrace', { threadId, startFrame: level, levels: 1 })).stackFrames[0]; }
  // { name: value } of a scope ("Locals") of a frame.
  async scope(threadId, name, level = 0) {
    const { scopes } = await this.ask('scopes', { frameId: (await this.frame(threadId, level)).id });
    return this.variables(scopes.find((s) => s.name === name).variablesReference);
  }
  async variables(variablesReference, more = {}) {
    const { variables } = await this.ask('variables', { variablesReference, ...more });
    return Object.fromEntries(variables.map((v) => [v.name, v]));
  }
  async evaluate(threadId, expression, context = 'repl') {
    return (await this.ask('evaluate', { expression, frameId: (await this.frame(threadId)).id, context })).result;
  }
  // Lets it go on, and waits until it stands again.
  async step(command, threadId) {
    await this.ask(command, { threadId });
    return this.event('stopped', (b) => b.threadId === threadId);
  }
}

// Where it said that a debugger can attach.
export async function debugAddress(host) {
  const [, port, token] = await eventually(() => /a debugger can attach to 127\.0\.0\.1:(\d+), with "token": "([^"]+)"/.exec(host.stderr), 20, 'where a debugger can attach');
  return { port: Number(port), token };
}
