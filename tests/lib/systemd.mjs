// Stands in for systemd: hears what a service tells it, and starts one with sockets that listen already.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { ROOT, eventually } from './host.mjs';
import { later } from './later.mjs';

// An ear by that name ("@..." is an abstract one): messages, each one line; when(pattern) waits for one;
// all(), settled when those that have been sent are heard, gives their number.
export async function ear(t, name) {
  const child = spawn('perl', [path.join(ROOT, 'tests/lib/notify.pl'), name], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ear = { name, messages: [] };
  let text = '';
  child.stdout.on('data', (d) => {
    text += d;
    const lines = text.split('\n');
    text = lines.pop();
    ear.messages.push(...lines.map((line) => ({ line, at: performance.now() })));
  });
  later(t, () => new Promise((resolve) => { child.on('close', resolve); child.stdin.end(); }));
  ear.lines = () => ear.messages.map((m) => m.line);
  ear.when = (pattern, seconds = 5, from = 0) => eventually(() => ear.messages.slice(from).find((m) => pattern.test(m.line)), seconds, `${pattern} among ${ear.lines().join(' | ')}`);
  ear.all = async () => {
    child.stdin.write('heard\n');
    const mark = await ear.when(/^heard$/, 10);
    const at = ear.messages.indexOf(mark);
    ear.messages.splice(at, 1);
    return at;
  };
  await ear.when(/^ready$/);
  ear.messages.length = 0;
  return ear;
}

// For `under` of start(): the program gets a listening socket for each name.
export const activate = (names) => ['perl', path.join(ROOT, 'tests/lib/activate.pl'), names];
export const handedOver = (h) => /^ports (.*)$/m.exec(h.stderr)[1].split(' ').map(Number);
