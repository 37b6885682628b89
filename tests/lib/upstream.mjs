// Another host, on loopback, for the length of a test: what functions fetch from.
import http from 'node:http';
import { later } from './later.mjs';

// Result: its origin, without a slash at the end.
export async function upstream(t, onRequest) {
  const server = http.createServer(onRequest);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  later(t, () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }));
  return `http://127.0.0.1:${server.address().port}`;
}
