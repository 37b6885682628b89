// A schedule of each second over four machines, three of which are lost, one with a clock that is a minute late.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { deployment, eventually, lua, sleep } from '../lib/host.mjs';
import { later } from '../lib/later.mjs';
import { Redis } from '../lib/redis.mjs';
import { FAKETIME, fleet, hub, SKIP } from './net.mjs';

// How long: `FLEET_SECONDS=600 TEST_TIMEOUT=900000 make fleet T=schedule`.
const SECONDS = Number(process.env.FLEET_SECONDS ?? 45);
const HUB = '10.99.0.1';
if (!SKIP) hub();

test('each second once, none twice, while three of four hosts are lost', { skip: SKIP }, async (t) => {
  const seen = [], waits = [];
  const server = http.createServer((req, res) => {
    let text = '';
    req.on('data', (data) => { text += data; });
    req.on('end', () => {
      const due = Date.parse(text) / 1000 - 1;
      seen.push({ due, from: req.socket.remoteAddress });
      waits.push(Date.now() / 1000 - due);
      res.end();
    });
  });
  await new Promise((resolve) => server.listen(0, HUB, resolve));
  later(t, () => { server.close(); server.closeAllConnections(); });
  const redis = await Redis.start(t, ['--bind', HUB, '127.0.0.1', '--protected-mode', 'no']);
  const tick = `return function(event)
    fetch(${lua(`http://${HUB}:${server.address().port}/`)}, { method = "POST", body = json.decode(event.body).next_run })
    sleep(0.1)
  end`;
  const files = deployment({ tick }, { fields: { tick: `schedule = "* * * * * *", fetch = { "${HUB}" }` } });
  const options = { env: { KV_URL: `redis://${HUB}:${redis.port}` } };
  const machines = await fleet(t, files, { ...options, late: FAKETIME ? { 3: 60 } : {} });
  await eventually(() => seen.length >= 3, 20, 'the first runs');
  const hosts = machines.map((m) => m.host);
  const lose = [
    // In the middle of a run of its own.
    async (m) => {
      const before = seen.length;
      await eventually(() => seen.length > before && seen.at(-1).from === m.address, 60, 'a run of it');
      for (const pid of [m.host.child.pid, ...m.host.workers()]) process.kill(pid, 'SIGKILL');
      await m.host.exit;
    },
    // At any time.
    async (m) => {
      for (const pid of [m.host.child.pid, ...m.host.workers()]) process.kill(pid, 'SIGKILL');
      await m.host.exit;
    },
    // Its cable.
    async (m) => m.cut(),
  ];
  for (const [i, how] of lose.entries()) {
    await sleep(SECONDS / 5);
    await how(machines[i]);
    await sleep(SECONDS / 10);
    if (i === 2) machines[i].mend();
    else hosts.push(await machines[i].serve(files, options));
  }
  const began = Math.min(...seen.map((run) => run.due));
  await eventually(() => seen.length >= SECONDS, SECONDS + 60, 'as many runs');
  const due = seen.map((run) => run.due).sort((a, b) => a - b);
  const wrong = [];
  for (let i = 1; i < due.length; i++) if (due[i] !== due[i - 1] + 1) wrong.push(`${due[i - 1]}, then ${due[i]}`);
  const told = hosts.flatMap((h) => h.stderr.split('\n').filter((line) => /scheduled run(s before| skipped)|a scheduled run/.test(line)).map((line) => JSON.parse(line)));
  for (const { time, msg, due: of } of told) t.diagnostic(`${time} ${msg}: ${of}`);
  waits.sort((a, b) => a - b);
  const of = machines.map((m) => seen.filter((run) => run.from === m.address).length);
  t.diagnostic(`${seen.length} runs from ${began} on, by hosts ${of.join(', ')}; late by ${(waits[waits.length >> 1] * 1000).toFixed(0)} ms, at most ${waits.at(-1).toFixed(1)} s`);
  assert.deepEqual(wrong, []);
});
