// Another host, on loopback, for the length of a test: what functions fetch from.
import http from 'node:http';
import net from 'node:net';
import { eventually } from './host.mjs';
import { later } from './later.mjs';

// Result: its origin, without a slash at the end.
export async function upstream(t, onRequest) {
  const server = http.createServer(onRequest);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  return `http://127.0.0.1:${server.address().port}`;
}

// A host that answers nobody until it is told to: what a function that fetches from it waits for is up to the test.
// Result: url; asked(n), settled when n wait; open(), which answers those that do.
export async function gate(t) {
  const waiting = [];
  const url = await upstream(t, (req, res) => waiting.push(res));
  return {
    url,
    asked: (n = 1) => eventually(() => waiting.length >= n, 10, `${n} at the gate`),
    open: () => { for (const res of waiting.splice(0)) res.end(); },
  };
}

// Takes one request with a length, chunks or no body off the front: { request, rest }; null: not all there.
function takeRequest(buf) {
  const at = buf.indexOf('\r\n\r\n');
  if (at < 0) return null;
  const [line, ...fields] = buf.subarray(0, at).toString('latin1').split('\r\n');
  const [method, target] = line.split(' ');
  const headers = {};
  for (const field of fields) {
    const colon = field.indexOf(':');
    const name = field.slice(0, colon).toLowerCase();
    const value = field.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  const rest = buf.subarray(at + 4);
  if (/chunked/i.test(headers['transfer-encoding'] ?? '')) {
    const parts = [];
    for (let pos = 0; ;) {
      const eol = rest.indexOf('\r\n', pos);
      const size = eol < 0 ? -1 : parseInt(rest.subarray(pos, eol).toString('latin1'), 16);
      if (size < 0 || rest.length < eol + 2 + size + 2) return null;
      if (size === 0) return { request: { method, target, headers, fields, body: Buffer.concat(parts) }, rest: rest.subarray(eol + 4) };
      parts.push(rest.subarray(eol + 2, eol + 2 + size));
      pos = eol + 2 + size + 2;
    }
  }
  const length = Number(headers['content-length'] ?? 0);
  if (rest.length < length) return null;
  return { request: { method, target, headers, fields, body: rest.subarray(0, length) }, rest: rest.subarray(length) };
}

// A host that speaks HTTP/1.1 by hand, and as wrongly as a test likes: onRequest(request, conn) writes its
// answers. A request has method, target, headers (joined), fields (its lines) and body; a conn has send(text),
// which is settled when the kernel has the bytes, socket, id and served, the number of requests before.
// Result: url, port, requests (all), connections (their number), hangUp() (closes all, settled when the kernel
// has said so), stop() (that, and listens no more).
export async function rawUpstream(t, onRequest, { onConnection } = {}) {
  const sockets = new Set();
  const up = { requests: [], connections: 0 };
  const server = net.createServer({ noDelay: true }, (socket) => {
    let buf = Buffer.alloc(0);
    up.connections += 1;
    const conn = {
      socket, id: up.connections, served: 0,
      send: (bytes) => new Promise((resolve) => { socket.write(bytes, 'latin1', resolve); }),
    };
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    onConnection?.(conn);
    socket.on('data', (d) => {
      buf = Buffer.concat([buf, d]);
      for (let got; (got = takeRequest(buf)) !== null;) {
        buf = got.rest;
        up.requests.push(got.request);
        onRequest(got.request, conn);
        conn.served += 1;
      }
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  up.hangUp = () => Promise.all([...sockets].map((s) => new Promise((resolve) => { s.on('close', resolve); s.destroy(); })));
  up.stop = () => { server.close(); return up.hangUp(); };
  later(t, up.stop);
  up.port = server.address().port;
  up.url = `http://127.0.0.1:${up.port}`;
  return up;
}

// An answer as text.
export function answer(body = '', { status = '200 OK', fields = [], length = true } = {}) {
  const lines = [`HTTP/1.1 ${status}`, ...(length ? [`Content-Length: ${Buffer.byteLength(body)}`] : []), ...fields];
  return `${lines.join('\r\n')}\r\n\r\n${body}`;
}
